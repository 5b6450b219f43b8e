"""Depth from NumPy's files, frame by frame; only one frame is in memory, however long the array.

Files are read, not mapped: one that another program cuts meanwhile would end the process. The key of an .npz
file is the only one, or the only one of `depth` (DepthCrafter), `depths` (Video Depth Anything), `disparity`
and `disp`.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ...checks import InputError, one_line
from ...memory import require_memory
from ...parsing import parsing
from .sizes import check_frame_size

_KEYS = ("depth", "depths", "disparity", "disp")
_HEADERS = {  # by version: bytes of the header's length, reader
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
_MAX_HEADER = 10_000  # bytes; NumPy's own limit, which it checks only after it has read them all
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
_MAX_REORDERED = 2**29  # bytes of an array that must be read whole, for its frames do not lie one by one


class _Array(NamedTuple):
    """An array in a file, whose values come next in the stream."""

    stream: IO[bytes]
    length: int
    height: int
    width: int
    dtype: np.dtype
    fortran_order: bool


def read_npy(path: Path, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w]
    """Read the frames of an .npy file from a frame on.

    Raises:
        InputError: If the file is broken or holds no depth.
    """
    with _parsing(path), _open_npy(path) as array:
        if array.fortran_order:
            yield from _reordered(array, path)[skip:]
        else:
            yield from _frames(array, skip)


def read_npz(path: Path, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w]
    """Read the frames of an .npz file from a frame on, unpacking them as they are read.

    Raises:
        InputError: If the file is broken, holds no depth, or leaves open which array is meant.
    """
    with _parsing(path), _open_npz(path) as array:
        if array.fortran_order:
            raise _not_in_order(path)
        yield from _frames(array, skip)


def count_npy(path: Path) -> int:
    """Read from the header how many frames an .npy file has.

    Raises:
        InputError: If the file is broken or holds no depth.
    """
    with _parsing(path), _open_npy(path) as array:
        return array.length


def count_npz(path: Path) -> int:
    """Read from the header how many frames an .npz file has.

    Raises:
        InputError: If the file is broken, holds no depth, or leaves open which array is meant.
    """
    with _parsing(path), _open_npz(path) as array:
        return array.length


def _parsing(path: Path) -> AbstractContextManager[None]:
    """Turn what the `with` block raises into the error for a file that NumPy could not read either."""
    return parsing(
        path,
        rule="depth must be a whole NumPy file without pickled objects",
        remedy="save it again with numpy.savez or numpy.save",
    )


@contextmanager
def _open_npy(path: Path) -> Iterator[_Array]:
    """Open the array of an .npy file."""
    with path.open("rb") as stream:
        yield _read_header(stream, path, os.fstat(stream.fileno()).st_size)


@contextmanager
def _open_npz(path: Path) -> Iterator[_Array]:
    """Open the array of an .npz file that holds depth."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{_key_of(archive, path)}.npy")
        if member.compress_type not in _COMPRESSIONS:
            raise ValueError(f"its compression is {member.compress_type}, not that of NumPy")
        with archive.open(member) as stream:
            yield _read_header(stream, path, member.file_size)


def _key_of(archive: zipfile.ZipFile, path: Path) -> str:
    """Find out which array is meant."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    keys = [name.removesuffix(".npy") for name in names if not name.startswith("__MACOSX/")]
    known = keys if len(keys) == 1 else [key for key in keys if key.lower() in _KEYS]
    if len(known) != 1:
        raise InputError(
            f"an .npz file of depth must hold one array, or only one named {', '.join(_KEYS)}; "
            f"got {one_line(', '.join(keys)) if keys else 'none'} in {path}; save the depth alone, or rename "
            "the arrays"
        )
    return known[0]


def _read_header(stream: IO[bytes], path: Path, length: int) -> _Array:
    """Read what precedes an array's values, and check it against the length of the whole."""
    magic = stream.read(np.lib.format.MAGIC_LEN)
    version = np.lib.format.read_magic(io.BytesIO(magic))
    if version not in _HEADERS:
        raise ValueError(f"unknown version {version}")
    digits, read = _HEADERS[version]
    stated = stream.read(digits)
    size = int.from_bytes(stated, "little")
    if size > _MAX_HEADER:
        raise ValueError(f"its header states a length of {size} bytes")
    shape, fortran_order, dtype = read(io.BytesIO(stated + stream.read(size)))
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    count, height, width = _frame_shape(shape, dtype, path)
    check_frame_size(path, width=width, height=height, bytes_per_pixel=dtype.itemsize)
    expected = len(magic) + digits + size + count * height * width * dtype.itemsize
    if length != expected:
        raise ValueError(f"it has {length} bytes, and its header states {expected}")
    return _Array(stream, count, height, width, dtype, fortran_order)


def _frame_shape(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> tuple[int, int, int]:
    """Return an array's shape as [F, H, W]."""
    # Axes of one entry are those of a batch, of the channel, or of the only frame.
    frames = tuple(size for size in shape if size != 1)
    if len(frames) < 2:
        frames = shape  # a row, a column or a pixel
    if len(frames) == 2:
        frames = (1, *frames)
    if len(frames) != 3 or min(frames) < 1 or dtype.kind not in "fui":
        raise InputError(
            f"depth must be numbers of shape [F, H, W] or [H, W], got {one_line(dtype)} {list(shape)} in "
            f"{path}; save one channel, with numbers that are not complex"
        )
    return frames[0], frames[1], frames[2]


def _frames(array: _Array, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w]
    """Read the frames of an array from one on."""
    size = array.height * array.width * array.dtype.itemsize
    array.stream.seek(min(skip, array.length) * size, 1)
    for _ in range(skip, array.length):
        yield np.frombuffer(_read_exactly(array.stream, size), array.dtype).reshape(array.height, array.width)
    array.stream.read(1)  # at its end, a member of an archive compares its checksum


def _reordered(array: _Array, path: Path) -> np.ndarray:  # [F, H, W]
    """Read the whole of an array in Fortran order, whose frames are scattered over it."""
    size = array.length * array.height * array.width * array.dtype.itemsize
    if size > _MAX_REORDERED:
        raise _not_in_order(path)
    require_memory(size, what=f"the array in Fortran order in {path}", remedy="save it in C order")
    values = np.frombuffer(_read_exactly(array.stream, size), array.dtype)
    return values.reshape((array.length, array.height, array.width), order="F")


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Read a number of bytes, and not fewer: the file may be cut while it is read."""
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("it ends early")
    return data


def _not_in_order(path: Path) -> InputError:
    """Make the error for an array whose frames do not lie one after the other."""
    return InputError(
        f"depth must be stored in C order, got Fortran order in {path}; "
        "save it again after numpy.ascontiguousarray"
    )
