"""Stable Video Diffusion as its three networks: what every filler on top of it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionModelWithProjection

    from .codec import Codec, PixelCodec

SCALING = 0.18215  # latents = SCALING · what the VAE's encoder gives ("unscaled")
LATENT_FACTOR = 8  # px of a latent, each side


@dataclass(frozen=True)
class Work:
    """The next piece of work: which networks do it, and on how large a clip or region."""

    networks: tuple[nn.Module, ...]
    frames: int  # of all regions that are run at once
    height: int  # px
    width: int  # px


@dataclass
class SVDModel:
    """A loaded SVD: denoiser, autoencoder and image tower, each on its device and in its precision.

    `replaced` says whether the denoiser is another one than the checkpoint's, trained for a task of its own.
    """

    unet: UNetSpatioTemporalConditionModel
    vae: AutoencoderKLTemporalDecoder | PixelCodec
    image_encoder: CLIPVisionModelWithProjection
    replaced: bool = False

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks that are moved between devices together."""
        return self.unet, self.vae, self.image_encoder

    @property
    def codec(self) -> Codec:
        """What turns frames into latents and back."""
        from .codec import make_codec  # which asks this module for SVD's scale

        return make_codec(self.vae)

    @property
    def size_multiple(self) -> int:
        """What height and width of the diffused frames are multiples of, px: 64 of SVD's four levels."""
        return self.codec.factor * 2 ** (len(self.unet.config.block_out_channels) - 1)


class OnSVD:
    """What models on SVD have in common: their networks, where these run, and who is told that they will."""

    svd: SVDModel
    on_work: Callable[[Work], None] | None  # brings networks to the device before they work

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks that are moved between devices together."""
        return self.svd.modules

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self.svd.unet.device

    def announce(self, *networks: nn.Module | None, frames: int, latent_size: tuple[int, int]) -> None:
        """Tell `on_work` which networks work next, None being none, and on how much.

        Args:
            networks: The networks.
            frames: Frames of all regions that are run at once.
            latent_size: Height and width of a region's latents.
        """
        if self.on_work is not None:
            height, width = (self.svd.codec.factor * side for side in latent_size)
            present = tuple(network for network in networks if network is not None)
            self.on_work(Work(present, frames, height, width))
