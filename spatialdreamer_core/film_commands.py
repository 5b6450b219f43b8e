"""The commands for films: `scenes`, which lists them as a sidecar, and `convert` for many files."""

from __future__ import annotations

import argparse
import copy
import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arguments import add_common, add_options, given_options
from .atomic import write_error
from .checks import InputError, one_line
from .commands import Models, is_folder, or_automatic, read_config, run_convert
from .depth import names_file
from .evaluation.views import list_files
from .options import options_of
from .pipeline import Cluster, ClusterConfig, ConvertConfig, list_scenes
from .pipeline.film.keyframes import KEYFRAMES
from .pipeline.film.sidecar import VALUES
from .process import Signals
from .progress_bar import ProgressBar
from .stereo import DeviceConfig
from .video.output import OutputFile

SOME_FAILED = 4  # exit code of a conversion of many files, some of which failed
_LIST = ".txt"
_FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_OPTIONS = (
    *("divergence", "convergence", "foreground_scale", "comfort", "max_crossed", "max_uncrossed", "depth"),
    *("start", "end", "black_bars", "deinterlace", "allow_incomplete", "device"),
)


def add_film_commands(subparsers: Any) -> None:
    """Describe the command."""
    scenes = subparsers.add_parser(
        "scenes",
        help="list a film's scenes as a sidecar for convert",
        description="Find the scenes of a film, and write a CSV file with a row for each, in which settings "
        "can be changed for convert --sidecar. Give the options that convert gets; with --convergence auto "
        "or --comfort the values are those that were chosen for each scene.",
    )
    scenes.add_argument("input", type=Path, metavar="IN", help="Video file.")
    scenes.add_argument("-o", "--output", type=Path, metavar="FILE", required=True, help="The CSV file.")
    scenes.add_argument("--overwrite", action="store_true", help="Replace a file that exists.")
    options = options_of(ConvertConfig)
    options["convergence"] = or_automatic(options["convergence"])
    add_options(scenes, [*(options[name] for name in _OPTIONS), *options_of(DeviceConfig).values()])
    add_common(scenes, run_scenes)


def run_scenes(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer scenes`; returns the exit code."""
    config, given = read_config(options), given_options(options, ConvertConfig)
    values = {name: given[name] for name in VALUES if isinstance(given.get(name), (int, float))}
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

        text, count = list_scenes(options.input, config, values=values, on_progress=on_progress)
        try:
            output.partial.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise write_error(output.path, error, name="sidecar") from error
        output.commit()
    print(f"{output.path} ({count} scene{'s' if count != 1 else ''})")
    return 0


def _holds_many(path: Path) -> bool:
    """Tell whether a path stands for many files."""
    return path.is_dir() or path.suffix.lower() == _LIST


def _list_inputs(paths: Sequence[Path], output: Path) -> list[Path]:
    """List the files that the inputs stand for.

    Raises:
        InputError: If a folder or list cannot be read, there are none, or outputs would come among them.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            if output.is_dir() and output.samefile(path):
                raise InputError(
                    f"output must be another folder than the input's, got {output} for both; name one with -o"
                )
            files += list_files(path, name="input")
        elif path.suffix.lower() == _LIST:
            try:
                lines = path.read_text("utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                raise InputError(
                    f"input must be a readable list of files, got {path} ({one_line(error)}); check it"
                ) from error
            files += [path.parent / line.strip() for line in lines if line.strip()]
        else:
            files.append(path)
    if not files:
        raise InputError(
            f"input must hold at least one file, got none in {paths[0]}; check the folder or list"
        )
    return files


def add_preview_options(convert: argparse.ArgumentParser) -> None:
    """Add the options of `convert` that show something instead of converting."""
    convert.add_argument("--keyframes", type=KEYFRAMES.kind, metavar="SECONDS", help=KEYFRAMES.line)
    convert.add_argument(
        "--dry-run",
        action="store_true",
        help="Only say how much time, memory and room on the disk a film will take, measured on its first "
        "frames.",
    )


def run_conversions(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer convert`; returns the exit code."""
    address = ClusterConfig(**given_options(options, ClusterConfig)).ray
    if address is None:
        return _convert_all(options, signals, None)
    for name, given in (("keyframes", options.keyframes is not None), ("dry-run", options.dry_run)):
        if given:
            raise InputError(f"{name} must go without ray, got it with {address}; leave one of both out")
    with Cluster(address) as cluster:
        return _convert_all(options, signals, cluster)


def _convert_all(options: argparse.Namespace, signals: Signals, cluster: Cluster | None) -> int:
    """Convert one file or many; returns the exit code."""
    if len(options.inputs) == 1 and not _holds_many(options.inputs[0]):
        options.input = options.inputs[0]
        return run_convert(options, signals, cluster=cluster)
    if not is_folder(options.output):
        raise InputError(
            f"output must be a folder for many files, got {options.output}; name one, with a slash at its end"
        )
    for name, given in (
        ("preview", options.preview is not None),
        ("sidecar", getattr(options, "sidecar", None) is not None),
        ("depth", names_file(getattr(options, "depth", ConvertConfig.depth))),
    ):
        if given:
            raise InputError(
                f"{name} must be a file for one film, got many; leave it out, or convert that alone"
            )
    files = _list_inputs(options.inputs, Path(options.output))
    models, failed = Models(), 0
    for file in files:
        one = copy.copy(options)
        one.input = file
        try:
            run_convert(one, signals, models, cluster)
        except Exception as error:
            if getattr(error.__cause__, "errno", None) in _FULL_DISK:
                raise
            failed += 1
            kind = "" if isinstance(error, InputError) else f"unexpected {type(error).__name__}: "
            print(f"spatialdreamer: {file}: {kind}{one_line(error)}", file=sys.stderr)
    print(f"{len(files) - failed} of {len(files)} files are done")
    return SOME_FAILED if failed else 0
