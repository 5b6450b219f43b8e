"""Files of models: safetensors headers and JSON, read and checked before any weight is.

A header says every tensor's name, shape and type, and how long the file has to be. No other format of weights
is read, as pickles can run code, but for what `torch_archive.py` reads for models that have no other file.
Whatever a parser may raise on damaged content becomes an `InputError`.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from ..checks import InputError
from ..memory import require_memory
from ..parsing import parsing

_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # safetensors' names of types
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
_MAX_HEADER = 1 << 24  # bytes; the format allows 100 MB, which take GBs to parse, published headers < 1 MB
_MAX_JSON = 1 << 24  # bytes; a tokenizer's vocabulary has 1 MB
_AGAIN = "download it again"
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_MAGIC = {
    b"PK\x03\x04": "a pickle",  # torch's zip archive of one
    **dict.fromkeys((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a pickle"),
    b"GGUF": "a GGUF file",
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for",
    **dict.fromkeys((b"<!", b"<html", b"<HTML"), "a web page"),
}


@dataclass(frozen=True)
class Header:
    """What a safetensors file holds."""

    kind: ClassVar[str] = "safetensors file"

    file: Path
    shapes: dict[str, tuple[int, ...]]  # by name
    types: dict[str, str]  # by name, such as F16
    metadata: dict[str, str]  # the file's own metadata
    stored: Mapping[str, str] = field(default_factory=dict)  # names in the file, where those are others

    @property
    def elements(self) -> int:
        """The number of elements of all its tensors."""
        return sum(map(math.prod, self.shapes.values()))

    def renamed(self, stored: Mapping[str, str]) -> Header:
        """Return what a file holds under other names.

        Args:
            stored: By name the one that it has here; the others are left out.
        """
        return replace(
            self,
            shapes={name: self.shapes[old] for name, old in stored.items()},
            types={name: self.types[old] for name, old in stored.items()},
            stored={name: self.stored.get(old, old) for name, old in stored.items()},
        )

    @contextmanager
    def open(self) -> Iterator[Callable[[str], Tensor]]:
        """Open the file, see `open_tensors`."""
        from safetensors import safe_open

        with safe_open(self.file, framework="pt") as content:
            yield lambda name: content.get_tensor(self.stored.get(name, name))

    def check_floats(self, names: set[str]) -> None:
        """Check that tensors hold floats.

        Raises:
            InputError: If some hold integers, as quantised weights do.
        """
        others = sorted(name for name in names if self.types[name] not in _FLOATS)
        if others:
            raise InputError(
                f"{self.file} must hold floats, got {len(others)} tensors of other types, such as "
                f"{others[0]} of {self.types[others[0]]}; use a file that is not quantised to integers"
            )


def file_stamp(file: Path) -> tuple[int, int]:
    """Return what changes when a file is replaced: its time of modification in ns and its size in bytes."""
    state = file.stat()
    return state.st_mtime_ns, state.st_size


def read_header(file: Path) -> Header:
    """Read the header of a safetensors file and check that its tensors fill the file, end to end.

    Raises:
        InputError: If there is no such file, it is of another format, or it is damaged.
    """
    if not file.is_file():
        raise InputError(
            f"a checkpoint must be a safetensors file, but there is no file {file}; check the path"
        )
    with parsing(file, rule="a checkpoint must be a readable file", remedy="check its permissions"):
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            content = start + stream.read(length if length <= min(size, _MAX_HEADER) else 32)
    try:
        with parsing(file, rule="a checkpoint must be a safetensors file with a whole header", remedy=_AGAIN):
            if not length <= min(size - 8, _MAX_HEADER):
                raise ValueError(f"the file has {size} bytes")
            entries = parse_json(content[8:])
            metadata = entries.pop("__metadata__", None) or {}
            header = Header(
                file,
                {name: _read_shape(entry["shape"]) for name, entry in entries.items()},
                {name: str(entry["dtype"]) for name, entry in entries.items()},
                {name: str(value) for name, value in metadata.items()},
            )
            spans = {name: tuple(map(_whole, entry["data_offsets"])) for name, entry in entries.items()}
            end = 8 + length + max((stop for _, stop in spans.values()), default=0)
    except InputError:
        _check_format(file, content)  # only here: a good header's length may look like another format
        raise
    if size < end:
        raise InputError(
            f"{file} must have {end} bytes, as its header says, got {size}: it is truncated; download "
            "it again"
        )
    _check_spans(header, spans, size - 8 - length)
    return header


@contextmanager
def open_tensors(header: Header) -> Iterator[Callable[[str], Tensor]]:
    """Open a checked file of weights; yields what gets a tensor by its name.

    Raises:
        InputError: If the file is damaged; also for what is raised on reading in the `with` block.
    """
    remedy = "download it again; on Windows a larger paging file helps, or a file in half precision"
    with (
        parsing(header.file, rule=f"a checkpoint must be a whole {header.kind}", remedy=remedy),
        header.open() as get_tensor,
    ):
        yield get_tensor


def read_tensors(header: Header, *, prefix: str = "", like: Tensor | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checked file whose names start with a prefix, without it.

    They are copies: nothing stays mapped, so the file may be replaced.

    Args:
        header: The file.
        prefix: How the names start.
        like: What the tensors get the device and precision of; None leaves them as they are.

    Raises:
        InputError: If the file is damaged, or memory does not suffice.
    """
    names = [name for name in header.shapes if name.startswith(prefix)]
    if like is None:
        needed = sum(math.prod(header.shapes[name]) * _BITS[header.types[name]] // 8 for name in names)
    else:
        needed = sum(math.prod(header.shapes[name]) for name in names) * like.dtype.itemsize
    require_memory(
        needed,
        what=str(header.file),
        remedy="close other programs, or choose a smaller model",
        device=None if like is None else like.device,
    )
    with open_tensors(header) as get_tensor:
        tensors = ((name[len(prefix) :], get_tensor(name)) for name in names)
        return {name: value.clone() if like is None else value.to(like, copy=True) for name, value in tensors}


def read_state(file: Path, *, limit: int) -> Any:
    """Read a small network's state dict, of safetensors or as torch saves it, without running code from it.

    Args:
        file: The file.
        limit: The most bytes that it may have, unpacked too.

    Raises:
        Exception: Whatever its reader raises for a file that is not whole, and ValueError for a larger one.
    """
    is_safe = file.suffix == ".safetensors"
    if file.stat().st_size > limit or (not is_safe and _unpacked_size(file) > limit):
        raise ValueError(f"it has more than {limit >> 20} MB")
    if is_safe:
        return read_tensors(read_header(file))
    return torch.load(file, map_location="cpu", weights_only=True)


def _unpacked_size(file: Path) -> int:
    """Return the unpacked size of a torch archive in bytes; 0 for older files, which are no archives."""
    if not zipfile.is_zipfile(file):
        return 0
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def compare_shapes(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> dict[str, list[str]]:
    """List the names of tensors that differ, by what is wrong with them; each list may be empty."""
    return {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [name for name, shape in wanted.items() if found.get(name, shape) != shape],
    }


def read_json(
    file: Path,
    *,
    rule: str = "a model's settings must be a JSON object",
    remedy: str = "download that folder again",
) -> dict[str, Any]:
    """Read a JSON object, such as a network's config.

    Args:
        file: The file.
        rule: What it must be, for the message.
        remedy: What the user can do, for the message.

    Raises:
        InputError: If there is none, or it is damaged.
    """
    with parsing(file, rule=rule, remedy=remedy):
        if not file.is_file():
            raise ValueError("there is no such file")
        if file.stat().st_size > _MAX_JSON:
            raise ValueError(f"it has {file.stat().st_size} bytes")
        return parse_json(file.read_bytes())


def parse_json(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object by the standard: no NaN, no name twice.

    Raises:
        Exception: Whatever the parser raises on something else; callers turn it into an `InputError`.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose names must differ: parsers disagree on which duplicate counts."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice[:60]!r} twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and infinity, which Python reads and JSON does not have."""
    raise ValueError(f"it holds {name}")


def _whole(value: object) -> int:
    """Return a whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{str(value)[:40]} is no size")
    return value


def _read_shape(shape: object) -> tuple[int, ...]:
    """Return a tensor's shape."""
    if not isinstance(shape, list):
        raise ValueError(f"{str(shape)[:40]} is no shape")
    return tuple(map(_whole, shape))


def _check_spans(header: Header, spans: Mapping[str, tuple[int, ...]], available: int) -> None:
    """Check that tensors lie end to end in the bytes after the header, each as long as its shape says."""
    reached, reason = 0, ""
    for name, (start, stop) in sorted(spans.items(), key=lambda item: item[1]):
        bits = _BITS.get(header.types[name])
        if bits is None:
            reason = f"{name[:60]} is of the unknown type {header.types[name][:20]}"
        elif start != reached or (stop - start) * 8 != math.prod(header.shapes[name]) * bits:
            reason = f"{name[:60]} lies at {start} to {stop}, from {reached} on, with {header.shapes[name]}"
        reached = stop
        if reason:
            break
    if not reason and reached != available:
        reason = f"{available - reached} bytes are left over"
    if reason:
        raise InputError(
            f"a checkpoint must be a whole safetensors file, but {header.file} is damaged ({reason}); "
            f"{_AGAIN}"
        )


def _check_format(file: Path, content: bytes) -> None:
    """Check that a file does not begin like another format."""
    found = next((kind for magic, kind in _MAGIC.items() if content.lstrip().startswith(magic)), None)
    if found is None and file.suffix.lower() in _PICKLES:
        found = "a pickle"
    if found == "a pickle":
        raise InputError(
            f"{file} must be a safetensors file, got a pickle, which can run code and is not read; use the "
            "same model's .safetensors file"
        )
    if found is not None:
        raise InputError(f"{file} must be a safetensors file, but got {found}; {_AGAIN}")
