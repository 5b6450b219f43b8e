"""What outpainting before the warp gains, by exact denoisers of a Gaussian process.

As in `benchmarks.frame_matrix` the model is the posterior mean of a known process over views, time and place.
Here the picture is a surface at one disparity, so that the right view's only hole is the band of 8 latents
that enters at its edge, and views in between have shares of it. That band is filled

- by the matrix itself, as any hole (*direct*);
- on a wider canvas, over time alone (*over time*), and then warped in;
- by a matrix of the panned source (*panned*), as `frame_matrix.outpaint` does, and then warped in.

What is warped in is the source's. Views are alike wherever they show the same place, as warped pixels are, or
differ a little, as what two eyes see does. Printed are the distance from the true conditional mean of the
right view in the band, given all that is known in all views, and the step where the band begins: root mean
squares. The *truth* is a sample of the process.

    python -m benchmarks.frame_matrix_edges
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from benchmarks.frame_matrix import ALONG_X, OVER_TIME, correlation
from benchmarks.report import format_table, write_result
from spatialdreamer_core.frame_matrix.diffuse import Passes, Sequence, diffuse_matrix, matrix_noise
from spatialdreamer_core.svd.known_latents import KnownLatents
from spatialdreamer_core.svd.schedule import karras_sigmas

_VIEWS, _FRAMES, _WIDTH, _BAND = 4, 6, 24, 8
_SHAPE = (4, 32)  # of a latent's place: 128 samples of a row
_SIGMAS = karras_sigmas(25).tolist()
_ALIKE = 1000.0
_CERTAIN = 1e-6  # variance of the noise of what is given


def main() -> None:
    """Print the table and write the result."""
    rows, metrics = [], {}
    for length in (_ALIKE, 3.0):  # of the correlation over views, in distances of the eyes
        scene = Scene(length)
        results = {"truth": scene.truth[-1, ..., _WIDTH:]}
        for passes in (2, 6):
            results |= {
                f"direct, {passes} passes": scene.direct(passes),
                f"over time, {passes} passes": scene.over_time(passes),
                f"panned, {passes} passes": scene.panned(passes),
            }
        for name, band in results.items():
            error, step = scene.measure(band)
            rows.append([length, name, error, step])
            key = f"length{length:g}_{name.replace(',', '').replace(' ', '_')}"
            metrics |= {f"{key}_error": error, f"{key}_step": step}
    print(format_table(["length", "band", "error", "step"], rows))
    notes = f"exact denoisers of Gaussian processes, a band of {_BAND} latents beside {_WIDTH}"
    print(write_result("frame_matrix_edges", metrics, notes))


class Scene:
    """A sample of the process, of which no view shows all.

    Args:
        length: Of the correlation over views, in distances of the eyes.
    """

    def __init__(self, length: float) -> None:
        self._x = correlation(_WIDTH + _BAND, ALONG_X)
        self._time = correlation(_FRAMES, OVER_TIME)
        self._views = correlation(_VIEWS, length * (_VIEWS - 1))
        covariance = torch.kron(torch.kron(self._views, self._time), self._x)
        factor = torch.linalg.cholesky(covariance)
        generator = torch.Generator().manual_seed(0)
        values = factor @ torch.randn(len(factor), _SHAPE[0] * _SHAPE[1], generator=generator).double()
        self.truth = values.view(_VIEWS, _FRAMES, _WIDTH + _BAND, *_SHAPE).movedim(2, 4).float()
        known = torch.zeros(_VIEWS, _FRAMES, _WIDTH + _BAND, dtype=torch.bool)
        for view, shift in enumerate(_shifts()):
            known[view, :, shift:_WIDTH] = True
        seen, band = known.flatten(), torch.zeros_like(known)
        band[-1, :, _WIDTH:] = True
        gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, band.flatten()]).T
        mean = gain @ values[seen]
        self._mean = mean.view(_FRAMES, _BAND, *_SHAPE).movedim(1, 3).float()

    def direct(self, passes: int) -> Tensor:  # [F, C, h, band]
        """Fill the band as a hole of the matrix."""
        cells = torch.stack(
            [view[..., shift : shift + _WIDTH] for view, shift in zip(self.truth, _shifts(), strict=True)]
        )
        return self._fill(cells, passes)[-1, ..., -_BAND:]

    def panned(self, passes: int) -> Tensor:  # [F, C, h, band]
        """Find the source's band by a matrix whose views all show the source, panned."""
        cells = torch.stack([self.truth[0, ..., shift : shift + _WIDTH] for shift in _shifts()])
        return self._fill(cells, passes)[-1, ..., -_BAND:]

    def over_time(self, passes: int) -> Tensor:  # [F, C, h, band]
        """Find the source's band on a wider canvas."""
        weight = torch.ones(1, _FRAMES, 1, _SHAPE[1], _WIDTH + _BAND)
        weight[..., _WIDTH:] = 0
        found = self._diffuse(KnownLatents(self.truth[:1], weight), [0], passes)
        return found[0, ..., _WIDTH:]

    def measure(self, band: Tensor) -> tuple[float, float]:
        """Return the distance from the true mean, and the step from the last known latent."""
        step = band[..., 0] - self.truth[-1, ..., _WIDTH - 1]
        return float((band - self._mean).square().mean().sqrt()), float(step.square().mean().sqrt())

    def _fill(self, cells: Tensor, passes: int) -> Tensor:  # [V, F, C, h, w]
        """Fill what views show beyond the source's edge."""
        weight = torch.ones(_VIEWS, _FRAMES, 1, _SHAPE[1], _WIDTH)
        for view, shift in enumerate(_shifts()):
            weight[view, ..., _WIDTH - shift :] = 0
        return self._diffuse(KnownLatents(cells, weight), _shifts(), passes)

    def _diffuse(self, known: KnownLatents, shifts: list[int], passes: int) -> Tensor:
        """Sample a matrix whose views begin at these places."""
        width = known.latents.shape[-1]

        @cache
        def gain(is_row: bool, sigma: float) -> Tensor:
            if not is_row:
                covariance = torch.kron(self._time, self._x[:width, :width])
                given = 0
            else:
                places = torch.cat([torch.arange(shift, shift + width) for shift in shifts])
                views = torch.arange(len(shifts)).repeat_interleave(width)
                covariance = self._views[views[:, None], views] * self._x[places[:, None], places]
                given = width
            noise = torch.full((len(covariance),), sigma**2, dtype=torch.float64)
            noise[:given] = _CERTAIN
            return torch.linalg.solve(covariance + torch.diag(noise), covariance).T.float()

        def denoise(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
            is_row = sequence.way == "rows"
            if is_row:
                noisy = torch.cat([known.latents[:1, sequence.index], noisy[1:]])
            values = noisy.movedim(3, 1).flatten(0, 1).flatten(1)
            return (gain(is_row, sigma) @ values).view(len(noisy), width, *_SHAPE).movedim(1, 3)

        def noise(draw: int) -> Tensor:
            shape = (*_SHAPE, width)
            return matrix_noise(0, range(_FRAMES), views=len(shifts), shape=shape, draw=draw)

        return diffuse_matrix(denoise, noise, _SIGMAS, known=known, passes=Passes(passes))


def _shifts() -> list[int]:
    """List where views begin in the source."""
    return [round(_BAND * view / (_VIEWS - 1)) for view in range(_VIEWS)]


if __name__ == "__main__":
    main()
