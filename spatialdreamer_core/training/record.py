"""What a run writes down: its settings, the figures of each step, the best weights so far.

A run's folder has `run.json` (the settings it began with), `log.jsonl` (a line for each step and validation),
`validation/` (pictures), `checkpoints/`, and weights as the loader node reads them: `best`, and `last`, which
the next stage starts from.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..atomic import replacing
from ..checks import InputError
from ..parsing import parsing
from ..weights.files import parse_json, read_json
from .checkpoint import FORMAT
from .config import TrainConfig, check_resumable

if TYPE_CHECKING:
    from accelerate import Accelerator

_LOGGER = logging.getLogger(__name__)

RUN, LOG = "run.json", "log.jsonl"
BEST, BEST_FIGURES, LAST = "best", "best.json", "last"
CHECKPOINTS, PICTURES = "checkpoints", "validation"
LEAST_SHARPNESS = 0.95  # of the truth's, below which weights are not kept: they blur
_ANOTHER = "choose another output folder, or go on with the version that began it"


def write_run(folder: Path, config: TrainConfig, sources: Mapping[str, str]) -> None:
    """Write a run's settings, or check that those of now may go on with it.

    Args:
        folder: Of the run.
        config: Its settings.
        sources: What it is trained from and on, by what it is called.

    Raises:
        InputError: If the folder holds a run of another version, stage, source or other settings.
    """
    file = folder / RUN
    if file.is_file():
        before, known = read_run(folder)
        check_resumable(before, config, where=folder)
        changed = [
            f"{name} {known.get(name)} (now {value})"
            for name, value in sources.items()
            if known.get(name) != value
        ]
        if changed:
            raise InputError(
                f"a run must go on with what it began with, got another one for {folder}: "
                f"{', '.join(changed)}; give it again, or choose another output folder"
            )
    content = {"format": FORMAT, "config": config.to_dict(), "sources": dict(sources)}
    with replacing(file) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_run(folder: Path) -> tuple[TrainConfig, dict[str, str]]:
    """Read a run's settings and sources.

    Raises:
        InputError: If there is none, or it is damaged or of another version.
    """
    file = folder / RUN
    rule = "a run's folder must hold the settings of this version"
    with parsing(file, rule=rule, remedy=_ANOTHER):
        if not file.is_file():
            raise InputError(f"a run's folder must hold {RUN}, but there is none in {folder}; check the path")
        content = read_json(file, remedy=_ANOTHER)
        if content.get("format") != FORMAT:
            raise InputError(
                f"{rule}, got format {content.get('format')!r} in {file} where {FORMAT} is read; {_ANOTHER}"
            )
        return TrainConfig.from_dict(content["config"]), dict(content["sources"])


def choose_tracker(name: str) -> str | None:
    """Return the tracker to use, None for none.

    Raises:
        InputError: If it is not installed.
    """
    from accelerate.tracking import get_available_trackers

    available = {str(getattr(each, "value", each)) for each in get_available_trackers()}
    if name == "none":
        return None
    if name == "auto":
        if "tensorboard" in available:
            return "tensorboard"
        _LOGGER.info("no curves are drawn, as TensorBoard is not installed; %s has all figures", LOG)
        return None
    if name not in available:
        raise InputError(
            f"tracker must be installed, got {name}, which is not; pip install {name}, or choose none"
        )
    return name


class Record:
    """Writes the figures of a run: to `log.jsonl`, and to the tracker.

    Args:
        folder: Of the run.
        accelerator: Whose tracker and main process it uses.
    """

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self._folder, self._accelerator = folder, accelerator
        self._lines: TextIO | None = None

    def begin(self, step: int, config: TrainConfig) -> None:
        """Begin after a number of steps; lines of later ones, of a run that was killed, are dropped."""
        self._accelerator.init_trackers("spatialdreamer", config=config.to_dict())
        if self._accelerator.is_main_process:
            _cut_log(self._folder, step)
            self._lines = (self._folder / LOG).open("a", encoding="utf-8")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        self._append({"step": step, **figures})
        self._accelerator.log(dict(figures), step=step)

    def write_validation(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Write the figures of a validation; returns whether they are better than the best so far."""
        self._append({"step": step, "validation": _finite(metrics)})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        _LOGGER.info("validation after step %d: %s", step, shown)
        self._accelerator.log({f"validation/{name}": value for name, value in metrics.items()}, step=step)
        file = self._folder / BEST_FIGURES
        best = read_json(file, remedy=f"remove {file}")["metrics"] if file.is_file() else None
        return is_better(metrics, best)

    def write_best(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the figures of the best weights, once these are saved."""
        with replacing(self._folder / BEST_FIGURES) as partial:
            content = {"step": step, "metrics": _finite(metrics)}
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Close the file, and let the trackers write what they hold."""
        if self._lines is not None:
            self._lines.close()
        trackers, self._accelerator.trackers = self._accelerator.trackers, []
        for tracker in trackers:
            tracker.finish()

    def _append(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        if self._lines is not None:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures as JSON has them, which knows no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log; a last one that was cut short is left out."""
    file = folder / LOG
    if not file.is_file():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(parse_json(text))
        except ValueError:
            break
    return lines


def is_better(metrics: Mapping[str, float], best: Mapping[str, float] | None) -> bool:
    """Tell whether weights are better than the best so far.

    The less LPIPS in holes the better, or where it is not measured the more PSNR there. Weights that blur,
    with a sharpness ratio below 0.95, only replace others that do.
    """
    if best is None:
        return True
    sharp, was_sharp = (values.get("sharpness", 1.0) >= LEAST_SHARPNESS for values in (metrics, best))
    if sharp != was_sharp:
        return sharp
    if "hole_lpips" in metrics and "hole_lpips" in best:
        return metrics["hole_lpips"] < best["hole_lpips"]
    return metrics["hole_psnr"] > best["hole_psnr"]


def _cut_log(folder: Path, step: int) -> None:
    """Drop the lines of steps that will be done again."""
    lines = [line for line in read_log(folder) if line["step"] <= step]
    with replacing(folder / LOG) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
