"""What the dataset's JSON files say: of each clip a record, and of the whole `dataset.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...atomic import replacing, write_error
from ...checks import InputError, check_types, one_line
from ...dvg.eyes import Eye
from ...fill.pair import WAY_BACK

VERSION = 1
DATASET_JSON = "dataset.json"  # written last: a folder without it is not finished
_KIND = "spatialdreamer DVG dataset"
_NAME = re.compile(r"[\w-][\w.-]{0,199}")  # of clips, which become names of files


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """All that is known of a clip without reading its frames.

    Attributes:
        name: Its name, different for each clip of any dataset with these settings.
        source: Name of the video that it was made from.
        scene: Name of its scene; clips of a scene are all held out or all trained on.
        first_frame: Number of its first frame within the scene.
        frames: Number of its frames.
        height: px.
        width: px.
        side: Where x2 lies.
        fps: Frames a second, of the clip's own frames.
        divergence: % of the width, see `render_pair`.
        convergence: See `render_pair`.
        brightness: Mean brightness, 0 to 1.
        motion: Mean over the frames of the 90th percentile of motion, % of the width a frame of the video.
        sharpness: Of the steepest edges, 0 to 1.
        flow_confidence: Mean confidence of the flow, 0 to 1.
        hole: Share of masked pixels, 0 to 1.
        bytes: Size of its file.
        sha256: Checksum of its file.
        checksums: Those of its frames, see `frame_checksums`.
        held_out: Whether it is kept for validation.
        way_back: How far x2 was rendered back, see `render_pair`; 1 in all clips that are held out.
    """

    name: str
    source: str
    scene: str
    first_frame: int
    frames: int
    height: int
    width: int
    side: Eye
    fps: float
    divergence: float
    convergence: float
    brightness: float
    motion: float
    sharpness: float
    flow_confidence: float
    hole: float
    bytes: int
    sha256: str
    checksums: str
    held_out: bool = False
    way_back: float = 1.0


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; equal content gives equal bytes.

    Raises:
        InputError: If it cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    try:
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise write_error(path, error, name="dataset") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the dataset's JSON files.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the dataset's files must be readable, got {path} ({one_line(error)}); delete that file and run "
            "`dataset build` again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object; delete it and run `dataset build` again")
    return content


def with_version(content: Mapping[str, Any]) -> dict[str, Any]:
    """Put the kind and version of the files in front."""
    return {"kind": _KIND, "version": VERSION, **content}


def check_version(content: Mapping[str, Any], path: Path) -> None:
    """Check that a JSON file is of this version.

    Raises:
        InputError: If it is of another one, or of something else.
    """
    if content.get("kind") != _KIND:
        raise InputError(f"dataset must be a folder of `dataset build`, got {path}, which is of another kind")
    if content.get("version") != VERSION:
        raise InputError(
            f"dataset must be of version {VERSION}, got version {content.get('version')!r:.40} in {path}; "
            "build it anew into another folder, or use the spatialdreamer that made it"
        )


def to_record(content: object, path: Path) -> ClipRecord:
    """Make a record of what a JSON file says.

    Raises:
        InputError: If it is not what was written.
    """
    try:
        known = {field.name for field in fields(ClipRecord)}
        if not isinstance(content, dict) or not known >= content.keys():
            raise ValueError("no record of a clip")
        record = ClipRecord(**content)
        check_types(record)
        if not _NAME.fullmatch(record.name) or min(record.frames, record.height, record.width) < 1:
            raise ValueError(f"no name or size of a clip: {record.name!r:.60}")
        WAY_BACK.check(record.way_back)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path} must hold records of clips ({one_line(error)}); delete it and run `dataset build` again"
        ) from error
    return record


def from_record(record: ClipRecord) -> dict[str, Any]:
    """Give a record as JSON holds it; one whose view lies on x1 is as it was before there were others."""
    content = asdict(record)
    if record.way_back == WAY_BACK.default:
        del content["way_back"]
    return content
