"""The model of the frame matrix: Stable Video Diffusion as it was published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..svd import OnSVD, SVDModel, Work
from ..svd.picture_condition import check_plain_unet


@dataclass
class FrameMatrixModel(OnSVD):
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
