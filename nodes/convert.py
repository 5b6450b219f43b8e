"""Video to Stereo 3D: a whole video file to a stereo one, streamed, so memory does not bound its length."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl, io, ui

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.depth import DEFAULT_STRENGTH, estimator_names
from ..spatialdreamer_core.memory import telling_of_memory
from ..spatialdreamer_core.stereo import FORMATS
from ..spatialdreamer_core.video import BORDERS, FORMAT_SUFFIXES, ConvertConfig, convert, probe
from .depth_file import depth_kind_input
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .dvg import convergence_input, divergence_input
from .output_name import check_prefix, fill_in_dates
from .presentation import ADVANCED, found_by, show_text
from .progress import survey_progress, video_progress
from .shaping import check_values, shaping_inputs
from .stereo import FORMAT_TOOLTIP


class SpatialDreamerConvertVideo(io.ComfyNode):
    """Node around `spatialdreamer_core.video.convert`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerConvertVideo",
            display_name="Video to Stereo 3D",
            category="SpatialDreamer",
            **found_by("convert video", "2d to 3d video", "half sbs", "vr180", "movie", "red cyan"),
            description="Converts a whole video to stereo 3D: depth, warp, hole filling, packing. Streams "
            "frame by frame, keeps the sound, saves to the output folder under a name that 3D players "
            "recognise.",
            inputs=[
                io.Video.Input("video", tooltip="The mono video, of any length."),
                io.Combo.Input("format", options=list(FORMATS), default="full_sbs", tooltip=FORMAT_TOOLTIP),
                divergence_input(),
                convergence_input(),
                io.Combo.Input(
                    "eye",
                    options=["right", "left", "both"],
                    default="right",
                    tooltip="Which view is synthesised; the other one is the original. both: each is "
                    "rendered with half of the disparity.",
                ),
                io.Combo.Input(
                    "depth",
                    options=list(estimator_names()),
                    default="auto",
                    tooltip="Depth estimator, see the Depth Estimator node. auto: Depth Anything V2 Small if "
                    "it is installed or `download` brings it, else builtin, which needs no weights and is "
                    "preview grade.",
                ),
                io.Int.Input(
                    "crf",
                    default=18,
                    min=0,
                    max=51,
                    tooltip="Quality of the encoded video as constant rate factor, 0 to 51: lower is better "
                    "and larger. 18 is visually lossless.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="SpatialDreamer/stereo",
                    tooltip="Subfolder and start of the file name in the output folder. %date:yyyy-MM-dd% "
                    "and %Node name.widget% are replaced. A number and the suffix by which players recognise "
                    "the stereo format are added.",
                ),
                depth_download_input(),
                io.Combo.Input(
                    "border",
                    options=list(BORDERS),
                    default="none",
                    optional=True,
                    tooltip="What to do about things that pop out of the screen and are cut by the picture's "
                    "left or right edge. ease: they sink back to the screen towards the edge. "
                    "floating_window: narrow black bars bring the edge forward.",
                ),
                *shaping_inputs(automatic_edges=True),
                depth_stability_input(),
                io.Video.Input(
                    "depth_video",
                    optional=True,
                    tooltip="Depth of the same frames as a video, used instead of the estimator: any size of "
                    "the same shape, as many frames. 10 bits and more keep their precision.",
                ),
                depth_kind_input("depth_kind", "the values of depth_video"),
                io.Boolean.Input(
                    "allow_incomplete",
                    default=False,
                    optional=True,
                    tooltip="Converts a video that is cut short or damaged as far as it goes, instead of "
                    "refusing it or ending with an error.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                io.Video.Output("stereo", display_name="stereo", tooltip="The saved stereo video."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        divergence: float | None = None,
        convergence: float | None = None,
        foreground_scale: float | None = None,
        depth_gamma: float | None = None,
        depth_near: float | None = None,
        depth_far: float | None = None,
        depth_stability: float | None = None,
        filename_prefix: str | None = None,
    ) -> bool:
        """Refuse when it is queued what cannot run: a value or a prefix, see `check_values`."""
        check_values(
            divergence=divergence,
            convergence=convergence,
            foreground_scale=foreground_scale,
            depth_gamma=depth_gamma,
            depth_near=depth_near,
            depth_far=depth_far,
            depth_stability=depth_stability,
        )
        if filename_prefix is not None:
            check_prefix(filename_prefix)
        return True

    @classmethod
    def fingerprint_inputs(cls, depth: str | None = None, download: bool = False, **_: object) -> str:
        """Tell when another depth model is meant than before, or its files were replaced."""
        return depth_fingerprint(depth, download)

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        format: str,
        divergence: float,
        convergence: float,
        eye: str,
        depth: str,
        crf: int,
        filename_prefix: str,
        download: bool = False,
        border: str = "none",
        foreground_scale: float = 0.0,
        depth_gamma: float = 1.0,
        depth_near: float = 1.0,
        depth_far: float = 0.0,
        edge_width: int = -1,
        edge_dilation: int = 0,
        guided_upsampling: bool = False,
        depth_stability: float = DEFAULT_STRENGTH,
        depth_video: Input.Video | None = None,
        depth_kind: str = "inverse",
        allow_incomplete: bool = False,
    ) -> io.NodeOutput:
        """Convert the video and save it."""
        config = ConvertConfig(
            format=format,
            divergence=divergence,
            convergence=convergence,
            eye=eye,
            depth=depth,
            crf=crf,
            border=border,
            foreground_scale=foreground_scale,
            depth_gamma=depth_gamma,
            depth_near=depth_near,
            depth_far=depth_far,
            edge_width=None if edge_width < 0 else edge_width,
            edge_dilation=edge_dilation,
            guided_upsampling=guided_upsampling,
            depth_stability=depth_stability,
            depth_kind=depth_kind,
            allow_incomplete=allow_incomplete,
        )
        config.check()
        filename_prefix = fill_in_dates(filename_prefix, datetime.now())
        check_prefix(filename_prefix)
        with _telling_of_memory():
            prepared = None
            if depth_video is None:
                prepared = prepare_model(depth, download=download, node_id=cls.hidden.unique_id)
        video_file, given_depth_file = _file_of(video), _file_of(depth_video)
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), *video.get_dimensions()
        )
        while os.path.lexists(path := os.path.join(folder, _file_name(name, counter, format))):
            counter += 1
        saved: list[Path] = []
        with video_file as source, given_depth_file as depth_file, _telling_of_memory():
            convert(
                source,
                path,
                replace(config, depth_file=depth_file),
                depth_model=None if prepared is None else prepared.model,
                on_progress=video_progress(),
                on_survey=survey_progress(cls.hidden.unique_id),
                metadata=cls._workflow(),
                on_saved=saved.append,
            )
        result = ui.SavedResult(saved[0].name, subfolder, io.FolderType.output)
        shown = ui.PreviewVideo([result]).as_dict()
        if prepared is not None:
            shown |= show_text(cls.hidden.unique_id, prepared.text)
        return io.NodeOutput(InputImpl.VideoFromFile(str(saved[0])), ui=shown)

    @classmethod
    def _workflow(cls) -> dict[str, str] | None:
        """Return the tags from which ComfyUI restores a workflow when the video is dropped onto it."""
        if args.disable_metadata:
            return None
        tags = dict(cls.hidden.extra_pnginfo or {})
        if cls.hidden.prompt is not None:
            tags["prompt"] = cls.hidden.prompt
        return {name: json.dumps(value) for name, value in tags.items()}


def _file_name(name: str, counter: int, format: str) -> str:
    """Name an output: ComfyUI counts by the number before an underscore, players want the suffix last."""
    return f"{name}_{counter:05}{FORMAT_SUFFIXES[format]}.mp4"


@contextmanager
def _telling_of_memory() -> Iterator[None]:
    """Tell in one sentence that memory did not suffice; a full GPU is ComfyUI's, which frees models then.

    Raises:
        InputError: If main memory did not suffice.
    """
    try:
        with telling_of_memory():
            yield
    except InputError as error:
        if isinstance(error.__cause__, torch.cuda.OutOfMemoryError):
            raise error.__cause__ from None
        raise


def _file_of(video: Input.Video | None) -> AbstractContextManager[str | None]:
    """Return a video's own file, or one that is written on entering; None if there is no video.

    Raises:
        InputError: If its own file is no video.
    """
    own_file = None if video is None else _own_file(video)
    return nullcontext(own_file) if video is None or own_file else _temporary_file(video)


@contextmanager
def _temporary_file(video: Input.Video) -> Iterator[str]:
    """Write a video that has no file of its own to ComfyUI's temporary folder; delete it when done."""
    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="spatialdreamer_", suffix=".mp4", dir=folder)
    os.close(handle)
    try:
        video.save_to(path)
        yield path
    finally:
        os.remove(path)


def _own_file(video: Input.Video) -> str | None:
    """Return the file behind a video, or None if it is in memory, or trimmed or cropped (newer ComfyUI).

    Raises:
        InputError: If the file is no video.
    """
    if type(video).get_stream_source is Input.Video.get_stream_source:
        return None  # the default encodes the whole video into memory
    source = video.get_stream_source()
    if not isinstance(source, str):
        return None
    probe(source)
    original = InputImpl.VideoFromFile(source)
    unedited = (
        video.get_dimensions() == original.get_dimensions()
        and video.get_duration() == original.get_duration()
    )
    return source if unedited else None
