"""A contact sheet of a dataset: x1, x2, x̃1 and the mask of some clips, with what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...fill import WAY_BACK
from ...options import check_options, option
from ...video import write_photo
from .clip_file import DVGClip
from .reader import ClipDataset
from .records import ClipRecord


@dataclass(frozen=True)
class SheetConfig:
    """What a contact sheet shows."""

    clips: int = option(12, 1, 200, "clips", help="How many clips it shows, spread over the dataset.")
    frame: int | None = option(
        None,
        0,
        63,
        none_means="the middle one",
        help="Which frame of each clip, or the last one of shorter clips.",
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)


_TILE = 240  # px, width of a picture
_CAPTION, _GAP = 18, 4  # px
_TITLES = ("x1 (truth)", "x2 (other eye)", "x1 rendered back", "mask")


def write_sheet(
    dataset: ClipDataset, path: Path, config: SheetConfig | None = None, *, overwrite: bool = False
) -> None:
    """Write a contact sheet.

    Args:
        dataset: The dataset.
        path: The file, as of `write_photo`.
        config: The settings.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InputError: If a setting is out of range, or the file cannot be written.
        DamagedClip: If a clip is damaged.
    """
    config = config or SheetConfig()
    config.check()
    places = np.linspace(0, len(dataset) - 1, min(config.clips, len(dataset))).round().astype(int)
    rows = []
    for place in places:
        record = dataset.records[place]
        shown = record.frames // 2 if config.frame is None else min(config.frame, record.frames - 1)
        rows.append(_draw_row(dataset.read(int(place), range(shown, shown + 1)), record, shown))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    write_photo(path, np.asarray(sheet), overwrite=overwrite)


def _draw_row(clip: DVGClip, record: ClipRecord, frame: int) -> Image.Image:
    """Draw one clip: its caption above its four pictures."""
    height = max(1, round(_TILE * record.height / record.width))
    row = Image.new("RGB", (4 * (_TILE + _GAP), height + 2 * _CAPTION + _GAP), "white")
    draw, font = ImageDraw.Draw(row), ImageFont.load_default()
    draw.text((2, 3), describe(record, frame), fill="black", font=font)
    for column, (title, part) in enumerate(zip(_TITLES, clip, strict=True)):
        left = column * (_TILE + _GAP)
        draw.text((left + 2, _CAPTION + 3), title, fill=(90, 90, 90), font=font)
        row.paste(
            _to_picture(part[0]).resize((_TILE, height), Image.Resampling.LANCZOS), (left, 2 * _CAPTION)
        )
    return row


def describe(record: ClipRecord, frame: int) -> str:
    """Say what is known of a clip, in one line of plain letters."""
    name = record.name.encode("ascii", "replace").decode()
    way = "" if record.way_back == WAY_BACK.default else f"{record.way_back:g} of the way back, "
    return (
        f"{name}, frame {frame} of {record.frames}, {record.width}x{record.height}: x2 on the {record.side}, "
        f"divergence {record.divergence:g} %, {way}holes {100 * record.hole:.1f} %, "
        f"motion {record.motion:.2f} %, sharpness {record.sharpness:.2f}"
        f"{', held out' if record.held_out else ''}"
    )


def _to_picture(
    frame: Tensor,  # [C, H, W] in [0, 1], C = 1 or 3
) -> Image.Image:
    """Convert a frame to a picture."""
    pixels = frame.expand(3, -1, -1).movedim(0, -1).mul(255).round().byte()
    return Image.fromarray(np.ascontiguousarray(pixels.numpy()))
