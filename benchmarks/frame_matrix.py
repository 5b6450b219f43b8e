"""How well holes are filled by ways of sampling without training, the frame matrix among them.

The denoiser is exact, so that nothing but the sampling is measured: values are a Gaussian process over a row
of 24 latents, 10 frames and the views from the left eye to the right one, a product of exponentials. Each
view but the left one has a hole that moves by a latent every other frame and grows from view to view, up to
8 latents in the right one. A column's denoiser is the posterior mean given the noisy frames of its view, a
row's that given the noisy views of its frame and the left one; neither knows more, as no video model does.

Printed are, for the right view, the distance from the true conditional mean, given all that is known in all
views (a sample of the truth itself is at `truth` from it, not at 0), and the step at the borders of the hole,
both root mean squares of 256 samples. Passes are those of the denoiser over the right view, or over the
matrix, per noise level. `default` is what SpatialDreamer did without trained weights before it kept known
latents: 10 levels from a fast fill under noise. `untrained` is what it does now: 4 levels from there, told of
the first frame as fast fill has it, or 25 from noise.

    python -m benchmarks.frame_matrix [--trained ...]

With --trained a small model takes the exact denoisers' place, see `benchmarks.frame_matrix_trained`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence as Arguments
from functools import partial

import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.frame_matrix.diffuse import Passes, Sequence, diffuse_matrix, matrix_noise
from spatialdreamer_core.svd.known_latents import KnownLatents, Resampling, run_levels
from spatialdreamer_core.svd.schedule import karras_sigmas

_FRAMES, _WIDTH, _HOLE = 10, 24, 8
_SHAPE = (4, 64, _WIDTH)  # of a cell: 256 samples of a row
ALONG_X, OVER_TIME, _OVER_VIEWS = 8.5, 12.0, (3.0, 1.0)  # lengths; that of views in distances of the eyes
_STEPS = 25
_LAST_VIEW_FROM = 0.3  # sigma
_CERTAIN = 1e-3  # noise of what is given
_STRENGTH, _SHORT = 0.4, 10  # of what SpatialDreamer does without weights: its start, steps of a whole run


def main(arguments: Arguments[str] | None = None) -> None:
    """Print the table and write the result."""
    parser = argparse.ArgumentParser(prog="frame_matrix", add_help=False)
    parser.add_argument("--trained", action="store_true")
    options, others = parser.parse_known_args(arguments)
    if options.trained:
        from benchmarks.frame_matrix_trained import main as main_trained

        main_trained(others)
        return
    argparse.ArgumentParser(prog="frame_matrix", description=__doc__).parse_args(others)
    rows, metrics = [], {}
    for views in (4, 8):
        for length in _OVER_VIEWS:
            scene = Scene(views, length)
            for name, right in scene.results().items():
                error, step = scene.measure(right)
                rows.append([views, length, name, error, step])
                key = f"views{views}_length{length:g}_{name.replace(',', '').replace(' ', '_')}"
                metrics |= {f"{key}_error": error, f"{key}_step": step}
    print(format_table(["views", "length", "method", "error", "step"], rows))
    notes = f"exact denoisers of Gaussian processes, {_STEPS} steps, right view of {_FRAMES} frames"
    print(write_result("frame_matrix", metrics, notes))


class Scene:
    """A process, a sample of it with holes, and the ways to fill them.

    Args:
        views: From the left eye to the right one.
        length: Of the correlation over views, in distances of the eyes.
    """

    def __init__(self, views: int, length: float) -> None:
        self.views = views
        self._x = correlation(_WIDTH, ALONG_X)
        self._time = correlation(_FRAMES, OVER_TIME)
        self._over_views = correlation(views, length * (views - 1))
        self.hole = _holes(views)  # [V, F, w]
        covariance = torch.kron(torch.kron(self._over_views, self._time), self._x)
        self.truth = _sample(covariance, self.hole.shape)  # [V, F, C, h, w]
        known, hole = (part.flatten() for part in (~self.hole, self.hole))
        gain = torch.linalg.solve(covariance[known][:, known], covariance[known][:, hole]).T
        values = self.truth.movedim(4, 2).flatten(0, 2).flatten(1).double()
        values[hole] = gain @ values[known]
        mean = values.view(*self.hole.shape, *_SHAPE[:2]).movedim(2, 4)
        self.mean = mean[-1].float()  # [F, C, h, w] of the right view
        weight = (~self.hole).float()[:, :, None, None]
        self.known = KnownLatents(self.truth, weight.expand(-1, -1, 1, _SHAPE[1], -1))

    def results(self) -> dict[str, Tensor]:  # of [F, C, h, w]
        """Fill the right view in every way."""
        fast = self._fast_fill()
        weak = karras_sigmas(_STEPS, strength=_STRENGTH).tolist()
        results = {"truth": self.truth[-1], "fast fill": fast, "default": self._repaint(fast, weak)}
        for passes in (1, 5):
            results[f"replaced, {_count(passes)}"] = self._columns(passes)
            results[f"replaced under noise, {_count(passes)}"] = self._columns_under_noise(passes)
        for passes in (1, 5, 10):
            short = karras_sigmas(_SHORT, strength=_STRENGTH).tolist()
            results[f"untrained, {_count(passes)}"] = self._untrained(fast, short, passes)
        whole = karras_sigmas(_STEPS).tolist()
        results["untrained from noise, 5 passes"] = self._untrained(fast, whole, 5)
        for passes in (1, 2, 6):
            # The first frame by rows is what columns are told of.
            first = self._matrix(self._first_known(), Passes(passes))
            ways = {
                "rows": self._matrix(self.known, Passes(passes, order="rows")),
                "columns": self._matrix(self.known, Passes(passes, order="columns"), first=first),
                "matrix": self._matrix(self.known, Passes(passes), first=first),
                "matrix, then last view": self._matrix(
                    self.known, Passes(passes, passes, _LAST_VIEW_FROM), first=first
                ),
            }
            results |= {f"{name}, {_count(passes)}": matrix[-1] for name, matrix in ways.items()}
        return results

    def measure(self, right: Tensor) -> tuple[float, float]:
        """Return the distance from the true mean inside the hole, and the step at its borders."""
        hole = self.hole[-1]
        error = (right - self.mean).movedim(3, 1)[hole].square().mean().sqrt()
        borders = (hole[:, 1:] != hole[:, :-1])[:, None, None]
        steps = right.diff(dim=-1)[borders.expand(-1, *_SHAPE[:2], -1)]
        return float(error), float(steps.square().mean().sqrt())

    def _first_known(self) -> KnownLatents:
        """Return what is known of the first frame."""
        return KnownLatents(self.known.latents[:, :1], self.known.weight[:, :1])

    def _right(self) -> KnownLatents:
        """Return what is known of the right view."""
        return KnownLatents(self.known.latents[-1], self.known.weight[-1])

    def _fast_fill(self) -> Tensor:
        """Continue the latent after the hole, on the background's side, over the hole."""
        filled = self.truth[-1].clone()
        for frame, hole in zip(filled, self.hole[-1], strict=True):
            frame[..., hole] = frame[..., hole.nonzero().max() + 1][..., None].clone()
        return filled

    def _repaint(self, start: Tensor, sigmas: list[float]) -> Tensor:
        """Sample from a noised picture; known values are put back at the end alone."""
        noisy = start + sigmas[0] * self._noise(1, _FRAMES, 0)[0]
        clean = run_levels(
            lambda noisy, sigma, done: self._column(noisy, sigma),
            noisy,
            sigmas,
            passes=lambda sigma: 1,
            noise=lambda n: noisy,
        )
        return self._right().put_back(clean)

    def _untrained(self, filled: Tensor, sigmas: list[float], passes: int) -> Tensor:
        """Sample from a filled view under noise; known values in the estimate, told of its first frame."""
        known = self._right()

        def noise(draw: int) -> Tensor:
            return self._noise(1, _FRAMES, draw)[0]

        return run_levels(
            lambda noisy, sigma, done: known.put_back(self._column(noisy, sigma, filled[0])),
            filled + sigmas[0] * noise(0),
            sigmas,
            passes=Resampling(passes, lambda region, draw: noise(draw)).count,
            noise=noise,
        )

    def _columns(self, passes: int) -> Tensor:
        """Sample the right view alone, known values in the estimate."""
        right = KnownLatents(*(part[-1:] for part in self.known))
        return self._matrix(right, Passes(passes))[0]

    def _columns_under_noise(self, passes: int) -> Tensor:
        """Sample the right view alone, known values under new noise before each pass."""
        known = self._right()

        def estimate(noisy: Tensor, sigma: float, done: int) -> Tensor:
            fresh = KnownLatents(
                known.latents + sigma * self._noise(1, _FRAMES, 1000 + done)[0], known.weight
            )
            return self._column(fresh.put_back(noisy), sigma)

        def noise(draw: int) -> Tensor:
            return self._noise(1, _FRAMES, draw)[0]

        sigmas = karras_sigmas(_STEPS).tolist()
        clean = run_levels(estimate, sigmas[0] * noise(0), sigmas, passes=lambda sigma: passes, noise=noise)
        return known.put_back(clean)

    def _matrix(
        self, known: KnownLatents, passes: Passes, *, first: Tensor | None = None
    ) -> Tensor:  # [V, F, C, h, w]
        """Sample a matrix; its first frame, if it is given, is finished, and columns are told of it."""
        if first is not None:
            known = KnownLatents(known.latents.clone(), known.weight.clone())
            known.latents[:, :1], known.weight[:, :1] = first, 1

        def denoise(sequence: Sequence, noisy: Tensor, sigma: float, estimate: Tensor) -> Tensor:
            if sequence.way == "columns":
                return self._column(noisy, sigma, None if first is None else first[sequence.index, 0])
            return self._row(noisy, sigma, self.truth[0, sequence.index])

        views, frames = known.latents.shape[:2]
        noise = partial(self._noise, views, frames)
        return diffuse_matrix(denoise, noise, karras_sigmas(_STEPS).tolist(), known=known, passes=passes)

    def _column(self, noisy: Tensor, sigma: float, first: Tensor | None = None) -> Tensor:
        """Denoise a view over time, given its first frame or not."""
        return self._denoise(self._time, noisy, sigma, first)

    def _row(self, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
        """Denoise a frame over the views, given the left one."""
        return self._denoise(self._over_views, noisy, sigma, first)

    def _denoise(self, along: Tensor, noisy: Tensor, sigma: float, first: Tensor | None) -> Tensor:
        """Return the posterior mean of a sequence [N, C, h, w] of a correlation [N, N] along it."""
        known = noisy if first is None else torch.cat([first[None], noisy[1:]])
        count = len(noisy)
        gain = posterior_gain(along[:count, :count], self._x, sigma, given=first is not None)
        values = known.movedim(3, 1).flatten(0, 1).flatten(1)
        return (gain @ values).view(count, _WIDTH, *_SHAPE[:2]).movedim(1, 3)

    def _noise(self, views: int, frames: int, draw: int) -> Tensor:  # [V, F, C, h, w]
        return matrix_noise(0, range(frames), views=views, shape=_SHAPE, draw=draw)


def _count(passes: int) -> str:
    """Write a number of passes."""
    return f"{passes} pass{'es' if passes > 1 else ''}"


def correlation(count: int, length: float) -> Tensor:  # [count, count] float64
    """Return an exponential correlation."""
    distance = (torch.arange(count)[:, None] - torch.arange(count)).double().abs()
    return torch.exp(-distance / length)


def posterior_gain(
    along: Tensor, x: Tensor, sigma: float, *, given: bool
) -> Tensor:  # [N · w, N · w] float32
    """Return the matrix of a posterior mean, of noisy values and, where it is given, a known first one."""
    covariance = torch.kron(along, x)
    noise = torch.full((len(covariance),), sigma**2, dtype=torch.float64)
    if given:
        noise[: len(x)] = _CERTAIN**2
    return torch.linalg.solve(covariance + torch.diag(noise), covariance).T.float()


def _holes(views: int) -> Tensor:  # [V, F, w] bool
    """Mark the holes: none in the left view, and up to `_HOLE` latents in the right one."""
    hole = torch.zeros(views, _FRAMES, _WIDTH, dtype=torch.bool)
    for view in range(1, views):
        width = max(1, round(_HOLE * view / (views - 1)))
        for frame in range(_FRAMES):
            end = 14 + frame // 2
            hole[view, frame, end - width : end] = True
    return hole


def _sample(covariance: Tensor, shape: torch.Size) -> Tensor:  # [V, F, C, h, w]
    """Draw samples of the process."""
    factor = torch.linalg.cholesky(covariance)
    generator = torch.Generator().manual_seed(0)
    values = factor @ torch.randn(len(factor), _SHAPE[0] * _SHAPE[1], generator=generator).double()
    return values.view(*shape, *_SHAPE[:2]).movedim(2, 4).float()


if __name__ == "__main__":
    main()
