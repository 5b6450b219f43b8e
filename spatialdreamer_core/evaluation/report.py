"""An evaluation as a table, as JSON and as plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from .. import __version__
from ..metrics import MEASURES
from ..metrics.measures import describe
from ..video import check_output_path
from ..video.output import OutputFile
from .evaluate import Evaluation, PairFigures
from .plots import draw_curves, draw_scanlines

JSON_NAME = "evaluation.json"
_MOST_COLUMNS = 4  # of single results in the table; more of them are shown by their mean and range


def check_report(folder: Path, names: Sequence[str], *, inputs: Sequence[Path], overwrite: bool) -> None:
    """Check, before any work, that a report can be written; makes its folder if there is none.

    Args:
        folder: Where it goes.
        names: The results' names.
        inputs: Files and folders that are read.
        overwrite: Whether what is there may be replaced.

    Raises:
        InputError: If the folder cannot be written, or a file is there already.
    """
    for name in (JSON_NAME, *(f"{name}_{plot}.png" for name in names for plot in ("curves", "scanlines"))):
        path = folder / name
        check_output_path(path, suffixes=(path.suffix,), inputs=inputs, overwrite=overwrite)


def write_report(evaluation: Evaluation, folder: Path, *, overwrite: bool = False) -> Path:
    """Write plots, and last `evaluation.json`, each whole or not at all.

    Returns:
        The JSON file.

    Raises:
        InputError: If a file cannot be written.
    """
    for pair in evaluation.pairs:
        plots = {
            "curves": draw_curves(pair.curves, pair.frames_a_point),
            "scanlines": draw_scanlines(pair.scanlines),
        }
        for name, picture in plots.items():
            if picture is not None:
                path = folder / f"{pair.files.name}_{name}.png"
                _write_picture(path, picture, overwrite=overwrite)
    path = folder / JSON_NAME
    text = json.dumps(to_json(evaluation), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with OutputFile(path, suffixes=(".json",), overwrite=overwrite) as output:
        output.partial.write_text(text, encoding="utf-8")
        output.commit()
        return output.path


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON's types; nothing of it depends on when or where it was made."""
    return {
        "version": __version__,
        "config": asdict(evaluation.config),
        "measures": {
            name: {"title": measure.title, "unit": measure.unit, "better": measure.better}
            for name, measure in MEASURES.items()
        },
        "mean": evaluation.mean,
        "results": [_pair_to_json(pair) for pair in evaluation.pairs],
    }


def format_table(evaluation: Evaluation) -> str:
    """Lay the figures out: a row a measure, a column a result, or mean and range of many."""
    pairs = evaluation.pairs
    names = [name for name in MEASURES if name in evaluation.mean]
    header = ["", *(pair.files.name for pair in pairs)]
    columns = [[pair.figures.get(name) for name in names] for pair in pairs]
    if len(pairs) > _MOST_COLUMNS:
        header, columns = ["", "mean", "least", "most"], [[evaluation.mean.get(name) for name in names]]
        for pick in (min, max):
            columns.append([_pick(pairs, name, pick) for name in names])
    elif len(pairs) > 1:
        header.append("mean")
        columns.append([evaluation.mean.get(name) for name in names])
    rows = [[describe(name), *(_number(column[i]) for column in columns)] for i, name in enumerate(names)]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    )


def _pick(pairs: Sequence[PairFigures], name: str, pick: Any) -> float | None:
    """Return the least or the largest figure of a measure."""
    known = [pair.figures[name] for pair in pairs if name in pair.figures]
    return pick(known) if known else None


def _number(value: float | None) -> str:
    """Write a figure with about four digits."""
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _pair_to_json(pair: PairFigures) -> dict[str, Any]:
    """Return one result's part."""
    files = {key: None if path is None else str(path) for key, path in pair.files._asdict().items()}
    return {
        **files,
        "frames": pair.frames,
        "width": pair.size[1],
        "height": pair.size[0],
        "figures": pair.figures,
        "left_out": pair.left_out,
        "frames_a_point": pair.frames_a_point,
        "curves": pair.curves,
    }


def _write_picture(path: Path, picture: Image.Image, *, overwrite: bool) -> None:
    """Write a PNG."""
    with OutputFile(path, suffixes=(".png",), overwrite=overwrite) as output:
        picture.save(output.partial, "PNG")
        output.commit()
