"""How long the frame matrix takes: SVD's architecture with random weights, a window of 14 frames.

The preset `fast` is run from pictures to pictures. What `paper` would take is estimated from it by the number
of frames that go through the UNet and through the autoencoder, each by the time that it took.

    python -m benchmarks.frame_matrix_time          # CPU: 4 frames of 256x192, narrow networks, float32
    python -m benchmarks.frame_matrix_time --cuda   # 14 frames of 1024x576, full size, float16, peak memory
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

from benchmarks.report import format_table, write_result
from benchmarks.sampler import FULL, NARROW, fill, make_networks
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.frame_matrix import FrameMatrixConfig, FrameMatrixModel, fill_matrix
from spatialdreamer_core.frame_matrix.diffuse import Sequence, diffuse_matrix
from spatialdreamer_core.frame_matrix.regions import reinjection_levels
from spatialdreamer_core.frame_matrix.window import schedule
from spatialdreamer_core.svd import SVDModel
from spatialdreamer_core.svd.known_latents import KnownLatents

_DIVERGENCE = 2.5  # % of the width


def main() -> None:
    """Print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true", help="measure on the GPU")
    arguments = parser.parse_args()
    device, dtype, size = ("cuda", torch.float16, FULL) if arguments.cuda else ("cpu", torch.float32, NARROW)
    frames, height, width = size.clips[0]
    torch.manual_seed(0)
    networks = (fill(network, torch.device(device), dtype) for network in make_networks(size))
    model = FrameMatrixModel(SVDModel(*networks))
    left, disparity = _clip(frames, height, width)
    warped, hole = forward_warp(left, disparity)
    if arguments.cuda:
        torch.cuda.reset_peak_memory_stats()
    options = {"regions": "whole", "outpaint": "off"}
    configs = {name: FrameMatrixConfig(matrix_preset=name, **options) for name in ("fast", "paper")}
    coding = _Stopwatch(model.svd.vae.encoder, model.svd.vae.decoder)
    started = _now(device)
    fill_matrix(model, left, warped, hole, disparity, configs["fast"])
    seconds = _now(device) - started
    seen = {name: _frames_denoised(config.settled(), frames) for name, config in configs.items()}
    coded = {name: _frames_coded(config.settled(), frames) for name, config in configs.items()}
    metrics = {f"{name}_frames_denoised": float(count) for name, count in seen.items()}
    metrics |= {f"{name}_frames_coded": float(count) for name, count in coded.items()}
    of_paper = coding.seconds * coded["paper"] / coded["fast"]
    of_paper += (seconds - coding.seconds) * seen["paper"] / seen["fast"]
    metrics |= {
        "fast_seconds": seconds,
        "fast_coding_seconds": coding.seconds,
        "paper_seconds_estimated": of_paper,
    }
    if arguments.cuda:
        metrics["fast_peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    print(format_table(["what", "value"], [[name, value] for name, value in metrics.items()]))
    what = "full-size" if size is FULL else "narrow"
    notes = f"{what} networks, random weights, {dtype}, {frames} frames of {width}x{height}, whole pictures"
    print(write_result("frame_matrix_time-cuda" if arguments.cuda else "frame_matrix_time", metrics, notes))


class _Stopwatch:
    """Adds up the time that networks take."""

    def __init__(self, *networks: nn.Module) -> None:
        self.seconds = 0.0
        for network in networks:
            network.register_forward_pre_hook(self._begin)
            network.register_forward_hook(self._end)

    def _begin(self, network: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.seconds -= _now(given[0].device.type)

    def _end(self, network: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        self.seconds += _now(given[0].device.type)


def _now(device: str) -> float:
    """Return the time, s: of the GPU's finished work, or of the CPU's whatever else it does."""
    if device != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _clip(frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Make frames of noise, and a foreground before a background as their disparity."""
    left = torch.rand(frames, 3, height, width)
    depth = torch.zeros(frames, 1, height, width)
    depth[..., height // 4 : height * 3 // 4, width // 3 : width * 2 // 3] = 1
    return left, depth_to_disparity(depth, divergence=_DIVERGENCE)


def _frames_denoised(config: FrameMatrixConfig, frames: int) -> int:
    """Count the frames that go through the UNet for a clip of one window."""
    assert config.views is not None
    (sigmas, passes), total = schedule(config), 0

    def count(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
        nonlocal total
        total += len(noisy)
        return noisy

    for part, finished in ((1, 0), (frames, 1)):  # the first frame, which the window then carries on
        weight = torch.zeros(config.views, part, 1, 1, 1)
        weight[0], weight[:, :finished] = 1, 1
        known = KnownLatents(torch.zeros(config.views, part, 1, 1, 1), weight)
        diffuse_matrix(count, lambda n, w=weight: torch.zeros_like(w), sigmas, known=known, passes=passes)
    return total


def _frames_coded(config: FrameMatrixConfig, frames: int) -> int:
    """Count the frames that the autoencoder takes for a clip of one window.

    All cells and the pictures that rows and columns begin with are encoded; each re-injection decodes and
    encodes views with holes; the last view is decoded, and `overlap` frames of those in between.
    """
    assert config.views is not None
    (sigmas, passes), views = schedule(config), config.views
    levels = reinjection_levels(sigmas, config.reinjections or 0)
    total = 0
    for part, finished in ((1, 0), (frames, 1)):
        anew = sum(views - 1 if passes.of_matrix(level, views, part) else 1 for level in levels)
        total += views * part + views + part + 2 * anew * part
        total += part + (views - 2) * min(part - finished, config.overlap)
    return total


if __name__ == "__main__":
    main()
