"""Hole masks: `python -m benchmarks.masks [--clip FILE]`.

Truth: the hole mask of synthetic clips against the true disocclusion, for both eyes, and the warp's visible
PSNR against its `scatter_add_` twin's. Stability: how much masks flicker, |m_t - m_{t-1} carried by the flow|
on confident pixels, and how large they are, over those without any refinement: with Eq. 2, with its half that
looks at frame t-1 alone, and with that twice. On synthetic clips with true depth and flow, with true depth
and DIS flow, and with depth whose scale jumps from frame to frame; on a video with builtin depth.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.depth import estimate_depth
from spatialdreamer_core.dvg import NEIGHBOURS, depth_to_disparity, forward_warp, refine_hole_mask
from spatialdreamer_core.dvg.eyes import Eye, eye_sign
from spatialdreamer_core.dvg.reference import splat_rows_reference
from spatialdreamer_core.flow import Flow, estimate_flow, find_cuts
from spatialdreamer_core.metrics import CLIPS as SCENES
from spatialdreamer_core.metrics import make_clip, mask_flicker, masked_psnr
from spatialdreamer_core.metrics.scene_flow import scene_flow
from spatialdreamer_core.video import read_frames

CLIPS = (
    "translate_right",
    "strips_right",
    "upside_down_right",
    "dolly_in",
    "dolly_ground",
    "walker",
    "translate_roll",
    "studio_right",
)
EYES: tuple[tuple[Eye, float], ...] = (("right", 0.025), ("left", -0.025))  # with the second view's baseline
SIZE = (360, 640)
FRAMES = 8
VARIANTS = ("without", "eq2", "previous", "previous_twice")
DEPTH_NOISE = 0.1  # standard deviation of a frame's scale
SEEN = 0.25  # coverage from which on the twin counts as having seen a pixel


class Stability(NamedTuple):
    """Sums over the frames of a clip, by variant."""

    flicker: dict[str, float]
    area: dict[str, float]


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", type=Path, help="a real video for the stability")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    metrics = measure_synthetic()
    if options.clip:
        metrics |= measure_video(options.clip)
    print(format_table(("measure", "value"), list(metrics.items())))
    print(write_result("masks", metrics, "builtin depth for the video, true disparity for synthetic clips"))


def measure_synthetic() -> dict[str, float]:
    """Compare masks and views with the truth, and masks with and without Eq. 2."""
    result: dict[str, float] = {}
    ious: dict[str, list[float]] = {}
    stabilities: dict[str, list[Stability]] = {"true_flow": [], "synthetic": [], "noisy_depth": []}
    for eye, baseline in EYES:
        gains, unrefined = [], []
        for name in CLIPS:
            clip = make_clip(name, size=SIZE, frames=FRAMES, baseline=baseline)
            assert clip.other is not None
            assert clip.disparity is not None
            assert clip.other_hole is not None
            view, hole = forward_warp(clip.frames, clip.disparity, eye=eye)
            twin, coverage = splat_rows_reference(clip.frames, clip.disparity, sign=eye_sign(eye))
            seen = (clip.other_hole < 0.5) & (hole < 0.5) & (coverage >= SEEN)
            gains.append(masked_psnr(view, clip.other, seen) - masked_psnr(twin, clip.other, seen))
            unrefined.append(iou(hole, clip.other_hole))
            flow = estimate_flow(clip.frames)
            scene = replace(SCENES[name], size=SIZE, frames=FRAMES)
            true_flow, _ = scene_flow(scene, clip)
            masks = refine(hole, true_flow, clip.disparity, eye)
            stabilities["true_flow"].append(measure_stability(masks, true_flow, clip.disparity, eye))
            masks = refine(hole, flow, clip.disparity, eye)
            stabilities["synthetic"].append(measure_stability(masks, flow, clip.disparity, eye))
            for variant, mask in masks.items():
                ious.setdefault(variant, []).append(iou(mask, clip.other_hole))
            noise = torch.randn(FRAMES, 1, 1, 1, generator=torch.Generator().manual_seed(0))
            disparity = clip.disparity * (1 + DEPTH_NOISE * noise)
            masks = refine(forward_warp(clip.frames, disparity, eye=eye)[1], flow, disparity, eye)
            stabilities["noisy_depth"].append(measure_stability(masks, flow, disparity, eye))
        result[f"{eye}_iou_mean"], result[f"{eye}_iou_min"] = fmean(unrefined), min(unrefined)
        result[f"{eye}_visible_psnr_gain_mean"] = fmean(gains)
        result[f"{eye}_visible_psnr_gain_min"] = min(gains)
    result |= {f"synthetic_{variant}_iou": fmean(values) for variant, values in ious.items()}
    for name, parts in stabilities.items():
        result |= summarise(name, parts)
    return result


def iou(mask: Tensor, truth: Tensor) -> float:
    """Intersection over union of two masks."""
    mask, truth = mask > 0.5, truth > 0.5
    return float((mask & truth).sum() / (mask | truth).sum())


def measure_video(path: Path) -> dict[str, float]:
    """Measure the stability on each scene of a real video."""
    return summarise("video", [measure_scene(scene) for scene in read_scenes(path)])


def read_scenes(path: Path) -> Iterator[Tensor]:
    """Read a video at working size, a scene at a time: [F, 3, H, W] in [0, 1]."""
    pictures = [
        cv2.resize(frame.image, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in read_frames(path)
    ]
    frames = torch.stack([torch.from_numpy(picture) for picture in pictures]).permute(0, 3, 1, 2) / 255
    edges = [0, *find_cuts(frames), len(frames)]
    for first, last in itertools.pairwise(edges):
        if last - first > 1:
            yield frames[first:last]


def measure_scene(frames: Tensor) -> Stability:
    """Measure one scene with builtin depth."""
    disparity = depth_to_disparity(estimate_depth(frames, estimator="builtin"))
    _, hole = forward_warp(frames, disparity)
    flow = estimate_flow(frames)
    return measure_stability(refine(hole, flow, disparity, "right"), flow, disparity, "right")


def refine(hole: Tensor, flow: Flow, disparity: Tensor, eye: Eye) -> dict[str, Tensor]:
    """Refine a clip's masks in each way of `VARIANTS`; twice looks two frames back."""
    previous, both = (
        partial(
            refine_hole_mask,
            flow=flow,
            disparity=disparity,
            eye=eye,
            neighbours=neighbours,
        )
        for neighbours in NEIGHBOURS
    )
    once = previous(hole)
    return dict(zip(VARIANTS, (hole, both(hole), once, previous(once)), strict=True))


def measure_stability(masks: dict[str, Tensor], flow: Flow, disparity: Tensor, eye: Eye) -> Stability:
    """Add up each frame's flicker (`mask_flicker`), and the masked area."""
    pairs = len(disparity) - 1
    flicker = {
        variant: mask_flicker(mask, flow, disparity=disparity, eye=eye) * pairs
        for variant, mask in masks.items()
    }
    return Stability(flicker, {variant: float(mask.sum()) for variant, mask in masks.items()})


def summarise(name: str, parts: list[Stability]) -> dict[str, float]:
    """Put the parts together: shares of the figures without any refinement."""
    result = {}
    for measure in Stability._fields:
        totals = {variant: sum(getattr(part, measure)[variant] for part in parts) for variant in VARIANTS}
        for variant in VARIANTS[1:]:
            result[f"{name}_{variant}_{measure}_ratio"] = totals[variant] / totals["without"]
    return result


if __name__ == "__main__":
    main()
