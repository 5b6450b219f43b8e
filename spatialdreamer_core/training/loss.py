"""What training minimises: the v-prediction loss of EDM and the stereo-aware loss (Eq. 5 to 7).

EDM weights the squared error of its clean estimate by (σ² + 1) / σ², with data of standard deviation 1. As
ẑ0 = z_σ / (σ² + 1) - v · σ / √(σ² + 1), that is the plain squared error of v: each noise level counts alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..spatialdreamer.deviation import added_time_ids, stereo_aware_loss
from ..spatialdreamer.network import SpatialDreamer
from ..spatialdreamer.refiner import build_bank
from ..svd.unet import time_id_count
from .batches import Batch
from .config import TrainConfig

LOSSES = ("v_loss", "stereo_loss")


class Trainee(nn.Module):
    """The networks under training as one module, which gives the losses of a batch.

    Its parameters are named as in a file of trained weights: `unet.…`, `refiner.…`, `til.…`.

    Args:
        network: The networks; they are not copied.
    """

    def __init__(self, network: SpatialDreamer) -> None:
        super().__init__()
        self.unet: Any = network.svd.unet
        self.refiner: Any = network.refiner
        self.til = network.til
        self.bank, self.settings = network.bank, network.config

    def forward(self, batch: Batch) -> Tensor:  # [B, 2] float32: the LOSSES of each clip
        """Return the losses of each clip; the bank keeps its features, which the gradients may need."""
        clean = self.estimate(batch)
        return torch.stack([v_loss(clean, batch), stereo_loss(clean, batch)], dim=1)

    def estimate(self, batch: Batch) -> Tensor:  # [B, F, C, h, w] float32
        """Return the clean estimate ẑ0 of each clip under its noise."""
        self.bank.load(self._features(batch))
        return _predict_clean(
            self.unet,
            batch.noisy,
            batch.sigma,
            condition=batch.condition * spread(batch.keeps_condition, batch.condition),
            mask=batch.mask,
            embedding=batch.embeddings[:, 0] * spread(batch.keeps_embedding, batch.embeddings[:, 0]),
            time_ids=self._time_ids(batch),
        )

    def _features(self, batch: Batch) -> dict[str, Tensor]:
        """Return RefinerNet's features of the batch's references, by site, each [B·F, N, C]."""
        clips = [
            build_bank(
                self.refiner, latents, embeddings, timestep=self.settings.refiner_timestep, til=self.til
            )
            for latents, embeddings in zip(batch.reference, batch.embeddings, strict=True)
        ]
        return {
            site: torch.cat(
                [clip[site] * kept for clip, kept in zip(clips, batch.keeps_reference, strict=True)]
            )
            for site in clips[0]
        }

    def _time_ids(self, batch: Batch) -> Tensor:  # [B, 4]
        """Return what the UNet is told of each clip: fps, motion, augmentation, deviation strength."""
        ids = added_time_ids(self.settings, batch.deviation, time_ids=time_id_count(self.unet))
        ids[:, 2] = batch.augmentation
        return ids


def total_loss(
    losses: Tensor,  # [B, 2], the LOSSES of each clip
    config: TrainConfig,
) -> Tensor:  # [B]
    """Add up the losses of each clip, weighted as configured (Eq. 7)."""
    return losses @ losses.new_tensor([1.0, config.stereo_weight])


def v_loss(
    clean: Tensor,  # [B, F, C, h, w], the estimate
    batch: Batch,
) -> Tensor:  # [B]
    """Return the mean squared error of v of each clip, EDM's weighted error of the clean estimate."""
    weight = (batch.sigma**2 + 1) / batch.sigma**2
    return (clean.float() - batch.target).square().flatten(1).mean(1) * weight


def stereo_loss(
    clean: Tensor,  # [B, F, C, h, w], the estimate
    batch: Batch,
) -> Tensor:  # [B]
    """Return the stereo-aware loss of each clip, Eq. 5."""
    parts = zip(clean, batch.target, batch.reference, strict=True)
    return torch.stack([stereo_aware_loss(*part) for part in parts])


def spread(
    values: Tensor,  # [B]
    like: Tensor,  # [B, ...]
) -> Tensor:  # [B, 1, ...]
    """Give one value a clip as many axes as another tensor has."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def _predict_clean(
    unet: Any,
    noisy: Tensor,
    sigma: Tensor,
    *,
    condition: Tensor,
    mask: Tensor,
    embedding: Tensor,
    time_ids: Tensor,
) -> Tensor:
    """Return the denoiser's clean estimate."""
    level = spread(sigma, noisy)
    root = (level**2 + 1).sqrt()
    sample = torch.cat([noisy / root, condition, mask], dim=2).to(unet.dtype)
    output = unet(sample, sigma.log() / 4, embedding.to(unet.dtype), time_ids, return_dict=False)[0]
    return noisy / root**2 - output.float() * (level / root)
