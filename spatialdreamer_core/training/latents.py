"""The latent cache: what the networks see of each clip of a dataset, computed once, before training.

A folder with `latents.json`, which says what it was made from and which shard holds which clip, and shards in
safetensors. A shard has, of each of its clips, the tensors `NAME.target`, `.condition`, `.mask`, `.reference`
and `.embeddings` in frames, so that a read maps the file and touches only the frames that are asked for.

The condition is encoded as it is without noise, with its holes blanked. Noise augmentation changes the
picture before it is encoded, so a noised condition cannot come from here: `encode_condition` makes it anew.

Which clip goes into which shard follows from the dataset alone, and shards appear when they are whole. So a
build that was stopped goes on where it was, and gives the same bytes as one that was not.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import replacing
from ..checks import InputError, check_choice, check_finite, one_line
from ..parsing import parsing
from ..spatialdreamer import SpatialDreamer
from ..weights.files import Header, read_header
from .clips import Clips, EncodedSample, check_training_size, encode_sample, fit_clip
from .latent_index import (
    DTYPES,
    LatentClip,
    LatentIndex,
    Precision,
    frame_bytes,
    make_index,
    prepare_folder,
    read_index,
    shard_name,
)
from .writing import writing

_LOGGER = logging.getLogger(__name__)

_SHARD_BYTES = 256 << 20  # which are held in memory until they are written
_CHUNK = 8  # frames that are read and encoded at once
_KEY = "made_from"  # what a shard's metadata calls the index's key
_RULE = "a shard of a latent cache must be whole"
_AGAIN = "delete that file and build the cache again, which makes it anew"


@dataclass(frozen=True)
class LatentCache:
    """A finished latent cache; `open_latents` and `build_latents` return it.

    It holds no open file, so it can be sent to the processes of a data loader.
    """

    folder: Path
    height: int  # px, of the frames
    width: int
    clips: tuple[LatentClip, ...]
    skipped: tuple[str, ...]  # names of clips that could not be read

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.clips)

    def read(self, index: int, frames: range | None = None) -> EncodedSample:
        """Read frames of a clip, and no others.

        Args:
            index: Of the clip in `clips`.
            frames: A range of frames without steps; None: all.

        Raises:
            InputError: If the clip has no such frames, or its shard is missing or damaged.
        """
        clip = self.clips[index]
        frames = range(clip.frames) if frames is None else frames
        if not (0 <= frames.start < frames.stop <= clip.frames and frames.step == 1):
            raise InputError(
                f"`frames` must lie within the {clip.frames} frames of {clip.name}, got {frames}; ask for "
                "fewer"
            )
        file = self.folder / shard_name(clip.shard)
        with _open_shard(file) as content:
            parts = {
                part: content.get_slice(f"{clip.name}.{part}")[frames.start : frames.stop].to(
                    torch.float32, copy=True
                )
                for part in EncodedSample._fields
            }
        for part, tensor in parts.items():
            check_finite(f"{part} of {clip.name} in {file}", tensor, _AGAIN)
        return EncodedSample(**parts)


def build_latents(
    dataset: Clips,
    model: SpatialDreamer,
    folder: str | Path,
    *,
    height: int,
    width: int,
    precision: Precision = "float32",
    rebuild: bool = False,
    shard_bytes: int = _SHARD_BYTES,
    on_progress: Callable[[int, int], None] | None = None,
) -> LatentCache:
    """Encode all clips of a dataset that are not encoded yet, and open the cache.

    Args:
        dataset: The dataset. Clips that cannot be read are left out, with a warning, and tried again the next
            time.
        model: Whose codec and image tower encode, where they are.
        folder: Where the cache is, or goes. A finished one of the same making is opened as it is.
        height: Of the frames in training, px; clips are resized and cut at the centre, see `fit_clip`.
        width: Of the frames, px.
        precision: In which latents are stored; float16 takes half the space and rounds by 0.05 %.
        rebuild: Whether a cache of another making in that folder is replaced.
        shard_bytes: Size from which a shard is full; about as much memory is held.
        on_progress: Called with the frames done and those in all; may raise to interrupt.

    Raises:
        InputError: If the folder holds something else, the size does not suit the model, no clip can be read,
            or the drive is full.
    """
    check_choice("precision", precision, tuple(DTYPES))
    check_training_size(model, height=height, width=width)
    folder = Path(folder)
    size = {"height": height, "width": width}
    index = make_index(dataset, model, **size, precision=precision, shard_bytes=shard_bytes)
    prepare_folder(folder, index, rebuild=rebuild)
    shards = index.shards
    waiting = [shard for shard, clips in enumerate(shards) if not _is_whole(folder, shard, clips, index.key)]
    total = _count_frames(index.clips)
    left = sum(_count_frames(shards[shard]) for shard in waiting)
    _check_room(folder, left * frame_bytes(model, **size, precision=precision))
    if 0 < left < total:
        _LOGGER.info("the latent cache in %s goes on: %d of %d frames are there", folder, total - left, total)
    for shard in waiting:
        tensors: dict[str, Tensor] = {}
        for clip in shards[shard]:
            if on_progress is not None:
                on_progress(total - left, total)
            tensors |= _encode_clip(dataset, model, clip, **size, dtype=DTYPES[precision])
            left -= clip.frames
        _write_shard(folder / shard_name(shard), tensors, index.key)
    if on_progress is not None:
        on_progress(total, total)
    return _open(folder, index)


def open_latents(folder: str | Path) -> LatentCache:
    """Open a finished latent cache.

    Raises:
        InputError: If there is none, it is unfinished, of another version or damaged, or holds no clip.
    """
    folder = Path(folder)
    index = read_index(folder)
    if index is None:
        raise InputError(f"a latent cache must have an index, but {folder} has none; build the cache first")
    return _open(folder, index)


def _open(folder: Path, index: LatentIndex) -> LatentCache:
    """Open a cache after a look at the header of each shard."""
    shards = index.shards
    present: set[str] = set()
    for shard in range(len(shards)):
        file = folder / shard_name(shard)
        if not file.is_file():
            raise InputError(
                f"a latent cache must be finished, but {folder} lacks {file.name} of {len(shards)} shards; "
                "build it again, which goes on where it stopped"
            )
        present |= _names_in(file, index.key)
    clips = tuple(clip for clip in index.clips if clip.name in present)
    skipped = tuple(clip.name for clip in index.clips if clip.name not in present)
    if not clips:
        raise InputError(
            f"a latent cache must hold clips, but none of the {len(skipped)} in {folder} could be read; "
            "check the dataset"
        )
    if skipped:
        _LOGGER.warning(
            "the latent cache in %s lacks %d of %d clips, which could not be read, such as %s",
            *(folder, len(skipped), len(index.clips), skipped[0]),
        )
    return LatentCache(folder, index.made_from["height"], index.made_from["width"], clips, skipped)


def _encode_clip(
    dataset: Clips, model: SpatialDreamer, clip: LatentClip, *, height: int, width: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Encode a clip, a few frames at a time; nothing, with a warning, if it cannot be read."""
    encoded = []
    for start in range(0, clip.frames, _CHUNK):
        try:
            frames = dataset.read(clip.index, range(start, min(start + _CHUNK, clip.frames)))
        except InputError as error:
            _LOGGER.warning("clip %s is left out of the latent cache: %s", clip.name, error)
            return {}
        encoded.append(encode_sample(model, fit_clip(frames, height=height, width=width)))
    parts = zip(EncodedSample._fields, zip(*encoded, strict=True), strict=True)
    return {
        f"{clip.name}.{part}": torch.cat(pieces).to(torch.uint8 if part == "mask" else dtype)
        for part, pieces in parts
    }


def _is_whole(folder: Path, shard: int, clips: Sequence[LatentClip], key: str) -> bool:
    """Tell whether a shard is there with all its clips; a damaged one, or one that lacks some, is not."""
    file = folder / shard_name(shard)
    if not file.is_file():
        return False
    try:
        names = _names_in(file, key)
    except InputError as error:
        _LOGGER.warning("%s is made again: %s", file, error)
        return False
    return names >= {clip.name for clip in clips}


def _names_in(file: Path, key: str) -> set[str]:
    """Return the names of a shard's clips, after checking its header."""
    header = _read_shard_header(file)
    if header.metadata.get(_KEY) != key:
        raise InputError(f"{file} must be a shard of this latent cache, but it is one of another; {_AGAIN}")
    return {name.rpartition(".")[0] for name in header.shapes}


def _count_frames(clips: Sequence[LatentClip]) -> int:
    """Count the frames of clips."""
    return sum(clip.frames for clip in clips)


def _read_shard_header(file: Path) -> Header:
    """Read a shard's header; its file may be damaged."""
    with parsing(file, rule=_RULE, remedy=_AGAIN):
        try:
            return read_header(file)
        except InputError as error:  # whose remedy is that of downloaded weights
            raise ValueError(one_line(error)) from error


@contextmanager
def _open_shard(file: Path) -> Iterator[Any]:
    """Open a shard to get slices of its tensors from it, which maps the file."""
    from safetensors import safe_open

    with parsing(file, rule=_RULE, remedy=_AGAIN), safe_open(file, framework="pt") as content:
        yield content


def _check_room(folder: Path, wanted: int) -> None:
    """Check that the drive has room for what is still to be written."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise InputError(
            f"the latent cache needs {wanted / 2**30:.1f} GB on the drive of {folder}, which has "
            f"{free / 2**30:.1f} GB free; free space, choose another folder, a smaller size or float16"
        )


def _write_shard(file: Path, tensors: Mapping[str, Tensor], key: str) -> None:
    """Write a shard, which appears when it is whole."""
    from safetensors.torch import save_file

    with (
        writing(file, name="latent cache", remedy="free space or choose another folder"),
        replacing(file) as partial,
    ):
        save_file(dict(tensors), partial, metadata={_KEY: key})  # one entry: several have no fixed order
