"""Speed and quality of the forward warp: `python -m benchmarks.warp [--motorcycle FOLDER] [--iw3 FOLDER]`.

Speed: the default warp, its `scatter_add_` twin and, given nunif's source, iw3's `forward_fill` (a warp that
fills as it goes, so the warp with fast fill is timed too) in turn on a synthetic scene, medians of a process.
Quality: the Middlebury 2014 Motorcycle pair (left, right, true left disparity), the right view rendered from
the left one, and the mirrored pair with the left eye.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.pair import extend_background
from spatialdreamer_core.dvg.reference import splat_rows_reference
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.metrics.clips import make_clip
from spatialdreamer_core.metrics.views import masked_psnr, sharpness, view_regions

SIZES = ((576, 1024), (1080, 1920))
BASELINE = 0.025  # of the width at inverse depth 1: a usual divergence


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--motorcycle", type=Path, help="folder of motorcycle_{left,right}.png and _disp.npz")
    parser.add_argument("--iw3", type=Path, help="folder of nunif's source, to time iw3's forward_fill")
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    metrics: dict[str, float] = {}
    for height, width in SIZES:
        metrics |= measure_speed(height, width, options.repetitions, options.iw3)
    print(format_table(("speed", "ms or ratio"), list(metrics.items())))
    if options.motorcycle:
        quality = measure_motorcycle(options.motorcycle)
        print(format_table(("motorcycle", "value"), list(quality.items())))
        metrics |= quality
    path = write_result("warp", metrics, "medians of interleaved runs; PSNR in dB, holes filled by fast_fill")
    print(path)


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


def measure_motorcycle(folder: Path) -> dict[str, float]:
    """Measure the rendered and filled view against the photograph, and the same for the mirrored pair."""
    left, right, disparity = load_motorcycle(folder)
    result = {
        f"motorcycle_{key}": value for key, value in measure_pair(left, right, disparity, eye="right").items()
    }
    mirrored = measure_pair(left.flip(-1), right.flip(-1), disparity.flip(-1), eye="left")
    return result | {f"motorcycle_mirrored_{key}": value for key, value in mirrored.items()}


def measure_pair(source: Tensor, truth: Tensor, disparity: Tensor, *, eye: str) -> dict[str, float]:
    """Render and fill one eye's view of a still pair; PEERS' definitions of the regions."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    view, hole = forward_warp(source, disparity, eye=eye)
    result = fast_fill(view, hole, left=source, disparity=disparity, eye=eye)
    regions = view_regions(disparity, eye=eye)
    ssim = structural_similarity_index_measure(
        result, truth, gaussian_kernel=False, kernel_size=7, data_range=1.0
    )
    return {
        "visible_psnr": masked_psnr(result, truth, regions.visible),
        "sharpness": sharpness(result, truth, regions.visible),
        "inner_hole_psnr": masked_psnr(result, truth, regions.inner_hole),
        "border_psnr": masked_psnr(result, truth, regions.border),
        "whole_psnr": masked_psnr(result, truth),
        "ssim": float(ssim),
        "hole_share": float(hole.mean()),
    }


def load_motorcycle(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Load the pair; unknown disparities are filled from the background side of their row."""
    views = []
    for name in ("left", "right"):
        path = folder / f"motorcycle_{name}.png"
        picture = cv2.imread(str(path))
        if picture is None:
            raise SystemExit(f"{path} must be a picture of the Middlebury 2014 pair")
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        views.append(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)
    with np.load(folder / "motorcycle_disp.npz") as archive:
        disparity = archive[archive.files[0]].astype(np.float32)
    unknown = torch.from_numpy(~np.isfinite(disparity))[None, None]
    known = torch.from_numpy(disparity)[None, None].masked_fill(unknown, 0)
    return views[0], views[1], extend_background(known, unknown.float())


if __name__ == "__main__":
    main()
