"""Safetensors written tensor by tensor, so that a file of any size takes the memory of its largest tensor.

The format: the header's length in 8 bytes, the header as JSON, filled with spaces to a multiple of 8 bytes,
then the tensors' bytes end to end.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

TYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}  # that can be written
_ALIGNMENT = 8  # bytes


def file_size(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, metadata: Mapping[str, str]) -> int:
    """Return the bytes of the file that `write_tensors` writes."""
    return len(_header(shapes, dtype, metadata)) + dtype.itemsize * sum(map(math.prod, shapes.values()))


def write_tensors(
    file: Path,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file.

    Args:
        file: The file.
        tensors: Names and tensors in the order of `shapes`, on the CPU and of `dtype`; taken one by one.
        shapes: All names, with the tensors' shapes.
        dtype: The precision of all.
        metadata: The file's own metadata.
    """
    with file.open("wb") as stream:
        stream.write(_header(shapes, dtype, metadata))
        for (name, tensor), (wanted, shape) in zip(tensors, shapes.items(), strict=True):
            assert (name, tuple(tensor.shape), tensor.dtype) == (wanted, shape, dtype), name
            plain = torch.empty(math.prod(shape), dtype=dtype).copy_(tensor.reshape(-1))  # of stride 1
            stream.write(plain.view(torch.uint8).numpy().data)


def _header(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, metadata: Mapping[str, str]) -> bytes:
    """Make the beginning of a file, up to its first tensor."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    start = 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": TYPES[dtype], "shape": list(shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
