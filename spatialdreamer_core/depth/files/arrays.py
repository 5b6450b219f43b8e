"""Depth from NumPy's files, frame by frame: .npy through a memory map, .npz unpacked as it is read.

The key of an .npz file is the only one, or one of `depth` (DepthCrafter), `depths` (Video Depth Anything),
`disparity` and `disp`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Generator
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from ...checks import InputError

_KEYS = ("depth", "depths", "disparity", "disp")
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: Path, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w]
    """Read the frames of an .npy file from a frame on.

    Raises:
        InputError: If the file is broken or holds no depth.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _broken(path, error) from error
    frames = array.reshape(_frame_shape(array.shape, array.dtype, path))
    for index in range(skip, len(frames)):
        yield np.array(frames[index])


def read_npz(path: Path, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w]
    """Read the frames of an .npz file from a frame on; only one of them is in memory at a time.

    Raises:
        InputError: If the file is broken, holds no depth, or leaves open which array is meant.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_key_of(archive, path)}.npy") as stream:
            shape, fortran_order, dtype = _read_header(stream)
            count, height, width = _frame_shape(shape, dtype, path)
            if fortran_order:
                raise InputError(
                    f"depth must be stored in C order, got Fortran order in {path}; "
                    "save it again after numpy.ascontiguousarray"
                )
            size = height * width * dtype.itemsize
            stream.seek(min(skip, count) * size, 1)
            for _ in range(skip, count):
                data = stream.read(size)
                if len(data) < size:
                    raise ValueError("it ends early")
                yield np.frombuffer(data, dtype).reshape(height, width)
    except InputError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, OSError, EOFError) as error:
        raise _broken(path, error) from error


def _key_of(archive: zipfile.ZipFile, path: Path) -> str:
    """Find out which array is meant."""
    keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    known = keys if len(keys) == 1 else [key for key in _KEYS if key in keys]
    if not known:
        raise InputError(
            f"an .npz file of depth must hold one array, or one named {', '.join(_KEYS)}; "
            f"got {', '.join(keys) or 'none'} in {path}; rename the array"
        )
    return known[0]


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read what precedes an array's values: shape, whether it is in Fortran order, type."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"unknown version {version}")
    return _HEADERS[version](stream)


def _frame_shape(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> tuple[int, int, int]:
    """Return an array's shape as [F, H, W]."""
    if len(shape) == 4:  # an axis for the channel
        if shape[1] == 1:
            shape = (shape[0], *shape[2:])
        elif shape[3] == 1:
            shape = shape[:3]
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or not prod(shape) or dtype.kind not in "fui":
        raise InputError(
            f"depth must be numbers of shape [F, H, W] or [H, W], got {dtype} {list(shape)} in {path}; "
            "save one channel, with numbers that are not complex"
        )
    return shape[0], shape[1], shape[2]


def _broken(path: Path, error: Exception) -> InputError:
    """Make the error for a file that NumPy cannot read."""
    return InputError(
        f"depth must be a whole NumPy file without pickled objects, got {path} ({error}); "
        "save it again with numpy.savez or numpy.save"
    )
