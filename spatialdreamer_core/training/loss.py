"""What training minimises: the v-prediction loss of EDM and the stereo-aware loss (Eq. 5 to 7).

EDM weights the squared error of its clean estimate by (σ² + 1) / σ², with data of standard deviation 1. As
ẑ0 = z_σ / (σ² + 1) - v · σ / √(σ² + 1), that is the plain squared error of v: each noise level counts alike.
A loss on pictures may be added (`image_loss`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..spatialdreamer.deviation import added_time_ids, missing_deviation, stereo_aware_loss
from ..spatialdreamer.inputs import predict_clean
from ..spatialdreamer.network import SpatialDreamer, assemble
from ..spatialdreamer.refiner import build_bank
from ..svd.unet import time_id_count
from .batches import Batch
from .config import TrainConfig
from .distil import teach, teacher_levels

LOSSES = ("v_loss", "stereo_loss", "image_loss")

PictureLoss = Callable[[Tensor, Batch], Tensor]  # of the clean estimate [B, F, C, h, w]; gives [B]


class Trainee(nn.Module):
    """The networks under training as one module, which gives the losses of a batch.

    Its parameters are named as in a file of trained weights: `unet.…`, `refiner.…`, `til.…`. A UNet that is
    not widened, SVD's own, sees no mask: with one picture as the condition of all frames it learns what SVD
    did, to make a video of a picture.

    Args:
        network: The networks; they are not copied.
        picture_loss: The loss on pictures, if there is to be one.
    """

    def __init__(self, network: SpatialDreamer, *, picture_loss: PictureLoss | None = None) -> None:
        super().__init__()
        self.unet: Any = network.svd.unet
        self.refiner: Any = network.refiner
        self.til = network.til
        self.bank, self.settings, self.scaling = network.bank, network.config, network.svd.codec.scaling
        self._picture_loss = picture_loss

    def forward(self, batch: Batch) -> Tensor:  # [B, 3] float32: the LOSSES of each clip
        """Return the losses of each clip; the bank keeps its features, which the gradients may need."""
        clean = self.estimate(batch)
        pictures = clean.new_zeros(len(batch))
        if self._picture_loss is not None:
            pictures = self._picture_loss(clean, batch)
        return torch.stack([v_loss(clean, batch), stereo_loss(clean, batch), pictures], dim=1)

    def estimate(self, batch: Batch) -> Tensor:  # [B, F, C, h, w] float32
        """Return the clean estimate ẑ0 of each clip under its noise."""
        self.read(batch)
        return self.predict(batch, batch.noisy, batch.sigma)

    def read(self, batch: Batch) -> None:
        """Let RefinerNet and TIL look at the batch's references, for the UNet to read."""
        trained = any(weight.requires_grad for weight in self.refiner.parameters()) or self.til is not None
        if not trained and not bool(batch.keeps_reference.any()):
            self.bank.clear()
            return
        features = build_bank(
            self.refiner,
            batch.reference.flatten(0, 1),
            batch.embeddings.flatten(0, 1),
            timestep=self.settings.refiner_timestep,
            til=self.til,
            clips=len(batch),
        )
        self.bank.load(features, dropped=~batch.keeps_reference)

    def predict(
        self,
        batch: Batch,
        noisy: Tensor,  # [B, F, C, h, w]
        sigma: Tensor,  # [B]
    ) -> Tensor:  # [B, F, C, h, w] float32
        """Run the UNet on clips under noise; the bank holds what it reads."""
        ids = added_time_ids(
            self.settings,
            batch.deviation,
            time_ids=time_id_count(self.unet),
            noise_augmentation=batch.augmentation,
        )
        embedding = batch.embeddings[:, 0]
        takes_mask = self.unet.config.in_channels > 2 * noisy.shape[2]
        return predict_clean(
            self.unet,
            noisy,
            sigma,
            condition=batch.condition * _spread(batch.keeps_condition, batch.condition),
            mask=batch.mask if takes_mask else None,
            missing=self._missing(batch) if self.settings.deviation_map else None,
            embedding=embedding * _spread(batch.keeps_embedding, embedding),
            time_ids=ids,
        )

    def _missing(self, batch: Batch) -> Tensor:  # [B, F, C, h, w]
        """Return the deviation maps that are missing; 0 for clips that go without one of the two views."""
        views = zip(batch.condition, batch.reference, batch.mask, batch.factor, strict=True)
        maps = [
            missing_deviation(self.scaling * condition, reference, known=1 - mask, factor=factor)
            for condition, reference, mask, factor in views
        ]
        return torch.stack(maps) * _spread(batch.keeps_condition & batch.keeps_reference, batch.condition)


def total_loss(
    losses: Tensor,  # [B, 3], the LOSSES of each clip
    config: TrainConfig,
) -> Tensor:  # [B]
    """Add up the losses of each clip, weighted as configured (Eq. 7)."""
    return losses @ losses.new_tensor([1.0, config.stereo_weight, config.image_weight])


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


def make_teacher(network: SpatialDreamer, config: TrainConfig) -> Callable[[Batch], Batch]:
    """Return what puts the estimates of networks as they are now in the place of true pictures.

    Args:
        network: The networks, which are copied.
        config: `distil` and `teacher_steps` are used.
    """
    unet, refiner, til = copy.deepcopy((network.svd.unet, network.refiner, network.til))
    teacher = Trainee(assemble(network.svd, unet, refiner, til, network.config))
    if config.precision == "bf16":
        for parameter in teacher.parameters():
            halve(parameter)
    levels = teacher_levels(config.distil, config.teacher_steps)

    @torch.no_grad()
    def prepare(batch: Batch) -> Batch:
        teacher.to(batch.noisy.device)
        steps = (levels[:, 0] - batch.sigma.cpu().double()[:, None]).abs().argmin(1)
        teacher.read(batch)
        target = teach(lambda noisy, sigma: teacher.predict(batch, noisy, sigma), batch.noisy, levels[steps])
        teacher.bank.clear()
        return replace(batch, target=target)

    return prepare


def halve(parameter: nn.Parameter) -> None:
    """Keep a weight that is not trained in bfloat16, as autocast computes with it.

    Norms and biases are small, and not all devices mix their types: they stay in float32.
    """
    if parameter.ndim > 1:
        parameter.data = parameter.data.to(torch.bfloat16)


def _spread(
    values: Tensor,  # [B]
    like: Tensor,  # [B, ...]
) -> Tensor:  # [B, 1, ...]
    """Give one value a clip as many axes as another tensor has."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))
