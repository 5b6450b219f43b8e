"""A contact sheet of one frame: left, right, depth, hole mask and anaglyph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import one_line
from ..dvg.interleaved import rgba_of
from ..stereo import anaglyph
from ..video.color import to_8_bit
from ..video.output import OutputFile
from ..video.photo import WRITABLE_PHOTO_SUFFIXES, save_photo
from ..video.reader import VideoFrame
from .stages import Rendered, to_tensor

_LOGGER = logging.getLogger(__name__)

_TILE_WIDTH = 640  # px
_CAPTION_HEIGHT = 28  # px


class ViewTaker(Protocol):
    """What a film's views are offered to as they are made."""

    def offer(self, index: int, views: Callable[[], Iterable[np.ndarray]], rendered: Rendered) -> None:
        """Take the next frame, see `MiddleSheet.offer`."""


class MiddleSheet:
    """The contact sheet of a film's middle frame, or of the last frame if the film ends before it.

    That it can be written is checked on entering; what fails later costs the sheet alone, and is said in the
    log.

    Args:
        path: The file to be written, or None: no sheet.
        index: The middle frame by the film's stated number of frames, which may be too large.
        inputs: Files and folders that are read meanwhile, and the file that is written.
        overwrite: Whether an existing file may be replaced.

    Attributes:
        index: As given.

    Raises:
        InputError: If the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        index: int,
        inputs: Collection[str | Path] = (),
        overwrite: bool = False,
    ) -> None:
        self._file = None
        if path is not None:
            self._file = OutputFile(
                path, suffixes=WRITABLE_PHOTO_SUFFIXES, inputs=inputs, overwrite=overwrite, name="preview"
            )
        self.index = index
        self._latest: tuple[Callable[[], Iterable[np.ndarray]], Rendered] | None = None
        self._sheet: np.ndarray | None = None  # [H', W', 3] uint8

    def __enter__(self) -> MiddleSheet:
        if self._file is not None:
            self._file.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.discard()

    def offer(
        self,
        index: int,
        views: Callable[[], Iterable[np.ndarray]],
        rendered: Rendered,
    ) -> None:
        """Take the next frame; the middle one is drawn.

        Args:
            index: Its number.
            views: Gives what the left and the right eye see, with black bars, [H, W, 3] uint8 or uint16 each.
            rendered: What the views were made from.
        """
        if self._file is None or index > self.index:
            return
        self._latest = views, rendered
        if index == self.index:
            self._draw()

    @property
    def is_wanted(self) -> bool:
        """Whether there is to be a sheet."""
        return self._file is not None

    @property
    def drawn(self) -> np.ndarray | None:  # [H', W', 3] uint8
        """The sheet that is drawn and not written yet."""
        return self._sheet

    def give(
        self,
        sheet: np.ndarray | None,  # [H', W', 3] uint8
    ) -> None:
        """Take a sheet that has already been drawn."""
        self._sheet = sheet

    def write(self, *, film_ended: bool = False) -> None:
        """Write the sheet if it is drawn and not written yet; at the film's end draw the nearest frame."""
        if film_ended:
            self._draw()
        if self._sheet is None or self._file is None:
            return
        sheet, file, self._sheet = self._sheet, self._file, None
        try:
            save_photo(file.partial, sheet, suffix=file.path.suffix)
            file.commit()
        except Exception as error:
            _LOGGER.warning("the preview is left out: %s", one_line(error))

    def _draw(self) -> None:
        """Draw the latest frame, once."""
        if self._latest is None:
            return
        (views, rendered), self._latest = self._latest, None
        frame, view = rendered.analysed.frame, rendered.views[-1]
        warped = view.warped * (view.hole < 0.5)  # it has been filled in place
        try:
            left, right = views()
            pictures = left, right, _in_frame(to_image(warped, left.dtype), frame)
            left_tensor, right_tensor, warped = (
                to_tensor(to_8_bit(picture, frame.color), view.hole.device) for picture in pictures
            )
            depth, hole = (
                torch.from_numpy(_in_frame(values[0].cpu().numpy(), frame))[None]
                for values in (rendered.depth, view.hole.float())
            )
            self._sheet = preview_sheet(left_tensor, right_tensor, depth=depth, hole=hole, warped=warped)
        except Exception as error:
            _LOGGER.warning("the preview is left out: %s", one_line(error))


def _in_frame(
    picture: np.ndarray,  # [h, w] or [h, w, C]
    frame: VideoFrame,
) -> np.ndarray:  # [H, W] or [H, W, C]
    """Put what belongs to the picture where it lies in a frame with black bars, which are 0."""
    if frame.surround is None:
        return picture
    whole = np.zeros((*frame.surround.frame.shape[:2], *picture.shape[2:]), picture.dtype)
    whole[frame.surround.box.slices] = picture
    return whole


def preview_sheet(
    left: Tensor,  # [3, H, W] in [0, 1]
    right: Tensor,  # [3, H, W] in [0, 1]
    *,
    depth: Tensor,  # [1, H, W] in [0, 1]
    hole: Tensor,  # [1, H, W], 1 = hole
    warped: Tensor,  # [3, H, W] in [0, 1]
) -> np.ndarray:  # [H', W', 3] uint8 RGB
    """Lay out the stages of a frame as captioned tiles, two a row."""
    tiles = (
        ("left", left),
        ("right", right),
        ("depth (white = near)", depth.expand(3, -1, -1)),
        ("hole mask", hole.expand(3, -1, -1)),
        ("warped, before filling", warped),
        ("anaglyph (red-cyan)", anaglyph(left[None], right[None])[0]),
    )
    drawn = [_tile(caption, to_image(picture)) for caption, picture in tiles]
    return np.vstack([np.hstack(drawn[i : i + 2]) for i in range(0, len(drawn), 2)])


def _tile(caption: str, picture: np.ndarray) -> np.ndarray:
    """Resize a picture to the tile's width and write its caption above it."""
    height = max(1, round(picture.shape[0] * _TILE_WIDTH / picture.shape[1]))
    picture = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    bar = np.zeros((_CAPTION_HEIGHT, _TILE_WIDTH, 3), np.uint8)
    cv2.putText(bar, caption, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def to_image(
    picture: Tensor,  # [3, H, W] in [0, 1], or uint8
    dtype: type[np.unsignedinteger] | np.dtype = np.uint8,
) -> np.ndarray:  # [H, W, 3] of that type
    """Convert a picture to 8 bits or 16, rounding to nearest; one of bytes has them already."""
    highest = np.iinfo(dtype).max
    planes = picture.detach().cpu()
    rgba = rgba_of(planes)
    if rgba is not None:
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    if highest == 255 and planes.dtype in (torch.float32, torch.uint8):
        return cv2.merge(_to_byte_planes(planes))
    rounded = planes.mul(highest).round_().clamp_(0, highest)
    return cv2.merge([plane.astype(dtype) for plane in rounded.numpy()])


def _to_byte_planes(
    picture: Tensor,  # [3, H, W] float32 in [0, 1] or uint8, on the CPU
) -> list[np.ndarray]:  # three of [H, W] uint8
    """Convert a picture's planes as `to_image` does; OpenCV needs a third of the time, and rounds alike."""
    planes = picture.detach().numpy()
    if picture.dtype == torch.uint8:
        return list(planes)
    return [cv2.addWeighted(plane, 255, plane, 0, 0, dtype=cv2.CV_8U) for plane in planes]
