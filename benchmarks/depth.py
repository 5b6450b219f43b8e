"""How well the builtin depth estimator orders scenes, how steady jumping depth gets, and the cost.

Order: Spearman's rank correlation with the exact inverse depth, averaged over each clip's frames: of the clip
as video, of its frames taken singly, and of a prior on position alone (lower is nearer). Steadiness: the
exact inverse depth gets a random scale (0.7 to 1.4) and shift (-0.2 to 0.2) per frame; `stabilise_depth`
takes them out along exact or estimated flow.
Run: `python -m benchmarks.depth [--drive FOLDER]`; the folder holds `left_*.png` of a drive and its
disparity, `disparity_sgbm.npz` (NaN where unknown).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.depth import (
    BUILTIN,
    BuiltinDepth,
    DepthStabiliser,
    apply_scene_ranges,
    estimate_depth,
    measure_scenes,
    stabilise_depth,
    upsample_depth,
    working_size,
)
from spatialdreamer_core.depth.cues import position_cue
from spatialdreamer_core.flow import Flow, dis_flow, estimate_flow, sample_at_flow
from spatialdreamer_core.metrics import CLIPS, MOTION_CLIPS, make_clip
from spatialdreamer_core.metrics.scene_flow import scene_flow

_STEP = 0.05  # inverse depths closer than this count as one
_SPEED_FRAMES = 24  # of 1280x720
_SCALES, _SHIFT = (0.7, 1.4), 0.2  # what is injected into the exact depth, anew for each frame
_FLICKER = 0.02  # standard deviation of the noise a pixel in the third column of the steadiness
_STRENGTHS = (0.0, 0.3, 0.6, 0.8, 0.95)
_STRENGTH_CLIPS = ("translate_right", "walker", "dolly_in", "dolly_ground")


def main() -> None:
    """Measure, print the table, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drive", type=Path, help="folder of a real drive with its disparity")
    folder = parser.parse_args().drive
    metrics: dict[str, float] = {}
    rows: list[list[object]] = []
    for name in CLIPS | MOTION_CLIPS:
        clip = make_clip(name)
        truth = (clip.inverse_depth[:, 0].numpy() / _STEP).round()
        depth = measure_order(name, clip.frames, truth, metrics, rows)
        if name.startswith("still"):
            metrics[f"temporal_deviation/{name}"] = float(depth.std(axis=0).mean())
    if folder is not None:
        for name, shrink in (("kitti_drive", 1), ("kitti_drive_half", 2)):
            measure_order(name, *read_drive(folder, shrink=shrink), metrics, rows)
    header = ("clip", "builtin", "single frames", "position only")
    print(format_table(header, rows))
    metrics.update(measure_stability())
    metrics.update(measure_strengths())
    metrics.update(measure_particle())
    metrics.update(measure_speed())
    for name in ("step_ms", "upsample_ms"):
        print(f"{name}: {metrics[name]:.1f} at 1280x720")
    notes = (
        "Spearman's correlation with the exact inverse depth of metrics/clips.py, 320x180, mean over frames "
        "(_single: frames taken singly, _position: lower is nearer); a clip with large flat layers cannot "
        "reach 1. kitti_drive: KITTI odometry against semi-global matching, 1226x370 and half. "
        "temporal_error: mean, over visible pixels, of the error's change carried along the exact flow, the "
        "clip fitted to the truth by one scale and shift. jitter: the exact depth with a random scale 0.7 to "
        "1.4 and shift -0.2 to 0.2 per frame; "
        "exact, dis: stabilised along exact or DIS medium flow; temporal_gain: jitter / stabilised; flicker: "
        "with noise of 0.02 per pixel besides. strength_*: the filter's strengths, means over "
        f"{', '.join(_STRENGTH_CLIPS)}: gain as in flicker, and the mean error of the depth itself after the "
        "clip is fitted to the truth; lag: how far an object that approaches by 0.005 a frame is behind. "
        "identity_change: mean change that stabilising makes to the "
        "exact depth; large where the camera approaches, for that looks like a change of scale. "
        "chunk_difference: chunks of 5 frames against the whole, normalised, largest. particle_change: "
        "mean change of the most changed other frame's disparity, % of its range. Times: medians a frame at "
        "1280x720 without flow."
    )
    print(f"wrote {write_result('depth', metrics, notes)}")


def measure_order(
    name: str,
    frames: Tensor,  # [F, 3, H, W]
    truth: np.ndarray,  # [F, H, W], NaN = unknown
    metrics: dict[str, float],
    rows: list[list[object]],
) -> np.ndarray:  # [F, H, W]
    """Correlate a clip's depth, its frames' and the position prior with the truth; return the clip's."""
    depth = estimate_depth(frames, estimator=BUILTIN)[:, 0].numpy()
    single = torch.cat([estimate_depth(frame[None], estimator=BUILTIN) for frame in frames])[:, 0].numpy()
    position = np.broadcast_to(position_cue(*truth.shape[1:]), truth.shape)
    row = []
    for key, video in (("", depth), ("_single", single), ("_position", position)):
        known = [np.isfinite(t) for t in truth]
        values = [rank_correlation(d[k], t[k]) for d, t, k in zip(video, truth, known, strict=True)]
        row.append(metrics.setdefault(f"spearman{key}/{name}", float(np.mean(values))))
    rows.append([name, *row])
    return depth


def read_drive(folder: Path, *, shrink: int) -> tuple[Tensor, np.ndarray]:
    """Read frames [F, 3, H, W] and their disparity [F, H, W], made smaller by a factor."""
    with np.load(folder / "disparity_sgbm.npz") as archive:
        disparity = archive["disparity"].astype(np.float32)
    images = [cv2.imread(str(path)) for path in sorted(folder.glob("left_*.png"))]
    size = images[0].shape[1] // shrink, images[0].shape[0] // shrink
    pictures = [cv2.resize(image[..., ::-1], size, interpolation=cv2.INTER_AREA) for image in images]
    truth = [cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST) for plane in disparity]
    frames = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return frames, np.stack(truth)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; ties get their mean rank."""
    ranks = [_ranks(values.ravel()) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank values from 0, ties by their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def measure_stability() -> dict[str, float]:
    """Inject a random scale and shift per frame, stabilise, and print what remains of the jitter."""
    metrics: dict[str, float] = {}
    rows: list[list[object]] = []
    chunk_difference = 0.0
    for name, scene in CLIPS.items():
        clip = make_clip(name)
        truth = clip.inverse_depth
        exact, visible = scene_flow(scene, clip)
        dis = estimate_flow(clip.frames)
        generator = torch.Generator().manual_seed(0)
        jitter = add_jitter(truth, generator)
        flicker = jitter + _FLICKER * torch.randn(jitter.shape, generator=generator)
        videos = {
            "jitter": jitter,
            "exact": stabilise_depth(jitter, exact),
            "dis": stabilise_depth(jitter, dis),
            "flicker": flicker,
            "flicker_dis": stabilise_depth(flicker, dis),
        }
        errors = {key: temporal_error(video, truth, exact.backward, visible) for key, video in videos.items()}
        gains = {key: errors["jitter"] / errors[key] for key in ("exact", "dis")}
        gains["flicker"] = errors["flicker"] / errors["flicker_dis"]
        steady = float((stabilise_depth(truth, dis) - truth).abs().mean())
        metrics.update({f"temporal_error_{key}/{name}": error for key, error in errors.items()})
        metrics.update({f"temporal_gain_{key}/{name}": gain for key, gain in gains.items()})
        metrics[f"identity_change/{name}"] = steady
        rows.append([name, errors["jitter"], *gains.values(), steady])
        ranges = measure_scenes(videos["dis"])
        chunks = apply_scene_ranges(stabilise_in_chunks(jitter, dis), ranges)
        whole = apply_scene_ranges(videos["dis"], ranges)
        chunk_difference = max(chunk_difference, float((chunks - whole).abs().max()))
    header = ("clip", "jitter", "gain, exact flow", "gain, DIS", "gain, DIS, flicker", "identity change")
    print(format_table(header, rows))
    metrics["chunk_difference"] = chunk_difference
    for key in ("exact", "dis", "flicker"):
        gains_here = [value for name, value in metrics.items() if name.startswith(f"temporal_gain_{key}/")]
        metrics[f"temporal_gain_{key}_least"] = min(gains_here)
        metrics[f"temporal_gain_{key}_median"] = float(np.median(gains_here))
        print(f"gain, {key}: least {min(gains_here):.1f}, median {np.median(gains_here):.1f}")
    print(f"chunks of 5 frames against the whole: {chunk_difference:.1e}")
    return metrics


def measure_strengths() -> dict[str, float]:
    """Weigh what the filter calms against what it blurs, for some strengths; print and return the means."""
    gains: dict[float, list[float]] = {strength: [] for strength in _STRENGTHS}
    errors: dict[float, list[float]] = {strength: [] for strength in _STRENGTHS}
    for name in _STRENGTH_CLIPS:
        clip = make_clip(name)
        truth = clip.inverse_depth
        exact, visible = scene_flow(CLIPS[name], clip)
        flow = estimate_flow(clip.frames)
        generator = torch.Generator().manual_seed(0)
        flicker = add_jitter(truth, generator)
        flicker = flicker + _FLICKER * torch.randn(flicker.shape, generator=generator)
        before = temporal_error(flicker, truth, exact.backward, visible)
        for strength in _STRENGTHS:
            stable = stabilise_depth(flicker, flow, strength=strength)
            gains[strength].append(before / temporal_error(stable, truth, exact.backward, visible))
            errors[strength].append(float(fitted_error(stable, truth).abs().mean()))
    metrics: dict[str, float] = {}
    rows: list[list[object]] = []
    for strength in _STRENGTHS:
        row = (float(np.mean(gains[strength])), float(np.mean(errors[strength])), approach_lag(strength))
        rows.append([f"{strength:g}", *row])
        for kind, value in zip(("gain", "error", "lag"), row, strict=True):
            metrics[f"strength_{kind}/{strength:g}"] = value
    print(format_table(("strength", "gain, DIS, flicker", "error", "lag"), rows))
    return metrics


def approach_lag(strength: float) -> float:
    """How far an object that comes nearer by 0.005 a frame lags behind in the 16th frame of a still view."""
    ground = make_clip("dolly_ground").inverse_depth[:1]
    height, width = ground.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    near = ((2 * x - 1) / 0.25).square() + ((2 * y - 1) / 0.66).square() < 1
    depth = torch.cat([torch.where(near, 0.5 + 0.005 * t, ground) for t in range(16)])
    still = torch.zeros(15, 2, height, width)
    behind = depth - stabilise_depth(depth, Flow.between(still, still), strength=strength)
    return float(behind[-1, 0][near].mean())


def add_jitter(truth: Tensor, generator: torch.Generator) -> Tensor:  # [F, 1, H, W]
    """Give each frame a scale and a shift of its own."""
    scale, shift = torch.rand(2, len(truth), 1, 1, 1, generator=generator)
    return (_SCALES[0] + (_SCALES[1] - _SCALES[0]) * scale) * truth + _SHIFT * (2 * shift - 1)


def temporal_error(
    depth: Tensor,  # [F, 1, H, W]
    truth: Tensor,  # [F, 1, H, W]
    flow_backward: Tensor,  # [F-1, 2, H, W], exact
    visible: Tensor,  # [F-1, 1, H, W], 1 = seen in the frame before too
) -> float:
    """Mean absolute flow-carried change of the error; the clip is first fitted to the truth as a whole."""
    error = fitted_error(depth, truth)
    change = (error[1:] - sample_at_flow(error[:-1], flow_backward)).abs()
    return float((change * visible).sum() / visible.sum())


def fitted_error(depth: Tensor, truth: Tensor) -> Tensor:  # [F, 1, H, W]
    """What remains between a clip and the truth after the best fit of one scale and shift."""
    x, y = depth.double() - depth.double().mean(), truth.double() - truth.double().mean()
    return ((x * y).sum() / (x * x).sum() * x - y).float()


def stabilise_in_chunks(depth: Tensor, flow: Flow) -> Tensor:  # [F, 1, H, W]
    """Stabilise five frames at a time, the state carried on."""
    state = DepthStabiliser()
    everywhere = slice(None)
    return torch.cat(
        [
            stabilise_depth(
                depth[start : start + 5],
                flow.cut(max(start - 1, 0), start + 5, everywhere, everywhere),
                stabiliser=state,
            )
            for start in range(0, len(depth), 5)
        ]
    )


def measure_particle() -> dict[str, float]:
    """Let a very near speck cross one frame, and measure what it does to the other frames."""
    clip = make_clip("dolly_ground")  # its nearness has no plateau on which percentiles could rest
    flow = estimate_flow(clip.frames)
    normalised = []
    for particle in (False, True):
        depth = clip.inverse_depth.clone()
        if particle:
            depth[7, :, 60:84, 100:124] = 4 * depth.max()  # 1 % of the frame
        stable = stabilise_depth(depth, flow)
        normalised.append(apply_scene_ranges(stable, measure_scenes(stable)))
    change = 100 * (normalised[1] - normalised[0]).abs()
    change[7] = 0
    metrics = {
        "particle_change": float(change.mean(dim=(1, 2, 3)).max()),
        "particle_change_worst_pixel": float(change.max()),
    }
    print("a particle in one frame changes the others' disparity by (% of its range):", metrics)
    return metrics


def measure_speed() -> dict[str, float]:
    """Time the estimator and the upsampling on a 1280x720 clip, flow excluded."""
    frames = make_clip("translate_right", size=(720, 1280), frames=_SPEED_FRAMES).frames
    small = torch.nn.functional.interpolate(frames, working_size(720, 1280), mode="area")
    images, smalls = (
        [np.ascontiguousarray((f * 255).round().byte().permute(1, 2, 0).numpy()) for f in video]
        for video in (frames, small)
    )
    greys = [image.mean(axis=-1).astype(np.uint8) for image in smalls]
    builtin = BuiltinDepth()
    steps, upsamples = [], []
    for t in range(1, _SPEED_FRAMES - 1):
        to_next, to_previous = dis_flow(greys[t], greys[t + 1]), dis_flow(greys[t], greys[t - 1])
        start = time.perf_counter()
        depth = builtin.step(smalls[t], to_next, to_previous)
        middle = time.perf_counter()
        upsample_depth(depth, images[t].shape[:2])
        steps.append(middle - start)
        upsamples.append(time.perf_counter() - middle)
    return {"step_ms": 1e3 * float(np.median(steps)), "upsample_ms": 1e3 * float(np.median(upsamples))}


if __name__ == "__main__":
    main()
