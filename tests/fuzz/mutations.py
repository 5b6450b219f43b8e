"""Seeded damage to files: bytes anywhere, numbers in headers, values of JSON, headers of arrays."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable

_EXTREMES = (0, 1, -1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
_VALUES = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "../../etc", "\x00", "9" * 400, [], [1], [[]], {}, {"a": {}}, ["x", "y", "z"], [10**9] * 4),
)
_NPY_HEADERS = (
    "{'descr': '|O', 'fortran_order': False, 'shape': (4, 32, 48), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 30000, 30000), }",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (4, 32, 48), }",
    "{'descr': '>f8', 'fortran_order': False, 'shape': (2, 32, 48), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 32, 48), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 32, 48), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 0, 0), }",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (4, 32, 24), }",
    "{'descr': '<U7', 'fortran_order': False, 'shape': (4, 32, 48), }",
    "{'descr': '<f4', 'shape': 7}",
    "((" * 400,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 32, 4" + "8" * 30 + "), }",
)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Damage a file one to three times at random places, more often near its start, where headers are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not changed:
            break
        rng.choice(_BYTE_MUTATIONS)(changed, rng)
    return bytes(changed)


def _place(data: bytearray, rng: random.Random) -> int:
    """Choose a place."""
    end = min(len(data), rng.choice((64, 512, 4096, len(data))))
    return rng.randrange(max(1, end))


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 32))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    del data[start : start + rng.choice((1, 4, 64, 1024))]


def _insert(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    data[start:start] = rng.randbytes(rng.choice((1, 4, 64, 1024)))


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, length = _place(data, rng), rng.choice((4, 64, 1024))
    data[start:start] = data[start : start + length] * rng.choice((1, 3))


def _zero(data: bytearray, rng: random.Random) -> None:
    start, length = _place(data, rng), rng.choice((4, 64, 1024))
    data[start : start + length] = bytes(len(data[start : start + length]))


def _number(data: bytearray, rng: random.Random) -> None:
    size, start = rng.choice((1, 2, 4, 8)), _place(data, rng)
    value = rng.choice(_EXTREMES) % (1 << 8 * size)
    data[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))


_BYTE_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _cut, _remove, _insert, _repeat, _zero, _number, _number),
)


def mutate_json(text: str, rng: random.Random) -> str:
    """Give one to three places of a JSON text other values, or drop them; now and then break the text."""
    if rng.random() < 0.1:
        return mutate_bytes(text.encode(), rng).decode("utf-8", "replace")
    if rng.random() < 0.05:
        return "[" * 100_000
    tree = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        containers = list(_containers(tree))
        if not containers:
            break
        container = rng.choice(containers)
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        key = rng.choice(keys)
        if rng.random() < 0.15:
            del container[key]
        else:
            container[key] = rng.choice(_VALUES)
    return json.dumps(tree)


def _containers(tree: object) -> list[dict | list]:
    """List the objects and arrays of a JSON tree that hold something."""
    found: list[dict | list] = []
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list) and item:
            found.append(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return found


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Damage a safetensors file: its header's values, its header's length, or bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(data[8 : 8 + length].decode(), rng).encode("utf-8", "replace")
    stated = len(header) if rng.random() < 0.9 else rng.choice(_EXTREMES) % 2**64
    return stated.to_bytes(8, "little") + header + data[8 + length :]


def mutate_npy(data: bytes, rng: random.Random) -> bytes:
    """Damage an array: another header before the same values, or bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(data, rng)
    header = rng.choice(_NPY_HEADERS).encode().ljust(118) + b"\n"
    length = int.from_bytes(data[8:10], "little")
    return data[:8] + len(header).to_bytes(2, "little") + header + data[10 + length :]


def mutate_npz(data: bytes, rng: random.Random) -> bytes:
    """Damage an archive of arrays: a member, its name, how it is packed, or bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(data, rng)
    packed = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w", method) as target:
        for name in source.namelist():
            content = mutate_npy(source.read(name), rng)
            if rng.random() < 0.2:
                content += bytes(50_000_000)  # inflates from next to nothing
            target.writestr(rng.choice((name, name, "../x.npy", "depth", "é" * 200)), content)
    return packed.getvalue() if rng.random() < 0.8 else mutate_bytes(packed.getvalue(), rng)


def mutate(name: str, data: bytes, rng: random.Random) -> bytes:
    """Damage a file as suits its suffix."""
    suffix = name.rsplit(".", 1)[-1]
    if suffix == "json":
        return mutate_json(data.decode(), rng).encode("utf-8", "replace")
    special = {"safetensors": mutate_safetensors, "npy": mutate_npy, "npz": mutate_npz}
    return special.get(suffix, mutate_bytes)(data, rng)


def odd_value(rng: random.Random) -> object:
    """Choose a value that a setting is not meant to have."""
    return rng.choice(_VALUES)
