"""Whole-film conversion: a video or photo file in, a stereoscopic one out.

Memory does not depend on the length; the output appears under its name only when it is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checks import InputError
from ..depth import DepthModel
from ..fill import Filler, check_filler
from ..flow import FlowModel, open_flow
from ..stereo import PIXEL_FORMATS
from ..video.color import to_8_bit
from ..video.completeness import IncompleteInput
from ..video.encoders import full_colour_format
from ..video.output import OutputFile, check_output_path
from ..video.probe import VideoInfo
from ..video.reader import VideoFrame, read_frames, until_broken
from ..video.stereo_metadata import stereo_metadata
from ..video.stereo_photo import STEREO_PHOTO_SUFFIXES, packing_format
from ..video.stereo_source import output_tags
from ..video.writer import VIDEO_CONTAINERS, VideoWriter
from .before_work import check_conversion, count_frames, inputs_of, is_photo_asked, look_at_input
from .clock import StageClock
from .config import ConvertConfig
from .depth_source import choose_depth, open_depth
from .device import choose_device
from .fillers import FILLERS, FillerConfig
from .film.cluster import Spread
from .film.convert import convert_film, describe_filler, is_kept
from .film.folder import FilmFolder
from .film.plan import SegmentRule
from .film.source import FilmSource
from .job import Job
from .packed import packed_frames
from .parallax import DepthSample, DepthWatch
from .photo import convert_photo
from .preview import MiddleSheet

_LOGGER = logging.getLogger(__name__)

Progress = Callable[[int, "int | None", "np.ndarray | None"], None]
_PREVIEW_EVERY = 12  # frames


def convert(
    input_path: Path | str,
    output_path: Path | str,
    config: ConvertConfig | None = None,
    *,
    info: VideoInfo | None = None,
    filler: Filler | None = None,
    depth_model: DepthModel | None = None,
    flow_model: FlowModel | None = None,
    on_progress: Progress | None = None,
    on_first_pass: Callable[[int, int | None], None] | None = None,
    preview_path: Path | str | None = None,
    metadata: Mapping[str, str] | None = None,
    clock: StageClock | None = None,
    overwrite: bool = False,
    on_saved: Callable[[Path], None] | None = None,
    force: bool = False,
    identity: Mapping[str, Any] | None = None,
    load_filler: Callable[[str], Filler] | None = None,
    on_scene: Callable[[int, int], None] | None = None,
    rule: SegmentRule | None = None,
    spread: Spread | None = None,
    on_depth: Callable[[DepthSample], None] | None = None,
) -> int:
    """Convert a monocular video or photo to a stereoscopic one.

    Args:
        input_path: A video or photo file.
        output_path: Where the result goes; the suffix chooses the container (.mp4, .mkv, .mov, .webm) or
            photo format.
        config: The settings.
        info: What `probe` says of the input, if it is a video that has been looked at already.
        filler: What fills the holes; None is fast fill, which needs no weights.
        depth_model: A model from `load_model` to be used instead of what `config.depth` names.
        flow_model: A model from `load_flow_model` to be used instead of what `config.flow` names.
        on_progress: Called after each frame with the frames done, their total if it is known, and now and
            then the packed frame, [H, W, 3] uint8, deeper or HDR video as on a standard screen; may raise
            to interrupt, and then no output stays.
        on_first_pass: Called after each frame of the first pass, which depth models and files need, with the
            frames done and their total if it is known; may raise to interrupt.
        preview_path: Where a contact sheet of the middle frame goes, or None. One that fails to be written
            after the work has begun is only left out.
        metadata: Tags written into a video, by name.
        clock: Adds up the time that each stage takes.
        overwrite: Whether an existing output or preview may be replaced in the end.
        on_saved: Called with the path of the result: not `output_path` if something else took that name
            during the work.
        force: Whether what an earlier run has finished of this output is thrown away (`config.resume`).
        identity: What `filler` and models are, by names that JSON can hold: a film that was begun is only
            continued with the same. None: the filler's class and settings.
        load_filler: Loads a filler that a sidecar names for a scene, one of `FILLERS`; None: with its default
            options.
        on_scene: Called as a scene begins with its number from 1 and the number of scenes, where finished
            parts are kept, for only there the scenes are known.
        rule: How long the parts are that are kept of a film.
        spread: The cluster that converts a film's parts; it loads its fillers and models itself. None: this
            process.
        on_depth: Called once, by another thread, with the first frame of a film that shows something and its
            depth, as soon as that is known: enough to preview the warp. Not with `spread`.

    Returns:
        The number of frames written.

    Raises:
        InputError: For a file or setting that cannot be used.
        IncompleteInput: If the input is cut short or damaged, unless `config.allow_incomplete`: before the
            work where its structure tells so, else when the output, with all that could be read, is in place.
    """
    # 1. What can be checked without work: settings, files, and whether memory suffices.
    input_path, output_path = Path(input_path), Path(output_path)
    config = config or ConvertConfig()
    check_conversion(input_path, output_path, config, preview_path=preview_path)
    photo = is_photo_asked(input_path, output_path)
    device = choose_device(config.device)
    filler = _choose_filler(filler, config, spread, photo=photo, device=device)
    info = look_at_input(input_path, config, info, photo=photo)
    total = 1 if info is None else count_frames(info, config)
    inputs = inputs_of(input_path, config)
    sheet = MiddleSheet(
        preview_path, index=(total or 1) // 2, inputs=(*inputs, output_path), overwrite=overwrite
    )
    clock = clock or StageClock()
    on_progress = on_progress or (lambda done, total, packed: None)
    # 2. A photo.
    if info is None:
        packing_format(output_path.suffix, config.format)
        output = OutputFile(output_path, suffixes=STEREO_PHOTO_SUFFIXES, inputs=inputs, overwrite=overwrite)
        with sheet, output:
            source = choose_depth(config, depth_model, device)
            with open_depth(
                source, input_path, config, photo=True, total=1, on_first_pass=None, clock=clock
            ) as depth:
                job = Job(config, device, depth.stream, None, filler, clock)
                picture = convert_photo(input_path, output, job, sheet=sheet)
        on_progress(1, 1, None if picture is None else to_8_bit(picture, None))
        return _finish(1, output.path, config, (), on_saved)
    # 3. A film's output, before models are loaded: what cannot be written is found at once.
    writer = _choose_writer(
        output_path, input_path, info, config, inputs=inputs, metadata=metadata, overwrite=overwrite
    )
    watch = None if on_depth is None else DepthWatch(on_depth)
    # 4. A film of which finished parts are kept, or that a cluster converts part by part.
    seconds = None if total is None else total / float(info.frame_rate)
    if spread is not None or is_kept(config, seconds=seconds, frames=total, filler=filler):
        check_output_path(output_path, suffixes=VIDEO_CONTAINERS, inputs=inputs, overwrite=overwrite)
        with sheet, FilmFolder(output_path) as folder:
            if force:
                folder.clear()
            result = convert_film(
                FilmSource(
                    *(input_path, info, config, device),
                    depth=choose_depth(config, depth_model, device),
                    clock=clock,
                ),
                folder,
                writer,
                flow=open_flow(flow_model or config.flow, device=device),
                fillers=_fillers(filler, load_filler, config, device),
                sheet=sheet,
                identity=_identity(filler, spread, identity, config),
                rule=rule or SegmentRule(),
                total=total,
                on_progress=on_progress,
                on_first_pass=on_first_pass,
                on_scene=on_scene,
                spread=spread,
                watch=watch,
            )
            folder.clear()
        return _finish(result.frames, writer.path, config, result.faults, on_saved)
    # 5. Any other film: its depth, after a first pass if that is needed, then frame by frame.
    pictures = config.layout().pictures_a_pair
    expected = None if total is None else total * pictures
    done = 0
    faults: list[IncompleteInput] = []
    with sheet, writer:
        source = choose_depth(config, depth_model, device)
        flow = open_flow(flow_model or config.flow, device=device)
        with open_depth(
            source,
            input_path,
            config,
            photo=False,
            flow=flow,
            total=total,
            on_first_pass=on_first_pass,
            clock=clock,
        ) as depth:
            job = Job(
                *(config, device, depth.stream, flow, filler, clock),
                aspect=info.sample_aspect_ratio,
                scenes=depth.scenes,
                watch=watch,
            )
            job = job.placed((info.height, info.width))
            with (
                closing(_read_film(input_path, config, faults)) as frames,
                closing(
                    packed_frames(
                        frames,
                        job,
                        sheet=sheet,
                        writer=writer,
                        image_every=_PREVIEW_EVERY,
                        duration=max(1, round(1 / info.frame_rate / info.time_base)) if total == 1 else None,
                    )
                ) as packed,
            ):
                for pts, image, frame in packed:
                    with clock("encode"):
                        writer.write(frame, pts)
                    sheet.write()
                    done += 1
                    shown = image if done % _PREVIEW_EVERY == 1 else None
                    on_progress(done, expected, None if shown is None else to_8_bit(shown, info.color))
        sheet.write(film_ended=True)
    return _finish(done, writer.path, config, faults, on_saved)


def _choose_filler(
    filler: Filler | None, config: ConvertConfig, spread: Spread | None, *, photo: bool, device: torch.device
) -> Filler:
    """Choose what fills the holes in this process.

    Raises:
        InputError: If it is none, is given beside a cluster that loads its own, or that converts no parts.
    """
    if spread is not None:
        if filler is not None:
            raise InputError(
                f"`filler` must be left out with `spread`, got {type(filler).__name__}; name it in its "
                "`fillers`: each worker loads its own"
            )
        if config.resume == "off" and not photo:
            raise InputError(
                "resume must be auto or on with ray, which converts parts, got off; leave it out"
            )
    if config.format == "rgbd":  # which shows no filled view
        filler = None
    elif spread is not None and photo:  # which is no work for a cluster
        filler = spread.fillers[None].load(device=device)
    filler = FillerConfig().load(device=device) if filler is None else filler
    check_filler(filler)
    return filler


def _choose_writer(
    path: Path,
    source: Path,
    info: VideoInfo,
    config: ConvertConfig,
    *,
    inputs: Sequence[Path],
    metadata: Mapping[str, str] | None,
    overwrite: bool,
) -> VideoWriter:
    """Make the writer of a film's output, which is not open yet."""
    layout = config.layout()
    height, width = layout.size(info.height, info.width, aspect=info.sample_aspect_ratio)
    codec = config.encoder(
        width,
        height,
        bits=info.color.bits,
        hdr=info.color.hdr is not None,
        device=choose_device(config.device),
        suffix=path.suffix.lower(),
    )
    return VideoWriter(
        path,
        width=width,
        height=height,
        source=info,
        frame_rate=info.frame_rate * layout.pictures_a_pair,
        time_base=info.time_base / layout.pictures_a_pair,
        codec=codec,
        crf=config.crf,
        preset=config.preset,
        pixel_format=full_colour_format(codec, info.color.bits) if config.format in PIXEL_FORMATS else None,
        sample_aspect_ratio=layout.pixel_aspect(info.sample_aspect_ratio),
        audio_from=source if config.audio else None,
        extras_from=source,
        audio_start=config.start,
        audio_end=config.end,
        metadata=output_tags(metadata, path, format=config.format, width=width, height=height),
        stereo=stereo_metadata(config.format, choice=config.stereo_metadata),
        overwrite=overwrite,
        inputs=inputs,
    )


def _identity(
    filler: Filler, spread: Spread | None, identity: Mapping[str, Any] | None, config: ConvertConfig
) -> Mapping[str, Any]:
    """Tell by what a film that was begun is known besides its settings, see `convert`."""
    if spread is None:
        return describe_filler(filler) if identity is None else identity
    return {**spread.describe(), **(identity or {}), "device": spread.cluster.device(config.device)}


def _fillers(
    filler: Filler, load: Callable[[str], Filler] | None, config: ConvertConfig, device: torch.device
) -> dict[str | None, Callable[[], Filler]]:
    """Tell how to load the filler of each name; None is the film's."""
    if config.format == "rgbd":
        return dict.fromkeys((None, *FILLERS), lambda: filler)
    load = load or (lambda name: FillerConfig(name).load(device=device))
    return {None: lambda: filler, **{name: partial(load, name) for name in FILLERS}}


def _finish(
    frames: int,
    path: Path,
    config: ConvertConfig,
    faults: Sequence[IncompleteInput],
    on_saved: Callable[[Path], None] | None,
) -> int:
    """Tell where the result is, and what could not be read; returns the number of frames."""
    if on_saved is not None:
        on_saved(path)
    if faults and not config.allow_incomplete:
        raise IncompleteInput(f"{faults[0]}; the {frames} frames before are in {path}") from faults[0]
    for fault in faults:
        _LOGGER.warning("%s", fault)
    return frames


def _read_film(
    path: Path, config: ConvertConfig, faults: list[IncompleteInput]
) -> Generator[VideoFrame, None, None]:
    """Read the film's frames; where it breaks off they end, and the error is noted."""
    frames = read_frames(
        path,
        start=config.start,
        end=config.end,
        deinterlace=config.deinterlace == "auto",
        device=choose_device(config.device),
    )
    return until_broken(frames, faults.append)
