"""Files as `torch.save` writes them, for models that were published in no other form.

Such a file is a zip archive: a pickle, which says what there is, and the bytes of each tensor, uncompressed.
A pickle can run code, so torch's reader for weights alone reads it: it makes tensors, numbers, texts and
lists, and refuses whatever else is asked for. Tensors stay in the file until they are used.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..parsing import parsing
from .files import Header

_MAGIC = b"PK\x03\x04"
_MOST_PICKLE = 1 << 26  # bytes; a training's checkpoint of 3,000 tensors has 2 MB
_STATES = ("module", "state_dict")  # where training programs put a model's tensors: DeepSpeed, Lightning
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class ArchiveHeader(Header):
    """What an archive of torch holds; see `read_archive`."""

    kind: ClassVar[str] = "archive of torch.save"

    @contextmanager
    def open(self) -> Iterator[Callable[[str], Tensor]]:
        """Open the file, see `open_tensors`; what it gets is mapped, not read, until the block ends."""
        tensors = _map_tensors(self.file)
        try:
            yield lambda name: tensors[self.stored.get(name, name)]
        finally:
            tensors.clear()  # Windows keeps a mapped file from being removed


def is_archive(file: Path) -> bool:
    """Tell whether a file begins like a zip archive, as torch's and all others do."""
    with parsing(file, rule="a checkpoint must be a readable file", remedy="check its permissions"):
        with file.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC


def read_archive(file: Path, *, again: str) -> ArchiveHeader:
    """Read which tensors an archive of torch holds: at its top, or where a training program puts them.

    Args:
        file: The file.
        again: What to do about a damaged one, for the message: "download it again".

    Raises:
        InputError: If it is cut short or damaged, holds no tensors, or would run code.
    """
    with parsing(file, rule="a checkpoint must be a whole archive of torch.save", remedy=again):
        _check_records(file, again)
        unsafe = _find_unsafe(file)
        if unsafe:
            raise InputError(
                f"a checkpoint must hold tensors and plain values alone, but {file} asks for "
                f"{', '.join(unsafe[:3])[:200]}, which could run code, and was not read; {again}"
            )
        tensors = _map_tensors(file)
        return ArchiveHeader(
            file,
            {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            {name: _TYPES.get(tensor.dtype, str(tensor.dtype)) for name, tensor in tensors.items()},
            {},
        )


def _check_records(file: Path, again: str) -> None:
    """Check that an archive is one of torch's, whole, and no larger than it looks."""
    if not zipfile.is_zipfile(file):  # its list of records is at the end
        raise InputError(
            f"a checkpoint must be whole, but the end of {file} is missing (it has {file.stat().st_size} "
            f"bytes); {again}"
        )
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
    pickles = [record for record in records if record.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"it has {len(records)} records and {len(pickles)} of the name data.pkl")
    if pickles[0].file_size > _MOST_PICKLE:
        raise ValueError(f"its data.pkl has {pickles[0].file_size} bytes")
    packed = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(f"its record {packed[0][:60]} is compressed")


def _harmless() -> list[Any]:
    """List what pickles of training programs ask for beside torch's own list: NumPy's numbers."""
    types = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")}
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # of NumPy 1 and 2
    return [np.dtype, *types, *((scalar, name) for name in names)]


def _find_unsafe(file: Path) -> list[str]:
    """List what a pickle asks for that is not known to be harmless."""
    with torch.serialization.safe_globals(_harmless()):
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))


def _map_tensors(file: Path) -> dict[str, Tensor]:
    """Map the tensors of an archive by name."""
    with torch.serialization.safe_globals(_harmless()):
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    state = next((content[name] for name in _STATES if isinstance(content.get(name), dict)), content)
    tensors = {
        name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise ValueError(f"it holds no tensors but {', '.join(map(str, list(content)[:5]))[:100]}")
    return tensors
