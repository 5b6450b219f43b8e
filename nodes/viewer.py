"""What the viewer on a node is told of its result: the files to show, and how each of them holds two views.

It is the `stereo` of a node's output, which `web/js/viewer/` shows in any mode. `images`, by which ComfyUI's
own pages and its API know of results, may stand beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from comfy.model_management import InterruptProcessingException, throw_exception_if_processing_interrupted
from PIL import Image
from torch import Tensor

from ..spatialdreamer_core.checks import one_line
from ..spatialdreamer_core.stereo import TWO_PICTURES, pixel_aspect
from ..spatialdreamer_core.video import (
    PREVIEW_SECONDS,
    PREVIEW_WIDTH,
    frame_to_picture,
    plays_in_browsers,
    probe,
    read_photo,
    shows_in_browsers,
    write_picture_preview,
    write_pictures_preview,
    write_preview,
)
from .view_files import place_of, temporary_path

_LOGGER = logging.getLogger(__name__)
_BESIDE = ("full_sbs", "half_sbs", "cross_eyed", "vr180")
_ABOVE = ("full_tb", "half_tb")
_MOST_FRAMES = 120  # of frames in memory, in their preview
_FRAME_RATE = 24.0  # of that preview: frames in memory have none
_FRAME_WIDTH = 960  # px an eye


@dataclass(frozen=True)
class Packing:
    """How pictures hold two views."""

    format: str  # one of `stereo.FORMATS`
    swap_eyes: bool = False

    @property
    def beside(self) -> int:
        """How many views are beside each other; 1 for pictures that cannot be split, too."""
        return 2 if self.format in _BESIDE else 1

    def aspect(self, height: int, width: int, *, pixels: Fraction = Fraction(1)) -> float:
        """Return width over height of a view as it is shown, or of all of a picture that cannot be split.

        Args:
            height: Height of a packed picture.
            width: Its width.
            pixels: Width over height of its pixels.
        """
        above = 2 if self.format in _ABOVE else 1
        return float(Fraction(width, height) * pixels * above / self.beside)


def shown_video(path: Path, subfolder: str, packing: Packing) -> dict[str, Any] | None:
    """Describe a saved video; of one that browsers do not play a small copy is written.

    Args:
        path: The video.
        subfolder: Its folder inside the output folder.
        packing: How its frames hold two views.

    Returns:
        What `stereo_output` takes. None if the video cannot be looked at, which the log says: it is saved.
    """
    with _optional(path.name):
        copy = None
        if not plays_in_browsers(path):
            copy = temporary_path("stereo_preview", ".mp4")
            width = PREVIEW_WIDTH * packing.beside
            write_preview(path, copy, on_frame=throw_exception_if_processing_interrupted, max_width=width)
        info = probe(copy or path)
        return _entry(
            place_of(path, subfolder) if copy is None else place_of(copy),
            packing,
            info.height,
            info.width,
            pixels=info.sample_aspect_ratio,
            kind="video",
            name=path.name,
            note="" if copy is None else f"a small copy, {PREVIEW_SECONDS:g} s at most",
            rate=float(info.frame_rate),
        )
    return None


def shown_photo(
    path: Path,
    subfolder: str,
    packing: Packing,
    *,
    picture: np.ndarray | None = None,  # [H, W, 3] uint8 RGB
) -> dict[str, Any] | None:
    """Describe a saved photo; of one that browsers do not show a copy is written.

    Args:
        path: The photo.
        subfolder: Its folder inside the output folder.
        packing: How it holds two views.
        picture: What `packing` is of, where the file holds the views otherwise; None: the file's picture.

    Returns:
        As `shown_video`.
    """
    with _optional(path.name):
        copy = None
        if picture is None and shows_in_browsers(path):
            with Image.open(path) as photo:
                width, height = photo.size
        else:
            picture = read_photo(path) if picture is None else picture
            height, width = picture.shape[:2]
            copy = temporary_path("stereo_preview", ".webp")
            write_picture_preview(picture, copy)
        return _entry(
            place_of(path, subfolder) if copy is None else place_of(copy),
            packing,
            height,
            width,
            pixels=pixel_aspect(packing.format),
            kind="image",
            name=path.name,
            note="" if copy is None else "a copy that browsers show",
        )
    return None


def shown_frames(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    packing: Packing,
) -> dict[str, Any] | None:
    """Write and describe a copy of packed frames in memory: a picture, or a small film of the first ones.

    Returns:
        As `shown_video`.
    """
    pictures = map(frame_to_picture, frames)
    height, width = frames.shape[-2:]
    total = len(frames)
    if packing.format in TWO_PICTURES:  # beside each other they can be shown in every mode
        pictures = map(np.hstack, zip(pictures, pictures, strict=True))
        packing, width, total = Packing("full_sbs", packing.swap_eyes), 2 * width, total // 2
    count = min(total, _MOST_FRAMES)
    kind, suffix = ("image", ".webp") if total == 1 else ("video", ".mp4")
    copy = temporary_path("stereo_preview", suffix)
    with _optional("the frames"):
        if total == 1:
            write_picture_preview(next(pictures), copy)
        else:
            write_pictures_preview(
                islice(pictures, count),
                copy,
                frame_rate=_FRAME_RATE,
                on_frame=throw_exception_if_processing_interrupted,
                max_width=_FRAME_WIDTH * packing.beside,
            )
        return _entry(
            place_of(copy),
            packing,
            height,
            width,
            pixels=pixel_aspect(packing.format),
            kind=kind,
            name=f"{width}x{height}",
            note=f"the first {count} of {total} frames" if count < total else "",
            rate=_FRAME_RATE,
        )
    return None


def stereo_output(*shown: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Return what a node adds to the `ui` of its output for its viewer; None is left out."""
    return {"stereo": [entry for entry in shown if entry is not None]}


@contextmanager
def _optional(what: str) -> Iterator[None]:
    """Go on without a preview where it fails, which the log says; interrupts pass."""
    try:
        yield
    except InterruptProcessingException:
        raise
    except Exception as error:
        _LOGGER.warning("no preview of %s: %s", what, one_line(error))


def _entry(
    file: dict[str, str],
    packing: Packing,
    height: int,
    width: int,
    *,
    pixels: Fraction,
    kind: str,
    name: str,
    note: str,
    rate: float = 1.0,
) -> dict[str, Any]:
    """Describe a file, as `web/js/viewer/extension.js` knows it."""
    return {
        "file": file,
        "name": name,
        "note": note,
        "kind": kind,
        "rate": rate,
        "format": packing.format,
        "swap": packing.swap_eyes,
        "aspect": packing.aspect(height, width, pixels=pixels),
    }
