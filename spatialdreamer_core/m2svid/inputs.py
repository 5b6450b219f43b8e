"""What M2SVid sees of a window: two views' latents, a mask, and an image embedding of each left frame.

As in the authors' inference script: the hole mask is closed by a square of 11 px, the rendered view is black
where it is set, then it is dilated by a square of 3 px and brought to [-1, 1] and to the latents' size
without antialiasing. Both views are under normal noise of standard deviation 0.02, as pictures in [-1, 1];
the image tower sees the left view without it. A finished frame has a mask of -1 and bears no noise, as in the
second stage of M2SVid's training, where some frames of the rendered view were the true ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_range, check_video
from ..svd import embed_images
from .model import M2SVid
from .noise import NoisyView, ViewNoise

_CLOSING, _DILATION = 11, 3  # px, sides of the squares
_CHUNK = 4  # frames on their way to the VAE


class EncodedWindow(NamedTuple):
    """A window or region as the model sees it, in float32 on the CPU."""

    left: Tensor  # [F, C, h, w] unscaled
    warped: Tensor  # [F, C, h, w] unscaled
    mask: Tensor  # [F, 1, h, w] in [-1, 1], 1 = hole
    embeddings: Tensor  # [F, 1, D], the left view's


def prepare_holes(
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], above 0.5: hole
) -> tuple[Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W] of 0 and 1
    """Return the rendered view, black in its holes, and the mask, as the model knows them.

    Holes grow together over up to 10 px. The mask is a pixel wider than what is black.

    Args:
        warped: The rendered view.
        hole: Its hole mask.

    Raises:
        InputError: If the two do not belong together.
    """
    check_video("warped", warped, channels=3)
    check_video("hole", hole, channels=1, like=warped, like_name="warped")
    closed = -_dilate(-_dilate((hole > 0.5).to(warped), _CLOSING), _CLOSING)
    return torch.where(closed > 0.5, 0.0, warped), _dilate(closed, _DILATION)


def mask_to_latents(
    mask: Tensor,  # [F, 1, H, W] of 0 and 1
    *,
    size: tuple[int, int],
) -> Tensor:  # [F, 1, h, w] in [-1, 1]
    """Bring a mask to the range and the size of the UNet's input, bilinearly without antialiasing."""
    return F.interpolate(mask.float() * 2 - 1, size=size, mode="bilinear", align_corners=False)


@torch.no_grad()
def encode_window(
    model: M2SVid,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], above 0.5: hole
    *,
    finished: int = 0,
    noise: ViewNoise | None = None,
    embeddings: Tensor | None = None,  # [F, 1, D]
    on_frame: Callable[[int], None] | None = None,
) -> EncodedWindow:
    """Encode a window of whole frames, or a region that was cut out of them.

    Args:
        model: The model, whose VAE and image tower are used.
        left: The left view; height and width are multiples of what the UNet's levels halve (64 px).
        warped: The rendered view, whose first frames may be finished views.
        hole: Its hole mask, of which `prepare_holes` makes the model's; that of finished frames is not read.
        finished: How many frames at the beginning are finished views.
        noise: The noise on the views; None: of seed 0, by the frames' places in the window.
        embeddings: The image embeddings of the left frames, such as those of the whole frames for a region;
            None: made from `left`.
        on_frame: Called with the number of frames that are done; may raise to interrupt.

    Raises:
        InputError: If the views do not belong together, or their size is no multiple.
    """
    _check_window(model, left, warped, hole)
    check_range("finished", finished, 0, len(left), "frames", whole=True)
    codec, (height, width) = model.svd.codec, left.shape[-2:]
    size = (height // codec.factor, width // codec.factor)
    networks = (model.svd.vae, *([model.svd.image_encoder] if embeddings is None else []))
    model.announce(*networks, frames=len(left), latent_size=size)
    noise = ViewNoise() if noise is None else noise
    noisy = [NoisyView(view, noise, (height, width)) for view in range(2)]
    parts = []
    for first in range(0, len(left), _CHUNK):
        frames = range(first, min(first + _CHUNK, len(left)))
        cut = slice(frames.start, frames.stop)
        shown, mask = prepare_holes(warped[cut], hole[cut])
        known = max(0, min(finished - first, len(frames)))
        shown[:known], mask[:known] = warped[cut][:known], 0.0
        pictures = left[cut]
        views = (
            noisy[0].add(pictures, frames),
            torch.cat([shown[:known].float(), noisy[1].add(shown[known:], frames[known:])]),
        )
        for view in noisy:  # while the VAE works
            view.draw_ahead(range(frames.stop, min(frames.stop + _CHUNK, len(left))))
        latents = [codec.encode(view) for view in views]
        if embeddings is None:
            tokens = embed_images(model.svd.image_encoder, pictures)
        else:
            tokens = embeddings[cut]
        parts.append((*latents, mask_to_latents(mask, size=size).cpu(), tokens.float().cpu()))
        if on_frame is not None:
            on_frame(frames.stop)
    return EncodedWindow(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _check_window(model: M2SVid, left: Tensor, warped: Tensor, hole: Tensor) -> None:
    """Check that views belong together and are of a size that the model takes."""
    check_video("left", left, channels=3)
    check_video("warped", warped, channels=3, like=left, like_name="left")
    check_video("hole", hole, channels=1, like=left, like_name="left")
    multiple, (height, width) = model.svd.size_multiple, left.shape[-2:]
    if height % multiple or width % multiple:
        raise InputError(
            f"height and width of a window must be multiples of {multiple} px, got {width}x{height}; pad the "
            "frames with pad_to_multiple"
        )


def _dilate(
    mask: Tensor,  # [F, 1, H, W]
    side: int,
) -> Tensor:  # [F, 1, H, W]
    """Return the largest value in a square around each pixel; there is nothing outside of the picture."""
    rows = F.max_pool2d(mask, (side, 1), stride=1, padding=(side // 2, 0))
    return F.max_pool2d(rows, (1, side), stride=1, padding=(0, side // 2))
