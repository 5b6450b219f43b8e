"""M2SVid's networks as one value: SVD with a UNet of 13 inputs, and whether masked tokens see all frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..checks import InputError
from ..svd import OnSVD, SVDModel, Work, time_id_count

VIEWS = 3  # of latents that the UNet takes in: noise, which is zero here, the left and the rendered view
TIME_IDS = 3  # frames a second, motion bucket, noise augmentation, as SVD has them


@dataclass
class M2SVid(OnSVD):
    """A loaded M2SVid.

    Two variants were released, with the same architecture: in one of them the masked tokens of a window also
    attend to all of its frames (`full_attention.py`).
    """

    svd: SVDModel
    full_attention: bool
    on_work: Callable[[Work], None] | None = None  # brings networks to the device before they work


def in_channels(svd: SVDModel) -> int:
    """Return the inputs of M2SVid's UNet: noise, the left and the rendered view's latents, and the mask."""
    return VIEWS * svd.codec.channels + 1


def assemble(svd: SVDModel, *, full_attention: bool) -> M2SVid:
    """Put networks together for inference: in evaluation mode, without gradients.

    Args:
        svd: The networks.
        full_attention: Whether the UNet was trained with full attention of masked tokens.

    Raises:
        InputError: If the UNet is another one's.
    """
    unet: Any = svd.unet
    wanted, got = (in_channels(svd), TIME_IDS), (unet.config.in_channels, time_id_count(unet))
    if got != wanted:
        raise InputError(
            f"the UNet of M2SVid must have {wanted[0]} input channels and {wanted[1]} time ids, got {got[0]} "
            f"and {got[1]}; choose a checkpoint of M2SVid"
        )
    model = M2SVid(svd, full_attention)
    for module in model.modules:
        module.eval().requires_grad_(False)
    return model
