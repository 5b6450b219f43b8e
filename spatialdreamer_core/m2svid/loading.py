"""Loading M2SVid, from any of its files; see `checkpoint.py` for what they hold."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..svd import SVDModel, choose_dtype
from ..svd.checkpoint.load import check_fit
from .checkpoint import read_checkpoint
from .model import M2SVid, assemble
from .variant import FULL_ATTENTION, Variant


def load_m2svid(
    file: Path | str,
    *,
    variant: Variant | None = None,
    svd: str | os.PathLike[str] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> M2SVid:
    """Load M2SVid, in evaluation mode and without gradients.

    Args:
        file: `m2svid_weights.pt` or `m2svid_no_full_atten_weights.pt` as published, safetensors in the same
            names, or what `convert_m2svid` wrote.
        variant: `full_attention` or `no_full_attention`; None takes what the file's metadata or its name
            says, which the log tells.
        svd: A single safetensors file of Stable Video Diffusion, such as `svd_xt.safetensors`, for the
            autoencoder or image encoder where `file` lacks them.
        dtype: Precision of the weights, see `choose_dtype`; None is the best for the device.
        device: Where the weights go.

    Raises:
        InputError: If a file is missing, damaged, unsafe, quantised, incomplete or of another model or
            variant, or the variant cannot be told.
    """
    device = torch.device(device)
    dtype = choose_dtype(device, dtype)
    checkpoint = read_checkpoint(file, variant=variant, svd=svd)
    networks = SVDModel(*(part.load(dtype, device) for part in checkpoint.parts))
    check_fit(networks, checkpoint.file)
    return assemble(networks, full_attention=checkpoint.variant == FULL_ATTENTION)
