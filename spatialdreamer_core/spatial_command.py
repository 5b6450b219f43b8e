"""The command `spatial`: its arguments, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_common, add_options, given_options
from .options import options_of
from .process import Signals
from .progress_bar import ProgressBar
from .video.spatial_video import SpatialConfig, write_spatial_video


def add_spatial_command(subparsers: Any) -> None:
    """Describe the command to the command line's parser.

    Args:
        subparsers: What `add_subparsers` returned.
    """
    spatial = subparsers.add_parser(
        "spatial",
        help="make a spatial video (MV-HEVC, for Apple Vision Pro) of a film side by side",
        description="Make a spatial video (MV-HEVC, for Apple Vision Pro) of a film that `convert` wrote as "
        "full_sbs, best with --codec ffv1. It takes an x265 of 4.0 or newer on the PATH that was built with "
        "cmake -DENABLE_MULTIVIEW=ON.",
    )
    spatial.add_argument("input", type=Path, metavar="IN", help="Film with full views side by side.")
    spatial.add_argument(
        "-o", "--output", type=Path, metavar="OUT", required=True, help="The .mov or .mp4 file to write."
    )
    spatial.add_argument("--overwrite", action="store_true", help="Replace an output that exists.")
    add_options(spatial, options_of(SpatialConfig).values())
    add_common(spatial, run_spatial)


def run_spatial(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer spatial`; returns the exit code."""
    with ProgressBar(quiet=options.quiet) as bar:

        def on_frame(done: int, total: int | None) -> None:
            signals.check()
            bar.show(options.input.name, done, total)

        saved = write_spatial_video(
            options.input,
            options.output,
            SpatialConfig(**given_options(options, SpatialConfig)),
            overwrite=options.overwrite,
            on_frame=on_frame,
        )
    print(saved)
    return 0
