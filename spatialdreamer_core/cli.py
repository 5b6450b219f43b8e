"""The command `spatialdreamer`: its process, its errors, and what its commands take (`commands` runs them).

Whatever goes wrong, mistakes and bugs alike, gives one line and exit code 2, a signal 128 and its number;
`--verbose` adds the traceback. Large packages are imported inside of functions, when signals are handled.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .process import (
    Signals,
    end_process,
    find_address_space_limit,
    forgiving_streams,
    open_missing_streams,
)

USER_ERROR = 2  # exit code of everything that goes wrong, but for the two below
INCOMPLETE = 3  # exit code of a conversion whose input is cut short or damaged
INTERRUPTED = 130  # exit code of a command ended by Ctrl-C
_LEAST_ADDRESS_SPACE = 1.5  # GB; below it, libraries crash while they are loaded
_OUTPUTS = f"{__package__}.atomic"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, or with the process's own arguments ends the process."""
    if arguments is not None:
        return _main(arguments)
    try:
        code = _main(None)
    except SystemExit as stop:  # of argparse
        code = stop.code if isinstance(stop.code, int) else 0
    end_process(code)


def _main(arguments: Sequence[str] | None) -> int:
    """Run the command line; returns the exit code."""
    open_missing_streams()
    with forgiving_streams(), Signals(_discard_outputs, to_the_end=arguments is None) as signals:
        limit = find_address_space_limit()
        if limit is not None and limit < _LEAST_ADDRESS_SPACE:
            return _say(
                f"the limit on memory (ulimit -v) must be at least {_LEAST_ADDRESS_SPACE:g} GB, "
                f"got {limit:.1f} GB; raise it"
            )
        try:
            from . import checks, memory, video  # all that is large, while a signal ends at once
        except Exception as error:  # such as a library that does not fit into memory
            text = " ".join(str(error).split())
            return _say(
                f"PyTorch and the other packages must be loadable, got {type(error).__name__} ({text}); "
                "install spatialdreamer again, or raise the limit on memory that is set (ulimit -v)"
            )
        options = _build_parser().parse_args(arguments)
        signals.begin_work()
        with _log_to(sys.stderr, verbose=options.verbose):
            try:
                return options.run(options, signals)
            except KeyboardInterrupt as stopped:
                _say(str(stopped) or "interrupted; no partial file was left")
                return getattr(stopped, "exit_code", INTERRUPTED)
            except Exception as error:
                if options.verbose:
                    traceback.print_exc()
                if isinstance(error, checks.InputError):
                    _say(str(error))
                    return INCOMPLETE if isinstance(error, video.IncompleteInput) else USER_ERROR
                if memory.is_out_of_memory(error):
                    return _say(str(memory.out_of_memory_error(error)))
                name = type(error).__name__
                return _say(
                    f"unexpected {name}: {checks.one_line(error)}; --verbose shows where it comes from"
                )
            finally:
                _discard_outputs()


def _say(text: str) -> int:
    """Print what went wrong in one line; returns the exit code."""
    print(f"spatialdreamer: {' '.join(text.splitlines())}", file=sys.stderr)
    return USER_ERROR


def _discard_outputs() -> None:
    """Remove the temporary files that are open, if the library is loaded."""
    if _OUTPUTS in sys.modules:
        sys.modules[_OUTPUTS].discard_open_paths()


@contextlib.contextmanager
def _log_to(stream: Any, *, verbose: bool) -> Iterator[None]:
    """Print the log in the `with` block."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root, own = logging.getLogger(), logging.getLogger(__package__)
    levels = root.level, own.level
    root.setLevel(logging.INFO)
    own.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        own.setLevel(levels[1])


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and exit."""
        self.exit(USER_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def _build_parser() -> argparse.ArgumentParser:
    """Describe the commands; their options are those of settings classes and of the fillers."""
    from . import commands
    from .arguments import add_common, add_fillers, add_options
    from .dataset_commands import add_dataset_commands
    from .evaluation import EvaluateConfig
    from .film_commands import SOME_FAILED, add_film_commands, add_preview_options, run_conversions
    from .m2svid_commands import add_m2svid_commands
    from .options import options_of
    from .pipeline import FILLERS, ClusterConfig, ConvertConfig, FillerConfig
    from .spatial_command import add_spatial_command
    from .stereo import DeviceConfig
    from .train_commands import add_train_commands

    parser = _Parser(
        prog="spatialdreamer", description="Turn monocular video and photos into stereoscopic ones."
    )
    parser.add_argument("--version", action="version", version=f"spatialdreamer {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    convert = subparsers.add_parser(
        "convert",
        help="convert a video or photo, or many",
        description="Convert a monocular video or photo to a stereoscopic one.",
    )
    convert.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        metavar="IN",
        help="Video or photo file. Or several, a folder of them, or a .txt file with one path a line: then "
        "OUT is a folder, what is there already stays, each file that cannot be converted gets a line, and "
        f"with one such the exit code is {SOME_FAILED}.",
    )
    convert.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=".",
        help="Output file, or folder for a file with the name that players expect (default: this folder).",
    )
    convert.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace an output or preview that exists, once the new is whole.",
    )
    convert.add_argument(
        "--force",
        action="store_true",
        help="Begin a film anew, and throw away what an earlier run of it has finished (see --resume).",
    )
    download_help = "Download weights of depth and flow if they are missing."
    convert.add_argument("--download", action="store_true", help=download_help)
    options = options_of(ConvertConfig)
    del options["depth_file"]  # `--depth` takes it
    options["depth"] = replace(
        options["depth"],
        metavar="NAME|PATH",
        help=f"{options['depth'].help} See `info` for the others. Or a file or folder with depth: video, "
        "NPZ, NPY, EXR, 16-bit PNG.",
    )
    del options["auto_convergence"]  # `--convergence auto` asks for it
    options["convergence"] = commands.or_automatic(options["convergence"])
    options["allow_incomplete"] = replace(
        options["allow_incomplete"],
        help=f"{options['allow_incomplete'].help} Without it the exit code is {INCOMPLETE}.",
    )
    add_options(convert, options.values())
    add_options(convert, [*options_of(DeviceConfig).values(), *options_of(ClusterConfig).values()])
    add_fillers(
        convert,
        FILLERS,
        default=FillerConfig().filler,
        purpose="How holes are filled.",
        help="; ".join(f"{name}: {entry.help}" for name, entry in FILLERS.items()),
    )
    convert.add_argument(
        "--preview", type=Path, metavar="FILE", help="Also write a contact sheet of the middle frame."
    )
    add_preview_options(convert)
    add_common(convert, run_conversions, quiet="No progress bar, no advice.")

    judge = subparsers.add_parser(
        "evaluate",
        help="measure stereo files against the truth or the given view",
        description="Measure stereo files: against the true view (--truth); against the given view (--left, "
        "or the other half of a stereo file) by what both eyes see; and with --depth by regions and by the "
        "way back to the given view. Writes evaluation.json and plots.",
    )
    judge.add_argument(
        "results",
        type=Path,
        nargs="+",
        metavar="RESULT",
        help="Video, photo, or folder of pictures (the frames of a clip) or of videos.",
    )
    judge.add_argument(
        "--truth",
        type=Path,
        metavar="PATH",
        help="The true view, or a stereo file that holds it; of a folder of videos the one named alike.",
    )
    judge.add_argument(
        "--left",
        type=Path,
        metavar="PATH",
        help="The given view, which the result was rendered from; with --eye left that of the right eye.",
    )
    judge.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="Folder for figures and plots."
    )
    judge.add_argument("--overwrite", action="store_true", help="Replace figures and plots that exist.")
    judge.add_argument("--download", action="store_true", help=download_help)
    add_options(judge, options_of(EvaluateConfig).values())
    add_common(judge, commands.run_evaluate)

    add_film_commands(subparsers)
    add_dataset_commands(subparsers, download_help=download_help)
    add_train_commands(subparsers)
    add_m2svid_commands(subparsers)
    add_spatial_command(subparsers)

    info = subparsers.add_parser("info", help="show versions, devices, depth estimators and flow methods")
    add_common(info, commands.run_info, quiet=None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
