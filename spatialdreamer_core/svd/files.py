"""Safetensors files: their headers, read and checked before any weight is, and what is there instead of one.

A header says every tensor's name, shape and type, and how long the file has to be. No other format is read:
pickles can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..checks import InputError, one_line

_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # safetensors' names of types
_MAX_HEADER = 100_000_000  # bytes, the format's own limit
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

    file: Path
    shapes: dict[str, tuple[int, ...]]  # by name
    types: dict[str, str]  # by name, such as F16

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


def read_header(file: Path) -> Header:
    """Read the header of a safetensors file and check that the file is as long as it says.

    Raises:
        InputError: If there is no such file, it is of another format, or it is damaged.
    """
    if not file.is_file():
        raise InputError(
            f"a checkpoint must be a safetensors file, but there is no file {file}; check the path"
        )
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        content = start + stream.read(length if length <= min(size, _MAX_HEADER) else 32)
    try:
        if not length <= min(size - 8, _MAX_HEADER):
            raise ValueError(f"it has {size} bytes")
        entries = json.loads(content[8:])
        entries.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        header = Header(
            file,
            {name: tuple(entry["shape"]) for name, entry in entries.items()},
            {name: entry["dtype"] for name, entry in entries.items()},
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _not_safetensors(file, content, error) from error
    if size < end:
        raise InputError(
            f"{file} must have {end} bytes, as its header says, got {size}: it is truncated; download "
            "it again"
        )
    return header


def compare_shapes(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> dict[str, list[str]]:
    """List the names of tensors that differ, by what is wrong with them; each list may be empty."""
    return {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [name for name, shape in wanted.items() if found.get(name, shape) != shape],
    }


def read_json(file: Path) -> dict:
    """Read a JSON object, such as a network's config.

    Raises:
        InputError: If there is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} must be a JSON object, but cannot be read ({one_line(error)}); download that folder "
            "again"
        ) from error
    return content


def _not_safetensors(file: Path, content: bytes, error: Exception) -> InputError:
    """Describe a file of another format, or a damaged one."""
    found = next((kind for magic, kind in _MAGIC.items() if content.lstrip().startswith(magic)), None)
    if found is None and file.suffix.lower() in _PICKLES:
        found = "a pickle"
    if found == "a pickle":
        return InputError(
            f"{file} must be a safetensors file, got a pickle, which can run code and is not read; use the "
            "same model's .safetensors file"
        )
    reason = f"got {found}" if found else f"its header cannot be read ({one_line(error)})"
    return InputError(f"{file} must be a safetensors file, but {reason}; download it again")
