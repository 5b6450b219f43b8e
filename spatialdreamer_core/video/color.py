"""Conversion between decoded YUV frames and 8-bit RGB that keeps a source's matrix and range.

Numbers are those of ITU-T H.273, which FFmpeg shares: matrix 1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020,
2 = unspecified. A file that does not name its matrix is taken for BT.709 if it is HD and for BT.601 if it is
SD, as players do; the range is taken for limited.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

_UNSPECIFIED = 2
_FULL_RANGE, _LIMITED_RANGE, _UNKNOWN_RANGE = 2, 1, 0
_SWSCALE_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # H.273 -> the constants of libswscale


@dataclass(frozen=True)
class ColorInfo:
    """How RGB is coded as YUV in a file, resolved: nothing is left unspecified but primaries and transfer."""

    matrix: int  # H.273 matrix coefficients
    full_range: bool = False  # luma 0..255 rather than 16..235
    primaries: int | None = None  # H.273, None if the file does not say
    transfer: int | None = None  # H.273, None if the file does not say

    @classmethod
    def guess(cls, width: int, height: int) -> ColorInfo:
        """Return what players assume for a file of this size without tags."""
        return cls(matrix=1 if width >= 1280 or height > 576 else 6)

    @classmethod
    def of_frame(cls, frame: av.VideoFrame, context: av.VideoCodecContext) -> ColorInfo:
        """Read the tags of a decoded frame; what it leaves out is taken from the codec, then guessed."""
        matrix = next((m for m in (frame.colorspace, context.colorspace) if m in _SWSCALE_MATRICES), None)
        if matrix is None:
            matrix = cls.guess(frame.width, frame.height).matrix
        full = frame.format.name.startswith("yuvj") or _FULL_RANGE in (frame.color_range, context.color_range)
        return cls(
            matrix=int(matrix),
            full_range=full and not _is_rgb(frame),
            primaries=_known(context.color_primaries),
            transfer=_known(context.color_trc),
        )

    def tag(self, context: av.VideoCodecContext) -> None:
        """Write the tags into an encoder that is not open yet."""
        context.colorspace = self.matrix
        context.color_range = _FULL_RANGE if self.full_range else _LIMITED_RANGE
        context.color_primaries = self.primaries or _UNSPECIFIED
        context.color_trc = self.transfer or _UNSPECIFIED


class ColorConverter:
    """Converts frames of one stream; keeps libswscale's tables between calls.

    Args:
        color: Coding of the YUV side.
    """

    def __init__(self, color: ColorInfo) -> None:
        self._to_rgb, self._to_yuv = VideoReformatter(), VideoReformatter()
        self._matrix = _SWSCALE_MATRICES[color.matrix]
        self._yuv_range = _FULL_RANGE if color.full_range else _LIMITED_RANGE
        # RGB is full range whatever is said here; PyAV before 17 skips the matrix if both ranges are equal.
        self._rgb_range = _UNKNOWN_RANGE if color.full_range else _FULL_RANGE

    def to_rgb(
        self, frame: av.VideoFrame, *, width: int, height: int
    ) -> np.ndarray:  # [height, width, 3] uint8
        """Convert a decoded frame of any pixel format, resized if the stream changed its size."""
        if _is_rgb(frame):
            converted = self._to_rgb.reformat(frame, width, height, "rgb24")
            image = converted.to_ndarray()
            return image.copy() if converted is frame else image  # the decoder may still refer to its frame
        return self._to_rgb.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=self._yuv_range,
            dst_color_range=self._rgb_range,
        ).to_ndarray()

    def to_yuv(
        self,
        image: np.ndarray,  # [H, W, 3] uint8 RGB, contiguous
        *,
        pixel_format: str,
    ) -> av.VideoFrame:
        """Convert an RGB image to a frame for the encoder."""
        return self._to_yuv.reformat(
            av.VideoFrame.from_numpy_buffer(image, format="rgb24"),
            format=pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=self._rgb_range,
            dst_color_range=self._yuv_range,
        )


def _is_rgb(frame: av.VideoFrame) -> bool:
    """Tell whether a frame holds RGB or a palette of it, so that no matrix applies."""
    return frame.format.is_rgb or frame.format.has_palette


def _known(tag: int | None) -> int | None:
    """Return an H.273 code point, or None where it is unspecified or reserved."""
    return int(tag) if tag and tag != _UNSPECIFIED else None
