"""Whole-film conversion: a video or photo file in, a stereoscopic one out.

Memory does not depend on the length; the output appears under its name only when it is whole.
"""

from __future__ import annotations

import logging
import os
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
from ..video.completeness import IncompleteInput, check_whole
from ..video.encoders import full_colour_format
from ..video.limits import require_film_memory
from ..video.output import OutputFile, check_another_file, check_output_path
from ..video.photo_kind import FILM, is_photo, photo_kind
from ..video.probe import VideoInfo, probe
from ..video.projection import check_flat, photo_projection
from ..video.reader import VideoFrame, has_frames, read_frames, until_broken
from ..video.stereo_metadata import stereo_metadata
from ..video.stereo_photo import STEREO_PHOTO_SUFFIXES, packing_format
from ..video.stereo_source import check_one_view, output_tags, photo_stereo
from ..video.writer import VIDEO_CONTAINERS, VideoWriter
from .clock import StageClock
from .config import ConvertConfig
from .depth_source import choose_depth, open_depth
from .device import choose_device
from .fillers import FILLERS, FillerConfig
from .film.cluster import Spread
from .film.convert import convert_film, describe_filler, is_kept
from .film.folder import FilmFolder
from .film.plan import SegmentRule
from .film.sidecar import read_sidecar
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
    clock = clock or StageClock()
    on_progress = on_progress or (lambda done, total, packed: None)
    device = choose_device(config.device)
    is_photo_asked = _is_photo(input_path, output_path)
    if spread is not None and filler is not None:
        raise InputError(
            f"`filler` must be left out with `spread`, got {type(filler).__name__}; name it in its "
            "`fillers`: each worker loads its own"
        )
    if config.format == "rgbd":  # which shows no filled view
        filler = FillerConfig().load(device=device)
    elif spread is not None and is_photo_asked:  # which is no work for a cluster
        filler = spread.fillers[None].load(device=device)
    filler = FillerConfig().load(device=device) if filler is None else filler
    check_filler(filler)
    info = None if is_photo_asked else _check_film(input_path, config, info)
    warning = check_one_view(input_path, stated=photo_stereo(input_path) if info is None else info.stereo)
    if warning is not None:
        _LOGGER.warning("%s", warning)
    if config.projection == "auto":
        check_flat(input_path, stated=photo_projection(input_path) if info is None else info.projection)
    _check_format(config.format, input_path, photo=info is None)
    total = 1 if info is None else _count_frames(info, config)
    inputs = _inputs(input_path, config)
    sheet = MiddleSheet(
        preview_path, index=(total or 1) // 2, inputs=(*inputs, output_path), overwrite=overwrite
    )
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
        if on_saved is not None:
            on_saved(output.path)
        return 1
    # 3. A film's output, before models are loaded: what cannot be written is found at once.
    layout = config.layout()
    pictures = layout.pictures_a_pair
    height, width = layout.size(info.height, info.width, aspect=info.sample_aspect_ratio)
    aspect = layout.pixel_aspect(info.sample_aspect_ratio)
    codec = config.encoder(
        width,
        height,
        bits=info.color.bits,
        hdr=info.color.hdr is not None,
        device=device,
        suffix=output_path.suffix.lower(),
    )
    expected = None if total is None else total * pictures
    seconds = None if total is None else total / float(info.frame_rate)
    done = 0
    faults: list[IncompleteInput] = []
    watch = None if on_depth is None else DepthWatch(on_depth)
    writer = VideoWriter(
        output_path,
        width=width,
        height=height,
        source=info,
        frame_rate=info.frame_rate * pictures,
        time_base=info.time_base / pictures,
        codec=codec,
        crf=config.crf,
        preset=config.preset,
        pixel_format=full_colour_format(codec, info.color.bits) if config.format in PIXEL_FORMATS else None,
        sample_aspect_ratio=aspect,
        audio_from=input_path if config.audio else None,
        extras_from=input_path,
        audio_start=config.start,
        audio_end=config.end,
        metadata=output_tags(metadata, output_path, format=config.format, width=width, height=height),
        stereo=stereo_metadata(config.format, choice=config.stereo_metadata),
        overwrite=overwrite,
        inputs=inputs,
    )
    if spread is not None and config.resume == "off":
        raise InputError("resume must be auto or on with ray, which converts parts, got off; leave it out")
    if spread is not None or is_kept(config, seconds=seconds, frames=total, filler=filler):
        check_output_path(output_path, suffixes=VIDEO_CONTAINERS, inputs=inputs, overwrite=overwrite)
        known_by = describe_filler(filler) if identity is None else identity
        if spread is not None:
            known_by = {
                **spread.describe(),
                **(identity or {}),
                "device": spread.cluster.device(config.device),
            }
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
                identity=known_by,
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
    with sheet, writer:
        # 4. Its depth, after a first pass if that is needed; then frame by frame through the chain.
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


def check_conversion(
    input_path: Path | str,
    output_path: Path | str,
    config: ConvertConfig,
    *,
    preview_path: Path | str | None = None,
) -> None:
    """Check all of a conversion that can be checked without opening a file.

    Raises:
        InputError: If a setting breaks its rule, the device is not there, the input is a folder, or an output
            is an input or the other output.
    """
    config.check()
    choose_device(config.device)
    input_path, output_path = Path(input_path), Path(output_path)
    for name, path in (("input", input_path), ("output", output_path), ("preview", preview_path)):
        if "\0" in str(path):
            raise InputError(f"{name} must be a file name, got {str(path)!r}; leave the NUL out")
    if os.path.isdir(input_path):
        raise InputError(f"input must be a video or photo, got the folder {input_path}; give one file in it")
    if config.sidecar is not None:
        read_sidecar(config.sidecar)
    outputs = {"output": output_path}
    if preview_path is not None:
        check_another_file(preview_path, output_path, name="preview", other_name="output")
        outputs["preview"] = Path(preview_path)
    for name, path in outputs.items():
        check_another_file(path, input_path, name=name)
        if config.depth_file is not None:
            check_another_file(path, config.depth_file, name=name, other_name="depth")


def _inputs(input_path: Path, config: ConvertConfig) -> tuple[Path, ...]:
    """List what a conversion reads."""
    return (input_path,) if config.depth_file is None else (input_path, Path(config.depth_file))


def _is_photo(input_path: Path, output_path: Path) -> bool:
    """Tell how a file is converted: an animated picture is a film, unless a photo is asked for."""
    if is_photo(input_path):
        return True
    is_picture = photo_kind(input_path) not in (None, FILM)
    return is_picture and output_path.suffix.lower() in STEREO_PHOTO_SUFFIXES


def _check_format(format: str, path: Path, *, photo: bool) -> None:
    """Check that a format is one for photos, or for films."""
    if format == "wiggle" and not photo:
        raise InputError(
            f"the format wiggle must have a photo, whose two views a GIF or WebP shows in turn, got the film "
            f"{path}; convert a picture of it, or choose frame_sequential"
        )
    if format == "frame_sequential" and photo:
        raise InputError(
            f"the format frame_sequential must have a film, got the photo {path}; choose wiggle, or full_sbs"
        )


def _check_film(path: Path, config: ConvertConfig, info: VideoInfo | None) -> VideoInfo:
    """Look at a film before the work: what it holds, whether memory suffices and all of it is there."""
    info = info or probe(path)
    require_film_memory(info.width, info.height, path)
    for name in info.dynamic_metadata:
        _LOGGER.warning("%s: its %s metadata is left out; the picture under it is converted", path, name)
    if config.end is None and not config.allow_incomplete:
        check_whole(path)
    return info


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


def _count_frames(info: VideoInfo, config: ConvertConfig) -> int | None:
    """Estimate how many frames lie between start and end."""
    if info.frame_count is None:
        return None
    if config.start is None and config.end is None:
        return info.frame_count
    duration = info.duration or info.frame_count / float(info.frame_rate)
    start, end = config.start or 0.0, min(config.end or duration, duration)
    if start >= duration:
        if has_frames(info.path, start=start):
            return None  # the duration is wrong
        raise InputError(f"start must be less than the video's duration ({duration:.2f} s), got {start:g} s")
    return max(1, round((end - start) * float(info.frame_rate)))
