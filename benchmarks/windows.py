"""Which way of joining windows shows its seams less: regions in turn, or all together (`svd.sampling`).

The denoiser is exact, so nothing but the joining is measured: values are a Gaussian process over the frames,
and a window's denoiser is the posterior mean given that window's noisy frames alone. Two processes: a smooth
one (squared-exponential) and a rough one (exponential), with a correlation length of 6 frames and of 20.
Printed are, for frames of a long clip, the largest step from frame to frame over the median one (1 = no
seam), the same for second differences, and the spread of the samples over that of one window for all (below
1: blurred).

    python -m benchmarks.windows
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.svd.sampling import Denoise, diffuse_in_turn, diffuse_together
from spatialdreamer_core.svd.schedule import frame_noise, karras_sigmas
from spatialdreamer_core.svd.windows import Plan, Region

_LENGTH = 41  # frames
_STEPS = 25
_SIDE = 64  # values a frame: 4 channels of 64x64


def main() -> None:
    """Print the table and write the result."""
    rows, metrics = [], {}
    for name, covariance in _processes().items():
        whole = _sample("in_turn", covariance, Plan(_LENGTH, 0))
        for overlap in (1, 4, 6):
            for windows in ("in_turn", "together"):
                clip = _sample(windows, covariance, Plan(14, overlap))
                measures = (*_jumps(clip), float(clip.std() / whole.std()))
                rows.append([name, overlap, windows, *measures])
                for label, value in zip(("step", "bend", "spread"), measures, strict=True):
                    metrics[f"{name}_overlap{overlap}_{windows}_{label}"] = value
    print(
        format_table(["process", "overlap", "windows", "step max/median", "bend max/median", "spread"], rows)
    )
    notes = f"exact denoisers of Gaussian processes, {_LENGTH} frames in windows of 14, {_STEPS} steps"
    print(write_result("windows", metrics, notes))


def _processes() -> dict[str, Tensor]:
    """Return covariances over the frames."""
    distance = (torch.arange(_LENGTH)[:, None] - torch.arange(_LENGTH)).double().abs()
    return {
        "smooth6": torch.exp(-(distance**2) / (2 * 6.0**2)),
        "smooth20": torch.exp(-(distance**2) / (2 * 20.0**2)),
        "rough6": torch.exp(-distance / 6.0),
        "rough20": torch.exp(-distance / 20.0),
    }


def _sample(windows: str, covariance: Tensor, plan: Plan) -> Tensor:
    """Sample a clip by the exact denoiser of each window."""

    def open_region(region: Region) -> Denoise:
        part = slice(region.frames.start, region.frames.stop)
        values, vectors = torch.linalg.eigh(covariance[part, part])
        values = values.clamp_min(0)

        def denoise(noisy: Tensor, sigma: float) -> Tensor:
            gain = (vectors * (values / (values + sigma**2))) @ vectors.T
            return torch.einsum("ij,jchw->ichw", gain.float(), noisy)

        return denoise

    def noise_of(region: Region) -> Tensor:
        return region.cut_frame(frame_noise(0, region.frames, height=_SIDE, width=_SIDE))

    diffuse = diffuse_in_turn if windows == "in_turn" else diffuse_together
    shape = (_LENGTH, 4, _SIDE, _SIDE)
    return diffuse(open_region, noise_of, karras_sigmas(_STEPS), shape=shape, plan=plan)


def _jumps(clip: Tensor) -> tuple[float, float]:
    """Return the largest first and second difference over the frames, over the median one."""
    steps = clip.diff(dim=0)
    sizes = (part.square().mean((1, 2, 3)).sqrt() for part in (steps, steps.diff(dim=0)))
    first, second = (float(size.max() / size.median()) for size in sizes)
    return first, second


if __name__ == "__main__":
    main()
