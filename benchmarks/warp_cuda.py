"""The film's way through warp, mask refinement and fill on a CUDA GPU: `python -m benchmarks.warp_cuda`.

For 1920x1080 and 3840x2160: milliseconds a frame, of frames that take turns, so that none is in the caches
when its turn comes again; kernels launched and waits of the host; the share of a copy's bandwidth that the
GPU reaches while it works. Bytes are counted as a stage's inputs read once and its results written once, the
copy's as its source read and its target written. Beside the kernels stand their torch twins. The peak of
memory is that of a warp of all frames in one call, beside the estimate.

The views of kernel and twin must agree but at some pixels, which lie within rounding of a threshold.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import format_table, write_result
from spatialdreamer_core import kernels
from spatialdreamer_core.dvg.forward import warp_frames, warp_memory
from spatialdreamer_core.dvg.hole_masks import add_neighbours
from spatialdreamer_core.dvg.zbuffer import bring_motion, find_columns
from spatialdreamer_core.fill.fast import FastFill
from spatialdreamer_core.fill.filler import RenderedFrame
from spatialdreamer_core.flow import Flow, Motion
from spatialdreamer_core.metrics import CLIPS, SceneClip, make_clip
from spatialdreamer_core.metrics.gpu_calls import GpuCalls, count_gpu_calls
from spatialdreamer_core.metrics.scene_flow import scene_flow

SIZES = {"1080p": (1080, 1920), "2160p": (2160, 3840)}
FLOW_SIZE = (270, 480)  # flow is estimated on small frames, and the masks' disparity is of their size
FRAMES = 10  # 10 x 33 MB of disparity alone: more than any GPU's caches hold
SCENE = "translate_right"
COPY_BYTES = 1 << 30
MOST_DIFFERENT = 1e-3  # of all pixels of the view
STAGES = ("warp", "refine", "fill")


@dataclass(frozen=True)
class Source:
    """A film's frame, as the warp and what follows it take it."""

    image: Tensor  # [1, 3, H, W] in [0, 1]
    disparity: Tensor  # [1, 1, H, W] px
    small_disparity: Tensor  # [1, 1, h, w] px
    to_previous: Motion  # [h, w]
    to_next: Motion


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if not (torch.cuda.is_available() and kernels.kernels_run(torch.device("cuda", 0))):
        print("this benchmark needs a CUDA GPU on which Triton runs; there is none here", file=sys.stderr)
        raise SystemExit(2)
    torch.set_grad_enabled(False)
    copy = measure_copy(options.repetitions)
    metrics = {"copy_gb_per_s": copy}
    clip = make_clip(SCENE, size=FLOW_SIZE, frames=FRAMES, baseline=0.025)
    flow, _ = scene_flow(replace(CLIPS[SCENE], size=FLOW_SIZE, frames=FRAMES), clip)
    for name, size in SIZES.items():
        film = make_film(clip, flow, size)
        measured = measure_film(film, copy, options.repetitions)
        measured |= measure_clip(film, copy, options.repetitions)
        print(format_table((f"{size[1]}x{size[0]}", "value"), list(measured.items())))
        metrics |= {f"{name}_{key}": value for key, value in measured.items()}
        del film
    notes = f"{SCENE}, {FRAMES} frames, right eye; medians; GB = 10^9 bytes"
    print(write_result("warp-cuda", metrics, notes))


def make_film(clip: SceneClip, flow: Flow, size: tuple[int, int]) -> list[Source]:
    """Enlarge a small clip's frames, but not its flow."""
    assert clip.disparity is not None
    image = F.interpolate(clip.frames.cuda(), size, mode="bilinear")
    disparity = F.interpolate(clip.disparity.cuda(), size) * (size[1] / FLOW_SIZE[1])
    film = []
    for t in range(1, FRAMES - 1):  # those with two neighbours
        to_previous, to_next = flow.to_previous(t), flow.to_next(t)
        assert to_previous is not None
        assert to_next is not None
        source = Source(
            image[t : t + 1].clone(),
            disparity[t : t + 1].clone(),
            clip.disparity[t : t + 1].cuda(),
            to_previous.to("cuda"),
            to_next.to("cuda"),
        )
        film.append(source)
    return film


def measure_copy(repetitions: int) -> float:
    """Measure the bandwidth of a copy within device memory, bytes read plus bytes written, in GB/s."""
    source = torch.rand(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / time_call(lambda: target.copy_(source), 4 * repetitions) / 1e6


def measure_film(film: list[Source], copy: float, repetitions: int) -> dict[str, float]:
    """Time each stage frame by frame, as a film has them, with the kernels and with their twins."""
    metrics = {}
    by_kernels = Stages(film)
    for name in STAGES:
        stage = getattr(by_kernels, name)
        milliseconds = time_call(stage, repetitions) / len(film)
        calls = count_gpu_calls(stage)
        metrics |= describe(name, milliseconds, calls, by_kernels.bytes_of(name), copy, len(film))
    with without_kernels():
        by_twins = Stages(film)
        for name in STAGES:
            metrics[f"{name}_twin_ms"] = time_call(getattr(by_twins, name), repetitions) / len(film)
    metrics["warp_differing"] = compare(by_kernels.views, by_twins.views)
    return metrics


def measure_clip(film: list[Source], copy: float, repetitions: int) -> dict[str, float]:
    """Time the warp of all frames in one call, and take the peak of its memory."""
    from spatialdreamer_core.dvg.warp_triton import THREADS, columns_at_once, scratch_memory

    image, disparity = (
        torch.cat([getattr(frame, part) for frame in film]) for part in ("image", "disparity")
    )
    milliseconds = time_call(lambda: warp_frames(image, disparity), repetitions) / len(film)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results = warp_frames(image, disparity)
    peak = torch.cuda.max_memory_allocated() - before
    height, width = image.shape[-2:]
    processors = torch.cuda.get_device_properties(0).multi_processor_count
    estimate = len(film) * warp_memory(height, width, image.dtype)
    estimate += scratch_memory(width, rows=THREADS // columns_at_once(width) * processors)
    moved = sum(part.nbytes for part in (image, disparity, *results)) / len(film)
    return {
        "warp_clip_ms": milliseconds,
        "warp_clip_share_of_copy": moved / milliseconds / 1e6 / copy,
        "warp_clip_peak_mb": peak / 1e6,
        "warp_clip_estimated_peak_mb": estimate / 1e6,
    }


class Stages:
    """A film's stages over all its frames, each to be called after those before it."""

    def __init__(self, film: list[Source]) -> None:
        self._film = film
        self.views: list[tuple[Tensor, Tensor, Tensor]] = []  # of `warp_frames`
        self._motions: list[tuple[Motion, Motion]] = []

    def warp(self) -> None:
        """Render the views."""
        self.views = [warp_frames(frame.image, frame.disparity) for frame in self._film]

    def refine(self) -> None:
        """Bring the motion into the views, and refine each mask by the one before."""
        self._motions = []
        for t, frame in enumerate(self._film):
            columns = find_columns(frame.small_disparity)
            to_previous, to_next = (
                bring_motion(part, columns) for part in (frame.to_previous, frame.to_next)
            )
            self._motions.append((to_previous, to_next))
            add_neighbours(self.views[t][1], [(self.views[t - 1][1], to_previous)])

    def fill(self) -> None:
        """Fill the views' holes, with look-back and look-ahead; the views stay as they are."""
        stream = FastFill(check=False).open(eye="right", size=tuple(self.views[0][0].shape[-2:]))
        for frame, view, motions in zip(self._film, self.views, self._motions, strict=True):
            warped, hole, seen = (part[0] for part in view)
            stream.push(RenderedFrame(frame.image[0], warped, hole, seen, *motions))
        stream.finish()

    def bytes_of(self, stage: str) -> float:
        """Count a frame's bytes: a stage's inputs and results."""
        frame, (warped, hole, seen) = self._film[0], self.views[0]
        if stage == "warp":
            return sum(part.nbytes for part in (frame.image, frame.disparity, warped, hole, seen))
        if stage == "refine":
            motion = frame.to_previous.flow.nbytes + frame.to_previous.confidence.nbytes
            return 3 * hole.nbytes + frame.small_disparity.nbytes + 4 * motion
        return sum(part.nbytes for part in (warped, hole, seen, warped))


def describe(
    name: str, milliseconds: float, calls: GpuCalls, moved: float, copy: float, frames: int
) -> dict[str, float]:
    """Lay out what was measured of a stage."""
    return {
        f"{name}_ms": milliseconds,
        f"{name}_gpu_ms": calls.busy / frames,
        f"{name}_share_of_copy": moved / (calls.busy / frames) / 1e6 / copy,
        f"{name}_launches": calls.launches / frames,
        f"{name}_waits": calls.waits / frames,
        f"{name}_downloads": calls.downloads / frames,
    }


@contextmanager
def without_kernels() -> Iterator[None]:
    """Let torch do the work of the kernels."""
    kernels_run = kernels.kernels_run
    kernels.kernels_run = lambda device: False
    try:
        yield
    finally:
        kernels.kernels_run = kernels_run


def compare(
    results: list[tuple[Tensor, Tensor, Tensor]], expected: list[tuple[Tensor, Tensor, Tensor]]
) -> float:
    """Return the share of pixels that differ between the kernels' views and the twins'.

    Raises:
        AssertionError: If it is too large for rounding.
    """
    pairs = zip(results, expected, strict=True)
    shares = [float(((a[0] - b[0]).abs() > 1e-3).any(1).float().mean()) for a, b in pairs]
    assert max(shares) <= MOST_DIFFERENT, shares
    return max(shares)


def time_call(call: Callable[[], object], repetitions: int) -> float:
    """Return the median time of a call in ms."""
    times = []
    for _ in range(repetitions + 2):  # the first ones compile and reserve memory
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
