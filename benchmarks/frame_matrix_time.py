"""How long the frame matrix takes: SVD's architecture with random weights, a window of 14 frames.

The preset `fast` is run from pictures to pictures. What `paper` would take is estimated from it by the number
of frames that go through the UNet.

    python -m benchmarks.frame_matrix_time          # CPU: 4 frames of 256x192, narrow networks, float32
    python -m benchmarks.frame_matrix_time --cuda   # 14 frames of 1024x576, full size, float16, peak memory
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from benchmarks.sampler import FULL, NARROW, fill, make_networks
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.frame_matrix import FrameMatrixConfig, FrameMatrixModel, fill_matrix
from spatialdreamer_core.frame_matrix.diffuse import Passes, Sequence, diffuse_matrix
from spatialdreamer_core.svd import SVDModel
from spatialdreamer_core.svd.known_latents import KnownLatents
from spatialdreamer_core.svd.schedule import karras_sigmas

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
    configs = {name: FrameMatrixConfig(matrix_preset=name, regions="whole") for name in ("fast", "paper")}
    clock = time.perf_counter if arguments.cuda else time.process_time  # whatever else runs on the CPU
    started = clock()
    fill_matrix(model, left, warped, hole, disparity, configs["fast"])
    seconds = clock() - started
    seen = {name: _frames_denoised(config.settled(), frames) for name, config in configs.items()}
    metrics = {f"{name}_frames_denoised": float(count) for name, count in seen.items()}
    metrics |= {"fast_seconds": seconds, "paper_seconds_estimated": seconds * seen["paper"] / seen["fast"]}
    if arguments.cuda:
        metrics["fast_peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    print(format_table(["what", "value"], [[name, value] for name, value in metrics.items()]))
    what = "full-size" if size is FULL else "narrow"
    notes = f"{what} networks, random weights, {dtype}, {frames} frames of {width}x{height}, whole pictures"
    print(write_result("frame_matrix_time-cuda" if arguments.cuda else "frame_matrix_time", metrics, notes))


def _clip(frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Make frames of noise, and a foreground before a background as their disparity."""
    left = torch.rand(frames, 3, height, width)
    depth = torch.zeros(frames, 1, height, width)
    depth[..., height // 4 : height * 3 // 4, width // 3 : width * 2 // 3] = 1
    return left, depth_to_disparity(depth, divergence=_DIVERGENCE)


def _frames_denoised(config: FrameMatrixConfig, frames: int) -> int:
    """Count the frames that go through the UNet for a clip of one window."""
    assert config.views is not None
    assert config.steps is not None
    assert config.passes is not None
    passes = Passes(config.passes, config.passes, config.last_view_from)
    total = 0

    def count(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
        nonlocal total
        total += len(noisy)
        return noisy

    for part, finished in ((1, 0), (frames, 1)):  # the first frame, which the window then carries on
        weight = torch.zeros(config.views, part, 1, 1, 1)
        weight[0], weight[:, :finished] = 1, 1
        known = KnownLatents(torch.zeros(config.views, part, 1, 1, 1), weight)
        sigmas = karras_sigmas(config.steps).tolist()
        diffuse_matrix(count, lambda n, w=weight: torch.zeros_like(w), sigmas, known=known, passes=passes)
    return total


if __name__ == "__main__":
    main()
