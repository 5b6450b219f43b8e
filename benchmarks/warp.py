"""Speed and quality of the forward warp: `python -m benchmarks.warp [--pairs FOLDER ...] [--iw3 FOLDER]`.

Speed: the default warp, its `scatter_add_` twin and, given nunif's source, iw3's `forward_fill` (a warp that
fills as it goes, so the warp with fast fill is timed too) in turn on a synthetic scene, medians of a process.
Quality: each eye's view rendered from the other one and filled frame by frame, against the true one. On the
synthetic clips, and on stereo pairs: folders that hold `*left.png`, `*right.png` and a disparity file,
`*disp*.npz`, as Middlebury's (unknown: inf or NaN). A file without disparity of the right view gives the left
eye's view from the mirrored pair.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.masks import CLIPS
from benchmarks.masks import EYES as BASELINES
from benchmarks.report import format_table, write_result
from spatialdreamer_core.dvg import dilate_hole, forward_warp
from spatialdreamer_core.dvg.eyes import Eye
from spatialdreamer_core.dvg.reference import splat_rows_reference
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.fill.pair import extend_background
from spatialdreamer_core.metrics import gradient_ratio, make_clip, masked_psnr, sharpness, ssim, view_regions

SIZES = ((576, 1024), (1080, 1920))
BASELINE = 0.025  # of the width at inverse depth 1: a usual divergence
SYNTHETIC_SIZE = (360, 640)
SYNTHETIC_FRAMES = 2
RIM = 3  # px beside an inner hole
SUMMARY = ("visible_psnr", "inner_hole_psnr", "border_psnr", "whole_psnr", "rim_psnr", "inner_hole_gradient")


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, nargs="+", default=[], help="folders of stereo pairs")
    parser.add_argument("--iw3", type=Path, help="folder of nunif's source, to time iw3's forward_fill")
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    metrics: dict[str, float] = {}
    for height, width in SIZES:
        metrics |= measure_speed(height, width, options.repetitions, options.iw3)
    print(format_table(("speed", "ms or ratio"), list(metrics.items())))
    views = measure_synthetic()
    for folder in options.pairs:
        views |= measure_folder(folder)
    rows = [[name, *(quality[key] for key in SUMMARY)] for name, quality in views.items()]
    means = {key: mean_of([quality[key] for quality in views.values()]) for key in SUMMARY}
    print(format_table(("view", *SUMMARY), [*rows, ["mean", *means.values()]]))
    views["mean"] = means
    metrics |= {
        f"{name}_{key}": value
        for name, quality in views.items()
        for key, value in quality.items()
        if not math.isnan(value)  # a clip without inner holes
    }
    path = write_result("warp", metrics, "medians of interleaved runs; PSNR in dB, holes filled by fast_fill")
    print(path)


def mean_of(values: list[float]) -> float:
    """Average what was measured."""
    return fmean(value for value in values if not math.isnan(value))


def measure_speed(height: int, width: int, repetitions: int, iw3: Path | None) -> dict[str, float]:
    """Time the warp and what it is compared with in turn on one frame."""
    clip = make_clip("translate_right", size=(height, width), frames=1, baseline=BASELINE)
    assert clip.disparity is not None
    frame, disparity = clip.frames, clip.disparity
    competitors: dict[str, Callable[[], object]] = {
        "twin": lambda: splat_rows_reference(frame, disparity),
        "warp": lambda: forward_warp(frame, disparity),
        "warp_and_fill": lambda: fast_fill(*forward_warp(frame, disparity), disparity=disparity),
    }
    if iw3 is not None:
        forward_fill = load_iw3(iw3)
        competitors["iw3"] = lambda: forward_fill(frame, clip.inverse_depth, 100 * BASELINE, 0.0)
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(repetitions + 1):
        for name, run in competitors.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    label = f"{width}x{height}"
    times = {f"{label}_{name}_ms": value * 1000 for name, value in median.items()}
    others = [name for name in median if name not in ("warp", "warp_and_fill")]
    ratios = {f"{label}_{name}_over_warp": median[name] / median["warp"] for name in others}
    return times | ratios


def load_iw3(folder: Path) -> Callable[[Tensor, Tensor, float, float], object]:
    """Import iw3's warp from its source, for the right eye; takes image, depth, divergence, convergence."""
    sys.path.insert(0, str(folder))
    from iw3.forward_warp import apply_divergence_forward_warp

    return partial(apply_divergence_forward_warp, method="forward_fill", synthetic_view="right")


def measure_synthetic() -> dict[str, dict[str, float]]:
    """Measure each synthetic clip's first frames, for both eyes."""
    views = {}
    for eye, baseline in BASELINES:
        for name in CLIPS:
            clip = make_clip(name, size=SYNTHETIC_SIZE, frames=SYNTHETIC_FRAMES, baseline=baseline)
            assert clip.disparity is not None
            assert clip.other is not None
            views[f"{name}_{eye}"] = measure_view(clip.frames, clip.other, clip.disparity, eye=eye)
    return views


def measure_folder(folder: Path) -> dict[str, dict[str, float]]:
    """Measure both eyes' views of a stereo pair."""
    name = folder.name.split("_")[-1]
    left, right = (load_picture(folder, f"*{side}.png") for side in ("left", "right"))
    of_left, of_right = load_disparities(folder)
    result = {f"{name}_right": measure_view(left, right, of_left, eye="right")}
    if of_right is None:
        mirrored = (part.flip(-1) for part in (left, right, of_left))
        return result | {f"{name}_mirrored": measure_view(*mirrored, eye="left")}
    return result | {f"{name}_left": measure_view(right, left, of_right, eye="left")}


def measure_view(source: Tensor, truth: Tensor, disparity: Tensor, *, eye: Eye) -> dict[str, float]:
    """Render and fill one eye's view, each frame alone; PEERS' definitions of the regions."""
    view, hole = forward_warp(source, disparity, eye=eye)
    result = fast_fill(view, hole, left=source, disparity=disparity, eye=eye)
    regions = view_regions(disparity, eye=eye)
    rim = regions.visible & (dilate_hole(regions.inner_hole.float(), RIM) > 0.5)
    return {
        "visible_psnr": masked_psnr(result, truth, regions.visible),
        "sharpness": sharpness(result, truth, regions.visible),
        "inner_hole_psnr": masked_psnr(result, truth, regions.inner_hole),
        "inner_hole_gradient": gradient_ratio(result, truth, regions.inner_hole),
        "border_psnr": masked_psnr(result, truth, regions.border),
        "rim_psnr": masked_psnr(result, truth, rim),
        "whole_psnr": masked_psnr(result, truth),
        "ssim": ssim(result, truth, window="uniform"),
        "hole_share": float(hole.mean()),
    }


def find_file(folder: Path, pattern: str) -> Path:
    """Find the one file of a pair that a pattern names."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} must hold one file {pattern}, got {len(found)}")
    return found[0]


def load_picture(folder: Path, pattern: str) -> Tensor:  # [1, 3, H, W] in [0, 1]
    """Load one view of a pair."""
    path = find_file(folder, pattern)
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"{path} must be a picture")
    rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def load_disparities(folder: Path) -> tuple[Tensor, Tensor | None]:  # [1, 1, H, W] px
    """Load disparity of the left view and, if there is any, of the right one.

    What is unknown is filled from the background side of its row.
    """
    with np.load(find_file(folder, "*disp*.npz")) as archive:
        names = ("left", "right") if "left" in archive.files else archive.files[:1]
        given = [torch.from_numpy(archive[name].astype(np.float32))[None, None] for name in names]
    known = [extend_background(d.nan_to_num(0, 0, 0), (~d.isfinite()).float()) for d in given]
    return known[0], known[1] if len(known) > 1 else None


if __name__ == "__main__":
    main()
