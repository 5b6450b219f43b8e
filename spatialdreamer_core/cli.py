"""The command `spatialdreamer`: `convert` films and photos, `info` about what is installed.

Whatever goes wrong, mistakes and bugs alike, gives one line and exit code 2, a signal 128 and its number;
`--verbose` adds the traceback. Large packages are imported inside of functions, when signals are handled.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .process import (
    Signals,
    end_process,
    find_address_space_limit,
    forgiving_streams,
    open_missing_streams,
)
from .progress_bar import ProgressBar

if TYPE_CHECKING:
    import numpy as np

    from .pipeline import ConvertConfig

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
    """Describe the commands and their options; defaults are those of `ConvertConfig`."""
    from .depth import DEPTH_KINDS, EDGE_WIDTH
    from .flow import FLOW_METHODS
    from .pipeline.config import BLACK_BARS, BORDERS, DEINTERLACING, EYES, ConvertConfig
    from .stereo import FORMATS
    from .video import CODECS, PRESETS

    parser = _Parser(
        prog="spatialdreamer", description="Turn monocular video and photos into stereoscopic ones."
    )
    parser.add_argument("--version", action="version", version=f"spatialdreamer {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    default = ConvertConfig()
    convert = commands.add_parser(
        "convert",
        help="convert a video or photo",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Convert a monocular video or photo to a stereoscopic one.",
    )
    convert.add_argument("input", type=Path, metavar="IN", help="video or photo file")
    convert.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=".",
        help="output file, or folder for a file with the name that players expect",
    )
    convert.add_argument(
        "--overwrite",
        action="store_true",
        help="replace an output or preview that exists, once the new is whole",
    )
    convert.add_argument("--format", choices=FORMATS, default=default.format, help="how the views are packed")
    convert.add_argument(
        "--divergence",
        type=float,
        default=default.divergence,
        metavar="PERCENT",
        help="disparity range between the eyes in %% of the width, 0 to 20: strength of the 3D effect",
    )
    convert.add_argument(
        "--convergence",
        type=float,
        default=default.convergence,
        metavar="DEPTH",
        help="the depth on the screen, 0 to 1: less brings more of the scene in front of the screen",
    )
    convert.add_argument(
        "--eye", choices=EYES, default=default.eye, help="the view to render; the source is the other one"
    )
    convert.add_argument(
        "--border",
        choices=BORDERS,
        default=default.border,
        help="near things cut by the frame's left or right edge: ease flattens depth in front of the screen "
        "towards the edges, floating_window brings the edges forward by black bars",
    )
    convert.add_argument(
        "--border-width",
        type=float,
        default=default.border_width,
        metavar="PERCENT",
        help="width of the border that `--border ease` flattens, in %% of the width, 0 to 25",
    )
    convert.add_argument(
        "--black-bars",
        choices=BLACK_BARS,
        default=default.black_bars,
        help="auto finds black bars and converts the picture between them alone, off takes all as picture",
    )
    convert.add_argument(
        "--depth",
        default=default.depth,
        metavar="NAME|PATH",
        help="depth estimator, see `info`, or file or folder with depth: video, NPZ, NPY, EXR, 16-bit PNG",
    )
    convert.add_argument(
        "--depth-kind",
        choices=DEPTH_KINDS,
        default=default.depth_kind,
        help="what a depth file's values mean: inverse (large is near), depth (large is far), metres, or "
        "normalised (inverse depth in 0 to 1 to be used as it is)",
    )
    convert.add_argument(
        "--depth-stability",
        type=float,
        default=default.depth_stability,
        metavar="SHARE",
        help="how much a depth model's depth is steadied over time, 0 (off) to 0.95",
    )
    convert.add_argument(
        "--download", action="store_true", help="download weights of depth and flow if they are missing"
    )
    convert.add_argument(
        "--foreground-scale",
        type=float,
        default=default.foreground_scale,
        metavar="LEVEL",
        help="share of the range for the foreground, -3 to 3, as in iw3: above 0 more, below 0 less",
    )
    convert.add_argument(
        "--depth-gamma",
        type=float,
        default=default.depth_gamma,
        metavar="EXPONENT",
        help="exponent of the depth, 0.1 to 10: above 1 pushes the middle back, below brings it forward",
    )
    convert.add_argument(
        "--depth-near",
        type=float,
        default=default.depth_near,
        metavar="DEPTH",
        help="depth from which on everything is nearest, 0 to 1; the range between near and far is stretched",
    )
    convert.add_argument(
        "--depth-far",
        type=float,
        default=default.depth_far,
        metavar="DEPTH",
        help="depth up to which everything is farthest, 0 to 1",
    )
    convert.add_argument(
        "--edge-width",
        type=int,
        default=default.edge_width,
        metavar="PX",
        help=f"px beside an edge of depth in which ramps become steps, 0 to 20; by itself {EDGE_WIDTH} for "
        "depth models and 0 for builtin, whose edges are done",
    )
    convert.add_argument(
        "--edge-dilation",
        type=int,
        default=default.edge_dilation,
        metavar="PX",
        help="px by which foregrounds grow over their outline, 0 to 10",
    )
    convert.add_argument(
        "--guided-upsampling",
        action="store_true",
        help="move depth's edges to the edges of the frame's colours; not for builtin depth",
    )
    convert.add_argument(
        "--start", type=_seconds, metavar="TIME", default=None, help="first moment, in s or [h:]m:s"
    )
    convert.add_argument("--end", type=_seconds, metavar="TIME", default=None, help="last moment, likewise")
    convert.add_argument("--no-audio", dest="audio", action="store_false", help="leave the sound out")
    convert.add_argument(
        "--deinterlace",
        choices=DEINTERLACING,
        default=default.deinterlace,
        help="auto: frames that are marked as interlaced are made whole",
    )
    convert.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="convert what is there of an input that is cut short or damaged; otherwise the exit code is "
        f"{INCOMPLETE}",
    )
    convert.add_argument("--codec", choices=CODECS, default=default.codec, help="video encoder")
    convert.add_argument("--crf", type=int, default=default.crf, help="quality, 0 (lossless) to 51 (worst)")
    convert.add_argument("--preset", choices=PRESETS, default=default.preset, help="speed of the encoder")
    convert.add_argument(
        "--flow", choices=FLOW_METHODS, default=default.flow, help="optical flow method, see `info`"
    )
    _add_filler(convert)
    convert.add_argument("--device", default=default.device, help="auto, cpu, cuda or cuda:N")
    convert.add_argument(
        "--preview", type=Path, metavar="FILE", help="also write a contact sheet of the middle frame"
    )
    convert.add_argument("--quiet", action="store_true", help="no progress bar, no advice")
    convert.add_argument("--verbose", action="store_true", help="show where an error comes from")
    convert.set_defaults(run=_convert, depth_file=default.depth_file)

    info = commands.add_parser("info", help="show versions, devices, depth estimators and flow methods")
    info.add_argument("--verbose", action="store_true", help="show where an error comes from")
    info.set_defaults(run=_info)
    return parser


def _add_filler(convert: argparse.ArgumentParser) -> None:
    """Describe the fillers and their options, which only some of them take."""
    from .pipeline import FILLERS, FillerConfig

    group = convert.add_argument_group(
        "filling", "How holes are filled. An option that is not given is the filler's own default."
    )
    group.add_argument(
        "--filler",
        choices=FILLERS,
        default=FillerConfig.filler,
        help="fast needs no weights; stable_diffusion invents each frame for itself; spatialdreamer is video "
        "diffusion that looks at the left view",
    )
    for name, kind, metavar, text in (
        ("checkpoint", str, "FILE", "spatialdreamer: Stable Video Diffusion, such as svd_xt.safetensors"),
        ("weights", str, "FILE", "spatialdreamer: trained weights; without them fast fill goes before it"),
        ("steps", int, "COUNT", "steps of denoising, spatialdreamer 1 to 200, stable_diffusion 1 to 1000"),
        ("seed", int, "NUMBER", "seed of the noise of spatialdreamer and stable_diffusion"),
        ("strength", float, "SHARE", "spatialdreamer: noise that it starts from, 0.05 to 1"),
        ("window", int, "FRAMES", "spatialdreamer: frames diffused at a time; 0 for as many as it knows"),
        ("overlap", int, "FRAMES", "spatialdreamer: finished frames that the next window of a scene sees"),
        ("max-side", int, "PX", "spatialdreamer: longer side at which frames are diffused, 64 to 4096"),
        ("prompt", str, "TEXT", "stable_diffusion: what the holes show"),
    ):
        group.add_argument(f"--{name}", type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text)


def _seconds(text: str) -> float:
    """Read a moment: seconds, m:s or h:m:s."""
    try:
        parts = [float(part) for part in text.split(":")]
        if not 1 <= len(parts) <= 3:
            raise ValueError(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be seconds, m:s or h:m:s, got {text!r}; for example 90, 1:30 or 0:01:30"
        ) from None
    total = 0.0
    for part in parts:
        total = total * 60 + part
    return total


def _convert(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer convert`."""
    from dataclasses import fields

    from .checks import InputError
    from .depth import estimator_names
    from .pipeline import FILLERS, ConvertConfig, FillerConfig, check_conversion, choose_device, convert
    from .video import output_path_for

    if options.depth not in estimator_names():
        if not os.path.exists(options.depth):  # of any text: Path raises on names that are too long
            raise InputError(
                f"depth must be one of {', '.join(estimator_names())}, or an existing file or folder, "
                f"got {options.depth!r}"
            )
        options.depth, options.depth_file = ConvertConfig.depth, options.depth
    config = ConvertConfig(**{field.name: getattr(options, field.name) for field in fields(ConvertConfig)})
    output = Path(options.output)
    if _is_folder(options.output):
        output = output_path_for(options.input, format=config.format, folder=output)
    names = [field.name for field in fields(FillerConfig) if hasattr(options, field.name)]
    filling = FillerConfig(**{name: getattr(options, name) for name in names})
    filling.check()
    check_conversion(options.input, output, config, preview_path=options.preview)
    if options.download or filling.filler != FILLERS[0]:
        _check_outputs(options, output)  # before minutes of downloading or loading
    if options.download:
        _download(options, config)
    advice = _find_advice(config)

    filler = filling.load(
        device=choose_device(config.device), download=options.download, on_wait=signals.check
    )
    saved = output

    def on_saved(path: Path) -> None:
        nonlocal saved
        saved = output.with_name(path.name)

    with ProgressBar(quiet=options.quiet) as bar:

        def on_survey(done: int, total: int | None) -> None:
            signals.check()
            bar.show("measuring depth range", done, total)

        def on_progress(done: int, total: int | None, packed: np.ndarray | None) -> None:
            signals.check()
            bar.show(options.input.name, done, total)

        frames = convert(
            options.input,
            output,
            config,
            filler=filler,
            on_progress=on_progress,
            on_survey=on_survey,
            preview_path=options.preview,
            overwrite=options.overwrite,
            on_saved=on_saved,
        )
    print(f"{saved} ({frames} frame{'s' if frames != 1 else ''})")
    if advice is not None and not options.quiet:
        print(advice, file=sys.stderr)
    return 0


def _find_advice(config: ConvertConfig) -> str | None:
    """Return the line that says how to get better depth, if the builtin estimator is to run."""
    from .depth import AUTO, BUILTIN, choose_estimator, describe_choice

    if config.depth_file is not None or config.depth not in (AUTO, BUILTIN):
        return None
    choice = choose_estimator(config.depth)
    how = "add --download" if config.depth == AUTO else "use --depth auto --download"
    return describe_choice(choice, how=how) if choice.name == BUILTIN else None


def _is_folder(output: str) -> bool:
    """Tell whether an output is meant as a folder: it is one, ends like one, or has no suffix."""
    ends = output.endswith(tuple(filter(None, (os.sep, os.altsep))))
    return ends or os.path.isdir(output) or not Path(output).suffix


def _check_outputs(options: argparse.Namespace, output: Path) -> None:
    """Check that the outputs can be written."""
    from .video import VIDEO_CONTAINERS, check_output_path, is_photo
    from .video.photo import WRITABLE_PHOTO_SUFFIXES

    photos = tuple(WRITABLE_PHOTO_SUFFIXES)
    suffixes = photos if is_photo(options.input) else tuple(VIDEO_CONTAINERS)
    check_output_path(output, suffixes=suffixes, overwrite=options.overwrite)
    if options.preview is not None:
        check_output_path(options.preview, suffixes=photos, overwrite=options.overwrite, name="preview")


def _download(options: argparse.Namespace, config: ConvertConfig) -> None:
    """Download the weights of depth and flow that are missing."""
    from .depth import prepare_estimator
    from .flow import prepare_flow

    prepared: list[tuple[Callable[..., object], str]] = [(prepare_flow, config.flow)]
    if config.depth_file is None:
        prepared.insert(0, (prepare_estimator, config.depth))
    for prepare, name in prepared:
        with ProgressBar(quiet=options.quiet, unit="B", unit_scale=True, delay=0.01) as bar:
            prepare(name, download=True, on_progress=functools.partial(bar.show, name))


def _info(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer info`."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from .depth import MODEL_KIND, list_estimators
    from .flow import FLOW_MODEL_KIND, list_flow_methods
    from .weights import model_folders

    print(f"spatialdreamer {__version__}, Python {platform.python_version()}, {platform.platform()}")
    packages = ("torch", "numpy", "opencv-python", "opencv-python-headless", "av", "scenedetect")
    for package in (*packages, "transformers", "diffusers", "torchvision"):
        try:
            print(f"  {package} {version(package)}")
        except PackageNotFoundError:
            continue
    print("devices:")
    print(f"  cpu ({torch.get_num_threads()} threads)")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        print(f"  cuda:{index} {properties.name}, {properties.total_memory / 2**30:.1f} GiB")
    for title, listed in (("depth estimators", list_estimators()), ("flow methods", list_flow_methods())):
        print(f"{title}:")
        for estimator in listed:
            state = "available" if estimator.available else "not installed"
            licence = estimator.licence + (", no commercial use" if estimator.commercial is False else "")
            print(f"  {estimator.name}: {estimator.title} [{licence}] {state}. {estimator.note}")
    for title, kind in (("depth", MODEL_KIND), ("flow", FLOW_MODEL_KIND)):
        print(f"folders of {title} models: {', '.join(map(str, model_folders(kind)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
