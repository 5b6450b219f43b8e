"""How well the builtin depth estimator orders rendered scenes, and what it costs.

Spearman's rank correlation with the exact inverse depth, averaged over each clip's frames, beside that of a
prior on position alone (lower is nearer). Run: `python -m benchmarks.depth`.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.report import format_table, write_result
from spatialdreamer_core.depth import BuiltinDepth, estimate_depth, upsample_depth, working_size
from spatialdreamer_core.depth.cues import position_cue
from spatialdreamer_core.flow import dis_flow
from spatialdreamer_core.metrics import CLIPS, make_clip

_STEP = 0.05  # inverse depths closer than this count as one
_SPEED_FRAMES = 24  # of 1280x720


def main() -> None:
    """Measure, print the table, write the result file."""
    metrics: dict[str, float] = {}
    rows: list[list[object]] = []
    for name in CLIPS:
        clip = make_clip(name)
        depth = estimate_depth(clip.frames)[:, 0].numpy()
        truth = (clip.inverse_depth[:, 0].numpy() / _STEP).round()
        position = position_cue(*truth.shape[1:])
        ours = float(np.mean([rank_correlation(d, t) for d, t in zip(depth, truth, strict=True)]))
        baseline = float(np.mean([rank_correlation(position, t) for t in truth]))
        rows.append([name, ours, baseline])
        metrics[f"spearman/{name}"] = ours
        metrics[f"spearman_position/{name}"] = baseline
        if name.startswith("still"):
            metrics[f"temporal_deviation/{name}"] = float(depth.std(axis=0).mean())
    print(format_table(("clip", "builtin", "position only"), rows))
    metrics.update(measure_speed())
    for name in ("step_ms", "upsample_ms"):
        print(f"{name}: {metrics[name]:.1f} at 1280x720")
    notes = (
        "Spearman's correlation with the exact inverse depth of metrics/clips.py, 320x180, mean over frames; "
        "a clip with large flat layers cannot reach 1. Times: medians a frame at 1280x720 without flow."
    )
    print(f"wrote {write_result('depth', metrics, notes)}")


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; ties get their mean rank."""
    ranks = [_ranks(values.ravel()) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank values from 0, ties by their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


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
