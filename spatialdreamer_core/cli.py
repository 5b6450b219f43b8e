"""The command `spatialdreamer`: `convert` films and photos, `info` about what is installed."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import __version__
from .checks import InputError
from .video.completeness import IncompleteInput
from .video.config import BLACK_BARS, BORDERS, CODECS, DEINTERLACING, EYES, PRESETS, ConvertConfig

USER_ERROR = 2  # exit code
INCOMPLETE = 3  # exit code of a conversion whose input is cut short or damaged
INTERRUPTED = 130  # exit code of a command ended by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return options.run(options)
    except IncompleteInput as error:
        print(f"spatialdreamer: {error}", file=sys.stderr)
        return INCOMPLETE
    except InputError as error:
        print(f"spatialdreamer: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("spatialdreamer: interrupted; no partial file was left", file=sys.stderr)
        return INTERRUPTED


def _build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options; defaults are those of `ConvertConfig`."""
    from .depth import DEPTH_KINDS, EDGE_WIDTH
    from .flow import FLOW_METHODS
    from .stereo import FORMATS

    parser = argparse.ArgumentParser(
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
        type=Path,
        metavar="OUT",
        default=Path(),
        help="output file, or folder for a file with the name that players expect",
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
    convert.add_argument("--device", default=default.device, help="auto, cpu, cuda or cuda:N")
    convert.add_argument(
        "--preview", type=Path, metavar="FILE", help="also write a contact sheet of the middle frame"
    )
    convert.add_argument("--quiet", action="store_true", help="no progress bar")
    convert.set_defaults(run=_convert, depth_file=default.depth_file)

    info = commands.add_parser("info", help="show versions, devices, depth estimators and flow methods")
    info.set_defaults(run=_info)
    return parser


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


def _convert(options: argparse.Namespace) -> int:
    """Run `spatialdreamer convert`."""
    import numpy as np
    from tqdm import tqdm

    from .depth import estimator_names, prepare_estimator
    from .flow import prepare_flow
    from .video import convert, output_path_for

    if options.depth not in estimator_names():
        if not os.path.exists(options.depth):  # of any text: Path raises on names that are too long
            raise InputError(
                f"depth must be one of {', '.join(estimator_names())}, or an existing file or folder, "
                f"got {options.depth!r}"
            )
        options.depth, options.depth_file = ConvertConfig.depth, options.depth
    config = ConvertConfig(**{field.name: getattr(options, field.name) for field in fields(ConvertConfig)})
    config.check()
    if options.download:
        if config.depth_file is None:
            _download(prepare_estimator, config.depth, quiet=options.quiet)
        _download(prepare_flow, config.flow, quiet=options.quiet)
    output = options.output
    if output.is_dir() or not output.suffix:
        output = output_path_for(options.input, format=config.format, folder=output)

    bars, bar = ExitStack(), tqdm(disable=True)

    def show(phase: str, done: int, total: int | None) -> None:
        nonlocal bar
        if done == 1:
            bars.close()  # that of the first pass
            bar = tqdm(desc=phase, unit=" frames", disable=options.quiet, dynamic_ncols=True)
            bars.enter_context(bar)
        bar.total = total if total is None else max(total, done)
        bar.update(done - bar.n)

    def on_survey(done: int, total: int | None) -> None:
        show("measuring depth range", done, total)

    def on_progress(done: int, total: int | None, packed: np.ndarray | None) -> None:
        show(options.input.name, done, total)

    with bars:
        frames = convert(
            options.input,
            output,
            config,
            on_progress=on_progress,
            on_survey=on_survey,
            preview_path=options.preview,
        )
    print(f"{output} ({frames} frame{'s' if frames != 1 else ''})")
    return 0


def _download(prepare: Callable[..., object], name: str, *, quiet: bool) -> None:
    """Download the weights of an estimator if they are missing, before any frame is read."""
    from tqdm import tqdm

    bar = tqdm(desc=name, unit="B", unit_scale=True, disable=quiet, dynamic_ncols=True, delay=0.01)

    def on_progress(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        prepare(name, download=True, on_progress=on_progress)


def _info(options: argparse.Namespace) -> int:
    """Run `spatialdreamer info`."""
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
