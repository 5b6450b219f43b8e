"""Filling holes by a UNet that was not trained to: Stable Video Diffusion as it was published.

SVD continues one picture, so that is what each window is shown: its first frame, repeated over the window,
with that picture's image embedding. In later windows that run in turn, as those of a film do, it is a
finished frame. What ties the result to the rendered view are known latents, which are put back into each
clean estimate, and resampling, which lets the holes answer to them (`svd.known_latents`). Neither the hole
mask nor the deviation strength means anything to such a UNet: their weights are zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..svd.canvas import Canvas
from ..svd.known_latents import ONCE, KnownLatents, Resampling, weigh_known
from ..svd.noise import FrameNoise
from ..svd.picture_condition import PictureCondition, encode_pictures
from ..svd.schedule import frame_noise
from ..svd.windows import Region
from .inputs import LATENT_NOISE, PICTURE_NOISE
from .network import SpatialDreamer

BLACK_HOLES = (
    "the holes are black, and a model without trained weights continues what it is shown: fill them by Fast "
    "Fill before it"
)
_CHUNK = 8  # frames whose masks are on the canvas at once


class FirstPictures:
    """What windows begin with.

    Args:
        model: The model.
        canvas: The size at which the clip is diffused.
        warped: The rendered view, whose holes have been filled before.
        augmentation: Sigma of the noise on a picture.
        seed: Of that noise.
        first_frame: Index of the clip's first frame in its film.
        on_wait: Called while the VAE works; may raise to interrupt.
    """

    def __init__(
        self,
        model: SpatialDreamer,
        canvas: Canvas,
        warped: Tensor,  # [F, 3, H, W] in [0, 1]
        *,
        augmentation: float,
        seed: int,
        first_frame: int,
        on_wait: Callable[[], None] | None,
    ) -> None:
        self._model, self._canvas, self._warped = model, canvas, warped
        self._augmentation, self._seed, self._first_frame = augmentation, seed, first_frame
        self._on_frame = None if on_wait is None else lambda done: on_wait()
        self._encoded: dict[int, PictureCondition] = {}
        self._finished, self._latents = range(0), torch.empty(0)

    def finish(
        self,
        frames: range,
        latents: Tensor,  # [F, C, h, w] scaled
    ) -> None:
        """Take a window's finished latents, with which the next one begins."""
        self._finished, self._latents = frames, latents
        self._encoded.clear()

    def of(self, frames: range) -> PictureCondition:
        """Return what a window begins with."""
        first = frames.start
        if first not in self._encoded:
            self._encoded[first] = self._encode(first)
        return self._encoded[first]

    def _encode(self, frame: int) -> PictureCondition:
        """Encode a frame, a finished one as it was finished."""
        svd, canvas = self._model.svd, self._canvas
        self._model.announce(svd.vae, svd.image_encoder, frames=1, latent_size=canvas.latent_size)
        if frame in self._finished:
            own = self._finished.index(frame)
            picture = svd.codec.decode(self._latents[own : own + 1], on_frame=self._on_frame)
        else:
            picture = canvas.fit(self._warped[frame : frame + 1])
        noise = None
        if self._augmentation > 0:
            height, width = picture.shape[-2:]
            index = [self._first_frame + frame]
            noise = frame_noise(
                self._seed, index, height=height, width=width, channels=3, stream=PICTURE_NOISE
            )
        (condition,) = encode_pictures(
            svd, picture, noise=noise, augmentation=self._augmentation, on_frame=self._on_frame
        )
        return condition


def are_black(
    warped: Tensor,  # [F, 3, H, W]
    hole: Tensor,  # [F, 1, H, W], above 0.5: hole
) -> bool:
    """Tell whether the holes of all frames are black, as a warp leaves them."""
    frames = zip(warped, hole, strict=True)
    return not any(bool(torch.where(mask > 0.5, frame, 0).any()) for frame, mask in frames)


def find_known(
    pictures: Tensor,  # [F, C, h, w] scaled, the rendered view's
    hole: Tensor,  # [F, 1, H, W], above 0.5: hole
    canvas: Canvas,
) -> KnownLatents:
    """Tell which latents of a rendered view are known, and how far."""
    weights = [weigh_known(canvas.fit_mask(part).float(), canvas.factor).cpu() for part in hole.split(_CHUNK)]
    return KnownLatents(pictures, torch.cat(weights))


def make_resampling(
    passes: int, *, seed: int, first_frame: int, shape: tuple[int, int, int], device: torch.device
) -> Resampling:
    """Make the resampling of a run, whose noise depends on seed, frame, place and draw alone.

    Args:
        passes: How often each noise level is denoised.
        seed: Of the run.
        first_frame: Index of the clip's first frame in its film.
        shape: Of a frame's latents [C, h, w].
        device: Where the noise is wanted.
    """
    if passes == 1:
        return ONCE
    channels, height, width = shape

    def draw(region: Region, count: int) -> Tensor:
        stream = max(LATENT_NOISE, PICTURE_NOISE) + count
        noise = FrameNoise(seed, height=height, width=width, channels=channels, stream=stream)
        return region.cut_frame(noise.take((first_frame + frame for frame in region.frames), device))

    return Resampling(passes, draw)
