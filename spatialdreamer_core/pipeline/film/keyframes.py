"""A preview of a film: one stereoscopic photo every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ...atomic import replacing, write_error
from ...checks import InputError
from ...depth import BuiltinStream, DepthFile, DepthModel, ModelPhoto
from ...fill import Filler
from ...options import Option
from ...video.color import to_8_bit
from ...video.naming import output_path_for
from ...video.photo import save_photo
from ...video.probe import probe
from ...video.projection import check_flat
from ...video.reader import VideoFrame, read_frames
from ...video.stereo_source import check_one_view
from ..clock import StageClock
from ..config import ConvertConfig
from ..depth_source import choose_depth
from ..device import choose_device
from ..fillers import FillerConfig
from ..job import Job
from ..packed import packed_frames
from ..pictures import cut_pictures
from ..preview import MiddleSheet

_LOGGER = logging.getLogger(__name__)

KEYFRAMES = Option(
    default=0.0,
    low=0.1,
    high=3600.0,
    unit="seconds",
    name="keyframes",
    kind=float,
    help="Instead of the film write a photo of the frame at every so many seconds, to see what comes.",
)


def convert_keyframes(
    input_path: Path,
    folder: Path,
    config: ConvertConfig | None = None,
    *,
    every: float,
    filler: Filler | None = None,
    depth_model: DepthModel | None = None,
    on_photo: Callable[[int, int | None], None] | None = None,
) -> list[Path]:
    """Convert a frame every few seconds, each by itself as a photo.

    Args:
        input_path: The film.
        folder: Where the photos go; those of the same names are replaced.
        config: The settings.
        every: Seconds between them.
        filler: What fills the holes; None is fast fill.
        depth_model: A model from `load_model` to be used instead of what `config.depth` names.
        on_photo: Called after each photo with those done and their number, if it is known; may raise to
            interrupt.

    Returns:
        The photos, in order.

    Raises:
        InputError: If a setting or the film cannot be used, as of `convert`, or a photo not be written.
    """
    config = config or ConvertConfig()
    config.check()
    if config.layout().pictures_a_pair == 2:  # a photo holds both
        config = replace(config, format="full_sbs")
    KEYFRAMES.check(every)
    device = choose_device(config.device)
    source = choose_depth(config, depth_model, device)
    if isinstance(source, DepthFile):
        raise InputError(
            f"keyframes must have an estimator's depth, got the depth file {source.path}; leave it out"
        )
    filler = FillerConfig().load(device=device) if filler is None else filler
    info = probe(input_path)
    warning = check_one_view(input_path, stated=info.stereo)
    if warning is not None:
        _LOGGER.warning("%s", warning)
    if config.projection == "auto":
        check_flat(input_path, stated=info.projection)
    end = min(
        config.end if config.end is not None else float("inf"),
        info.duration if info.duration is not None else float("inf"),
    )
    time, photos = config.start or 0.0, list[Path]()
    total = None if end == float("inf") else max(1, int((end - time) // every) + 1)
    while time < end:
        frame = _frame_at(input_path, time, config)
        if frame is None:
            break
        depth = BuiltinStream() if source is None else ModelPhoto(source)
        aspect = info.sample_aspect_ratio
        job = Job(config, device, depth, None, filler, StageClock(), aspect)
        job = job.placed((info.height, info.width))
        pictures = cut_pictures(iter([frame]), black_bars=config.black_bars, clock=job.clock)
        with closing(packed_frames(pictures, job, sheet=MiddleSheet(None, index=0))) as packed:
            image = next(packed).image
        assert image is not None, "it was asked for"
        path = _name(input_path, folder, frame.time, config.format)
        try:
            with replacing(path) as partial:
                save_photo(partial, to_8_bit(image, frame.color), suffix=path.suffix)
        except OSError as error:
            raise write_error(path, error, name="keyframe") from error
        photos.append(path)
        if on_photo is not None:
            on_photo(len(photos), total)
        time += every
    return photos


def _frame_at(path: Path, time: float, config: ConvertConfig) -> VideoFrame | None:
    """Return the first frame from a moment on; None where there is no more."""
    frames = read_frames(path, start=time, deinterlace=config.deinterlace == "auto", report=False)
    with closing(frames):
        try:
            return next(frames, None)
        except InputError:
            if time > (config.start or 0.0):  # the stated duration is too long
                return None
            raise


def _name(film: Path, folder: Path, time: float, format: str) -> Path:
    """Name the photo of a moment: film_0-01-30.0_LR.jpg."""
    minutes, seconds = divmod(round(time, 1), 60)
    moment = f"{int(minutes) // 60}-{int(minutes) % 60:02d}-{seconds:04.1f}"
    return output_path_for(film.with_name(f"{film.stem}_{moment}.jpg"), format=format, folder=folder)
