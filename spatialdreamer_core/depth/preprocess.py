"""Frames to the input of a transformers depth model, as its preprocessor_config.json says, in torch.

Written out here because the processors of transformers need torchvision, work image by image or leave the
device. Tests compare with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..parsing import parsing
from ..weights.files import read_json
from .models import Family

_LARGEST_SIDE = 4096  # pixels; the largest published is 1536
_LARGEST_MULTIPLE = 256
_MODES = {2: "bilinear", 3: "bicubic"}  # PIL's numbers


@dataclass(frozen=True)
class Preprocessing:
    """How frames become the input of a model."""

    height: int  # pixels, of the input
    width: int
    keep_aspect_ratio: bool  # then one side is as above and the other follows
    multiple: int  # the sides are multiples of this
    mode: str  # of interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad: bool  # mirror the borders, as ZoeDepth was trained
    family: Family

    def check(self) -> None:
        """Check every value that a file gave.

        Raises:
            ValueError: For the first one that breaks its rule.
        """
        for name, value, most in (
            ("height", self.height, _LARGEST_SIDE),
            ("width", self.width, _LARGEST_SIDE),
            ("ensure_multiple_of", self.multiple, _LARGEST_MULTIPLE),
        ):
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} must be a whole number from 1 to {most}, got {str(value)[:40]}")
        for name, value in (("keep_aspect_ratio", self.keep_aspect_ratio), ("do_pad", self.pad)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false, got {str(value)[:40]}")
        for name, values, low in (("image_mean", self.mean, -10), ("image_std", self.std, 1e-3)):
            numbers = all(type(value) in (int, float) and low <= value <= 10 for value in values)
            if len(values) != 3 or not numbers:
                raise ValueError(f"{name} must be three numbers from {low} to 10, got {str(values)[:60]}")

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that frames of a size are brought to."""
        scale_height, scale_width = self.height / height, self.width / width
        if self.keep_aspect_ratio:
            scale = scale_width if abs(1 - scale_width) < abs(1 - scale_height) else scale_height
            scale_height = scale_width = scale
        return self._to_multiple(scale_height * height), self._to_multiple(scale_width * width)

    def _to_multiple(self, side: float) -> int:
        """Round a side to the multiple."""
        return max(1, round(side / self.multiple)) * self.multiple

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Return how many rows and columns are mirrored at each border of frames of a size."""
        if not self.pad:
            return 0, 0
        return min(height - 1, int(3 * math.sqrt(height / 2))), min(width - 1, int(3 * math.sqrt(width / 2)))


def read_preprocessing(path: Path, family: Family) -> Preprocessing:
    """Read a preprocessor_config.json; what it leaves out is as in the family's processor.

    Raises:
        InputError: If the file cannot be read or has no such content.
    """
    zoe = family == "zoedepth"
    side = 1536 if family == "depth_pro" else 384
    rule = f"a preprocessor_config.json must be the settings of a {family} model"
    remedy = "delete it and download it again"
    with parsing(path, rule=rule, remedy=remedy):
        config = read_json(path, rule=rule, remedy=remedy)
        size = config.get("size", {"height": side, "width": 512 if zoe else side})
        if isinstance(size, int):
            size = {"height": size, "width": size}
        mean, std = (config.get(f"image_{name}", [0.5] * 3) for name in ("mean", "std"))
        preprocessing = Preprocessing(
            height=size["height"],
            width=size["width"],
            keep_aspect_ratio=config.get("keep_aspect_ratio", zoe),
            multiple=config.get("ensure_multiple_of", 32 if zoe else 1),
            mode=_MODES[config.get("resample", 3 if family in ("dpt", "depth_anything") else 2)],
            mean=tuple(mean),
            std=tuple(std),
            pad=config.get("do_pad", True) if zoe else False,
            family=family,
        )
        preprocessing.check()
        return preprocessing


def prepare(
    frames: Tensor,  # [B, 3, H, W] in [0, 1]
    preprocessing: Preprocessing,
) -> Tensor:  # [B, 3, h, w]
    """Bring frames to a model's size and value range, on their device."""
    rows, columns = preprocessing.padding(*frames.shape[-2:])
    size = preprocessing.input_size(frames.shape[-2] + 2 * rows, frames.shape[-1] + 2 * columns)
    if preprocessing.pad:
        frames = F.pad(frames, (columns, columns, rows, rows), mode="reflect")
    if preprocessing.family == "zoedepth":
        frames = F.interpolate(frames, size, mode=preprocessing.mode, align_corners=True)
    else:
        antialias = preprocessing.family != "depth_pro"
        frames = F.interpolate(frames, size, mode=preprocessing.mode, antialias=antialias).clamp(0, 1)
    mean, std = (
        torch.tensor(values, dtype=frames.dtype, device=frames.device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (frames - mean) / std


def restore(
    output: Tensor,  # [B, h', w']
    preprocessing: Preprocessing,
    size: tuple[int, int],  # (height, width) of the frames
) -> Tensor:  # [B, 1, height, width]
    """Bring a model's output to the frames' size, without the mirrored borders."""
    height, width = size
    rows, columns = preprocessing.padding(height, width)
    full = (height + 2 * rows, width + 2 * columns)
    raised = F.interpolate(output[:, None].float(), full, mode="bilinear")
    return raised[..., rows : rows + height, columns : columns + width]
