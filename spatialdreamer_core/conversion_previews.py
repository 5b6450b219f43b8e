"""What `convert` shows instead of converting: photos of a film here and there, or what the work will take."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from .checks import InputError
from .depth import DepthModel
from .fill import Filler
from .pipeline import ConvertConfig, choose_device, convert
from .pipeline.film.convert import is_kept
from .pipeline.film.dry_run import MEASURED, estimate_film, without_keeping
from .pipeline.film.keyframes import convert_keyframes
from .process import Signals
from .progress_bar import ProgressBar
from .video import is_photo
from .video.probe import probe


def show_keyframes(
    options: argparse.Namespace,
    config: ConvertConfig,
    output: Path,
    signals: Signals,
    *,
    filler: Filler,
    depth_model: DepthModel | None,
) -> int:
    """Write a photo every few seconds beside the output; returns the exit code."""
    _check_film(options.input, "keyframes")
    with ProgressBar(quiet=options.quiet, unit=" photos") as bar:

        def on_photo(done: int, total: int | None) -> None:
            signals.check()
            bar.show(options.input.name, done, total)

        photos = convert_keyframes(
            options.input,
            output.parent,
            config,
            every=options.keyframes,
            filler=filler,
            depth_model=depth_model,
            on_photo=on_photo,
        )
    print(
        f"{photos[0].parent} ({len(photos)} photo{'s' if len(photos) != 1 else ''}, from {photos[0].name} on)"
    )
    return 0


def show_estimate(
    options: argparse.Namespace,
    config: ConvertConfig,
    output: Path,
    signals: Signals,
    *,
    filler: Filler,
    depth_model: DepthModel | None,
) -> int:
    """Print what the conversion will take; returns the exit code."""
    _check_film(options.input, "dry-run")
    info = probe(options.input)
    with ProgressBar(quiet=options.quiet) as bar:

        def convert_part(
            *, output_path: Path, start: float | None, end: float, on_progress: Any, on_first_pass: Any
        ) -> int:
            def note(done: int, total: int | None, packed: Any) -> None:
                signals.check()
                bar.show("measuring", done, MEASURED)
                on_progress(done, total, packed)

            return convert(
                options.input,
                output_path,
                replace(without_keeping(config), start=start, end=end, audio=False),
                info=info,
                filler=filler,
                depth_model=depth_model,
                on_progress=note,
                on_first_pass=on_first_pass,
            )

        estimate = estimate_film(
            convert_part,
            info,
            start=config.start,
            end=config.end,
            kept=lambda frames: is_kept(
                config, seconds=frames / float(info.frame_rate), frames=frames, filler=filler
            ),
            suffix=output.suffix,
            pictures=config.layout().pictures_a_pair,
            device=choose_device(config.device),
        )
    print(f"{output}: {estimate}")
    return 0


def _check_film(path: Path, name: str) -> None:
    """Check that an input is a film.

    Raises:
        InputError: If it is a photo.
    """
    if is_photo(path):
        raise InputError(f"{name} must go with a film, got the photo {path}; leave it out")
