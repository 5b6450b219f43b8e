"""What an encoder is given of a picture: its pixel format, an even size, and the file's coding of colours."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import av
import cv2
import numpy as np

from ..checks import InputError
from .color import ColorConverter, ColorInfo
from .encoding import Encoder
from .halves import join_frames
from .yuv_on_device import frame_from_yuv


class FramePreparer:
    """Converts pictures to frames for an encoder; any number of threads may at the same time.

    An odd width or height is padded by repeating the last column or row, since 4:2:0 video needs even sizes.

    Args:
        encoder: What the frames are for. Its pixel format may change, if NVENC turns out not to be usable.
        width: Width of the pictures.
        height: Their height.
        color: Coding of the YUV.
    """

    def __init__(self, encoder: Encoder, *, width: int, height: int, color: ColorInfo) -> None:
        self._encoder, self._width, self._height, self._color = encoder, width, height, color
        self._converters = threading.local()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_converters"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _converters=threading.local())

    def prepare(
        self,
        image: np.ndarray,  # [H, W, 3] RGB, uint8 or uint16; or RGBA, or planes
    ) -> av.VideoFrame:
        """Convert a picture, see `VideoWriter.prepare`.

        Raises:
            InputError: If it has another size or type.
        """
        if image.ndim == 1:
            size = {"width": self._encoder.width, "height": self._encoder.height}
            return frame_from_yuv(image, pixel_format=self._encoder.pixel_format, **size)
        channels = 4 if image.shape[2:] == (4,) and image.dtype == np.uint8 else 3
        if image.shape != (self._height, self._width, channels) or image.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"`image` must be uint8 or uint16 of shape [{self._height}, {self._width}, 3], "
                f"got {image.dtype} {list(image.shape)}; make a writer for each size"
            )
        return self._converter.to_yuv(_pad_to_even(image), pixel_format=self._encoder.pixel_format)

    def prepare_halves(
        self,
        halves: Sequence[np.ndarray],  # two of [H, W, 3] RGB or [H, W, 4] RGBA, uint8
        *,
        stacked: bool,
    ) -> av.VideoFrame:
        """Convert a picture of two halves, each by itself, see `VideoWriter.prepare_halves`.

        Raises:
            InputError: If the halves do not make a picture of this size, or have odd sides.
        """
        pixel_format, rows, columns = self._encoder.pixel_format, *((2, 1) if stacked else (1, 2))
        frames = []
        for half in halves:
            height, width = half.shape[:2]
            size = (columns * width, rows * height)
            if size != (self._width, self._height) or height % 2 or width % 2:
                raise InputError(
                    f"`halves` must have even sides and make {self._width}x{self._height}, got "
                    f"{width}x{height}; pack them and use `prepare`"
                )
            frames.append(self._converter.to_yuv(half, pixel_format=pixel_format))
        return join_frames(*frames, stacked=stacked)

    def check(self, frame: av.VideoFrame) -> None:
        """Check the size of a frame that was prepared.

        Raises:
            InputError: If it is another one.
        """
        width, height = self._encoder.width, self._encoder.height
        if (frame.width, frame.height) != (width, height):
            raise InputError(
                f"`image` must be a frame of {width}x{height}, got {frame.width}x{frame.height}; "
                "prepare it with this writer"
            )

    def current(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a frame as the encoder takes it now: one prepared for NVENC, which failed, is converted."""
        if frame.format.name == self._encoder.pixel_format:
            return frame
        return self._converter.to_layout(frame, pixel_format=self._encoder.pixel_format)

    @property
    def _converter(self) -> ColorConverter:
        """The converter of this thread: libswscale's tables serve one at a time."""
        if not hasattr(self._converters, "own"):
            self._converters.own = ColorConverter(self._color)
        return self._converters.own


def _pad_to_even(image: np.ndarray) -> np.ndarray:
    """Repeat the last column and row where the size is odd; return contiguous memory."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)
