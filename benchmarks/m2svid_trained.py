"""How near M2SVid around holes alone is to M2SVid on whole pictures, once it has learnt something.

    python -m benchmarks.m2svid_trained DATASET [--steps 300]

Random weights have no locality (`benchmarks.m2svid`), so M2SVid's UNet is trained here, small and from
nothing, as its authors train it but for their losses on pictures: one step at sigma 700 from a noisy input of
zeros, the squared error of the latents (arXiv 2505.16565). Its world is `make_small_world`, its pairs are
single frames of a dataset of `spatialdreamer dataset build`. On held-out clips, inside the holes: PSNR of
regions, with the usual margin of 64 px, against whole pictures, and of both against the truth.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import format_table, write_result
from spatialdreamer_core.m2svid import M2SVid, RefinerConfig, encode_window, refine
from spatialdreamer_core.m2svid.model import assemble, in_channels
from spatialdreamer_core.svd import SVDModel
from spatialdreamer_core.svd.schedule import SIGMA_MAX, clean_estimate, noise_time
from spatialdreamer_core.training.clips import fit_clip
from spatialdreamer_core.training.dataset import ClipDataset, open_dataset
from spatialdreamer_core.training.small_world import make_small_world

_HEIGHT, _WIDTH = 64, 96  # px, of what is learnt
_FRAMES = 4  # of each clip
_BATCH = 8
_RATE = 3e-4
_IDS = (24.0, 127.0, 0.02)  # frames a second, motion bucket, noise on the views
_LEAST_HOLE = 50  # px
_LARGEST_SHARE = 0.9  # of the picture that a region may be, to be compared at all


class Samples(NamedTuple):
    """Frames as the model sees them, and what it should give."""

    left: Tensor  # [N, C, h, w] unscaled
    warped: Tensor  # [N, C, h, w] unscaled
    mask: Tensor  # [N, 1, h, w] in [-1, 1]
    embeddings: Tensor  # [N, 1, D]
    target: Tensor  # [N, C, h, w] scaled


def main() -> None:
    """Train, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="a folder of `spatialdreamer dataset build`")
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset)
    model = make_model()
    samples = encode(model, dataset)
    losses = train(model, samples, arguments.steps)
    metrics = {
        "frames": float(len(samples.target)),
        "first_loss": losses[0],
        "last_loss": statistics.mean(losses[-50:]),
    }
    metrics |= compare(model, dataset)
    print(format_table(["what", "value"], [[name, value] for name, value in metrics.items()]))
    notes = (
        f"small M2SVid, {arguments.steps} steps of {_BATCH} frames of {_WIDTH}x{_HEIGHT}; means inside the "
        "holes of held-out frames, of the dataset's own size, of those whose regions are at most "
        f"{_LARGEST_SHARE:g} of the picture"
    )
    print(write_result("m2svid_trained", metrics, notes))


def make_model() -> M2SVid:
    """Make M2SVid's networks for the small world."""
    world = make_small_world(height=_HEIGHT, width=_WIDTH)
    channels = in_channels(world)
    unet = type(world.unet).from_config(world.unet.config, in_channels=channels)
    state = world.unet.state_dict()
    first = state.pop("conv_in.weight")
    unet.load_state_dict(state, strict=False)
    torch.nn.init.zeros_(unet.conv_in.weight)
    unet.conv_in.weight.data[:, : first.shape[1]] = first
    torch.nn.init.normal_(unet.conv_in.weight.data[:, first.shape[1] :], std=float(first.std()))
    return assemble(SVDModel(unet, world.vae, world.image_encoder), full_attention=False)


def encode(model: M2SVid, dataset: ClipDataset) -> Samples:
    """Encode the first frames of the clips that are not held out."""
    parts = []
    for index, record in enumerate(dataset.records):
        if record.held_out:
            continue
        clip = fit_clip(dataset.read(index, range(min(_FRAMES, record.frames))), height=_HEIGHT, width=_WIDTH)
        seen = encode_window(model, clip.reference, clip.warped, clip.hole)
        codec = model.svd.codec
        parts.append(Samples(*seen, codec.scaling * codec.encode(clip.target)))
    return Samples(*(torch.cat(values) for values in zip(*parts, strict=True)))


def train(model: M2SVid, samples: Samples, steps: int) -> list[float]:
    """Train the UNet; returns the losses."""
    unet = model.svd.unet.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(unet.parameters(), _RATE)
    generator = torch.Generator().manual_seed(0)
    time = noise_time(torch.full((_BATCH,), SIGMA_MAX))
    ids = torch.tensor([_IDS]).repeat(_BATCH, 1)
    losses = []
    for step in range(steps):
        chosen = torch.randint(len(samples.target), (_BATCH,), generator=generator)
        left, warped, mask, embeddings, target = (values[chosen, None] for values in samples)
        zeros = torch.zeros_like(left)
        noisy = torch.cat([zeros, left, warped, mask], dim=2)
        output = unet(noisy, time, embeddings[:, 0], ids, return_dict=False)[0]
        loss = F.mse_loss(clean_estimate(output, zeros, SIGMA_MAX), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step}: {losses[-1]:.4f}", flush=True)
    unet.eval().requires_grad_(False)
    return losses


def compare(model: M2SVid, dataset: ClipDataset) -> dict[str, float]:
    """Compare regions and whole pictures inside the holes of held-out frames."""
    figures: dict[str, list[float]] = {}
    for index, record in enumerate(dataset.records):
        if not record.held_out:
            continue
        clip = dataset.read(index, range(1))
        if clip.hole.sum() < _LEAST_HOLE:
            continue
        views = (clip.reference, clip.warped, clip.hole)
        whole = refine(model, *views, RefinerConfig(keep_known=True, regions="whole")).filled
        for name, value in _regions(model, views, whole, clip.target):
            figures.setdefault(name, []).append(value)
    result = {name: statistics.mean(values) for name, values in figures.items()}
    return {"held_out_frames": float(max(map(len, figures.values()), default=0)), **result}


def _regions(
    model: M2SVid, views: tuple[Tensor, Tensor, Tensor], whole: Tensor, truth: Tensor
) -> Iterator[tuple[str, float]]:
    """Yield the figures of a frame, if working around its holes is less than the picture."""
    inside = views[2].expand_as(truth) > 0.5
    result = refine(model, *views, RefinerConfig(keep_known=True))
    if result.share > _LARGEST_SHARE:
        return
    yield "share_run", result.share
    yield "regions_against_whole_psnr", _psnr(result.filled, whole, inside)
    yield "whole_psnr", _psnr(whole, truth, inside)
    yield "regions_psnr", _psnr(result.filled, truth, inside)
    yield "regions_above_whole_db", _psnr(result.filled, truth, inside) - _psnr(whole, truth, inside)


def _psnr(result: Tensor, truth: Tensor, where: Tensor) -> float:
    """Return the PSNR of some values, dB."""
    error = (result - truth)[where].square().mean()
    return float(-10 * error.clamp_min(1e-12).log10())


if __name__ == "__main__":
    main()
