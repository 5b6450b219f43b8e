"""What each filler costs: one clip through all of them, SVD's architecture with random weights.

Each fills the same holes with its defaults, in one window; what a model paints with random weights means
nothing, how long it takes does. Counted are the frames that go through the UNet, of which each is one pass.
Seconds on the CPU are those that it worked, whatever else runs beside.

    python -m benchmarks.fillers            # CPU: 4 frames of 256x192, narrow networks, float32
    python -m benchmarks.fillers --cuda     # 25 frames of 1024x576, full size, float16, peak memory
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from benchmarks.sampler import FULL, NARROW, Size, fill, make_networks
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.fill import FastFill, Filler, fill_holes
from spatialdreamer_core.frame_matrix import FrameMatrixConfig, FrameMatrixFiller, FrameMatrixModel
from spatialdreamer_core.m2svid import M2SVid, M2SVidFiller, RefinerConfig
from spatialdreamer_core.spatialdreamer import SamplerConfig, SpatialDreamer, SpatialDreamerFiller
from spatialdreamer_core.svd import SVDModel

_DIVERGENCE = 2.5  # % of the width
_UNTRAINED = SamplerConfig(steps=10, strength=0.4)  # as the command has it without weights
_STEPS = 8  # of StereoCrafter's UNet


def main() -> None:
    """Print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true", help="measure on the GPU")
    arguments = parser.parse_args()
    device, dtype, size = ("cuda", torch.float16, FULL) if arguments.cuda else ("cpu", torch.float32, NARROW)
    fillers = Fillers(size, torch.device(device), dtype)
    clip = make_clip(*size.clips[-1])
    rows, metrics = [], {}
    for name, make in fillers.all.items():
        measured = measure(*make(), clip, torch.device(device))
        rows.append([name, *measured.values()])
        metrics |= {f"{name}_{what}": value for what, value in measured.items()}
    print(format_table(["filler", *measured], rows))
    frames, height, width = size.clips[-1]
    what = "full-size" if size is FULL else "narrow"
    notes = f"{what} networks, random weights, {dtype}, {frames} frames of {width}x{height} in one window"
    print(write_result("fillers-cuda" if arguments.cuda else "fillers", metrics, notes))


class Fillers:
    """The fillers, each made with its networks when it is measured."""

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype) -> None:
        self._size, self._device, self._dtype = size, device, dtype
        self.all: dict[str, Callable[[], tuple[Filler, Any]]] = {  # with the UNet, if there is one
            "fast_fill": lambda: (FastFill(), None),
            "m2svid": lambda: self._m2svid(RefinerConfig()),
            "m2svid_holes_alone": lambda: self._m2svid(RefinerConfig(keep_known=True)),
            "stereocrafter": lambda: self._trained(SamplerConfig(steps=_STEPS), in_channels=9),
            "spatialdreamer_untrained": lambda: self._spatialdreamer(self._svd(), _UNTRAINED, FastFill()),
            "spatialdreamer_trained": self._spatialdreamer_trained,
            "frame_matrix_fast": self._frame_matrix,
        }

    def _svd(self, **unet: int) -> SVDModel:
        """Make networks with random weights."""
        torch.manual_seed(0)
        networks = make_networks(self._size, **unet)
        return SVDModel(*(fill(network, self._device, self._dtype) for network in networks))

    def _m2svid(self, config: RefinerConfig) -> tuple[Filler, Any]:
        model = M2SVid(self._svd(in_channels=13), full_attention=True)
        return M2SVidFiller(model, config), model.svd.unet

    def _trained(self, config: SamplerConfig, **unet: int) -> tuple[Filler, Any]:
        return self._spatialdreamer(self._svd(**unet), config, None)

    def _spatialdreamer(
        self, svd: SVDModel, config: SamplerConfig, first: Filler | None
    ) -> tuple[Filler, Any]:
        model = SpatialDreamer.from_svd(svd)
        return SpatialDreamerFiller(model, config, first=first), model.svd.unet

    def _spatialdreamer_trained(self) -> tuple[Filler, Any]:
        """Make one as stage 2 of training leaves it, but for the weights."""
        model = SpatialDreamer.from_svd(self._svd(), with_til=True)
        model = replace(model, fills_holes=True, config=model.config.at_stage("stage2"))
        return SpatialDreamerFiller(model, first=None), model.svd.unet

    def _frame_matrix(self) -> tuple[Filler, Any]:
        model = FrameMatrixModel(self._svd())
        return FrameMatrixFiller(model, FrameMatrixConfig(regions="whole")), model.svd.unet


def make_clip(frames: int, height: int, width: int) -> dict[str, Tensor]:
    """Make frames of noise, a foreground before a background, and what is rendered of them."""
    left = torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    depth = torch.zeros(frames, 1, height, width)
    depth[..., height // 4 : height * 3 // 4, width // 3 : width * 2 // 3] = 1
    disparity = depth_to_disparity(depth, divergence=_DIVERGENCE)
    warped, hole = forward_warp(left, disparity)
    return {"left": left, "warped": warped, "hole": hole, "disparity": disparity}


def measure(filler: Filler, unet: Any, clip: dict[str, Tensor], device: torch.device) -> dict[str, float]:
    """Fill the clip and return what it took, a frame of it."""
    frames, passed = len(clip["left"]), 0

    def count(module: Any, given: tuple[Any, ...]) -> None:
        nonlocal passed
        passed += given[0].shape[0] * given[0].shape[1]

    handle = None if unet is None else unet.register_forward_pre_hook(count)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    fill_holes(filler, **clip)
    measured = {"seconds_a_frame": (clock() - started) / frames, "unet_passes_a_frame": passed / frames}
    if handle is not None:
        handle.remove()
    if device.type == "cuda":
        measured["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return measured


if __name__ == "__main__":
    main()
