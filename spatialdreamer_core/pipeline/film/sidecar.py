"""The sidecar of a film: settings for scenes or parts of them, as CSV or JSON.

    scene,start,end,divergence,convergence,foreground_scale,filler,skip,ease
    2,,,1.5,,,,,
    ,12.5,15,4,0.3,,,,0.5
    5,,,,,,,yes,

A row is for a scene (or several, 3-5), by the numbers that `spatialdreamer scenes` gives, or for the time
from `start` to `end`. What a row leaves empty is as everywhere in the film. Within a scene values do not jump
if `ease` says over how many seconds they go to a row's, and back after its end; at a cut they change at once.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...arguments import seconds
from ...checks import InputError, one_line
from ...dvg import Placement
from ...options import Option, options_of
from ..config import ConvertConfig
from .plan import FilmPlan

VALUES = ("divergence", "convergence", "foreground_scale")
COLUMNS = ("scene", "start", "end", *VALUES, "filler", "skip", "ease")
_LONGEST_EASE = 60.0  # s
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_LARGEST = 16 * 2**20  # bytes of a sidecar; a scene takes 50


@dataclass(frozen=True)
class SidecarRow:
    """A row as it is written.

    Attributes:
        line: Its line in a CSV file, or its number in a JSON list, from 1.
        scenes: Its first and last scene, from 1; None: it is for a time.
        start: Seconds at which it begins, None: not given.
        end: Seconds at which it ends, None: not given.
        values: Those of `VALUES` that are given.
        filler: Name of the filler, None: the film's.
        skip: Whether both eyes see the source.
        ease: Seconds over which values change.
    """

    line: int
    scenes: tuple[int, int] | None
    start: float | None
    end: float | None
    values: Mapping[str, float] = field(default_factory=dict)
    filler: str | None = None
    skip: bool = False
    ease: float = 0.0


def read_sidecar(path: str | os.PathLike[str]) -> list[SidecarRow]:
    """Read a sidecar.

    Raises:
        InputError: If it cannot be read, or a row breaks a rule; it names the line and the value.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"more than {_LARGEST // 2**20} MB")
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            f"sidecar must be a readable CSV or JSON file, got {path} ({one_line(error)}); check the name"
        ) from error
    return parse_sidecar(text, name=str(path))


def parse_sidecar(text: str, *, name: str = "the sidecar") -> list[SidecarRow]:
    """Read the text of a sidecar, see `read_sidecar`."""
    rows = _json_rows(text, name) if text.lstrip().startswith(("[", "{")) else _csv_rows(text, name)
    return [_to_row(line, values, name) for line, values in rows]


def _csv_rows(text: str, name: str) -> list[tuple[int, dict[str, str]]]:
    """Give the rows of a CSV text by column, with their lines."""
    reader = csv.reader(io.StringIO(text))
    columns: list[str] | None = None
    rows = []
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if columns is None:
            columns = cells
            _check_columns(columns, f"{name}, line {reader.line_num}")
        elif len(cells) > len(columns):
            raise InputError(
                f"{name}, line {reader.line_num}: a row must have at most {len(columns)} values, got "
                f"{len(cells)}; name each column in the first line"
            )
        else:
            rows.append((reader.line_num, dict(zip(columns, cells, strict=False))))
    return rows


def _json_rows(text: str, name: str) -> list[tuple[int, dict[str, str]]]:
    """Give the rows of a JSON text by column, with their numbers."""
    try:
        content = json.loads(text)
        rows = content["scenes"] if isinstance(content, dict) else content
        assert isinstance(rows, list)
        assert all(isinstance(row, dict) for row in rows)
    except (ValueError, KeyError, AssertionError, RecursionError) as error:
        raise InputError(
            f'{name} must be a list of objects, or {{"scenes": list}}, if it is JSON, got something else '
            f"({one_line(error)}); see docs/films.md"
        ) from error
    for number, row in enumerate(rows, start=1):
        _check_columns(row, f"{name}, row {number}")
    return [
        (number, {key: "" if value is None else str(value) for key, value in row.items()})
        for number, row in enumerate(rows, start=1)
    ]


def _check_columns(columns: Iterable[str], where: str) -> None:
    """Check that columns are known and named once."""
    seen: set[str] = set()
    for column in columns:
        if column in ("frames", ""):  # what `write_scenes` tells beside
            continue
        if column not in COLUMNS or column in seen:
            raise InputError(
                f"{where}: columns must be some of {', '.join(COLUMNS)}, each once, got {column!r:.60}; "
                "correct it"
            )
        seen.add(column)


def _to_row(line: int, cells: Mapping[str, str], name: str) -> SidecarRow:
    """Check a row by itself."""
    where = f"{name}, line {line}"
    given = {key: text.strip() for key, text in cells.items() if text.strip()}
    scenes = _scenes(given["scene"], where) if "scene" in given else None
    start, end = (_moment(given[key], f"{where}: {key}") if key in given else None for key in COLUMNS[1:3])
    if scenes is None and (start is None or end is None):
        raise InputError(f"{where}: a row must name a scene, or a start and an end, got neither; add them")
    if start is not None and end is not None and not start < end:
        raise InputError(f"{where}: end must be later than start ({start:g} s), got {end:g} s; correct it")
    options = options_of(ConvertConfig)
    values = {key: _number(given[key], options[key], f"{where}: {key}") for key in VALUES if key in given}
    skip = given.get("skip", "no").lower()
    if skip not in (*_YES, *_NO):
        raise InputError(f"{where}: skip must be yes or no, got {given['skip']!r:.60}; correct it")
    ease = _number(given.get("ease", "0"), _EASE, f"{where}: ease")
    return SidecarRow(line, scenes, start, end, values, given.get("filler"), skip in _YES, ease)


_EASE = Option(default=0.0, low=0.0, high=_LONGEST_EASE, unit="seconds", name="ease", kind=float, help="")


def _number(text: str, option: Option, where: str) -> float:
    """Read a number in an option's range."""
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where} must be a number, got {text!r:.60}; correct it") from None
    assert option.low is not None
    assert option.high is not None
    if not option.low <= value <= option.high:
        raise InputError(
            f"{where} must be between {option.low:g} and {option.high:g}"
            f"{f' ({option.unit})' if option.unit else ''}, got {text:.60}; correct it"
        )
    return value


def _moment(text: str, where: str) -> float:
    """Read a time: seconds, m:s or h:m:s."""
    try:
        value = seconds(text)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{where} {error}") from None
    if not 0 <= value < float("inf"):
        raise InputError(f"{where} must be at least 0 seconds, got {text:.60}; correct it")
    return value


def _scenes(text: str, where: str) -> tuple[int, int]:
    """Read a scene's number, or the first and last of several."""
    first, _, last = text.partition("-")
    try:
        numbers = int(first), int(last or first)
    except ValueError:
        raise InputError(f"{where}: scene must be a number, or two as 3-5, got {text!r:.60}") from None
    if not 1 <= numbers[0] <= numbers[1]:
        raise InputError(f"{where}: scene must be at least 1, and of two the less first, got {text!r:.60}")
    return numbers


@dataclass(frozen=True)
class _Key:
    """A moment from which on values go to new ones."""

    time: float
    before: Placement
    after: Placement
    ease: float

    def at(self, time: float) -> Placement:
        """Return the values at a later moment."""
        passed = 1.0 if self.ease <= 0 else min(1.0, (time - self.time) / self.ease)
        share = passed * passed * (3 - 2 * passed)  # neither begins nor ends with a jerk
        return Placement(
            *(old + share * (new - old) for old, new in zip(self.before, self.after, strict=True))
        )


@dataclass(frozen=True)
class SceneSettings:
    """What a scene is converted with.

    Attributes:
        keys: The moments from which on its values change, the first one at its start.
        filler: Name of its filler, None: the film's.
        skip: Whether both eyes see the source.
    """

    keys: tuple[_Key, ...]
    filler: str | None = None
    skip: bool = False

    @property
    def kind(self) -> tuple[str | None, bool]:
        """What a segment has only one of."""
        return ("", True) if self.skip else (self.filler, False)

    def placement(self, time: float) -> Placement:
        """Return how depth becomes disparity at a moment of the scene, in seconds."""
        index = bisect_right([key.time for key in self.keys], time) - 1
        return self.keys[max(0, index)].at(time)


@dataclass(frozen=True)
class _Span:
    """A row's place in the film, in seconds."""

    row: SidecarRow
    start: float
    end: float


def settle(
    rows: Sequence[SidecarRow],
    plan: FilmPlan,
    base: Sequence[Placement],
    *,
    time_base: Fraction,
    fillers: Sequence[str],
) -> list[SceneSettings]:
    """Find out what each scene of a film is converted with.

    Args:
        rows: The sidecar.
        plan: The film's scenes.
        base: The values of each scene where no row says otherwise.
        time_base: Seconds per unit of the plan's times.
        fillers: The names of fillers that a row may give.

    Raises:
        InputError: If a row is for a scene or time that the film does not have, two rows are for the same
            time, or a filler is unknown or for less than a scene.
    """
    tolerance = float(min(Fraction(scene.end - scene.start, scene.frames) for scene in plan.scenes))
    tolerance *= float(time_base) / 2  # half a frame
    bounds = [(float(scene.start * time_base), float(scene.end * time_base)) for scene in plan.scenes]
    spans = sorted((_place(row, bounds, tolerance) for row in rows), key=lambda span: span.start)
    for span, following in pairwise(spans):
        if following.start < span.end - tolerance:
            first, second = sorted((span.row.line, following.row.line))
            raise InputError(
                f"sidecar rows must not overlap, got {following.start:.3f} s to "
                f"{min(span.end, following.end):.3f} s in lines {first} and {second}; shorten one"
            )
    settings = []
    for (start, end), own in zip(bounds, base, strict=True):
        inside = [span for span in spans if span.start < end - tolerance and span.end > start + tolerance]
        settings.append(_settle_scene(inside, start, end, own, tolerance, fillers))
    return settings


def _place(row: SidecarRow, bounds: Sequence[tuple[float, float]], tolerance: float) -> _Span:
    """Find a row's place in the film."""
    if row.scenes is None:
        assert row.start is not None
        assert row.end is not None
        if row.start >= bounds[-1][1] or row.end <= bounds[0][0]:
            raise InputError(
                f"sidecar line {row.line}: start must lie in the film ({bounds[0][0]:.3f} s to "
                f"{bounds[-1][1]:.3f} s), got {row.start:.3f} s; correct or remove the line"
            )
        return _Span(row, row.start, row.end)
    first, last = row.scenes
    if last > len(bounds):
        raise InputError(
            f"sidecar line {row.line}: scene must be 1 to {len(bounds)}, as many as the film has, got "
            f"{last}; correct or remove the line"
        )
    start, end = bounds[first - 1][0], bounds[last - 1][1]
    for name, given, found in (("start", row.start, start), ("end", row.end, end)):
        if given is not None and abs(given - found) > tolerance + 0.001:
            raise InputError(
                f"sidecar line {row.line}: {name} must be that of its scene ({found:.3f} s), got "
                f"{given:.3f} s; make the sidecar of this film with the same settings, or leave it out"
            )
    return _Span(row, start, end)


def _settle_scene(
    spans: Sequence[_Span],
    start: float,
    end: float,
    base: Placement,
    tolerance: float,
    fillers: Sequence[str],
) -> SceneSettings:
    """Find out what a scene is converted with."""
    keys = [_Key(start, base, base, 0.0)]
    filler, skip = None, False
    for number, span in enumerate(spans):
        row, after = span.row, Placement(**{**base._asdict(), **span.row.values})
        is_whole = span.start <= start + tolerance and span.end >= end - tolerance
        if (row.skip or row.filler) and not is_whole:
            raise InputError(
                f"sidecar line {row.line}: filler and skip must be for whole scenes, got a part of the scene "
                f"from {start:.3f} s to {end:.3f} s; give the scene's number or its times"
            )
        if row.filler is not None and row.filler not in fillers:
            raise InputError(
                f"sidecar line {row.line}: filler must be one of {', '.join(fillers)}, got "
                f"{row.filler!r:.60}; correct it"
            )
        filler, skip = row.filler or filler, row.skip or skip
        if span.start <= start + tolerance:
            keys = [_Key(start, after, after, 0.0)]
        else:
            keys.append(_Key(span.start, keys[-1].at(span.start), after, row.ease))
        following = spans[number + 1].start if number + 1 < len(spans) else end
        if span.end < min(following, end) - tolerance:
            keys.append(_Key(span.end, keys[-1].at(span.end), base, row.ease))
    return SceneSettings(tuple(keys), filler, skip)


def write_scenes(plan: FilmPlan, values: Sequence[Mapping[str, float]], *, time_base: Fraction) -> str:
    """Write a film's scenes as a sidecar to begin with: a row for each.

    Args:
        plan: The scenes.
        values: What each scene's row gets of `VALUES`; the others are empty, which leaves them to `convert`.
        time_base: Seconds per unit of the plan's times.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("scene", "start", "end", "frames", *COLUMNS[3:]))
    for number, (scene, own) in enumerate(zip(plan.scenes, values, strict=True), start=1):
        start, end = (f"{float(pts * time_base):.3f}" for pts in (scene.start, scene.end))
        cells = (f"{own[name]:g}" if name in own else "" for name in VALUES)
        writer.writerow((number, start, end, scene.frames, *cells, "", "no", "0"))
    return out.getvalue()


def to_json(rows: Sequence[SidecarRow]) -> list[dict[str, Any]]:
    """Give rows as JSON holds them, without their lines, by which a film that was begun is compared."""
    return [{name: value for name, value in asdict(row).items() if name != "line"} for row in rows]
