"""Plots of an evaluation: each measure over time, and a row of the picture over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..metrics import MEASURES
from ..metrics.measures import describe

_PANEL, _MARGIN = (640, 150), 8  # px
_LABEL = 18  # px, height of a line of text
_LINE, _GRID, _TEXT = (20, 90, 200), (215, 215, 215), (40, 40, 40)
_WIDEST = 1600  # px, of a scanline's picture
_LEAST_HEIGHT = 64  # px
_TITLES = {"source": "given view", "truth": "truth", "result": "result"}


def draw_curves(curves: Mapping[str, Sequence[float | None]], frames_a_point: int) -> Image.Image | None:
    """Draw each measure over time, two panels a row; None without two points of any.

    Args:
        curves: Figures over time by the names of `MEASURES`.
        frames_a_point: Frames that each of them stands for.
    """
    names = [name for name in MEASURES if sum(value is not None for value in curves.get(name, ())) > 1]
    if not names:
        return None
    width, height = _PANEL
    rows = (len(names) + 1) // 2
    sheet = Image.new("RGB", (2 * width, rows * height), "white")
    for i, name in enumerate(names):
        panel = _draw_panel(describe(name), curves[name], frames_a_point)
        sheet.paste(panel, (i % 2 * width, i // 2 * height))
    return sheet


def draw_scanlines(pictures: Mapping[str, np.ndarray]) -> Image.Image | None:  # each [T, W, 3] uint8
    """Draw a row of each view over time, which runs down; None for one frame.

    A steady film shows smooth lines, one that flickers shows torn ones (Figure 1 of SpatialDreamer).
    """
    if not pictures or len(next(iter(pictures.values()))) < 2:
        return None
    parts = []
    for name, rows in pictures.items():
        picture = Image.fromarray(rows)
        tall = max(1, -(-_LEAST_HEIGHT // picture.height))
        size = min(_WIDEST, picture.width), picture.height * tall
        parts.append((_TITLES.get(name, name), picture.resize(size, Image.Resampling.NEAREST)))
    width = max(picture.width for _, picture in parts)
    sheet = Image.new("RGB", (width, sum(picture.height + _LABEL for _, picture in parts)), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for title, picture in parts:
        draw.text((2, top + 3), title, fill=_TEXT, font=ImageFont.load_default())
        sheet.paste(picture, (0, top + _LABEL))
        top += picture.height + _LABEL
    return sheet


def _draw_panel(title: str, values: Sequence[float | None], frames_a_point: int) -> Image.Image:
    """Draw one curve with its range and its mean; gaps are where there is no figure."""
    width, height = _PANEL
    panel = Image.new("RGB", _PANEL, "white")
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default()
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    spread = (high - low) or 1.0
    left, right, top, bottom = _MARGIN, width - _MARGIN, _LABEL + _MARGIN, height - _LABEL
    draw.rectangle((left, top, right, bottom), outline=_GRID)
    about = f"{title}: {low:.4g} to {high:.4g}, mean {sum(known) / len(known):.4g}"
    draw.text((left, 4), about, fill=_TEXT, font=font)
    last = f"frame {frames_a_point * (len(values) - 1)}"
    draw.text((left, bottom + 3), "frame 0", fill=_TEXT, font=font)
    draw.text((right - draw.textlength(last, font=font), bottom + 3), last, fill=_TEXT, font=font)
    line: list[tuple[float, float]] = []
    for i, value in enumerate([*values, None]):
        if value is not None:
            x = left + (right - left) * i / (len(values) - 1)
            line.append((x, bottom - 2 - (bottom - top - 4) * (value - low) / spread))
            continue
        if len(line) > 1:
            draw.line(line, fill=_LINE, width=2)
        elif line:
            draw.point(line, fill=_LINE)
        line = []
    return panel
