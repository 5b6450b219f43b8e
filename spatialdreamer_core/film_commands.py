"""The command `scenes`, which lists a film's scenes as a sidecar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_common, add_options, given_options
from .atomic import write_error
from .options import options_of
from .pipeline import ConvertConfig, list_scenes
from .process import Signals
from .progress_bar import ProgressBar
from .video.output import OutputFile

_OPTIONS = (
    *("divergence", "convergence", "foreground_scale"),
    *("start", "end", "black_bars", "deinterlace", "allow_incomplete", "device"),
)


def add_film_commands(subparsers: Any) -> None:
    """Describe the command."""
    scenes = subparsers.add_parser(
        "scenes",
        help="list a film's scenes as a sidecar for convert",
        description="Find the scenes of a film, and write a CSV file with a row for each, in which settings "
        "can be changed for convert --sidecar. Give the options that convert gets.",
    )
    scenes.add_argument("input", type=Path, metavar="IN", help="Video file.")
    scenes.add_argument("-o", "--output", type=Path, metavar="FILE", required=True, help="The CSV file.")
    scenes.add_argument("--overwrite", action="store_true", help="Replace a file that exists.")
    options = options_of(ConvertConfig)
    add_options(scenes, (options[name] for name in _OPTIONS))
    add_common(scenes, run_scenes)


def run_scenes(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer scenes`; returns the exit code."""
    config = ConvertConfig(**given_options(options, ConvertConfig))
    output = OutputFile(
        options.output,
        suffixes=(".csv",),
        inputs=(options.input,),
        overwrite=options.overwrite,
        name="sidecar",
    )
    with output, ProgressBar(quiet=options.quiet) as bar:

        def on_progress(done: int, total: int | None) -> None:
            signals.check()
            bar.show("finding scenes", done, total)

        text, count = list_scenes(options.input, config, on_progress=on_progress)
        try:
            output.partial.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise write_error(output.path, error, name="sidecar") from error
        output.commit()
    print(f"{output.path} ({count} scene{'s' if count != 1 else ''})")
    return 0
