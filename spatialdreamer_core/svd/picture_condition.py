"""Conditioning SVD as it was trained: on one picture, whatever number of frames is denoised.

SVD continues a picture. Its UNet sees that picture's latents beside those of each frame (unscaled, and under
a little noise), the picture's CLIP embedding in every cross-attention, and three time ids: frames a second
less one, a motion bucket (0 to 255, how much moves) and the noise on the picture. Guidance compares this with
no picture at all, by a scale that is linear over the frames.

An untrained SpatialDreamer's UNet is SVD's, too: its further inputs have no weight yet, and get zeros here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError
from .image_encoder import embed_images
from .schedule import clean_estimate, noise_time, scale_input
from .unet import time_id_count

if TYPE_CHECKING:
    from .model import SVDModel

FPS, MOTION_BUCKET, NOISE_AUGMENTATION = 7.0, 127, 0.02  # that SVD is run with
_TIME_IDS = 3
_SPATIALDREAMER = "the sampler of SpatialDreamer (TIL SVD Sampler)"
_OTHERS = {  # by input channels and time ids; StereoCrafter's has 9 and 3
    (9, 3): _SPATIALDREAMER,
    (9, 4): _SPATIALDREAMER,
    (13, 4): _SPATIALDREAMER,  # with a deviation map
    (13, 3): "the refiner of M2SVid (M2SVid Refiner)",
}


class PictureCondition(NamedTuple):
    """The picture that a sequence begins with."""

    latents: Tensor  # [C, h, w] unscaled
    embedding: Tensor  # [1, D]


def check_plain_unet(svd: SVDModel) -> None:
    """Check that a model's UNet is SVD's own, and was not trained for another task.

    One that was widened and not trained since, as an untrained SpatialDreamer's, is still SVD's own.

    Raises:
        InputError: If it is not; the message names the sampler that the UNet belongs to.
    """
    wanted = 2 * svd.codec.channels
    channels, ids = svd.unet.config.in_channels, time_id_count(svd.unet)
    if (channels, ids) == (wanted, _TIME_IDS):
        return
    if channels >= wanted and ids >= _TIME_IDS and _ignores_more(svd.unet, channels=wanted):
        return
    other = _OTHERS.get((channels, ids), "another sampler")
    raise InputError(
        f"the UNet must be Stable Video Diffusion's own, of {wanted} input channels and {_TIME_IDS} time "
        f"ids, got one of {channels} and {ids}, which belongs to {other}; load "
        "svd_xt.safetensors without trained weights, or use that one"
    )


def _ignores_more(unet: Any, *, channels: int) -> bool:
    """Tell whether input channels and time ids beyond SVD's own, have no weight."""
    ids = _TIME_IDS * unet.config.addition_time_embed_dim
    more = unet.conv_in.weight[:, channels:], unet.add_embedding.linear_1.weight[:, ids:]
    return not any(bool(weight.any()) for weight in more)


def encode_pictures(
    svd: SVDModel,
    pictures: Tensor,  # [N, 3, H, W] in [0, 1]; sides are multiples of the codec's factor
    *,
    noise: Tensor | None = None,  # [N, 3, H, W]
    augmentation: float = NOISE_AUGMENTATION,
    on_frame: Callable[[int], None] | None = None,
) -> list[PictureCondition]:  # on the CPU
    """Encode pictures, each a condition of its own.

    Args:
        svd: The model, whose VAE and image tower are used.
        pictures: The pictures.
        noise: Standard normal noise that is put on them; None: none.
        augmentation: Its sigma, for pictures in [-1, 1].
        on_frame: Called with the pictures that the VAE has done; may raise to interrupt.
    """
    embeddings = embed_images(svd.image_encoder, pictures).float().cpu()
    shown = pictures if noise is None else pictures + noise.to(pictures) * (augmentation / 2)
    latents = svd.codec.encode(shown, on_frame=on_frame)
    return [PictureCondition(*parts) for parts in zip(latents, embeddings, strict=True)]


def picture_time_ids(
    *, fps: float = FPS, motion_bucket: int = MOTION_BUCKET, augmentation: float = NOISE_AUGMENTATION
) -> Tensor:  # [1, 3]
    """Return what SVD's UNet takes as `added_time_ids`."""
    return torch.tensor([[fps - 1, motion_bucket, augmentation]], dtype=torch.float32)


class PictureDenoiser:
    """SVD's UNet as a denoiser of sequences that begin with a picture.

    Args:
        unet: SVD's UNet.
        guidance_min: Scale of the first frame.
        guidance_max: Scale of the last frame; 1 at both ends is no guidance, and half the work.
    """

    def __init__(self, unet: Any, *, guidance_min: float = 1.0, guidance_max: float = 1.0) -> None:
        self._unet, self._scales = unet, (guidance_min, guidance_max)

    @torch.inference_mode()
    def __call__(
        self,
        noisy: Tensor,  # [F, C, h, w]
        sigma: float,
        condition: PictureCondition,
        time_ids: Tensor,  # [1, 3]
    ) -> Tensor:  # [F, C, h, w] float32, on the UNet's device
        """Return the clean estimate of a sequence."""
        device, frames = self._unet.device, len(noisy)
        noisy, time_ids = noisy.to(device, torch.float32), time_ids.to(device)
        latents, embedding = (part.to(device)[None] for part in condition)
        clean = self._predict(noisy, sigma, latents, embedding, time_ids)
        if self._scales == (1.0, 1.0):
            return clean
        free = self._predict(noisy, sigma, torch.zeros_like(latents), torch.zeros_like(embedding), time_ids)
        scales = torch.linspace(*self._scales, frames, device=device)
        return torch.lerp(free, clean, scales[:, None, None, None])

    def _predict(
        self, noisy: Tensor, sigma: float, latents: Tensor, embedding: Tensor, time_ids: Tensor
    ) -> Tensor:
        """Run the UNet once."""
        level = torch.tensor([sigma], device=noisy.device)
        shown = latents.expand(len(noisy), -1, -1, -1)
        sample = torch.cat([scale_input(noisy, sigma), shown], dim=1)[None].to(self._unet.dtype)
        sample = F.pad(sample, (0, 0, 0, 0, 0, self._unet.config.in_channels - sample.shape[2]))
        time_ids = F.pad(time_ids, (0, time_id_count(self._unet) - time_ids.shape[1]))
        embedding = embedding.to(self._unet.dtype)
        output = self._unet(sample, noise_time(level), embedding, time_ids, return_dict=False)[0]
        return clean_estimate(output[0].float(), noisy, sigma)
