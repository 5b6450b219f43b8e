"""The row splat's kernel on a CUDA GPU: `python -m benchmarks.splat_cuda`.

At 3840x2160 the Triton kernel, its torch twin and a copy within device memory are timed. The kernel's bytes
are counted as inputs read once and outputs written once, the copy's as its source read and its target
written; what matters is the share of the copy's bandwidth that the kernel reaches. Frames take turns, so that
none is in the caches when its turn comes again. The results of kernel and twin must agree.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import format_table, write_result
from spatialdreamer_core.dvg import depth_to_disparity
from spatialdreamer_core.dvg.splat import splat_rows
from spatialdreamer_core.kernels import kernels_run
from spatialdreamer_core.metrics.clips import make_clip

HEIGHT, WIDTH = 2160, 3840
FRAMES = 8  # 8 x 33 MB of disparity alone: more than any GPU's caches hold
COPY_BYTES = 1 << 30
TOLERANCE = 1e-4  # of the twin's results, relative and absolute

Result = tuple[Tensor, Tensor]  # blended values, coverage


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args()
    if not (torch.cuda.is_available() and kernels_run(torch.device("cuda", 0))):
        print("this benchmark needs a CUDA GPU on which Triton runs; there is none here", file=sys.stderr)
        raise SystemExit(2)
    torch.set_grad_enabled(False)
    copy = measure_copy(options.repetitions)
    metrics = {"copy_gb_per_s": copy}
    colours, disparities = make_frames()
    # What the warp splats: disparity, by itself; and colours.
    metrics |= measure_splat("disparity", disparities, disparities, copy, options.repetitions)
    metrics |= measure_splat("colour", colours, disparities, copy, options.repetitions)
    print(format_table((f"{WIDTH}x{HEIGHT}", "value"), list(metrics.items())))
    notes = f"{WIDTH}x{HEIGHT}; medians; bytes = inputs read once + outputs written once; GB = 10^9 bytes"
    print(write_result("splat-cuda", metrics, notes))


def measure_copy(repetitions: int) -> float:
    """Measure the bandwidth of a copy within device memory, bytes read plus bytes written, in GB/s."""
    source = torch.rand(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    milliseconds = time_calls([lambda: target.copy_(source)], repetitions)
    return 2 * COPY_BYTES / milliseconds / 1e6


def make_frames() -> tuple[list[Tensor], list[Tensor]]:  # FRAMES of [3, H, W] in [0, 1], of [1, H, W] px
    """Render a small synthetic scene, enlarge it, and shift it down for the other frames."""
    clip = make_clip("translate_right", size=(HEIGHT // 4, WIDTH // 4), frames=1)
    colour, depth = (
        F.interpolate(part.cuda(), (HEIGHT, WIDTH)) for part in (clip.frames, clip.inverse_depth)
    )
    colour, disparity = colour[0], depth_to_disparity(depth)[0]
    shifts = [t * HEIGHT // FRAMES for t in range(FRAMES)]
    return [colour.roll(shift, 1) for shift in shifts], [disparity.roll(shift, 1) for shift in shifts]


def measure_splat(
    name: str,
    values: list[Tensor],  # [C, H, W]
    disparities: list[Tensor],  # [1, H, W] px
    copy: float,  # GB/s
    repetitions: int,
) -> dict[str, float]:
    """Time the kernel and its twin on the same frames, and compare their results."""
    frames = list(zip(values, disparities, strict=True))
    by_kernel, by_twin = (
        [partial(splat_rows, *frame, sign=-1, use_triton=use_triton) for frame in frames]
        for use_triton in (True, False)
    )
    difference = compare(by_kernel[0](), by_twin[0]())
    kernel, twin = (time_calls(calls, repetitions) for calls in (by_kernel, by_twin))
    inputs = {part.data_ptr(): part.nbytes for part in frames[0]}  # the disparity may be both of them
    outputs = frames[0][0].nbytes + frames[0][1].nbytes
    bandwidth = (sum(inputs.values()) + outputs) / kernel / 1e6
    return {
        f"{name}_kernel_ms": kernel,
        f"{name}_twin_ms": twin,
        f"{name}_twin_over_kernel": twin / kernel,
        f"{name}_kernel_gb_per_s": bandwidth,
        f"{name}_share_of_copy": bandwidth / copy,
        f"{name}_largest_difference": difference,
    }


def compare(result: Result, expected: Result) -> float:
    """Return the largest difference between the kernel's results and the twin's.

    Raises:
        AssertionError: If they are not equal within rounding.
    """
    for a, b in zip(result, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE, atol=TOLERANCE)
    return max(float((a - b).abs().max()) for a, b in zip(result, expected, strict=True))


def time_calls(calls: Sequence[Callable[[], object]], repetitions: int) -> float:
    """Return the median time of a call in ms, each repetition being all of them after one another."""
    times = []
    for _ in range(repetitions + 2):  # the first ones compile and reserve memory
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / len(calls))
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
