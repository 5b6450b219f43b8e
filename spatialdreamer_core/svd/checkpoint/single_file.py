"""The networks of a single file in sgm's names: built from its shapes, loaded from their places in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...checks import InputError
from ...parsing import parsing
from ...weights.files import Header, read_header
from ...weights.loading import Table, check_tensors, load_into
from .identify import SVD, identify
from .networks import ADDRESS, build_image_encoder, build_svd_unet, build_svd_vae
from .sgm_keys import IMAGE_ENCODER, UNET, VAE, image_encoder_table, unet_table, vae_table
from .sgm_shapes import (
    has_transformers_tower,
    infer_image_encoder_config,
    infer_unet_config,
    infer_vae_config,
)

_QUANT_CONV = "quant_conv."  # of the autoencoder, which files may lack; it is the identity then
# What files hold beside the three networks: sgm's second copy of the autoencoder, what it kept of CLIP's text
# half, averaged weights and notes about sampling.
UNUSED = rf"(?!{re.escape(UNET)}|{re.escape(VAE)}|{re.escape(IMAGE_ENCODER)})|{re.escape(VAE)}loss\."


@dataclass(frozen=True)
class Part:
    """A network of a file."""

    network: Any  # on the meta device
    table: Table  # the places of its tensors
    header: Header  # of the file

    def load(self, dtype: torch.dtype, device: torch.device) -> Any:
        """Load its weights, see `load_into`."""
        network = load_into(self.network, self.table, self.header, dtype, device)
        if f"{_QUANT_CONV}weight" in set(network.state_dict()) - set(self.table):
            torch.nn.init.dirac_(network.quant_conv.weight)
            network.quant_conv.bias.zero_()
        return network


def read_svd_header(file: Path) -> Header:
    """Read the header of a single file that must hold a whole Stable Video Diffusion.

    Raises:
        InputError: If it is damaged or holds another model.
    """
    header = read_header(file)
    kind = identify(header.shapes)
    if kind != SVD:
        raise InputError(
            f"{file} must be a Stable Video Diffusion checkpoint with UNet, autoencoder and image encoder, "
            f"got what looks like {kind}; choose svd_xt.safetensors from {ADDRESS}"
        )
    return header


def find_unet(header: Header, *, frames: int, views: int = 2) -> Part:
    """Find the UNet of a file.

    Args:
        header: The file's.
        frames: How many at a time it was trained on.
        views: Latents that it takes in, the noisy ones included.

    Raises:
        InputError: If its layout is another one.
    """
    with _published(header):
        config = infer_unet_config(header.shapes) | {"num_frames": frames}
        unet = build_svd_unet(config, header, file=header.file, views=views)
    return Part(unet, unet_table(unet.state_dict()), header)


def find_vae(header: Header) -> Part:
    """Find the autoencoder of a file, see `find_unet`."""
    with _published(header):
        vae = build_svd_vae(infer_vae_config(header.shapes), header, file=header.file)
    names = list(vae.state_dict())
    if f"{VAE}{_QUANT_CONV}weight" not in header.shapes:
        names = [name for name in names if not name.startswith(_QUANT_CONV)]
    return Part(vae, vae_table(names), header)


def find_image_encoder(header: Header) -> Part:
    """Find the image tower of a file, see `find_unet`."""
    with _published(header):
        config = infer_image_encoder_config(header.shapes).to_dict()
        tower = build_image_encoder(config, header, file=header.file)
    as_comfyui = has_transformers_tower(header.shapes)
    return Part(tower, image_encoder_table(tower.state_dict(), transformers_layout=as_comfyui), header)


def check_parts(
    header: Header,
    parts: Iterable[Part],
    *,
    unused: str = UNUSED,
    what: str = "Stable Video Diffusion",
    address: str = ADDRESS,
) -> None:
    """Check that a file holds what its parts need and nothing else, see `check_tensors`."""
    networks = [(part.network, part.table) for part in parts]
    check_tensors(header, networks, unused=unused, what=what, address=address)


def _published(header: Header) -> Any:
    """Turn what is raised on a layout that was never published into one error for the user."""
    remedy = f"download it again, or choose {ADDRESS}"
    return parsing(header.file, rule="a Stable Video Diffusion must have the published layout", remedy=remedy)
