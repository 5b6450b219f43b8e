"""A tiny M2SVid with random weights, of the real classes, and the file that its authors would make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from . import tiny_svd

CHANNELS = 13  # zeros, two views, a mask
_EXTRA = {  # what the authors' file holds beside the networks
    "conditioner.embedders.0.open_clip.model.positional_embedding": (77, 64),
    "conditioner.embedders.0.open_clip.model.logit_scale": (),
    "loss_fn.lpips.lin0.model.1.weight": (1, 64, 1, 1),
}


def make_model(*, full_attention: bool = True, seed: int = 0) -> Any:
    """Make a model whose UNet is built as M2SVid's."""
    from spatialdreamer_core.m2svid.model import assemble
    from spatialdreamer_core.svd import SVDModel, build_unet

    unet = tiny_svd.make_unet(in_channels=CHANNELS, seed=seed)
    built = build_unet(**unet.config)
    built.load_state_dict(unet.state_dict())
    svd = SVDModel(built, tiny_svd.make_vae(seed=seed + 1), tiny_svd.make_image_encoder(seed=seed + 2))
    return assemble(svd, full_attention=full_attention)


def official_state(model: Any) -> dict[str, torch.Tensor]:
    """Return a model's tensors by the names that they have in the authors' network.

    It encodes each view by an autoencoder of its own (embedders 3 and 5, the same weights), and decodes by
    that of the first stage.
    """
    from spatialdreamer_core.svd.checkpoint.save import _fold_quant_conv
    from spatialdreamer_core.svd.checkpoint.sgm_keys import (
        VAE,
        image_encoder_table,
        to_stored,
        unet_table,
        vae_table,
    )

    svd = model.svd
    unet, vae, tower = (network.state_dict() for network in svd.modules)
    stored = to_stored(unet_table(unet), unet) | to_stored(image_encoder_table(tower), tower)
    folded = _fold_quant_conv(vae)
    stored |= to_stored(vae_table(folded), folded)
    for key, tensor in to_stored(vae_table(vae), vae).items():
        name = key.removeprefix(VAE)
        if name.startswith(("encoder.", "quant_conv.")):
            stored |= {f"conditioner.embedders.{index}.encoder.{name}": tensor.clone() for index in (3, 5)}
    torch.manual_seed(0)
    return stored | {name: torch.randn(shape) for name, shape in _EXTRA.items()}


def save_official(model: Any, file: Path) -> None:
    """Save a model as the authors' training does: DeepSpeed's dictionary, the tensors under `module`."""
    state = {f"module.{key}": tensor.contiguous() for key, tensor in official_state(model).items()}
    torch.save({"module": state, "global_steps": 1, "dp_world_size": 8}, file)
