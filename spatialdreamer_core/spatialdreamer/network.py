"""SpatialDreamer's networks as one value: SVD with readers, RefinerNet, TIL and the bank between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..memory import free_memory
from ..svd import SVDModel, estimate_memory, widen_unet
from ..svd.model import OnSVD, Work
from ..svd.unet import enable_gradient_checkpointing
from ..svd.windows import Region
from .attention import install_readers
from .bank import FeatureBank
from .config import SD_CLEAN_TIMESTEP, SVD_CLEAN_TIMESTEP, SpatialDreamerConfig
from .refiner import make_refiner
from .til import TemporalInteraction

TIME_IDS = 4  # SVD's fps, motion and noise augmentation, and the stereo deviation strength


def in_channels(svd: SVDModel, *, deviation_map: bool = False) -> int:
    """Return the inputs of SpatialDreamer's UNet: noisy latents, the rendered view's, and the hole mask.

    Args:
        svd: The base model.
        deviation_map: Whether the deviation that is missing comes after them (`deviation.missing_deviation`).
    """
    return (3 if deviation_map else 2) * svd.codec.channels + 1


@dataclass
class SpatialDreamer(OnSVD):
    """A whole SpatialDreamer; its UNet reads `bank`, which `build_bank(refiner, …, til=til)` computes."""

    svd: SVDModel
    refiner: Any  # RefinerNet, a UNet2DConditionModel
    til: TemporalInteraction | None  # None: as in stage 1 of training
    bank: FeatureBank
    config: SpatialDreamerConfig
    on_work: Callable[[Work], None] | None = None  # brings networks to the device before they work
    fills_holes: bool = True  # whether its UNet was trained to; SVD's own is helped, see `untrained`

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks that are moved between devices together."""
        return (*self.svd.modules, self.refiner, *([] if self.til is None else [self.til]))

    def enable_gradient_checkpointing(self) -> None:
        """Let all networks compute activations again in the backward pass, for good; for training.

        8 frames of 1024x576 in stage 2 then take a third of the memory.
        """
        enable_gradient_checkpointing(self.svd.unet)
        self.refiner.enable_gradient_checkpointing()
        if self.til is not None:
            self.til.enable_gradient_checkpointing()

    def free_beside_step(self, device: torch.device, region: Region) -> int:
        """Return the bytes that a device has free beside a step on a region and the region's features.

        Args:
            device: Where the step will run; the UNet's weights may still be elsewhere.
            region: The region, in latents.
        """
        unet, factor = self.svd.unet, self.svd.codec.factor
        height, width = region.scaled(factor).picture_size
        size = {"frames": len(region.frames), "height": height, "width": width}
        step = estimate_memory(unet.config, **size, dtype=unet.dtype, reference=True, factor=factor)
        away = sum(weight.nbytes for weight in unet.parameters() if weight.device != device)
        return free_memory(device) - step - away

    @classmethod
    def from_svd(
        cls, svd: SVDModel, *, refiner_source: Path | None = None, with_til: bool = False
    ) -> SpatialDreamer:
        """Make an untrained SpatialDreamer from SVD.

        Its UNet with an empty bank equals SVD's. A UNet of 9 channels and 3 time ids, as StereoCrafter's,
        stays as it is and knows no stereo deviation strength. Such a one, and any other that took the place
        of the checkpoint's, came without RefinerNet and reads the reference only when asked to. All is in
        evaluation mode, without gradients.

        Args:
            svd: The base model; its UNet's weights are shared, or the UNet itself if it is wide enough.
            refiner_source: Weights of Stable Diffusion 2.1's UNet, see `make_refiner`; None for SVD's own.
            with_til: Whether it has a TIL, as stage 2 of training needs. Untrained, it changes nothing but
                the time that RefinerNet takes.

        Raises:
            InputError: If the weights cannot be read or do not fit.
        """
        refiner = make_refiner(svd.unet, weights=refiner_source, scaling=svd.codec.scaling)
        timestep = SVD_CLEAN_TIMESTEP if refiner_source is None else SD_CLEAN_TIMESTEP
        config = SpatialDreamerConfig(refiner_timestep=timestep)
        channels = in_channels(svd)
        trained = svd.unet.config.in_channels >= channels  # to fill holes, on clean pictures alone
        if trained:
            config = dataclasses.replace(config, noise_augmentation=0.0)
        if trained or svd.replaced:
            config = dataclasses.replace(config, reads_reference=False)
        til = TemporalInteraction.from_refiner(refiner, config) if with_til else None
        unet = svd.unet
        if unet.config.in_channels < channels:
            unet = widen_unet(unet, in_channels=channels, time_ids=TIME_IDS)
        return dataclasses.replace(assemble(svd, unet, refiner, til, config), fills_holes=trained)


def assemble(
    svd: SVDModel,
    unet: Any,
    refiner: Any,
    til: TemporalInteraction | None,
    config: SpatialDreamerConfig,
) -> SpatialDreamer:
    """Put networks together for inference: the UNet takes the place of SVD's and reads a new bank."""
    bank = FeatureBank()
    install_readers(unet, bank)
    network = SpatialDreamer(dataclasses.replace(svd, unet=unet), refiner, til, bank, config)
    for module in network.modules:
        module.eval().requires_grad_(False)
    return network


def add_deviation_map(network: SpatialDreamer) -> SpatialDreamer:
    """Give a network input channels for the deviation map, of no weight, so that they change nothing.

    Args:
        network: Returned as it is if it has them already; else its weights are shared.
    """
    if network.config.deviation_map:
        return network
    svd, config = network.svd, dataclasses.replace(network.config, deviation_map=True)
    unet = widen_unet(svd.unet, in_channels=in_channels(svd, deviation_map=True), time_ids=TIME_IDS)
    wide = assemble(svd, unet, network.refiner, network.til, config)
    return dataclasses.replace(wide, on_work=network.on_work, fills_holes=network.fills_holes)
