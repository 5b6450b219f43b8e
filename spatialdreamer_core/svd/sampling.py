"""Diffuse a clip of any length and size by a model that takes a window of one tile at a time.

`diffuse_together` takes all regions through each step at once and averages their clean estimates in the
overlaps (as MultiDiffusion, arXiv 2302.08113, does with tiles). `diffuse_in_turn` takes each region from the
first to the last step: where it overlaps finished ones, its clean estimate is drawn to what is finished at
every step, with a weight that falls over the overlap; what a region needs beside the latents, such as
reference features, is needed once. Both hold the latents of the whole clip (1/48 as many numbers as its
pixels) and one region more; together, on the model's device where that has room for them. In both, latents
may be known, and levels resampled (`known_latents.py`).

Nothing in the loops waits for the device: whether the model gave numbers is asked one step late.

Seams show less together: the largest step from frame to frame is 1.1 to 1.3 times the median one, in turn 1.5
to 2.3 times, with overlaps of 4 of 14 frames (benchmarks/windows.py). But what windows disagree on is blurred
more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TypeVar

import torch
from torch import Tensor

from ..memory import free_memory, run_within_memory
from .finite_check import FiniteCheck
from .known_latents import ONCE, KnownLatents, Resampling, run_levels
from .windows import Plan, Region, blend_weights, next_span, ramp

_CLIP_SHARE = 0.1  # of a device's free memory that a clip's latents may take

Result = TypeVar("Result")
Denoise = Callable[[Tensor, float], Tensor]  # (noisy [F, C, h, w], sigma) -> its clean estimate
OpenRegion = Callable[[Region], Denoise]  # the denoiser of a region; only the last one opened is used
OnStep = Callable[[int, int, Tensor], None]  # (steps done, steps in all, clean estimate [F, C, h, w])
OnWindow = Callable[[range, Tensor], None]  # (its frames, their latents [F, C, h, w])


def diffuse_in_turn(
    open_region: OpenRegion,
    noise_of: Callable[[Region], Tensor],  # noise [F, C, h, w] of a region, on the model's device
    sigmas: Tensor,  # [n+1], falling to 0
    *,
    shape: tuple[int, int, int, int],
    plan: Plan,
    start: Tensor | None = None,  # [F, C, h, w], clean latents that are noised to begin with, or None
    known: KnownLatents | None = None,
    resampling: Resampling = ONCE,
    on_step: OnStep | None = None,
    on_window: OnWindow | None = None,
) -> Tensor:  # [F, C, h, w] float32 on the CPU
    """Diffuse region after region; a device that runs out of memory gets smaller ones.

    Args:
        open_region: Makes a region's denoiser.
        noise_of: The noise of a region; it must depend on frame and place alone.
        sigmas: Noise levels.
        shape: Of the clip's latents.
        plan: How much is diffused at a time.
        start: Where a run begins that is shorter than whole, see `karras_sigmas`.
        known: Latents that stay as they are, see `known_latents`.
        resampling: How often each level is denoised.
        on_step: Called after each step; may raise to interrupt.
        on_window: Called with each finished window.

    Raises:
        InputError: If even the smallest regions do not fit, or the model gives NaN.
    """
    length, _, height, width = shape
    clip = torch.zeros(shape)
    steps = sum(map(resampling.count, sigmas[:-1].tolist()))
    counter = _Counter(on_step, plan.count(length, height, width) * steps)
    done = 0

    def diffuse_next(smaller: Plan) -> tuple[range, Tensor]:
        if smaller is not plan:
            left = smaller.count(length - done, height, width) * steps
            counter.done, counter.total = steps_before, steps_before + left
        frames = next_span(done, length, smaller.window, smaller.overlap)
        return frames, _diffuse_window(
            open_region, noise_of, sigmas, clip, frames, done, smaller, start, known, resampling, counter
        )

    while done < length:
        steps_before = counter.done
        (frames, window), plan = _run_within_memory(diffuse_next, plan, shape)
        clip[frames.start : frames.stop] = window
        if on_window is not None:
            on_window(frames, window)
        done = frames.stop
    return clip


def diffuse_together(
    open_region: OpenRegion,
    noise_of: Callable[[Region], Tensor],
    sigmas: Tensor,  # [n+1], falling to 0
    *,
    shape: tuple[int, int, int, int],
    plan: Plan,
    start: Tensor | None = None,  # [F, C, h, w]
    known: KnownLatents | None = None,
    resampling: Resampling = ONCE,
    on_step: OnStep | None = None,
) -> Tensor:  # [F, C, h, w] float32 on the CPU
    """Diffuse all regions step by step, averaged in their overlaps; arguments as of `diffuse_in_turn`."""

    def diffuse(plan: Plan) -> Tensor:
        regions = _weighted_regions(plan, shape[0], *shape[2:])
        steps = sum(map(resampling.count, sigmas[:-1].tolist()))
        counter = _Counter(on_step, len(regions) * steps)
        return _diffuse_regions(
            open_region, noise_of, sigmas, shape, regions, start, known, resampling, counter
        )

    return _run_within_memory(diffuse, plan, shape)[0]


class _Counter:
    """Counts steps for `on_step`."""

    def __init__(self, on_step: OnStep | None, total: int) -> None:
        self.done, self.total, self._on_step = 0, total, on_step

    def step(self, clean: Tensor) -> None:
        """Report one step more."""
        self.done += 1
        if self._on_step is not None:
            self._on_step(self.done, max(self.total, self.done), clean)


def _diffuse_window(
    open_region: OpenRegion,
    noise_of: Callable[[Region], Tensor],
    sigmas: Tensor,
    clip: Tensor,
    frames: range,
    done: int,
    plan: Plan,
    start: Tensor | None,
    known: KnownLatents | None,
    resampling: Resampling,
    counter: _Counter,
) -> Tensor:
    """Diffuse one window, tile after tile; its first frames may be finished."""
    _, all_rows, all_columns = plan.cut(len(frames), *clip.shape[-2:])
    window = clip[frames.start : frames.stop].clone()
    finished_frames = ramp(frames, done)
    rows_done = 0
    for rows in all_rows:
        columns_done = 0
        for columns in all_columns:
            region = Region(frames, rows, columns)
            open_weight = (1 - finished_frames)[:, None, None, None]
            open_weight = open_weight * (1 - ramp(rows, rows_done))[:, None]
            open_weight = open_weight * (1 - ramp(columns, columns_done))
            part = region.cut_frame(window)
            part.copy_(
                _diffuse_region(
                    open_region(region),
                    noise_of(region),
                    sigmas,
                    start=None if start is None else region.cut(start),
                    known=None if known is None else known.cut(region),
                    finished=KnownLatents(part, 1 - open_weight),
                    passes=resampling.count,
                    noise_again=partial(resampling.noise, region),
                    counter=counter,
                )
            )
            columns_done = columns.stop
        rows_done = rows.stop
    return window


def _diffuse_region(
    denoise: Denoise,
    noise: Tensor,
    sigmas: Tensor,
    *,
    start: Tensor | None,
    known: KnownLatents | None,
    finished: KnownLatents,
    passes: Callable[[float], int],
    noise_again: Callable[[int], Tensor],
    counter: _Counter,
) -> Tensor:
    """Take one region from the first noise level to the last."""
    # What is finished came of what is known, and enters with the noise that it was made from.
    held = [part.to(noise) for part in (known, finished) if part is not None]
    levels, finite = sigmas.tolist(), FiniteCheck()

    def hold(clean: Tensor) -> Tensor:
        for part in held:
            clean = part.put_back(clean)
        return clean

    def estimate(noisy: Tensor, sigma: float, done: int) -> Tensor:
        clean = denoise(noisy, sigma)
        finite.ask(clean)
        clean = hold(clean)
        counter.step(clean)
        return clean

    begun = hold(torch.zeros_like(noise) if start is None else start.to(noise))
    noisy = run_levels(estimate, begun + levels[0] * noise, levels, passes=passes, noise=noise_again)
    finite.answer()
    return noisy


def _diffuse_regions(
    open_region: OpenRegion,
    noise_of: Callable[[Region], Tensor],
    sigmas: Tensor,
    shape: tuple[int, int, int, int],
    regions: list[tuple[Region, Tensor]],
    start: Tensor | None,
    known: KnownLatents | None,
    resampling: Resampling,
    counter: _Counter,
) -> Tensor:
    """Take all regions, which come with their weights, through every noise level at once."""
    levels, finite, window = sigmas.tolist(), FiniteCheck(), regions[0][0].frames.stop
    if known is not None:
        start = known.put_back(torch.zeros(shape) if start is None else start)
    noisy, device = _noised_clip(noise_of, levels[0], shape, window, start)
    regions = [(region, weight.to(noisy)) for region, weight in regions]
    held = None if known is None else known.to(noisy)

    def estimate(noisy: Tensor, sigma: float, done: int) -> Tensor:
        blended = torch.zeros_like(noisy)
        for region, weight in regions:
            clean = open_region(region)(region.cut(noisy).to(device), sigma)
            finite.ask(clean)
            region.cut(blended).add_(clean.to(noisy) * weight)
            counter.step(clean)
        return blended if held is None else held.put_back(blended)

    def noise_again(count: int) -> Tensor:
        return _noised_clip(lambda region: resampling.noise(region, count), 1.0, shape, window, None)[0]

    noisy = run_levels(estimate, noisy, levels, passes=resampling.count, noise=noise_again)
    finite.answer()
    return noisy.cpu()


def _noised_clip(
    noise_of: Callable[[Region], Tensor],
    sigma: float,
    shape: tuple[int, int, int, int],
    window: int,
    start: Tensor | None,
) -> tuple[Tensor, torch.device]:
    """Make the clip that a run begins with, on the model's device if it fits; return that device, too."""
    clip, device = torch.zeros(shape) if start is None else start.clone(), torch.device("cpu")
    for first in range(0, shape[0], window):
        frames = range(first, min(first + window, shape[0]))
        noise = noise_of(Region(frames, range(shape[2]), range(shape[3])))
        if first == 0:
            device = noise.device
            # Noisy and blended latents, and what is between a step's two.
            if device.type != "cpu" and 4 * clip.nbytes <= free_memory(device) * _CLIP_SHARE:
                clip = clip.to(device)
        clip[first : frames.stop] += sigma * noise.to(clip.device)
    return clip, device


def _weighted_regions(plan: Plan, length: int, height: int, width: int) -> list[tuple[Region, Tensor]]:
    """List all regions of a clip with their weights [F, 1, h, w], which sum to 1 at each place."""
    axes = [zip(cut, blend_weights(cut), strict=True) for cut in plan.cut(length, height, width)]
    return [
        (Region(frames, rows, columns), by_frame[:, None, None, None] * by_row[:, None] * by_column)
        for (frames, by_frame), (rows, by_row), (columns, by_column) in product(*axes)
    ]


def _run_within_memory(
    run: Callable[[Plan], Result], plan: Plan, shape: tuple[int, int, int, int]
) -> tuple[Result, Plan]:
    """Diffuse by a plan, or by a smaller one if memory runs out; return the plan, too."""
    return run_within_memory(
        run,
        plan,
        smaller=lambda plan: plan.smaller(shape[0], *shape[2:]),
        task="diffusion",
        explain=lambda plan: (
            f"the device must have memory for {plan}, but it ran out; free memory, or diffuse at a smaller "
            "size"
        ),
    )
