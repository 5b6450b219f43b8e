"""Hole filling without weights: `python -m benchmarks.fill`.

The synthetic clips, each seen by both eyes from true disparity: the holes filled by the fast fill with flow
and frame by frame, and by OpenCV's Telea and Navier-Stokes inpainting frame by frame, all against the true
view. Temporal error: mean |(fill - fill a frame before) - (truth - truth a frame before)| where both frames
have a hole, for values in [0, 255].
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import fmean

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.masks import CLIPS, EYES, FRAMES, SIZE
from benchmarks.report import format_table, write_result
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.eyes import Eye
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.flow import estimate_flow
from spatialdreamer_core.metrics import make_clip, masked_psnr, temporal_error

METHODS = ("temporal", "spatial", "telea", "navier_stokes")
RADIUS = 5  # px, of OpenCV's inpainting


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    torch.set_grad_enabled(False)
    clips = {f"{name}_{eye}": measure_clip(name, eye, baseline) for eye, baseline in EYES for name in CLIPS}
    rows = [[name, *(psnr[method] for method in METHODS)] for name, (psnr, _) in clips.items()]
    print(format_table(("hole PSNR, dB", *METHODS), rows))
    metrics: dict[str, float] = {}
    for method in METHODS:
        metrics[f"{method}_hole_psnr"] = fmean(psnr[method] for psnr, _ in clips.values())
        metrics[f"{method}_temporal_error"] = fmean(error[method] for _, error in clips.values())
    gains = [psnr["temporal"] - psnr["telea"] for psnr, _ in clips.values()]
    metrics |= {"gain_over_telea_mean": fmean(gains), "gain_over_telea_min": min(gains)}
    print(format_table(("measure", "value"), list(metrics.items())))
    print(write_result("fill", metrics, "true disparity, DIS flow; PSNR in dB in holes, means over clips"))


def measure_clip(name: str, eye: Eye, baseline: float) -> tuple[dict[str, float], dict[str, float]]:
    """Fill one clip's holes by each method; its PSNR in holes and its temporal error."""
    clip = make_clip(name, size=SIZE, frames=FRAMES, baseline=baseline)
    assert clip.disparity is not None
    assert clip.other is not None
    disparity, truth = clip.disparity, clip.other
    view, hole = forward_warp(clip.frames, disparity, eye=eye)
    flow = estimate_flow(clip.frames)
    fillers: dict[str, Callable[[], Tensor]] = {
        "temporal": lambda: fast_fill(view, hole, disparity=disparity, flow=flow, eye=eye),
        "spatial": lambda: fast_fill(view, hole, disparity=disparity, eye=eye),
        "telea": lambda: inpaint(view, hole, cv2.INPAINT_TELEA),
        "navier_stokes": lambda: inpaint(view, hole, cv2.INPAINT_NS),
    }
    psnr, error = {}, {}
    for method in METHODS:
        filled = fillers[method]()
        psnr[method] = masked_psnr(filled, truth, hole > 0.5)
        error[method] = temporal_error(filled, truth, hole > 0.5)
    return psnr, error


def inpaint(view: Tensor, hole: Tensor, method: int) -> Tensor:
    """Fill each frame by OpenCV."""
    filled = torch.empty_like(view)
    for t in range(len(view)):
        picture = (view[t].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        mask = (hole[t, 0] > 0.5).to(torch.uint8).numpy()
        result = cv2.inpaint(np.ascontiguousarray(picture), mask, RADIUS, method)
        filled[t] = torch.from_numpy(result).permute(2, 0, 1).float() / 255
    return filled


if __name__ == "__main__":
    main()
