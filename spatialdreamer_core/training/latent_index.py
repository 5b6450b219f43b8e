"""The index of a latent cache: what it is made from, and which shard holds which clip.

It is written first, and follows from the dataset, the base model and the settings alone, as every shard does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..atomic import replacing, write_error
from ..checks import InputError
from ..parsing import parsing
from ..spatialdreamer import SpatialDreamer
from ..weights.files import read_json
from .clips import ClipRecord, Clips, way_back

_LOGGER = logging.getLogger(__name__)

Precision = Literal["float32", "float16"]
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
_VERSION = 1
_FILE = "latents.json"
_RULE, _REMEDY = "a latent cache must have a whole index", "delete that folder and build it again"


@dataclass(frozen=True)
class LatentClip:
    """A clip of the cache."""

    name: str
    frames: int
    held_out: bool
    index: int  # in the dataset
    shard: int  # which holds it
    way_back: float = 1.0  # how far its view is rendered back, see `render_pair`


@dataclass(frozen=True)
class LatentIndex:
    """What `latents.json` says."""

    made_from: dict[str, Any]
    clips: tuple[LatentClip, ...]  # all of the dataset

    @property
    def key(self) -> str:
        """What stands for all that the cache is made from."""
        return _digest(self.made_from)

    @property
    def shards(self) -> list[list[LatentClip]]:
        """The clips of each shard."""
        shards: list[list[LatentClip]] = [[] for _ in range(self.clips[-1].shard + 1)]
        for clip in self.clips:
            shards[clip.shard].append(clip)
        return shards


def make_index(
    dataset: Clips,
    model: SpatialDreamer,
    *,
    height: int,
    width: int,
    precision: Precision,
    shard_bytes: int,
) -> LatentIndex:
    """Make the index of a cache; arguments as of `build_latents`.

    Raises:
        InputError: If the dataset has no clips.
    """
    if not dataset.records:
        raise InputError("a dataset must hold clips, got none; build it from more videos")
    svd, codec = model.svd, model.svd.codec
    made_from = {
        "version": _VERSION,
        "dataset": _digest([_describe(record) for record in dataset.records]),
        "codec": f"{fingerprint(svd.vae)} {codec.factor} {codec.channels} {codec.scaling:g}",
        "image tower": fingerprint(svd.image_encoder),
        "height": height,
        "width": width,
        "precision": precision,
        "shard_bytes": shard_bytes,
    }
    bytes_per_frame = frame_bytes(model, height=height, width=width, precision=precision)
    clips, shard, filled = [], 0, 0
    for index, record in enumerate(dataset.records):
        if filled >= shard_bytes:
            shard, filled = shard + 1, 0
        filled += record.frames * bytes_per_frame
        clips.append(LatentClip(record.name, record.frames, record.held_out, index, shard, way_back(record)))
    return LatentIndex(made_from, tuple(clips))


def frame_bytes(model: SpatialDreamer, *, height: int, width: int, precision: Precision) -> int:
    """Return how many bytes a frame takes in a cache."""
    codec = model.svd.codec
    latents = (height // codec.factor) * (width // codec.factor)
    numbers = 3 * latents * codec.channels + model.svd.unet.config.cross_attention_dim
    return numbers * DTYPES[precision].itemsize + latents


def read_index(folder: Path) -> LatentIndex | None:
    """Read the index of a folder; None if it has none.

    Raises:
        InputError: If it is damaged or of another version.
    """
    file = folder / _FILE
    if not file.is_file():
        return None
    index = read_json(file, rule=_RULE, remedy=_REMEDY)
    with parsing(file, rule=_RULE, remedy=_REMEDY):
        made_from = dict(index["made_from"])
        if made_from["version"] != _VERSION:
            raise InputError(
                f"a latent cache must be of version {_VERSION}, got {made_from['version']!r} in {file}; "
                f"{_REMEDY}"
            )
        clips = tuple(LatentClip(**clip) for clip in index["clips"])
        if not clips:
            raise ValueError("it names no clips")
    return LatentIndex(made_from, clips)


def prepare_folder(folder: Path, index: LatentIndex, *, rebuild: bool) -> None:
    """Write the index into a cache's folder, unless it is there.

    Args:
        folder: The folder.
        index: The index.
        rebuild: Whether a cache with another index is removed first.

    Raises:
        InputError: If the folder holds something else, or cannot be written.
    """
    present = read_index(folder)
    if present == index:
        return
    if present is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"a latent cache must go to a new folder or one of its own, got {folder} which holds something "
            "else; choose another name"
        )
    if present is not None:
        changed = ", ".join(_describe_changes(present.made_from, index.made_from)) or "its clips"
        if not rebuild:
            raise InputError(
                f"a latent cache must be made from the same dataset, base model and settings, but the one in "
                f"{folder} differs in {changed}; delete it to have it made anew, or choose another folder"
            )
        _LOGGER.warning("the latent cache in %s is rebuilt, since it differs in %s", folder, changed)
    file = folder / _FILE
    try:
        for shard in folder.glob(shard_name("*")):
            shard.unlink()
        with replacing(file) as partial:
            text = json.dumps(dataclasses.asdict(index), indent=1) + "\n"
            partial.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise write_error(file, error, name="latent cache") from error


def shard_name(shard: int | Literal["*"]) -> str:
    """Return a shard's file name, or the pattern of all."""
    return f"shard-{shard if isinstance(shard, str) else f'{shard:05d}'}.safetensors"


def fingerprint(network: nn.Module) -> str:
    """Return 32 hexadecimal digits that stand for a network's class and weights, in their precision."""
    digest = hashlib.blake2b(type(network).__name__.encode(), digest_size=16)
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _describe_changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name what differs, with its values where a person can read them."""
    settings = ("height", "width", "precision", "shard_bytes")
    return [
        f"{name} ({then.get(name)}, not {value})" if name in settings else name
        for name, value in now.items()
        if then.get(name) != value
    ]


def _describe(record: ClipRecord) -> dict[str, Any]:
    """Return a record as it was before views could lie elsewhere than on x1, where it is one that does."""
    described: dict[str, Any] = dataclasses.asdict(record)  # type: ignore[call-overload]
    if described.get("way_back") == 1:
        del described["way_back"]
    return described


def _digest(value: Any) -> str:
    """Return 32 hexadecimal digits that stand for what JSON can hold."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
