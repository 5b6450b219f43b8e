"""Spatial video for Apple Vision Pro: MV-HEVC in a .mov file, made of a film with its views side by side.

The file says in `vexu` which eyes there are, how far apart the cameras were and how wide they saw, which
Apple asks for beside the two layers (ISO base media file format and Apple HEVC stereo video).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from ..atomic import partial_path_for, write_error
from ..checks import InputError
from ..options import check_options, option
from .boxes import add_film_boxes, film_boxes, make_box
from .color import ColorConverter, ColorInfo, to_8_bit
from .encoders import CRF, PRESET
from .multiview import MultiviewEncoder, find_multiview_x265, layer_box
from .output import OutputFile
from .probe import VideoInfo, probe
from .reader import read_frames
from .stereo_source import stated_format
from .stream_copy import SOUND, StreamCopy
from .written import Written

_LOGGER = logging.getLogger(__name__)

_SUFFIXES = (".mov", ".mp4")
_BT709 = 1
_LEFT = 1  # the hero eye: that of the layer which players without two views show


@dataclass(frozen=True)
class SpatialConfig:
    """How a spatial video is encoded, and what it says of the cameras."""

    crf: int = CRF.as_field()
    preset: str = PRESET.as_field()
    baseline: float = option(
        64.0, 0.1, 10_000.0, "mm", help="What the file says of the distance between the two cameras."
    )
    camera_angle: float = option(
        60.0, 1.0, 180.0, "degrees", help="What the file says of the horizontal angle that a view shows."
    )


def write_spatial_video(
    source: str | Path,
    path: str | Path,
    config: SpatialConfig | None = None,
    *,
    overwrite: bool = False,
    on_frame: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Make a spatial video of a film with full views side by side, with its sound.

    Args:
        source: The film, which says that it is full side by side, as `convert` writes it; best one that lost
            nothing, such as FFV1, since each picture is encoded again.
        path: The file, a .mov or .mp4.
        config: The settings.
        overwrite: Whether an existing file may be replaced in the end.
        on_frame: Called after each frame with the frames done and their total if it is known; may raise to
            interrupt, and then no file stays.

    Returns:
        The path of the file: not `path` if something else took that name during the work.

    Raises:
        InputError: If no x265 here encodes two views, or the source or a setting cannot be used.
    """
    config = config or SpatialConfig()
    check_options(config)
    program = find_multiview_x265()
    info = probe(source)
    _check_source(info)
    output = OutputFile(path, suffixes=_SUFFIXES, inputs=(source,), overwrite=overwrite)
    with output:
        try:
            with _work_folder(output.path) as folder:
                times = _encode(program, folder, info, config, on_frame or (lambda done, total: None))
                _mux(folder / "film.hevc", output.partial, info, times, config)
                _check(output, info, len(times))
        except OSError as error:
            raise write_error(output.path, error) from error
        output.commit()
    return output.path


@contextlib.contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside a file that goes in the end; what a killed run left, the next one removes."""
    folder = partial_path_for(path).with_suffix("")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_source(info: VideoInfo) -> None:
    """Check that a film holds two whole views of even sides."""
    format = None if info.stereo is None else stated_format(info.stereo, aspect=info.sample_aspect_ratio)
    if format != "full_sbs":
        raise InputError(
            f"spatial video must be made of a film that says it is full_sbs, got {info.path} "
            f"({format or 'which says nothing of two views'}); convert with --format full_sbs, best with "
            "--codec ffv1"
        )
    if info.width % 4 or info.height % 2:
        raise InputError(
            f"each view must have even sides, got {info.width / 2:g}x{info.height} px for {info.path}; "
            "convert with another --output-height"
        )


def _encode(
    program: str,
    folder: Path,
    info: VideoInfo,
    config: SpatialConfig,
    on_frame: Callable[[int, int | None], None],
) -> array[int]:
    """Encode both views; returns the pts of each frame."""
    color = (
        info.color if info.color.bits == 8 else ColorInfo(matrix=_BT709, primaries=_BT709, transfer=_BT709)
    )
    if color is not info.color:
        _LOGGER.warning("%s: x265 encodes two views in 8 bits, to which its pictures are brought", info.path)
    converter, times = ColorConverter(color), array("q")
    encoder = MultiviewEncoder(
        program,
        folder,
        width=info.width // 2,
        height=info.height,
        frame_rate=info.frame_rate,
        crf=config.crf,
        preset=config.preset,
        color=_color_options(color),
    )
    with encoder, closing(read_frames(info.path)) as frames:
        for frame in frames:
            image = np.ascontiguousarray(to_8_bit(frame.image, info.color))
            encoder.write(converter.to_yuv(image, pixel_format="yuv420p").to_ndarray())
            times.append(frame.pts)
            on_frame(len(times), info.frame_count)
        encoder.finish()
    return times


def _color_options(color: ColorInfo) -> dict[str, str]:
    """Tell x265 how the YUV is coded, by the numbers of H.273."""
    numbers = {"colorprim": color.primaries, "transfer": color.transfer, "colormatrix": color.matrix}
    told = {name: f"{int(number)}" for name, number in numbers.items() if number is not None}
    return {**told, "range": "full" if color.full_range else "limited"}


def _mux(stream_path: Path, partial: Path, info: VideoInfo, times: array[int], config: SpatialConfig) -> None:
    """Write the stream and the sound into a file, and say what it is."""
    options = {"movflags": "use_metadata_tags"}
    with (
        av.open(str(stream_path), format="hevc") as bare,
        av.open(str(partial), "w", format=partial.suffix[1:], container_options=options) as container,
    ):
        source = bare.streams.video[0]
        extradata = source.codec_context.extradata or b""
        stream = container.add_stream_from_template(source, opaque=True)
        stream.codec_context.codec_tag = "hvc1"
        stream.time_base = info.time_base
        sound = StreamCopy(info.path, container, kinds=SOUND, start=None, end=None)
        with closing(sound):
            container.start_encoding()
            origin = times[0] if sound.is_empty else 0
            sound.begin(origin=origin * info.time_base)
            last = max(1, round(1 / info.frame_rate / info.time_base))
            packets = (packet for packet in bare.demux(source) if packet.size)
            for index, packet in enumerate(packets):
                packet.stream, packet.time_base = stream, info.time_base
                packet.pts = packet.dts = times[index] - origin
                packet.duration = times[index + 1] - times[index] if index + 1 < len(times) else last
                container.mux(packet)
                sound.write_until(times[index] * info.time_base)
            sound.write_until(None)
    boxes = layer_box(extradata, film_boxes(partial)[b"hvcC"]) + _usage_box(config)
    boxes += make_box(b"hfov", struct.pack(">I", round(config.camera_angle * 1000)))
    add_film_boxes(partial, boxes)


def _usage_box(config: SpatialConfig) -> bytes:
    """Make vexu: both eyes, the left one for players that show one, the cameras, nothing moved."""
    baseline = struct.pack(">I", round(config.baseline * 1000))  # micrometres
    cameras = make_box(b"cams", make_box(b"blin", baseline, version=0))
    moved = make_box(b"cmfy", make_box(b"dadj", struct.pack(">i", 0), version=0))
    eyes = make_box(b"stri", b"\3", version=0), make_box(b"hero", bytes([_LEFT]), version=0)
    return make_box(b"vexu", make_box(b"eyes", *eyes, cameras, moved))


def _check(output: OutputFile, info: VideoInfo, frames: int) -> None:
    """Compare what was written: the base view as any film, and that both views come out."""
    container = output.partial.suffix[1:]
    with av.open(str(output.partial)) as written:
        sounds = len(written.streams.audio)
    asked = Written("libx265", container, info.width // 2, info.height, frames, sounds=sounds)
    asked.check(output.partial, path=output.path)
    with av.open(str(output.partial)) as written:
        context = written.streams.video[0].codec_context
        context.options = {"view_ids": "-1"}  # all of them, one after the other
        context.thread_type = "NONE"
        views = 0
        with contextlib.suppress(av.error.FFmpegError):  # a decoder that cannot, of FFmpeg before 7.1
            for packet in written.demux(video=0):
                views += len(packet.decode())
                if views:
                    break
    if views == 1:
        raise InputError(f"the written file must hold two views, got one for {output.path}; try another x265")
