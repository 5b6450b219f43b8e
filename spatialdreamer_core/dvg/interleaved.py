"""Pictures of bytes whose colours are read and written pixel by pixel.

Such a picture lies in memory as [H, W, 4], three colours and a byte of no meaning, and is seen as [3, H, W].
So a pixel is one int32, its word: at some thousand pixels spread over the picture words are read in a fifth
of the time that three planes take. Pictures that lie otherwise, as all of floats do, are read by planes.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..contracts import working_dtype


def empty_interleaved(height: int, width: int) -> Tensor:  # [3, H, W] uint8
    """Make a picture that is yet to be written."""
    return _picture_of(torch.empty(height, width, 4, dtype=torch.uint8))


def zero_interleaved(height: int, width: int) -> Tensor:  # [3, H, W] int8
    """Make a picture of zeros; `torch.zeros` would fetch new memory from the system each time."""
    return _picture_of(torch.empty(height, width, 4, dtype=torch.int8).zero_())


def rgba_of(
    picture: Tensor,  # [3, H, W]
) -> np.ndarray | None:  # [H, W, 4] uint8 or int8
    """Return an interleaved picture as it lies in memory, or None if it is none."""
    height, width = picture.shape[-2:]
    lies_so = picture.stride() == (1, 4 * width, 4) and picture.storage_offset() == 0
    if picture.device.type != "cpu" or picture.element_size() != 1 or not lies_so:
        return None
    return picture.as_strided((height, width, 4), (4 * width, 4, 1)).numpy()


def planes_of(
    picture: Tensor,  # [3, H, W], floats or bytes
    *,
    rows: slice,
    columns: slice = slice(None),
) -> Tensor:  # [3, h, w]
    """Return some rows and columns as planes, a copy of them if the picture is interleaved."""
    words = _words_of(picture)
    if words is None:
        return picture[:, rows, columns]
    part = words.view(picture.shape[1:])[rows, columns].contiguous()
    if not part.numel():
        return picture.new_empty(3, *part.shape)
    pixels = part.view(picture.dtype).view(*part.shape, 4).numpy()
    planes = np.empty((4, *part.shape), pixels.dtype)
    cv2.split(pixels, list(planes))
    return torch.from_numpy(planes[:3])


def weigh_pixels(
    picture: Tensor,  # [3, H, W], floats or bytes
    weight: Tensor,  # [h, w] bool, of every second pixel
) -> Tensor:  # [4, h, w] float
    """Return every second pixel, 0 where its weight is, with the weight as a fourth channel."""
    rgba = rgba_of(picture)
    if rgba is None:
        weights = weight.to(working_dtype(picture))
        return torch.cat([picture[:, ::2, ::2] * weights, weights[None]])
    chosen = rgba.view(np.int32)[::2, ::2, 0] * weight.numpy()
    pixels = chosen.view(rgba.dtype).reshape(*weight.shape, 4).astype(np.float32)
    pixels[..., 3] = weight.numpy()
    return torch.from_numpy(pixels).permute(2, 0, 1)


class Pixels:
    """The pixels of a picture, by their positions in the flattened picture.

    Args:
        picture: [3, H, W], floats or bytes.
    """

    def __init__(self, picture: Tensor) -> None:
        self._picture = picture
        self._words = _words_of(picture)

    def colours_at(
        self,
        index: Tensor,  # [N] int64
    ) -> Tensor:  # [3, N] float
        """Look colours up."""
        dtype = working_dtype(self._picture)
        if self._words is None or not len(index):
            if self._picture.is_contiguous():
                return self._picture.flatten(1).index_select(1, index).to(dtype)
            width = self._picture.shape[-1]  # made flat, it would be copied
            return self._picture[:, index // width, index % width].to(dtype)
        pixels = self._words.index_select(0, index).view(self._picture.dtype).view(-1, 1, 4).numpy()
        planes = np.empty((4, len(index), 1), pixels.dtype)
        cv2.split(pixels, list(planes))
        return torch.from_numpy(planes[:3, :, 0]).to(dtype)

    def write(
        self,
        index: Tensor,  # [N] int64, none of them twice
        colours: Tensor,  # [3, N], of the picture's type
    ) -> None:
        """Write colours into the picture."""
        if self._words is None:
            width = self._picture.shape[-1]
            self._picture[:, index // width, index % width] = colours
        elif len(index):
            planes = list(colours.contiguous().numpy()[:, :, None])
            pixels = torch.from_numpy(cv2.merge([*planes, planes[0]]))
            self._words.index_copy_(0, index, pixels.view(torch.int32).flatten())

    def copy(
        self,
        index: Tensor,  # [N] int64, none of them twice
        source: Tensor,  # [N] int64
    ) -> None:
        """Give pixels the colours of others."""
        if self._words is None:
            width = self._picture.shape[-1]
            colours = self._picture[:, source // width, source % width]
            self._picture[:, index // width, index % width] = colours
        else:
            self._words.index_copy_(0, index, self._words.index_select(0, source))


def _picture_of(pixels: Tensor) -> Tensor:  # [H, W, 4] -> [3, H, W]
    """Show pixels as a picture."""
    return pixels.permute(2, 0, 1)[:3]


def _words_of(picture: Tensor) -> Tensor | None:  # [H * W] int32
    """Return the words of an interleaved picture, in its own memory, or None if it is none."""
    pixels = rgba_of(picture)
    return None if pixels is None else torch.from_numpy(pixels).view(torch.int32).flatten()
