"""What SpatialDreamer's sampler costs beside its networks alone: SVD's architecture with random weights.

In one run, interleaved, medians: a step of plain SVD's UNet; a step that reads the bank; a pass of
RefinerNet; one that fills the bank; the same with TIL. Then `sample` of 8 steps in one window against what it
cannot do without: one encoding by the VAE, 8 plain steps and one decoding of each frame. And how long a
device waits for a window's noise. Seconds on the CPU are those that it worked, whatever else runs beside.

    python -m benchmarks.sampler            # CPU: 4 frames of 256x192, narrow networks, float32
    python -m benchmarks.sampler --cuda     # 14 and 25 frames of 1024x576, full size, float16, peak memory
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.spatialdreamer import (
    Reference,
    SamplerConfig,
    SpatialDreamer,
    encode_reference,
    sample,
)
from spatialdreamer_core.spatialdreamer.attention import spatial_sites
from spatialdreamer_core.spatialdreamer.refiner import build_bank
from spatialdreamer_core.svd import (
    LATENT_FACTOR,
    SCALING,
    SVDModel,
    build_unet,
    encode_frames,
    estimate_memory,
)
from spatialdreamer_core.svd.noise import FrameNoise
from spatialdreamer_core.svd.schedule import noise_time, scale_input

_MIB = 1 << 20
_STEPS = 8
_DECODED = 14  # frames that the bare decoder takes at once


@dataclass(frozen=True)
class Size:
    """How large the networks and the clips are."""

    unet: tuple[int, ...]  # channels by level
    vae: tuple[int, ...]
    context: int  # channels of an image embedding
    tower: dict[str, int]  # of the image encoder
    clips: tuple[tuple[int, int, int], ...]  # frames, height, width


FULL = Size(
    unet=(320, 640, 1280, 1280),
    vae=(128, 256, 512, 512),
    context=1024,
    tower={"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "patch_size": 14},
    clips=((14, 576, 1024), (25, 576, 1024)),
)
NARROW = Size(
    unet=(64, 128, 256, 256),
    vae=(32, 64, 128, 128),
    context=64,
    tower={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "patch_size": 56},
    clips=((4, 192, 256),),
)


def main() -> None:
    """Print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true", help="measure on the GPU")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, interleaved")
    arguments = parser.parse_args()
    device, dtype, size = ("cuda", torch.float16, FULL) if arguments.cuda else ("cpu", torch.float32, NARROW)
    bench = Bench(size, device, dtype)
    rows, metrics = [], {}
    for clip in size.clips:
        measured = bench.measure(*clip, arguments.repeat)
        rows += [[clip[0], f"{clip[2]}x{clip[1]}", name, value] for name, value in measured.items()]
        metrics |= {f"{clip[0]}frames_{name}": value for name, value in measured.items()}
    print(format_table(["frames", "size", "what", "value"], rows))
    what = "full-size" if size is FULL else "narrow"
    notes = (
        f"{what} networks, random weights, {dtype}, medians of {arguments.repeat}, times in seconds; "
        f"sample: {_STEPS} steps in one window, without noise augmentation"
    )
    print(write_result("sampler-cuda" if arguments.cuda else "sampler", metrics, notes))


class Bench:
    """The networks with random weights, and what is measured of them."""

    def __init__(self, size: Size, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = torch.device(device), dtype
        torch.manual_seed(0)
        networks = (fill(network, self.device, dtype) for network in make_networks(size))
        model = SpatialDreamer.from_svd(SVDModel(*networks), with_til=True)
        self.model = replace(model, fills_holes=True)  # as if trained, which reads the reference
        self.plain = replace(self.model, til=None)  # the same networks without TIL

    @torch.inference_mode()
    def measure(self, frames: int, height: int, width: int, repeat: int) -> dict[str, float]:
        """Measure one size of clip."""
        left = torch.rand(frames, 3, height, width)
        hole = torch.zeros(frames, 1, height, width)
        hole[..., width // 3 : width // 2] = 1
        reference = encode_reference(self.plain, left)
        latents, embeddings = reference.latents.to(self.device), reference.embeddings.to(self.device)
        config = SamplerConfig(steps=_STEPS, window=frames, overlap=0, noise_augmentation=0.0)
        fill_bank, bank = partial(self._fill_bank, latents, embeddings), self.model.bank
        works: dict[str, Callable[[], object]] = {
            "plain_step": lambda: self._step(latents, embeddings),
            "refiner_pass": lambda: self._pass(latents, embeddings),
            "bank_with_til": lambda: fill_bank(til=True),
            "bank": lambda: fill_bank(til=False),
            "step_with_bank": lambda: self._step(latents, embeddings),  # of the bank just filled
            "encoding": lambda: encode_frames(self.model.svd.vae, left),
            "decoding": lambda: self._decode(latents),
            "sample": lambda: self._sample(reference, left, hole, config),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for count in range(repeat + 1):
            for name, work in works.items():
                if name not in ("step_with_bank", "bank"):
                    bank.clear()
                elapsed = self._time(work)
                if name == "bank":
                    bank_mib = bank.nbytes / _MIB
                if count:  # the first round warms up
                    times[name].append(elapsed)
        bank.clear()
        seconds = {name: statistics.median(values) for name, values in times.items()}
        seconds |= {"refiner_self_attention": self._self_attention(latents, embeddings)}
        seconds |= self._noise(frames, height, width)
        needed = seconds["encoding"] + _STEPS * seconds["plain_step"] + seconds["decoding"]
        neighbours = 0 if self.model.til is None else self.model.til.neighbours
        ratios = {
            "sample_over_needed": seconds["sample"] / needed,
            "step_ratio": seconds["step_with_bank"] / seconds["plain_step"],
            "bank_over_refiner_pass": seconds["bank"] / seconds["refiner_pass"],
            "til_over_self_attention": (seconds["bank_with_til"] - seconds["bank"])
            / seconds["refiner_self_attention"],
            "til_limit": 1.2 * (neighbours + 1),
            "bank_over_plain_step": seconds["bank"] / seconds["plain_step"],
            "bank_mib": bank_mib,
        }
        if self.device.type == "cuda":
            ratios |= self._measure_memory(latents, embeddings, height, width)
        return seconds | ratios

    def _sample(self, reference: Reference, warped: Tensor, hole: Tensor, config: SamplerConfig) -> None:
        """Sample without TIL, as if for the first time."""
        reference.drop_features()
        sample(self.plain, reference, warped, hole, config)

    def _measure_memory(self, left: Tensor, embeddings: Tensor, height: int, width: int) -> dict[str, float]:
        """Measure the peak of a step that reads the bank, beside all that is held before it."""
        self._fill_bank(left, embeddings, til=False)
        held = torch.cuda.memory_allocated() - self.model.bank.nbytes
        torch.cuda.reset_peak_memory_stats()
        self._step(left, embeddings)
        peak = torch.cuda.max_memory_allocated() - held
        self.model.bank.clear()
        unet = self.model.svd.unet
        estimate = estimate_memory(
            unet.config, frames=len(left), height=height, width=width, dtype=self.dtype, reference=True
        )
        return {"peak_mib_beside_weights": peak / _MIB, "estimate_over_peak": estimate / peak}

    def _step(self, noisy: Tensor, embeddings: Tensor, sigma: float = 1.0) -> Tensor:
        """Run the UNet once."""
        fixed = noisy.new_zeros(len(noisy), 5, *noisy.shape[-2:])
        inputs = torch.cat([scale_input(noisy, sigma), fixed], dim=1).to(self.dtype)[None]
        ids = torch.tensor([[6.0, 127.0, 0.02, 100.0]], device=self.device)
        embedding = embeddings[0][None].to(self.dtype)
        when = noise_time(sigma).to(self.device)
        return self.model.svd.unet(inputs, when, embedding, ids, return_dict=False)[0][0]

    def _fill_bank(self, left: Tensor, embeddings: Tensor, *, til: bool) -> None:
        """Run RefinerNet."""
        features = build_bank(
            self.model.refiner,
            left,
            embeddings,
            timestep=self.model.config.refiner_timestep,
            til=self.model.til if til else None,
        )
        self.model.bank.load(features)

    def _pass(self, left: Tensor, embeddings: Tensor) -> None:
        """Run RefinerNet without taking its features."""
        when = torch.tensor(self.model.config.refiner_timestep, device=self.device)
        self.model.refiner(left.to(self.dtype), when, embeddings.to(self.dtype))

    def _decode(self, latents: Tensor) -> None:
        """Run the VAE's decoder on each frame once."""
        for part in latents.split(_DECODED):
            video = torch.zeros(1, len(part), device=self.device, dtype=self.dtype)
            self.model.svd.vae.decoder((part / SCALING).to(self.dtype), video, num_frames=len(part))

    def _noise(self, frames: int, height: int, width: int) -> dict[str, float]:
        """Measure how long a window's noise takes to draw, and to take when it was drawn ahead."""
        noise = FrameNoise(0, height=height // LATENT_FACTOR, width=width // LATENT_FACTOR)
        started = time.perf_counter()
        noise.take(range(frames), self.device)
        drawn = time.perf_counter() - started
        noise.draw_ahead(range(frames))
        time.sleep(2 * drawn)  # while a device works on something else
        started = time.perf_counter()
        noise.take(range(frames), self.device)
        return {"noise": drawn, "noise_stall": time.perf_counter() - started}

    def _self_attention(self, left: Tensor, embeddings: Tensor) -> float:
        """Measure the seconds that RefinerNet's self-attentions take within a pass."""
        self.model.bank.clear()
        with self._timed_self_attention() as spent:
            self._fill_bank(left, embeddings, til=False)
        self.model.bank.clear()
        return sum(spent)

    @contextmanager
    def _timed_self_attention(self) -> Iterator[list[float]]:
        """Collect the seconds that RefinerNet's self-attentions take, one entry a call."""
        spent: list[float] = []
        started: list[float] = []
        handles = []
        for site in spatial_sites(self.model.refiner):
            module = self.model.refiner.get_submodule(site)
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
        """Return the time once the device is done; on the CPU, that of this process alone."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def make_networks(size: Size, **unet_options: Any) -> list[Any]:
    """Make SVD's UNet, VAE and image tower on the meta device; the options are more of the UNet's config."""
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    heads = tuple(width // 64 for width in size.unet)
    tower = CLIPVisionConfig(
        **size.tower,
        num_attention_heads=max(1, size.tower["hidden_size"] // 80),
        projection_dim=size.context,
        hidden_act="gelu",
    )
    with torch.device("meta"):
        unet = build_unet(
            block_out_channels=size.unet,
            num_attention_heads=heads,
            cross_attention_dim=size.context,
            num_frames=25,
            **unet_options,
        )
        vae = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=size.vae,
            layers_per_block=2,
            force_upcast=True,
        )
        return [unet, vae, CLIPVisionModelWithProjection(tower)]


def fill(network: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Give a network on the meta device random weights of about the usual size."""
    network = network.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.uniform_(-0.02, 0.02)
    for module in network.modules():
        if hasattr(module, "position_ids"):  # of the image tower
            module.position_ids = torch.arange(module.position_embedding.num_embeddings, device=device)[None]
    return network


if __name__ == "__main__":
    main()
