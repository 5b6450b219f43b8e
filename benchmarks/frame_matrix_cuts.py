"""What it costs a filling to be cut into regions, by exact denoisers of a Gaussian process.

As in `benchmarks.frame_matrix` the model is the posterior mean of a known process over views, time and place,
but sees no farther than its region. Two regions share one hole, or have one each with a part of the other's
in their margins. They are denoised

- one after the other: the second result is blended *over* the first, both are *averaged* by their weights, or
  the second is *held* to what the first has found where they overlap;
- *together*: at each step their estimates are averaged, as `frame_matrix.regions` does.

Printed are the distance from the true conditional mean in the holes of the right view, the mean square of the
filling's deviation from it in units of the true conditional covariance, and the step from latent to latent in
the holes, the least and the largest of any place: root mean squares but for the second. The *truth* is a
sample of the process; *whole* is no cut at all.

    python -m benchmarks.frame_matrix_cuts
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.frame_matrix import ALONG_X, OVER_TIME, correlation, posterior_gain
from benchmarks.report import format_table, write_result
from spatialdreamer_core.frame_matrix.diffuse import Passes, Sequence, diffuse_matrix, matrix_noise
from spatialdreamer_core.svd.hole_regions import fade_in
from spatialdreamer_core.svd.known_latents import KnownLatents
from spatialdreamer_core.svd.schedule import karras_sigmas
from spatialdreamer_core.svd.windows import Region

_VIEWS, _FRAMES, _WIDTH, _RAMP = 3, 5, 36, 4
_SHAPE = (4, 32)  # of a latent's place: 128 samples of a row
_SIGMAS = karras_sigmas(25).tolist()
_PLACES: dict[str, tuple[list[tuple[int, int]], list[range]]] = {  # holes, and regions
    "one hole": ([(10, 24)], [range(21), range(13, 36)]),
    "two holes": ([(6, 12), (18, 24)], [range(20), range(10, 36)]),
    "narrow overlap": ([(10, 24)], [range(18), range(16, 36)]),
}


def main() -> None:
    """Print the table and write the result."""
    rows, metrics = [], {}
    for place, (holes, spans) in _PLACES.items():
        scene = Scene(holes)
        results = {"truth": scene.truth, "whole, 2 passes": scene.together([range(_WIDTH)], 2)}
        for passes in (2, 6):
            for name in ("over", "averaged", "held"):
                results[f"{name}, {passes} passes"] = scene.in_turn(spans, passes, name)
            results[f"together, {passes} passes"] = scene.together(spans, passes)
        results["whole, 6 passes"] = scene.together([range(_WIDTH)], 6)
        for name, found in results.items():
            measures = scene.measure(found)
            rows.append([place, name, *measures])
            key = f"{place}_{name}".replace(",", "").replace(" ", "_")
            metrics |= {f"{key}_{kind}": value for kind, value in measures._asdict().items()}
    print(format_table(["place", "regions", *Measures._fields], rows))
    notes = f"exact denoisers of Gaussian processes, {_VIEWS} views of {_FRAMES} frames, two regions of a row"
    print(write_result("frame_matrix_cuts", metrics, notes))


class Measures(NamedTuple):
    """How a filling compares with the truth."""

    error: float
    deviation: float
    least_step: float
    largest_step: float


class Scene:
    """A sample of the process with holes in all views but the first.

    Args:
        holes: From where to where in the first frame of the last view.
    """

    def __init__(self, holes: list[tuple[int, int]]) -> None:
        self._x, self._time = correlation(_WIDTH, ALONG_X), correlation(_FRAMES, OVER_TIME)
        self._views = correlation(_VIEWS, 3.0 * (_VIEWS - 1))
        self._covariance = torch.kron(torch.kron(self._views, self._time), self._x)
        factor = torch.linalg.cholesky(self._covariance)
        generator = torch.Generator().manual_seed(0)
        values = factor @ torch.randn(len(factor), _SHAPE[0] * _SHAPE[1], generator=generator).double()
        self.truth = values.view(_VIEWS, _FRAMES, _WIDTH, *_SHAPE).movedim(2, 4).float()
        self._hole = torch.zeros(_VIEWS, _FRAMES, _WIDTH, dtype=torch.bool)
        for view in range(1, _VIEWS):
            for start, stop in holes:
                width = max(1, round((stop - start) * view / (_VIEWS - 1)))
                for frame in range(_FRAMES):
                    end = stop + frame // 2
                    self._hole[view, frame, end - width : end] = True
        weight = (~self._hole).float()[:, :, None, None].expand(-1, -1, 1, _SHAPE[1], -1)
        self._known = KnownLatents(self.truth, weight)

    def together(self, spans: list[range], passes: int) -> Tensor:
        """Fill by regions whose estimates are averaged at each step."""
        fades = [_fade(span) for span in spans]
        total = torch.zeros(_WIDTH)
        for span, fade in zip(spans, fades, strict=True):
            total[span.start : span.stop] += fade
        denoisers = [self._denoiser(span) for span in spans]

        def denoise(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
            clean = torch.zeros_like(noisy)
            for span, fade, denoise_part in zip(spans, fades, denoisers, strict=True):
                own = slice(span.start, span.stop)
                clean[..., own] += fade / total[own] * denoise_part(sequence, noisy[..., own], sigma, first)
            return clean

        return self._diffuse(denoise, range(_WIDTH), self._known, passes)

    def in_turn(self, spans: list[range], passes: int, join: str) -> Tensor:
        """Fill region by region."""
        found = self._known.put_back(torch.zeros_like(self.truth))
        total, finished = torch.zeros(_WIDTH), torch.zeros(_WIDTH)
        for span in spans:
            own, fade = slice(span.start, span.stop), _fade(span)
            known = KnownLatents(self._known.latents[..., own], self._known.weight[..., own])
            if join == "held":
                held = (1 - known.weight) * finished[own]
                weight = known.weight + held
                latents = known.weight * known.latents + held * found[..., own]
                known = KnownLatents(latents / weight.clamp(min=1e-9), weight)
            part = self._diffuse(self._denoiser(span), span, known, passes)
            total[own] += fade
            share = fade / total[own].clamp(min=1) if join == "averaged" else fade
            found[..., own] = torch.lerp(found[..., own], part, share)
            finished[own] = torch.maximum(finished[own], fade)
        return found

    def measure(self, found: Tensor) -> Measures:
        """Compare a filling with what is known of the truth."""
        hole, values = self._hole.flatten(), _values(found)
        known = ~hole
        gain = torch.linalg.solve(self._covariance[known][:, known], self._covariance[known][:, hole]).T
        left = self._covariance[hole][:, hole] - gain @ self._covariance[known][:, hole]
        deviation = values[hole] - gain @ _values(self.truth)[known]
        unexplained = (deviation * torch.linalg.solve(left, deviation)).mean()
        of_right = self._hole[-1].sum()
        error = deviation[-of_right:].square().mean().sqrt()  # the last view's come last
        inside = self._hole[-1, :, 1:] & self._hole[-1, :, :-1]
        steps = found[-1].diff(dim=-1).movedim(3, 1)  # [F, w - 1, C, h]
        places = [
            float(steps[:, place][inside[:, place]].square().mean().sqrt())
            for place in inside.any(0).nonzero().flatten().tolist()
        ]
        return Measures(float(error), float(unexplained), min(places), max(places))

    def _denoiser(self, span: range) -> Callable[[Sequence, Tensor, float, Tensor], Tensor]:
        """Return the exact denoiser of what a region shows."""
        own = slice(span.start, span.stop)

        @cache
        def gain(is_row: bool, sigma: float) -> Tensor:
            along = self._views if is_row else self._time
            return posterior_gain(along, self._x[own, own], sigma, given=is_row)

        def denoise(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
            is_row = sequence.way == "rows"
            if is_row:
                noisy = torch.cat([self.truth[0, sequence.index, ..., own][None], noisy[1:]])
            values = noisy.movedim(3, 1).flatten(0, 1).flatten(1)
            return (gain(is_row, sigma) @ values).view(len(noisy), len(span), *_SHAPE).movedim(1, 3)

        return denoise

    def _diffuse(
        self,
        denoise: Callable[[Sequence, Tensor, float, Tensor], Tensor],
        span: range,
        known: KnownLatents,
        passes: int,
    ) -> Tensor:
        """Sample a region's matrix, under the noise of its place."""

        def noise(draw: int) -> Tensor:
            whole = matrix_noise(0, range(_FRAMES), views=_VIEWS, shape=(*_SHAPE, _WIDTH), draw=draw)
            return whole[..., span.start : span.stop]

        return diffuse_matrix(denoise, noise, _SIGMAS, known=known, passes=Passes(passes))


def _fade(span: range) -> Tensor:  # [len(span)]
    """Weigh a region's places."""
    return fade_in(Region(range(1), range(1), span), 1, _WIDTH, ramp=_RAMP)[0]


def _values(matrix: Tensor) -> Tensor:  # [V · F · w, samples] float64
    """Flatten a matrix as the covariance has it."""
    return matrix.movedim(4, 2).flatten(0, 2).flatten(1).double()


if __name__ == "__main__":
    main()
