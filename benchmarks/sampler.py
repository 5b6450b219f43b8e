"""What reference attention costs: SpatialDreamer's full-size networks, random weights, beside SVD's UNet.

In one run, interleaved: a step of plain SVD's UNet; a step with the bank in place; a pass of RefinerNet; one
that fills the bank, and the time that its self-attention takes within it; the same with TIL. Medians.

    python -m benchmarks.sampler            # CPU: 4 frames of 512x320, float32
    python -m benchmarks.sampler --cuda     # 14 and 25 frames of 1024x576, float16, peak memory, and 25 steps
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.report import format_table, write_result
from spatialdreamer_core.spatialdreamer.attention import install_readers, spatial_sites
from spatialdreamer_core.spatialdreamer.bank import FeatureBank
from spatialdreamer_core.spatialdreamer.config import SpatialDreamerConfig
from spatialdreamer_core.spatialdreamer.refiner import build_bank, build_refiner, install_writers
from spatialdreamer_core.spatialdreamer.til import TemporalInteraction
from spatialdreamer_core.svd import LATENT_FACTOR, build_unet, estimate_memory
from spatialdreamer_core.svd.schedule import (
    clean_estimate,
    euler_step,
    karras_sigmas,
    noise_time,
    scale_input,
)

_MIB = 1 << 20
_STEPS = 25


def main() -> None:
    """Print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true", help="measure on the GPU")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, interleaved")
    arguments = parser.parse_args()
    cases = [(14, 576, 1024), (25, 576, 1024)] if arguments.cuda else [(4, 320, 512)]
    bench = Bench("cuda" if arguments.cuda else "cpu", torch.float16 if arguments.cuda else torch.float32)
    rows, metrics = [], {}
    for frames, height, width in cases:
        measured = bench.measure(frames, height, width, arguments.repeat)
        rows += [[frames, f"{width}x{height}", name, value] for name, value in measured.items()]
        metrics |= {f"{frames}frames_{name}": value for name, value in measured.items()}
    print(format_table(["frames", "size", "what", "value"], rows))
    notes = (
        f"full-size networks, random weights, {bench.dtype}, median of {arguments.repeat}, times in seconds"
    )
    print(write_result("sampler-cuda" if arguments.cuda else "sampler", metrics, notes))


class Bench:
    """The networks, full size, with random weights."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.bank = FeatureBank()
        with torch.device("meta"):
            unet = build_unet(in_channels=9, projection_class_embeddings_input_dim=1024, num_frames=25)
        self.unet: Any = self._fill(unet)
        install_readers(self.unet, self.bank)
        self.refiner: Any = self._fill(build_refiner(self.unet.config))
        install_writers(self.refiner)
        self.til = TemporalInteraction.from_refiner(self.refiner, SpatialDreamerConfig())

    @torch.inference_mode()
    def measure(self, frames: int, height: int, width: int, repeat: int) -> dict[str, float]:
        """Measure one size."""
        size = (height // LATENT_FACTOR, width // LATENT_FACTOR)
        left = torch.randn(frames, 4, *size, device=self.device)
        embeddings = torch.randn(frames, 1, 1024, device=self.device)
        times: dict[str, list[float]] = {}
        self._step(left, embeddings)  # warm up
        for _ in range(repeat):
            self.bank.clear()
            times.setdefault("plain_step", []).append(self._time(lambda: self._step(left, embeddings)))
            bare = self._time(lambda: self._pass(left, embeddings))
            times.setdefault("refiner_pass", []).append(bare)
            with self._timed_self_attention() as spent:
                bank = self._time(lambda: self._fill_bank(left, embeddings, til=None))
            times.setdefault("bank", []).append(bank)
            times.setdefault("refiner_self_attention", []).append(sum(spent))
            til = self._time(lambda: self._fill_bank(left, embeddings, til=self.til))
            times.setdefault("bank_with_til", []).append(til)
            times.setdefault("step_with_bank", []).append(self._time(lambda: self._step(left, embeddings)))
        seconds = {name: statistics.median(values) for name, values in times.items()}
        neighbours = self.til.neighbours
        ratios = {
            "step_ratio": seconds["step_with_bank"] / seconds["plain_step"],
            "bank_over_refiner_pass": seconds["bank"] / seconds["refiner_pass"],
            "til_over_self_attention": (seconds["bank_with_til"] - seconds["bank"])
            / seconds["refiner_self_attention"],
            "til_limit": 1.2 * (neighbours + 1),
            "bank_over_plain_step": seconds["bank"] / seconds["plain_step"],
            "bank_mib": self.bank.nbytes / _MIB,
        }
        if self.device.type == "cuda":
            ratios |= self._measure_memory(left, embeddings, height, width)
        return seconds | ratios

    def _measure_memory(self, left: Tensor, embeddings: Tensor, height: int, width: int) -> dict[str, float]:
        """Measure the peak of a step beside the weights, against the estimate, and time a whole run."""
        weights = sum(p.nbytes for net in (self.unet, self.refiner, self.til) for p in net.parameters())
        torch.cuda.reset_peak_memory_stats()
        elapsed = self._time(lambda: self._run(left, embeddings))
        peak = torch.cuda.max_memory_allocated() - weights
        estimate = estimate_memory(
            self.unet.config, frames=len(left), height=height, width=width, dtype=self.dtype, reference=True
        )
        return {
            "run_of_25_steps": elapsed,
            "peak_mib_beside_weights": peak / _MIB,
            "weights_mib": weights / _MIB,
            "estimate_over_peak": estimate / peak,
        }

    def _run(self, left: Tensor, embeddings: Tensor) -> None:
        """Sample as `sample` does, without the VAE."""
        levels = karras_sigmas(_STEPS).tolist()
        noisy = torch.randn_like(left) * levels[0]
        for sigma, following in pairwise(levels):
            clean = clean_estimate(self._step(noisy, embeddings, sigma).float(), noisy, sigma)
            noisy = euler_step(noisy, clean, sigma, following)

    def _step(self, noisy: Tensor, embeddings: Tensor, sigma: float = 1.0) -> Tensor:
        """Run the UNet once."""
        fixed = noisy.new_zeros(len(noisy), 5, *noisy.shape[-2:])
        sample = torch.cat([scale_input(noisy, sigma), fixed], dim=1).to(self.dtype)[None]
        ids = torch.tensor([[6.0, 127.0, 0.02, 100.0]], device=self.device)
        embedding = embeddings[0][None].to(self.dtype)
        when = torch.tensor(noise_time(sigma), device=self.device)
        return self.unet(sample, when, embedding, ids, return_dict=False)[0][0]

    def _fill_bank(self, left: Tensor, embeddings: Tensor, *, til: TemporalInteraction | None) -> None:
        """Run RefinerNet."""
        timestep = SpatialDreamerConfig().refiner_timestep
        self.bank.load(build_bank(self.refiner, left, embeddings, timestep=timestep, til=til))

    def _pass(self, left: Tensor, embeddings: Tensor) -> None:
        """Run RefinerNet without taking its features."""
        when = torch.tensor(SpatialDreamerConfig().refiner_timestep, device=self.device)
        self.refiner(left.to(self.dtype), when, embeddings.to(self.dtype))

    def _fill(self, network: nn.Module) -> nn.Module:
        """Give a network on the meta device random weights of about the usual size."""
        network = network.to(self.dtype).to_empty(device=self.device).eval().requires_grad_(False)
        for parameter in network.parameters():
            parameter.uniform_(-0.02, 0.02)
        return network

    @contextmanager
    def _timed_self_attention(self) -> Iterator[list[float]]:
        """Collect the seconds that RefinerNet's self-attentions take, one entry a call."""
        spent: list[float] = []
        started: list[float] = []
        handles = []
        for site in spatial_sites(self.refiner):
            module = self.refiner.get_submodule(site)
            handles.append(module.register_forward_pre_hook(lambda *_: started.append(self._now())))
            handles.append(module.register_forward_hook(lambda *_: spent.append(self._now() - started.pop())))
        try:
            yield spent
        finally:
            for handle in handles:
                handle.remove()

    def _time(self, function: Callable[[], object]) -> float:
        """Return the seconds that a call takes."""
        started = self._now()
        function()
        return self._now() - started

    def _now(self) -> float:
        """Return the time once the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


if __name__ == "__main__":
    main()
