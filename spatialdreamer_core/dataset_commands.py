"""The commands `dataset build`, `dataset check` and `dataset show`: their arguments, and what they do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_common, add_fillers, add_options, given_options
from .commands import download_estimators
from .options import options_of
from .pipeline import FILLERS, FillerConfig, choose_device
from .process import Signals
from .progress_bar import ProgressBar
from .training.dataset import DatasetConfig, build_dataset, check_dataset, open_dataset
from .training.dataset.build import list_videos, summarise
from .training.dataset.sheet import SheetConfig, write_sheet
from .video import check_output_path
from .video.photo import WRITABLE_PHOTO_SUFFIXES

_OWN = frozenset(options_of(DatasetConfig))  # fillers' options of these names keep their defaults
_DAMAGED = 3  # exit code, as of an input that is cut short or damaged


def add_dataset_commands(subparsers: Any, *, download_help: str) -> None:
    """Describe the commands to the command line's parser.

    Args:
        subparsers: What `add_subparsers` returned.
        download_help: What `--download` says.
    """
    dataset = subparsers.add_parser(
        "dataset",
        help="make training clips of any videos, check them, show them",
        description="Make training clips of any videos: scenes, depth, forward-backward rendering.",
    )
    commands = dataset.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser(
        "build",
        help="build a dataset, or go on with one",
        description="Build a dataset of videos. What is finished is kept: run it again after an "
        "interruption, or with more videos.",
    )
    build.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="Video, or folder of videos.")
    build.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="Folder of the dataset."
    )
    build.add_argument("--download", action="store_true", help=download_help)
    add_options(build, options_of(DatasetConfig).values())
    add_fillers(
        build,
        FILLERS,
        default=FillerConfig().filler,
        purpose="How the holes of x2 are filled.",
        help="As of `convert`",
        leave_out=_OWN,
    )
    add_common(build, run_build)

    check = commands.add_parser(
        "check",
        help="read every file of a dataset and compare checksums",
        description=f"Read every file of a dataset and compare checksums; exit code {_DAMAGED} if a clip is "
        "missing or damaged.",
    )
    check.add_argument("folder", type=Path, metavar="DIR", help="The dataset.")
    add_common(check, run_check)

    show = commands.add_parser(
        "show", help="write a contact sheet of a dataset", description="Write a contact sheet of a dataset."
    )
    show.add_argument("folder", type=Path, metavar="DIR", help="The dataset.")
    show.add_argument(
        "-o", "--output", type=Path, metavar="FILE", required=True, help="The picture, such as sheet.jpg."
    )
    show.add_argument("--overwrite", action="store_true", help="Replace a picture that exists.")
    add_options(show, options_of(SheetConfig).values())
    add_common(show, run_show)


def run_build(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer dataset build`; returns the exit code."""
    config = DatasetConfig(**given_options(options, DatasetConfig))
    config.check()
    fillers = [entry.settings for entry in FILLERS.values()]
    given = given_options(options, *fillers)
    filling = FillerConfig(
        options.filler, **{name: value for name, value in given.items() if name not in _OWN}
    )
    filling.check()
    videos = list_videos(options.videos)
    if options.download:
        _download(options, config, filling, signals)
    with ProgressBar(quiet=options.quiet, unit="") as bar:

        def on_progress(what: str, done: int, total: int | None) -> None:
            signals.check()
            bar.show(what, done, total)

        built = build_dataset(videos, options.output, config, filler=filling, on_progress=on_progress)
    print(summarise(built))
    return 0


def _download(
    options: argparse.Namespace, config: DatasetConfig, filling: FillerConfig, signals: Signals
) -> None:
    """Download the weights of depth, flow and filler that are missing, before processes share the work."""
    download_estimators(config.depth, config.flow, quiet=options.quiet)
    if filling.filler != FillerConfig().filler:
        filling.load(device=choose_device("cpu"), download=True, on_wait=signals.check)


def run_check(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer dataset check`; returns the exit code."""
    with ProgressBar(quiet=options.quiet, unit=" clips") as bar:

        def on_clip(done: int, total: int) -> None:
            signals.check()
            bar.show("checking", done, total)

        clips, damaged = check_dataset(options.folder, on_clip=on_clip)
    for name, problem in damaged.items():
        print(f"{name}: {problem}")
    print(f"{options.folder}: {clips - len(damaged)} of {clips} clips are whole")
    if damaged:
        print("run `dataset build` again with the same videos and settings to make the others anew")
    return _DAMAGED if damaged else 0


def run_show(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer dataset show`; returns the exit code."""
    config = SheetConfig(**given_options(options, SheetConfig))
    config.check()
    path = check_output_path(
        options.output, suffixes=tuple(WRITABLE_PHOTO_SUFFIXES), overwrite=options.overwrite
    )
    write_sheet(open_dataset(options.folder), path, config, overwrite=options.overwrite)
    print(path)
    return 0
