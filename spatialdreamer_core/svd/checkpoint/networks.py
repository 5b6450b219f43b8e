"""SVD's three networks, built on the meta device from a config and tried out before weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ...weights.files import Header
from ...weights.networks import build_network, check_types
from ..model import LATENT_FACTOR
from ..unet import build_unet, check_unet, time_id_count

ADDRESS = "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt"  # of the published model
_SIDE = 8  # latents, of which three halvings leave one


def build_svd_unet(
    config: Mapping[str, Any], header: Header, *, file: Path, views: int = 2
) -> UNetSpatioTemporalConditionModel:
    """Build SVD's UNet on the meta device, widened or not.

    Args:
        config: Its config, in diffusers' names.
        header: The file with its weights.
        file: Where the config is from, for messages.
        views: Latents that it takes in, the noisy ones included.

    Raises:
        InputError: If the config is damaged, another network's, or does not fit the weights.
    """

    def build(config: dict[str, Any]) -> UNetSpatioTemporalConditionModel:
        check_types(UNetSpatioTemporalConditionModel, config)
        unet = build_unet(**config)
        check_unet(unet, file, views=views)
        return unet

    def run(unet: UNetSpatioTemporalConditionModel) -> None:
        _check_shape(
            unet(
                torch.zeros(1, 2, unet.config.in_channels, _SIDE, _SIDE),
                torch.zeros(1),
                torch.zeros(1, 1, unet.config.cross_attention_dim),
                torch.zeros(1, time_id_count(unet)),
            ).sample,
            (1, 2, unet.config.out_channels, _SIDE, _SIDE),
        )

    return build_network(build, config, header, file=file, what="UNetSpatioTemporalConditionModel", trial=run)


def build_svd_vae(config: Mapping[str, Any], header: Header, *, file: Path) -> AutoencoderKLTemporalDecoder:
    """Build SVD's autoencoder on the meta device, see `build_svd_unet`."""

    def build(config: dict[str, Any]) -> AutoencoderKLTemporalDecoder:
        check_types(AutoencoderKLTemporalDecoder, config)
        return AutoencoderKLTemporalDecoder.from_config(config)

    def run(vae: AutoencoderKLTemporalDecoder) -> None:
        pixels = LATENT_FACTOR * _SIDE
        latents = vae.encode(torch.zeros(2, 3, pixels, pixels)).latent_dist.mode()
        _check_shape(latents, (2, 4, _SIDE, _SIDE))
        _check_shape(vae.decode(latents, num_frames=2).sample, (2, 3, pixels, pixels))

    return build_network(build, config, header, file=file, what="AutoencoderKLTemporalDecoder", trial=run)


def build_image_encoder(
    config: Mapping[str, Any], header: Header, *, file: Path
) -> CLIPVisionModelWithProjection:
    """Build SVD's image tower on the meta device, see `build_svd_unet`."""

    def build(config: dict[str, Any]) -> CLIPVisionModelWithProjection:
        return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))

    def run(tower: CLIPVisionModelWithProjection) -> None:
        size = tower.config.image_size
        _check_shape(tower(torch.zeros(1, 3, size, size)).image_embeds, (1, tower.config.projection_dim))

    return build_network(build, config, header, file=file, what="CLIPVisionModelWithProjection", trial=run)


def _check_shape(result: Tensor, expected: tuple[int, ...]) -> None:
    """Check that a network on the meta device returns tensors of the same shape as SVD's."""
    if tuple(result.shape) != expected:
        raise ValueError(f"it gives {list(result.shape)} where {list(expected)} is needed")
