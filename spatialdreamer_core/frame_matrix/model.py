"""The model of the frame matrix: Stable Video Diffusion as it was published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..svd import SVDModel, Work
from ..svd.picture_condition import check_plain_unet


@dataclass
class FrameMatrixModel:
    """SVD for the frame matrix, in evaluation mode and without gradients.

    Attributes:
        svd: The networks.
        on_work: Called before networks work, to bring them to their device.

    Raises:
        InputError: If the UNet is another one's.
    """

    svd: SVDModel
    on_work: Callable[[Work], None] | None = None

    def __post_init__(self) -> None:
        """Check the UNet."""
        check_plain_unet(self.svd)
        for module in self.modules:
            module.eval().requires_grad_(False)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks that are moved between devices together."""
        return self.svd.modules

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self.svd.unet.device

    def announce(self, *networks: nn.Module, frames: int, size: tuple[int, int]) -> None:
        """Tell `on_work` which networks work next, and on how many frames of which height and width, px."""
        if self.on_work is not None:
            self.on_work(Work(networks, frames, *size))
