"""One safetensors file of M2SVid's release: smaller, quick to load, and it says which variant it is.

The release is a zip archive with two `.pt` files. The chosen one is unpacked beside the result first, since
its tensors can be read only by its list of them, which is at its end. Then the tensors are converted one by
one. What is not needed to run the model is left out: second copies of the autoencoder, CLIP's text half, the
loss.
"""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ..atomic import AtomicPath, write_error
from ..checks import InputError, check_flag
from ..parsing import parsing
from ..weights.files import Header, open_tensors
from ..weights.streaming import TYPES, file_size, write_tensors
from .checkpoint import Checkpoint, list_release, read_checkpoint
from .variant import AGAIN, FULL_ATTENTION, METADATA, Variant, name_variant

_LOGGER = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]
_SUFFIX = ".safetensors"
_PUBLISHED = torch.float16
_PORTION = 1 << 27  # bytes that are mapped at a time: what was read counts as memory until the file is closed
_PIECE = 1 << 22  # bytes, unpacked at a time


def convert_m2svid(
    source: Path | str,
    target: Path | str,
    *,
    variant: Variant | None = None,
    svd: str | os.PathLike[str] | None = None,
    dtype: torch.dtype = torch.float16,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Convert M2SVid to one safetensors file, which appears when it is whole.

    It takes the memory of a part of the file, whatever its size.

    Args:
        source: The release (`m2svid_weights.zip`), a `.pt` of it, or safetensors in the same names.
        target: The file to write, ending in `.safetensors`.
        variant: Of a release the one to take, with full attention if None; else see `load_m2svid`.
        svd: See `load_m2svid`.
        dtype: float16, in which M2SVid was published, bfloat16 or float32.
        overwrite: Whether a file that is there is replaced.
        on_progress: Called with what is being done, the bytes that are done, and their total; may raise to
            interrupt, which leaves nothing.

    Returns:
        The file.

    Raises:
        InputError: If the source is not M2SVid or not whole, the target exists or cannot be written, or there
            is no room for it.
    """
    source, target = Path(source), Path(target).absolute()
    check_flag("overwrite", overwrite)
    if dtype not in TYPES:
        raise InputError(
            f"dtype must be one of {', '.join(map(str, TYPES))}, got {dtype}; choose one of them"
        )
    _check_target(source, target, overwrite=overwrite)
    report = on_progress or (lambda what, done, total: None)
    with _writing(target), _unpacked(source, target, variant, dtype, report) as file:
        checkpoint = read_checkpoint(file, variant=variant, svd=svd)
        _convert(checkpoint, target, dtype, report, overwrite=overwrite)
    return target


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Check that the result may be written under its name."""
    if target.suffix.lower() != _SUFFIX:
        raise InputError(f"the target must be a {_SUFFIX} file, got {target}; let its name end so")
    if target.is_dir() or (target.exists() and not overwrite):
        raise InputError(
            f"the target must be a new file, got {target}, which is there; choose another name, or say that "
            "it is to be replaced (overwrite)"
        )
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"the target must not be the source, got {target} for both; choose another name")


@contextmanager
def _unpacked(
    source: Path, target: Path, variant: Variant | None, dtype: torch.dtype, report: OnProgress
) -> Iterator[Path]:
    """Yield the file with the weights: the source, or what is unpacked from it until the block ends."""
    inside = list_release(source) if source.is_file() else []
    if not inside:
        yield source
        return
    variant = variant or FULL_ATTENTION
    member = next((name for name in inside if name_variant(Path(name).name) == variant), None)
    if member is None:
        raise InputError(
            f"the release must hold the variant {variant}, got {source} with {', '.join(inside)}; choose "
            "another variant or file"
        )
    with zipfile.ZipFile(source) as archive, AtomicPath(target.with_suffix(".unpacked")) as folder:
        size = archive.getinfo(member).file_size
        _require_room(target, size + size * dtype.itemsize // _PUBLISHED.itemsize)
        folder.partial.mkdir()
        file = folder.partial / Path(member).name
        with _parsing_release(source):
            packed = archive.open(member)
        with packed, file.open("wb") as unpacked:
            while piece := _read_piece(packed, source):
                unpacked.write(piece)
                report("unpacking", unpacked.tell(), size)
        yield file


def _read_piece(packed: IO[bytes], source: Path) -> bytes:
    """Unpack a piece; its checksum is compared at the end."""
    with _parsing_release(source):
        return packed.read(_PIECE)


def _parsing_release(source: Path) -> AbstractContextManager[None]:
    """Turn what is raised on a damaged release into one error for the user."""
    return parsing(source, rule="a release must be a whole zip archive", remedy=AGAIN)


def _convert(
    checkpoint: Checkpoint, target: Path, dtype: torch.dtype, report: OnProgress, *, overwrite: bool
) -> None:
    """Write the networks of a file."""
    names = [list(dict.fromkeys(place.key for place in part.table.values())) for part in checkpoint.parts]
    headers = [part.header for part in checkpoint.parts]
    shapes = {name: header.shapes[name] for header, own in zip(headers, names, strict=True) for name in own}
    metadata = {METADATA: checkpoint.variant}
    total = file_size(shapes, dtype, metadata)
    _require_room(target, total)

    def convert() -> Iterator[tuple[str, Tensor]]:
        done = 0
        for header, own in zip(headers, names, strict=True):
            for name, tensor in _read(header, own, dtype):
                if not bool(tensor.isfinite().all()):
                    raise InputError(
                        f"M2SVid's weights must be finite in {dtype}, but {name} of {header.file} is not; "
                        f"choose another precision, or {AGAIN}"
                    )
                yield name, tensor
                done += tensor.nbytes
                report("converting", done, total)

    with AtomicPath(target, overwrite=overwrite) as written:
        write_tensors(written.partial, convert(), shapes=shapes, dtype=dtype, metadata=metadata)
        written.commit()
    _LOGGER.info("wrote %s, %.2f GB", target, total / 1e9)


def _read(header: Header, names: list[str], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Read tensors one by one, and close the file after each portion of it."""
    while names:
        taken = 0
        with open_tensors(header) as get_tensor:
            while names and taken < _PORTION:
                name = names.pop(0)
                stored = get_tensor(name)
                taken += stored.nbytes
                yield name, stored.to(dtype)
                del stored


def _require_room(target: Path, needed: int) -> None:
    """Check that the drive has room for a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise InputError(
            f"the target's folder must have room for {needed / 1e9:.1f} GB, got {free / 1e9:.1f} GB free in "
            f"{target.parent}; free space, or choose another folder"
        )


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn the system's errors while writing into one message for the user."""
    try:
        yield
    except OSError as error:
        raise write_error(target, error, name="target") from error
