"""Read one eye's view of a film, a photo or a folder of pictures, whatever way it shares the frames."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..dvg.eyes import Eye
from ..media import natural_order
from ..stereo import check_packed
from ..video import (
    FORMAT_SUFFIXES,
    PHOTO_SUFFIXES,
    ColorInfo,
    IncompleteInput,
    is_photo,
    probe,
    read_frames,
    read_photo,
)
from ..video.stereo_source import stated_format
from .config import AUTO, LAYOUTS, ONE_VIEW

_MOST_WORDS = 3  # LRF, Full, SBS
_ENDINGS = {  # of names, without what stands between words; those that we write and what else is common
    **{re.sub(r"[^a-z0-9]", "", suffix.lower()): name for name, suffix in FORMAT_SUFFIXES.items()},
    **dict.fromkeys(("sbs", "fullsbs", "fsbs"), "full_sbs"),
    **dict.fromkeys(("halfsbs", "hsbs"), "half_sbs"),
    **dict.fromkeys(("fulltb", "fulltab", "ftab", "fullou", "fou"), "full_tb"),
    **dict.fromkeys(("halftb", "halftab", "htab", "halfou", "hou"), "half_tb"),
    **dict.fromkeys(("crosseyed", "rl"), "cross_eyed"),
    "anaglyph": "anaglyph",
}
_QUILT = re.compile(r"qs\d+x\d+(a\d+)?")  # of any grid and shape


class ViewReader:
    """Reads one eye's view, any number of times.

    Args:
        path: A video, a photo, or a folder of pictures, which are the frames of a clip in natural order.
        eye: The eye to read where there are two.
        format: One of `LAYOUTS`.
        name: What it is called in messages: the option that gave it.
        size: (height, width) to which views of half formats are brought; None doubles their short side.

    Attributes:
        path: The path.
        eye: The eye that is read.
        total: Number of frames, as far as it is known.
        format: The packing format, or "view".

    Raises:
        InputError: If there is nothing that can be read, or it cannot hold two views as it should.
    """

    def __init__(
        self,
        path: Path,
        *,
        eye: Eye,
        format: str = AUTO,
        name: str,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.path, self.eye, self._name, self._size = path, eye, name, size
        check_exists(path, name=name)
        self._pictures = list_pictures(path, name=name) if path.is_dir() else None
        self._is_photo = self._pictures is None and is_photo(path)
        self._info = None if self._pictures or self._is_photo else probe(path)
        self.total = len(self._pictures or [path]) if self._info is None else self._info.frame_count
        self._found = format == AUTO
        self.format = self._find_format() if format == AUTO else format
        if self.format not in LAYOUTS:
            raise InputError(
                f"{name} must hold whole views that can be told apart, got the {self.format} {path}; give "
                "side by side, or say by its format option that it holds one view"
            )

    @property
    def holds_both(self) -> bool:
        """Whether it holds two views."""
        return self.format != ONE_VIEW

    @property
    def is_squeezed(self) -> bool:
        """Whether its views have half of their width or height."""
        return self.format.startswith("half")

    def of_eye(self, eye: Eye) -> ViewReader:
        """Return a reader of the same file for an eye."""
        return ViewReader(self.path, eye=eye, format=self.format, name=self._name, size=self._size)

    def of_size(self, size: tuple[int, int]) -> ViewReader:
        """Return a reader that brings squeezed views to a size.

        Metadata seldom tells half formats from full ones: a whole frame of that size holds squeezed views.
        """
        format, info = self.format, self._info
        if self._found and info is not None and (info.height, info.width) == size:
            format = format.replace("full", "half")
        return ViewReader(self.path, eye=self.eye, format=format, name=self._name, size=size)

    def __iter__(self) -> Generator[Tensor, None, None]:  # each [3, H, W] in [0, 1]
        """Read the frames.

        Raises:
            InputError: While iterating, if one cannot be read, or is of another size than the first one.
        """
        size = None
        for picture, color in self._read():
            view = self._view(picture)
            if size is None:
                size = view.shape
            if view.shape != size:
                raise InputError(
                    f"pictures of {self._name} must be of one size, got {_size(view)} after "
                    f"{size[1]}x{size[0]} in {self.path}; resize them"
                )
            black, white = (0, np.iinfo(view.dtype).max)
            if color is not None and view.dtype == np.uint16:
                black, white = color.swing
            values = torch.from_numpy(np.ascontiguousarray(view).astype(np.float32)).movedim(-1, 0)
            yield values.sub_(black).div_(white - black).clamp_(0, 1)

    def _read(self) -> Generator[tuple[np.ndarray, ColorInfo | None], None, None]:
        """Read whole pictures."""
        if self._pictures is not None or self._is_photo:
            for path in self._pictures or [self.path]:
                yield read_photo(path), None
            return
        try:
            with closing(read_frames(self.path)) as frames:
                for frame in frames:
                    yield frame.image, frame.color
        except IncompleteInput as error:  # figures of a part would be taken for those of the whole
            raise InputError(str(error)) from error

    def _view(self, picture: np.ndarray) -> np.ndarray:
        """Cut the eye's view out of a picture."""
        if not self.holds_both:
            return picture
        height, width = picture.shape[:2]
        check_packed(height, width, format=self.format, name=str(self.path))
        first = self.eye == ("right" if self.format == "cross_eyed" else "left")
        if self.format.endswith("tb"):
            view = picture[: height // 2] if first else picture[height // 2 :]
        else:
            view = picture[:, : width // 2] if first else picture[:, width // 2 :]
        if not self.format.startswith("half"):
            return view
        whole = self._size or (height, width)
        if view.shape[:2] == whole:
            return view
        return cv2.resize(view, whole[::-1], interpolation=cv2.INTER_CUBIC)

    def _find_format(self) -> str:
        """Tell by metadata, then by name, how views share the frames."""
        info = self._info
        if info is not None and info.stereo is not None:
            stated = stated_format(info.stereo, aspect=info.sample_aspect_ratio)
            if stated is None:
                raise InputError(
                    f"{self._name} must hold its views side by side or one above the other, got {self.path}, "
                    f"whose {info.stereo}; convert it, or say how they lie by its format option"
                )
            return stated
        return split_name(self.path.stem)[0] or ONE_VIEW


def split_name(stem: str) -> tuple[str | None, str]:
    """Split a file's name into the format that its last words tell, if any, and what stands before them."""
    words = list(re.finditer(r"[A-Za-z0-9]+", stem))
    for count in range(_MOST_WORDS, 0, -1):
        last = words[-count:]
        ending = "".join(word[0] for word in last).lower()
        format = "quilt" if _QUILT.fullmatch(ending) else _ENDINGS.get(ending)
        if len(last) == count and last[0].start() > 0 and format is not None:
            return format, stem[: last[0].start()].rstrip("_-. ")
    return None, stem


def check_exists(path: Path, *, name: str) -> None:
    """Check that there is something at a path, whatever text it is.

    Raises:
        InputError: If there is not.
    """
    if not os.path.exists(path):  # Path's own raises on names that are too long
        raise InputError(f"{name} must be an existing file or folder, got {path}; check the name")


def list_pictures(folder: Path, *, name: str) -> list[Path]:
    """List the pictures of a folder in natural order (2 before 10).

    Raises:
        InputError: If there are none.
    """
    pictures = [path for path in list_files(folder, name=name) if path.suffix.lower() in PHOTO_SUFFIXES]
    if not pictures:
        raise InputError(f"{name} must be a file or a folder of pictures or videos, got none in {folder}")
    return pictures


def list_files(folder: Path, *, name: str) -> list[Path]:
    """List the files of a folder that are not hidden, in natural order.

    Raises:
        InputError: If the folder cannot be listed.
    """
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{name} must be readable, got {folder} ({error.strerror}); check it") from error
    return sorted(files, key=natural_order)


def _size(view: np.ndarray) -> str:
    """Write a picture's size."""
    return f"{view.shape[1]}x{view.shape[0]}"
