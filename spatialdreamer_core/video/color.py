"""Conversion between decoded frames and RGB that keeps a source's matrix, range and bit depth.

Numbers are those of ITU-T H.273, which FFmpeg shares: matrix 1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020,
2 = unspecified. A file that does not name its matrix is taken for BT.709 if it is HD and for BT.601 if it is
SD, as players do; the range is taken for limited.

Sources of 8 bits become 8-bit RGB, 0 to 255. Deeper ones become 16-bit RGB, 0 to 65535, which keeps the swing
of its file: beside full-range video black and white are 0 and 65535; beside limited-range video they are
4096 and 60160 (`ColorInfo.swing`), so that what lies below black and above white comes through, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import av
import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.reformatter import VideoReformatter

from ..checks import InputError
from ..media import ONE_THREAD
from .hdr import HdrMetadata

_UNSPECIFIED = 2
_FULL_RANGE, _LIMITED_RANGE, _UNKNOWN_RANGE = 2, 1, 0
_SWSCALE_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # H.273 -> the constants of libswscale
_LUMA_WEIGHTS = {  # of red and blue, by the constants of libswscale
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_OTHER_MATRICES = {
    8: "YCgCo",
    11: "Y'D'zD'x",
    12: "chromaticity-derived Y'CbCr",
    13: "chromaticity-derived Y'CbCr",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-R",
    17: "YCgCo-R",
}
_LIMITED_GREY_CODECS = ("h264", "hevc", "vvc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4")
_PQ = 16
_WHITE = 65535
_REFERENCE_WHITE, _PEAK = 203.0, 4000.0  # cd/m² of graphics white (BT.2408) and of what still has detail
_BILINEAR, _ACCURATE_ROUNDING = 0x2, 0x40000  # flags of libswscale


@dataclass(frozen=True)
class ColorInfo:
    """How RGB is coded as YUV in a file, resolved: nothing is left unspecified but primaries and transfer."""

    matrix: int  # H.273 matrix coefficients
    full_range: bool = False  # luma 0..255 rather than 16..235
    primaries: int | None = None  # H.273, None if the file does not say
    transfer: int | None = None  # H.273, None if the file does not say
    bits: int = 8  # of a component
    hdr: HdrMetadata | None = None  # None if the file does not say

    @classmethod
    def guess(cls, width: int, height: int) -> ColorInfo:
        """Return what players assume for a file of this size without tags."""
        return cls(matrix=1 if width >= 1280 or height > 576 else 6)

    @classmethod
    def of_frame(cls, frame: av.VideoFrame, context: av.VideoCodecContext) -> ColorInfo:
        """Read the tags of a decoded frame; what it leaves out is taken from the codec, then guessed.

        Raises:
            InputError: If its colours are coded in a way that cannot be converted.
        """
        tags = (frame.colorspace, context.colorspace)
        matrix = next((m for m in tags if m in _SWSCALE_MATRICES), None)
        if matrix is None:
            other = next((_OTHER_MATRICES[m] for m in tags if m in _OTHER_MATRICES), None)
            if other is not None and not _is_rgb(frame) and not _is_grey(frame):
                raise InputError(
                    f"input's colours must be RGB or Y'CbCr of BT.601, BT.709 or BT.2020, got {other}; "
                    "convert the file to BT.2020 or BT.709 first"
                )
            matrix = cls.guess(frame.width, frame.height).matrix
        return cls(
            matrix=int(matrix),
            full_range=_is_full_range(frame, context),
            primaries=_known(context.color_primaries),
            transfer=_known(context.color_trc),
            bits=_bits(frame),
            hdr=HdrMetadata.of_frame(frame),
        )

    @property
    def swing(self) -> tuple[int, int]:
        """Black and white in the 16-bit RGB of such a file."""
        return (0, _WHITE) if self.full_range else (16 << 8, 235 << 8)

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
        self._color = color
        self._to_rgb, self._to_yuv = VideoReformatter(), VideoReformatter()
        self._matrix = _SWSCALE_MATRICES[color.matrix]
        self._yuv_range = _FULL_RANGE if color.full_range else _LIMITED_RANGE
        # RGB is full range whatever is said here; PyAV before 17 skips the matrix if both ranges are equal.
        self._rgb_range = _UNKNOWN_RANGE if color.full_range else _FULL_RANGE
        # Since FFmpeg 8 the fast way to full range gives grey a chroma of 127 instead of 128.
        self._rounding = _BILINEAR | (_ACCURATE_ROUNDING if color.full_range else 0)

    def to_rgb(
        self, frame: av.VideoFrame, *, width: int, height: int
    ) -> np.ndarray:  # [height, width, 3] uint8, or uint16 if the stream has more than 8 bits
        """Convert a decoded frame of any pixel format, resized if the stream changed its size."""
        if self._color.bits > 8:
            return self._to_deep_rgb(frame, width, height)
        if _is_rgb(frame):
            converted = self._to_rgb.reformat(frame, width, height, "rgb24", **ONE_THREAD)
            image = converted.to_ndarray()
            return image.copy() if converted is frame else image  # the decoder may still refer to its frame
        if _is_grey(frame):  # libswscale has no limited range for it, or has it in some versions
            image = self._reformat(frame, width, height, "rgb24", _FULL_RANGE, _UNKNOWN_RANGE).to_ndarray()
            return image if self._color.full_range else cv2.LUT(image, _limited_to_full())
        return self._reformat(frame, width, height, "rgb24", self._yuv_range, self._rgb_range).to_ndarray()

    def to_yuv(
        self,
        image: np.ndarray,  # [H, W, 3] uint8 RGB, or uint16 of the file's swing; or uint8 RGBA; contiguous
        *,
        pixel_format: str,
    ) -> av.VideoFrame:
        """Convert an RGB image to a frame for the encoder."""
        if image.dtype == np.uint16:
            return self._to_deep_yuv(image, pixel_format)
        # From four bytes a pixel libswscale gives the same in three quarters of the time.
        rgba = image if image.shape[2] == 4 else cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
        frame = av.VideoFrame.from_numpy_buffer(rgba, format="rgba")
        frame.colorspace = self._color.matrix  # PyAV 17 does not know that of BT.2020 by its argument
        return self._to_yuv.reformat(
            frame,
            format=pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=self._rgb_range,
            dst_color_range=self._yuv_range,
            interpolation=self._rounding,
            **ONE_THREAD,
        )

    def to_layout(self, frame: av.VideoFrame, *, pixel_format: str) -> av.VideoFrame:
        """Lay the YUV of a frame out as another pixel format of the same subsampling; no value changes."""
        return self._to_yuv.reformat(
            frame,
            format=pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=_LIMITED_RANGE,
            dst_color_range=_LIMITED_RANGE,
            **ONE_THREAD,
        )

    def _reformat(
        self, frame: av.VideoFrame, width: int, height: int, format: str, src_range: int, dst_range: int
    ) -> av.VideoFrame:
        """Convert a decoded frame between ranges, the matrix given where one is needed."""
        return self._to_rgb.reformat(
            frame,
            width,
            height,
            format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=src_range,
            dst_color_range=dst_range,
            **ONE_THREAD,
        )

    def _to_deep_rgb(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """Convert to 16 bits; libswscale changes the layout alone: its matrix cuts off at black and white."""
        black, white = self._color.swing
        bits = _bits(frame)
        if _is_rgb(frame):
            image = self._to_rgb.reformat(frame, width, height, "rgb48le", **ONE_THREAD).to_ndarray()
            if (black, white) == (0, _WHITE):
                return image
            return cv2.transform(image, np.eye(3, 4) * (white - black) / _WHITE + black * np.eye(4)[3:])
        if _is_grey(frame):
            grey = self._reformat(frame, width, height, "gray16le", _FULL_RANGE, _UNKNOWN_RANGE).to_ndarray()
            if not self._color.full_range:  # libswscale made the highest code 65535
                grey = np.rint(grey * (_highest(bits) / _WHITE)).astype(np.uint16)
            return cv2.merge([grey] * 3)
        planes = self._reformat(frame, width, height, "yuv444p16le", _LIMITED_RANGE, _LIMITED_RANGE)
        return cv2.transform(planes.to_ndarray(), _yuv_to_rgb(self._matrix, self._color.full_range, bits))

    def _to_deep_yuv(self, image: np.ndarray, pixel_format: str) -> av.VideoFrame:
        """Convert from 16 bits, the other way round."""
        bits = VideoFormat(pixel_format).components[0].bits
        yuv = cv2.transform(image, _rgb_to_yuv(self._matrix, self._color.full_range, bits))
        frame = self._to_yuv.reformat(
            av.VideoFrame.from_ndarray(yuv, format="yuv444p16le"),
            format=pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=_LIMITED_RANGE,  # the same on both sides: no value is to change
            dst_color_range=_LIMITED_RANGE,
            interpolation=_BILINEAR | _ACCURATE_ROUNDING,
            **ONE_THREAD,
        )
        frame.color_range = self._yuv_range
        return frame


def to_8_bit(
    image: np.ndarray,  # [H, W, 3] uint8 or uint16
    color: ColorInfo | None,
) -> np.ndarray:  # [H, W, 3] uint8
    """Give an image as it is shown on a standard screen, for analysis and previews.

    Args:
        image: The image; one of 8 bits is returned as it is.
        color: Coding of the film it is from; None for a photo.
    """
    return image if image.dtype == np.uint8 else eight_bit_levels(color)[image]


@cache
def eight_bit_levels(color: ColorInfo | None) -> np.ndarray:  # [65536] uint8
    """Return what each value of 16-bit RGB becomes in 8 bits.

    PQ is brought to the range of a standard screen by Reinhard's curve, x (1 + x / p²) / (1 + x) of the light
    x in units of graphics white, with p the brightest that keeps detail, 4000 cd/m²; each of R, G and B by
    itself. HLG is made to look right on a standard screen as it is.
    """
    black, white = (0, _WHITE) if color is None else color.swing
    signal = ((np.arange(_WHITE + 1) - black) / (white - black)).clip(0, 1)
    if color is not None and color.transfer == _PQ:
        light = _pq_to_light(signal) / _REFERENCE_WHITE
        signal = light * (1 + light / (_PEAK / _REFERENCE_WHITE) ** 2) / (1 + light)
        signal = signal.clip(0, 1) ** (1 / 2.2)
    return np.rint(signal * 255).astype(np.uint8)


def _pq_to_light(signal: np.ndarray) -> np.ndarray:
    """Return the light in cd/m² that a signal of SMPTE ST 2084 stands for."""
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


@cache
def _limited_to_full() -> np.ndarray:  # [256] uint8
    """Return what each level of limited-range grey is in full range."""
    return np.rint((np.arange(256) - 16.0).clip(0, 219) * (255 / 219)).astype(np.uint8)


def _highest(bits: int) -> int:
    """Return the highest code of a depth as it is written in the upper bits of 16."""
    return ((1 << bits) - 1) << (16 - bits)


@cache
def _yuv_to_rgb(matrix: int, full_range: bool, bits: int) -> np.ndarray:  # [3, 4]
    """Return the affine map from codes in the upper bits of 16 to 16-bit RGB of the same swing."""
    inverse = np.linalg.inv(_rgb_to_yuv(matrix, full_range, bits)[:, :3])
    return np.hstack([inverse, -inverse @ _rgb_to_yuv(matrix, full_range, bits)[:, 3:]])


def rgb_to_yuv_matrix(color: ColorInfo, bits: int) -> np.ndarray:  # [3, 4]
    """Return the affine map from 16-bit RGB of a file's swing to its YUV.

    Args:
        color: Coding of the YUV.
        bits: Of its codes, which lie in the upper bits of 16.
    """
    return _rgb_to_yuv(_SWSCALE_MATRICES[color.matrix], color.full_range, bits)


@cache
def _rgb_to_yuv(matrix: int, full_range: bool, bits: int) -> np.ndarray:  # [3, 4]
    """Return the affine map from 16-bit RGB to codes of the same swing in the upper bits of 16 (H.273)."""
    red, blue = _LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    chroma = [(np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)]
    luma_scale = _highest(bits) / _WHITE if full_range else 1.0
    chroma_scale = luma_scale if full_range else 224 / 219
    linear = np.vstack([luma * luma_scale, *(row * chroma_scale for row in chroma)])
    return np.hstack([linear, [[0.0], [32768.0], [32768.0]]])


def _is_rgb(frame: av.VideoFrame) -> bool:
    """Tell whether a frame holds RGB, XYZ or a palette of it, so that no matrix applies."""
    format = frame.format
    return format.is_rgb or format.has_palette or format.name.startswith("xyz")


def _is_grey(frame: av.VideoFrame) -> bool:
    """Tell whether a frame has brightness alone, maybe with alpha."""
    return not _is_rgb(frame) and frame.format.name.startswith(("gray", "ya8", "ya16", "yaf", "mono"))


def _bits(frame: av.VideoFrame) -> int:
    """Return the bits of a frame's deepest component, at most 16."""
    if frame.format.has_palette:
        return 8
    return max(8, min(16, max(component.bits for component in frame.format.components)))


def _is_full_range(frame: av.VideoFrame, context: av.VideoCodecContext) -> bool:
    """Tell whether the YUV of a frame has full range; RGB becomes limited-range YUV, as players expect it."""
    if _is_rgb(frame):
        return False
    tags = frame.color_range, context.color_range
    if _FULL_RANGE in tags or frame.format.name.startswith("yuvj"):
        return True
    return _is_grey(frame) and _LIMITED_RANGE not in tags and context.name not in _LIMITED_GREY_CODECS


def _known(tag: int | None) -> int | None:
    """Return an H.273 code point, or None where it is unspecified or reserved."""
    return int(tag) if tag and tag != _UNSPECIFIED else None
