"""SVD's image embeddings: CLIP's image tower on frames prepared as in SVD's training.

A frame is squeezed to the tower's square, 224 px for the published one, whatever its shape. As in Stability
AI's generative-models (kornia's `resize`), larger frames are blurred by a Gaussian of sigma (factor - 1) / 2
pixels first, and sampling is bicubic with aligned corners.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from ..checks import InputError
from ..contracts import check_call
from .vae import own_precision

_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pictures, R, G, B
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@torch.no_grad()
def embed_images(
    image_encoder: CLIPVisionModelWithProjection,
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    chunk: int = 16,
) -> Tensor:  # [F, 1, D]
    """Embed frames for the UNet's cross-attention, in the encoder's own precision and on its device.

    Args:
        image_encoder: The image tower.
        frames: The frames, on any device.
        chunk: Frames that are encoded at once, at least 1.

    Returns:
        One token a frame.

    Raises:
        InputError: If the frames break their rule (`contracts.TABLE`), or `chunk` is less than 1.
    """
    check_call("embed_images", frames=frames)
    if chunk < 1:
        raise InputError(f"`chunk` must be at least 1 frame, got {chunk}; leave it at its default")
    parameter = next(image_encoder.parameters())
    size = image_encoder.config.image_size
    mean, deviation = torch.tensor([_MEAN, _DEVIATION], device=parameter.device).view(2, 3, 1, 1)
    embeddings = []
    with own_precision(parameter.device):
        for part in frames.split(chunk):
            pictures = _resize(part.to(parameter.device, torch.float32), size)
            pictures = ((pictures - mean) / deviation).to(parameter.dtype)
            embeddings.append(image_encoder(pictures).image_embeds)
    return torch.cat(embeddings).unsqueeze(1)


def _resize(
    frames: Tensor,  # [F, 3, H, W]
    size: int,
) -> Tensor:  # [F, 3, size, size]
    """Squeeze frames to a square: blurred along each axis that shrinks, then sampled bicubically."""
    for axis in (2, 3):
        factor = frames.shape[axis] / size
        if factor > 1:
            frames = _blur(frames, sigma=(factor - 1) / 2, axis=axis)
    return functional.interpolate(frames, size=(size, size), mode="bicubic", align_corners=True)


def _blur(frames: Tensor, *, sigma: float, axis: int) -> Tensor:
    """Blur frames along one axis by a Gaussian cut at 2 sigma, mirrored at the borders."""
    radius = max(int(4 * sigma), 3) // 2
    offsets = torch.arange(-radius, radius + 1, device=frames.device, dtype=frames.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
    padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
    padded = functional.pad(frames, padding, mode="reflect")
    return functional.conv2d(padded, kernel.expand(3, -1, -1, -1), groups=3)
