"""Clips of a dataset at the size that is trained, as pictures and as the networks see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_range
from ..spatialdreamer import SpatialDreamer
from ..spatialdreamer.inputs import encode_clip, encode_warped
from ..svd.canvas import Canvas

MIN_SIDE, MAX_SIDE = 16, 4096  # px, of what is trained


class Clip(Protocol):
    """Frames of a training pair, as forward-backward rendering makes them (`fill.render_pair`)."""

    @property
    def target(self) -> Tensor:  # [F, 3, H, W] in [0, 1]
        """x1, the true view."""

    @property
    def reference(self) -> Tensor:  # [F, 3, H, W] in [0, 1]
        """x2, the other eye's view, which the model reads."""

    @property
    def warped(self) -> Tensor:  # [F, 3, H, W] in [0, 1]
        """x̃1, x2 rendered back to x1, black in the holes."""

    @property
    def hole(self) -> Tensor:  # [F, 1, H, W], 1 = hole
        """M, the holes of x̃1."""


class ClipRecord(Protocol):
    """What a dataset says of a clip without opening it."""

    @property
    def name(self) -> str:
        """Its name, unique in the dataset."""

    @property
    def frames(self) -> int:
        """How many frames it has."""

    @property
    def held_out(self) -> bool:
        """Whether it is kept from training, for validation."""


def way_back(record: ClipRecord) -> float:
    """Return how far of the way to x1 a clip's view is rendered back; 1 where its dataset does not say."""
    return float(getattr(record, "way_back", 1.0))


class Clips(Protocol):
    """A dataset, as `dataset.open_dataset` opens it."""

    @property
    def records(self) -> Sequence[ClipRecord]:
        """Its clips."""

    def read(self, index: int, frames: range) -> Clip:
        """Read frames of a clip; InputError if they are damaged or missing."""


class FittedClip(NamedTuple):
    """A clip at the size that is trained; a `Clip`."""

    target: Tensor  # [F, 3, height, width] in [0, 1]
    reference: Tensor  # [F, 3, height, width] in [0, 1]
    warped: Tensor  # [F, 3, height, width] in [0, 1]
    hole: Tensor  # [F, 1, height, width], 0 or 1


class EncodedSample(NamedTuple):
    """Frames of a clip as the networks see them; all on the CPU, float32."""

    target: Tensor  # [F, C, h, w] scaled
    condition: Tensor  # [F, C, h, w] unscaled, blanked in the holes, without noise
    mask: Tensor  # [F, 1, h, w], 1 = hole
    reference: Tensor  # [F, C, h, w] scaled
    embeddings: Tensor  # [F, 1, D]


def fit_clip(clip: Clip, *, height: int, width: int) -> FittedClip:
    """Resize a clip until it covers a size, keeping its shape, and cut that size out of its centre.

    Frames are resized as the sampler's canvas does it, and a pixel that covers any hole is a hole. Holes of
    the rendered view are grey while it is resized, as the model is shown them, so that their black does not
    darken what lies beside them.

    Args:
        clip: The clip.
        height: px.
        width: px.

    Raises:
        InputError: If the size is out of range.
    """
    for name, side in (("height", height), ("width", width)):
        check_range(name, side, MIN_SIDE, MAX_SIDE, "px", whole=True)
    own = clip.target.shape[-2:]
    scale = max(height / own[0], width / own[1])
    size = max(height, round(own[0] * scale)), max(width, round(own[1] * scale))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2

    def cut(frames: Tensor) -> Tensor:
        return frames[..., top : top + height, left : left + width].contiguous()

    target, reference, warped = (view.float() for view in (clip.target, clip.reference, clip.warped))
    hole = (clip.hole > 0.5).float()
    if own != size:
        grey = torch.where(hole > 0.5, 0.5, warped)
        target, reference, warped = (
            F.interpolate(view, size, mode="bicubic", antialias=True).clamp(0, 1)
            for view in (target, reference, grey)
        )
        hole = F.adaptive_max_pool2d(hole, size)
        warped = warped * (1 - hole)
    return FittedClip(cut(target), cut(reference), cut(warped), cut(hole))


def check_training_size(model: SpatialDreamer, *, height: int, width: int) -> None:
    """Check that frames of a size need no padding, which would be learned as if it were picture.

    Raises:
        InputError: If they do.
    """
    multiple = model.svd.size_multiple
    if min(height, width) < multiple or height % multiple or width % multiple:
        sides = (max(1, round(side / multiple)) * multiple for side in (width, height))
        raise InputError(
            f"width and height in training must be multiples of {multiple} px with this model, got "
            f"{width}x{height}; use {'x'.join(map(str, sides))}"
        )


def encode_sample(model: SpatialDreamer, clip: Clip) -> EncodedSample:
    """Encode frames, which have the size of training, as the networks see them."""
    settings = replace(model.config, blank_holes=True, noise_augmentation=0.0)
    seen = encode_clip(model, clip.reference, clip.warped, clip.hole, config=settings, measured=False)
    codec = model.svd.codec
    target = codec.scaling * codec.encode(clip.target.to(codec.device))
    return EncodedSample(target, seen.condition, seen.mask, seen.reference, seen.embeddings)


def encode_condition(
    model: SpatialDreamer,
    clip: Clip,
    *,
    noise: Tensor,  # [F, 3, H, W]
) -> Tensor:  # [F, C, h, w] unscaled
    """Encode the rendered view of frames under noise, with its holes blanked.

    Args:
        model: The model.
        clip: The frames, at the size of training.
        noise: Added to pictures in [-1, 1]: normal noise times sigma.
    """
    settings = replace(model.config, blank_holes=True, noise_augmentation=1.0)  # of the noise as it is
    height, width = clip.hole.shape[-2:]
    canvas = Canvas(height, width, height, width, model.svd.size_multiple, model.svd.codec.factor)
    frames = encode_warped(
        model, canvas, clip.warped, clip.hole, config=settings, noise=noise, measured=False
    )
    return torch.stack([frame.condition for frame in frames])
