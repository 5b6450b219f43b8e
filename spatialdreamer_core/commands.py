"""What the command's `convert`, `evaluate` and `info` do with their arguments."""

from __future__ import annotations

import argparse
import functools
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import __version__
from .arguments import given_options
from .checks import InputError
from .conversion_previews import show_estimate, show_keyframes
from .depth import (
    AUTO,
    BUILTIN,
    MODEL_KIND,
    DepthModel,
    choose_estimator,
    describe_choice,
    list_estimators,
    names_file,
    open_estimator,
    prepare_estimator,
)
from .evaluation import EvaluateConfig, check_report, evaluate, find_pairs, format_table, write_report
from .fill import Filler
from .flow import FLOW_MODEL_KIND, list_flow_methods, prepare_flow
from .options import Option, options_of
from .pipeline import (
    FILLERS,
    Cluster,
    ConvertConfig,
    FillerConfig,
    Spread,
    check_conversion,
    choose_device,
    convert,
)
from .process import Signals
from .progress_bar import ProgressBar
from .stereo import DeviceConfig, with_suggestions
from .video import VIDEO_CONTAINERS, check_output_path, is_photo, output_path_for, probe, read_photo
from .video.encoders import list_encoders
from .video.multiview import find_multiview_x265
from .video.photo import WRITABLE_PHOTO_SUFFIXES
from .video.stereo_photo import STEREO_PHOTO_SUFFIXES
from .weights import model_folders


def run_convert(
    options: argparse.Namespace,
    signals: Signals,
    models: Models | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Run `spatialdreamer convert` for one file, `options.input`; returns the exit code.

    Args:
        options: The parsed arguments.
        signals: The signals.
        models: Those that many files share; None: there is one file.
        cluster: What converts the parts of films; None: this process.
    """
    config = read_config(options)
    output = Path(options.output)
    if is_folder(options.output):
        aspect = _view_shape(options.input, config) if config.format == "quilt" else None
        output = output_path_for(
            options.input, format=config.format, folder=output, container=config.suffix, aspect=aspect
        )
    elif config.container != "auto" and output.suffix.lower() != config.suffix:
        raise InputError(
            f"--container must be that of the output's name, got {config.container} for {output}; leave it "
            f"out or name the output *{config.suffix}"
        )
    if models is not None:
        models.check_output(output)
        if output.exists() and not options.overwrite:
            print(f"{output} is there already, and stays as it is")
            return 0
    fillers = [entry.settings for entry in FILLERS.values()]
    filler_options = given_options(options, *fillers)
    if config.sidecar is None:
        filling = FillerConfig(options.filler, **filler_options)
    else:  # its scenes may name other fillers
        filling = _filling(options.filler, filler_options)
    filling.check()
    check_conversion(options.input, output, config, preview_path=options.preview)
    if options.download or filling.filler != FillerConfig().filler:
        _check_outputs(options, output)  # before minutes of downloading or loading
    if options.download:
        _download(options, config)
    advice = _find_advice(config)
    first_pass = "measuring depth range" if advice is None else "finding scenes"

    device = choose_device(config.device)
    if config.format == "rgbd":  # which shows no filled view
        filling = FillerConfig()
    filler, depth_model = (models or Models()).load(
        lambda: (
            None
            if cluster is not None
            else filling.load(device=device, download=options.download, on_wait=signals.check)
        ),
        lambda: None if models is None or config.depth_file else open_estimator(config.depth, device=device),
    )
    if options.keyframes is not None or options.dry_run:
        assert filler is not None, "a cluster has been refused"
        look = show_keyframes if options.keyframes is not None else show_estimate
        return look(options, config, output, signals, filler=filler, depth_model=depth_model)
    saved = output

    def load_filler(name: str) -> Filler:
        return _filling(name, filler_options).load(
            device=device, download=options.download, on_wait=signals.check
        )

    def on_saved(path: Path) -> None:
        nonlocal saved
        saved = output.with_name(path.name)

    with ProgressBar(quiet=options.quiet) as bar:

        def on_first_pass(done: int, total: int | None) -> None:
            signals.check()
            bar.show(first_pass, done, total)

        def on_progress(done: int, total: int | None, packed: np.ndarray | None) -> None:
            signals.check()
            bar.show(options.input.name, done, total)

        frames = convert(
            options.input,
            output,
            config,
            filler=filler,
            depth_model=depth_model,
            on_progress=on_progress,
            on_first_pass=on_first_pass,
            preview_path=options.preview,
            overwrite=options.overwrite,
            on_saved=on_saved,
            force=options.force,
            identity={"filler": filling.filler, **filler_options},
            load_filler=load_filler,
            spread=None if cluster is None else Spread(cluster, _fillers_of(filling, filler_options)),
        )
    print(f"{saved} ({frames} frame{'s' if frames != 1 else ''})")
    if advice is not None and not options.quiet:
        print(advice, file=sys.stderr)
    return 0


def _view_shape(path: Path, config: ConvertConfig) -> float:
    """Return width over height of a view as it is shown, which a quilt's name tells."""
    if is_photo(path):
        return float(config.layout().view_shape(*read_photo(path).shape[:2]))
    info = probe(path)
    return float(config.layout().view_shape(info.height, info.width, aspect=info.sample_aspect_ratio))


def or_automatic(convergence: Option) -> Option:
    """Return the option as the command has it: `auto` is an option of its own elsewhere."""
    return replace(
        convergence,
        also=(AUTO,),
        metavar=f"DEPTH|{AUTO}",
        help=f"{convergence.help} {AUTO}: the subject of each scene lies there, which is what is near, sharp "
        "and in the middle of the picture.",
    )


def read_config(options: argparse.Namespace) -> ConvertConfig:
    """Make a conversion's settings of arguments."""
    given = given_options(options, ConvertConfig)
    if names_file(given.get("depth", ConvertConfig.depth)):
        given["depth_file"] = given.pop("depth")
    if given.get("convergence") == AUTO:
        del given["convergence"]
        given["auto_convergence"] = True
    return ConvertConfig(**with_suggestions(given | given_options(options, DeviceConfig)))


def _find_advice(config: ConvertConfig) -> str | None:
    """Return the line that says how to get better depth, if the builtin estimator is to run."""
    if config.depth_file is not None or config.depth not in (AUTO, BUILTIN):
        return None
    choice = choose_estimator(config.depth)
    how = "add --download" if config.depth == AUTO else "use --depth auto --download"
    return describe_choice(choice, how=how) if choice.name == BUILTIN else None


class Models:
    """What the files of one command share: models, loaded when they are needed first, and names."""

    def __init__(self) -> None:
        self._loaded: tuple[Filler | None, DepthModel | None] | None = None
        self._outputs: set[Path] = set()

    def load(
        self, filler: Callable[[], Filler | None], depth: Callable[[], DepthModel | None]
    ) -> tuple[Filler | None, DepthModel | None]:
        """Load both, unless that has been done."""
        if self._loaded is None:
            self._loaded = filler(), depth()
        return self._loaded

    def check_output(self, output: Path) -> None:
        """Check that no other file of this command has the same output.

        Raises:
            InputError: If one has.
        """
        if output in self._outputs:
            raise InputError(
                f"output must be another file for each input, got {output} twice; rename an input"
            )
        self._outputs.add(output)


def _filling(filler: str, options: Mapping[str, Any]) -> FillerConfig:
    """Choose a filler, with those of the given options that it takes."""
    taken = options_of(FILLERS[filler].settings)
    return FillerConfig(filler, **{name: value for name, value in options.items() if name in taken})


def _fillers_of(filling: FillerConfig, options: Mapping[str, Any]) -> dict[str | None, FillerConfig]:
    """Describe the film's filler, and those that a sidecar may name, to workers that load them."""
    return {None: filling, **{name: _filling(name, options) for name in FILLERS}}


def is_folder(output: str) -> bool:
    """Tell whether an output is meant as a folder: it is one, ends like one, or has no suffix."""
    ends = output.endswith(tuple(filter(None, (os.sep, os.altsep))))
    return ends or os.path.isdir(output) or not Path(output).suffix


def _check_outputs(options: argparse.Namespace, output: Path) -> None:
    """Check that the outputs can be written."""
    photos = tuple(WRITABLE_PHOTO_SUFFIXES)
    suffixes = STEREO_PHOTO_SUFFIXES if is_photo(options.input) else tuple(VIDEO_CONTAINERS)
    check_output_path(output, suffixes=suffixes, overwrite=options.overwrite)
    if options.preview is not None:
        check_output_path(options.preview, suffixes=photos, overwrite=options.overwrite, name="preview")


def _download(options: argparse.Namespace, config: ConvertConfig) -> None:
    """Download the weights of depth and flow that are missing."""
    depth = None if config.depth_file is not None else config.depth
    download_estimators(depth, config.flow, quiet=options.quiet)


def download_estimators(depth: str | None, flow: str, *, quiet: bool) -> None:
    """Download what is missing of the weights of a flow method and, if one is named, a depth estimator."""
    prepared: list[tuple[Callable[..., object], str]] = [(prepare_flow, flow)]
    if depth is not None:
        prepared.insert(0, (prepare_estimator, depth))
    for prepare, name in prepared:
        with ProgressBar(quiet=quiet, unit="B", unit_scale=True, delay=0.01) as bar:
            prepare(name, download=True, on_progress=functools.partial(bar.show, name))


def run_evaluate(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer evaluate`; returns the exit code."""
    config = EvaluateConfig(**given_options(options, EvaluateConfig))
    config.check()
    pairs = find_pairs(options.results, truth=options.truth, left=options.left)
    inputs = [path for path in (*options.results, options.truth, options.left) if path is not None]
    check_report(options.output, [pair.name for pair in pairs], inputs=inputs, overwrite=options.overwrite)
    if options.download:
        _download(options, replace(config.conversion(), flow=config.flow))
    with ProgressBar(quiet=options.quiet) as bar:

        def on_frame(name: str, done: int, total: int | None) -> None:
            signals.check()
            bar.show(name, done, total)

        def on_first_pass(name: str, done: int, total: int | None) -> None:
            signals.check()
            bar.show(f"{name}: measuring depth range", done, total)

        evaluation = evaluate(pairs, config, on_frame=on_frame, on_first_pass=on_first_pass)
    written = write_report(evaluation, options.output, overwrite=options.overwrite)
    print(format_table(evaluation))
    print(written)
    return 0


def run_info(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer info`; returns the exit code."""
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
    print("encoders:")
    for codec, state in list_encoders().items():
        print(f"  {codec} {state}")
    try:
        print(f"  MV-HEVC available ({find_multiview_x265()})")
    except InputError as error:
        print(f"  MV-HEVC cannot be used ({error})")
    for title, kind in (("depth", MODEL_KIND), ("flow", FLOW_MODEL_KIND)):
        print(f"folders of {title} models: {', '.join(map(str, model_folders(kind)))}")
    return 0
