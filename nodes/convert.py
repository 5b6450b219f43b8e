"""Video to Stereo 3D: a whole video file to a stereo one, streamed, so memory does not bound its length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy.model_management import get_torch_device
from comfy_api.latest import Input, io

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.fill import Filler
from ..spatialdreamer_core.memory import telling_of_memory
from ..spatialdreamer_core.options import options_of
from ..spatialdreamer_core.pipeline import ConvertConfig, FillerConfig, convert
from ..spatialdreamer_core.video import check_one_view, probe
from .conversion import (
    check_is_linked,
    encoding_inputs,
    filler_input,
    flow_method_input,
    prefix_input,
    view_inputs,
)
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .film import FilmSettings, film_input, graph_digest
from .flow_models import flow_fingerprint, prepare_flow_model
from .output_name import check_prefix
from .parallax import ParallaxPreview, asked_frame, film_title, preview_film
from .presentation import found_by, show_text
from .progress import FilmProgress, first_pass_progress
from .saved_video import GRAPH, name_file, saved_output, saved_outputs, workflow_tags
from .shaping import check_values, settings_of, shaping_inputs
from .strength import device_input
from .video_file import open_video_file
from .viewer import Packing
from .widgets import widget

_NOT_OFFERED = ("audio", "black_bars", "deinterlace", "depth_file", "device", "preset", "resume", "sidecar")
"""Settings without a widget."""


class SpatialDreamerConvertVideo(io.ComfyNode):
    """Node around `spatialdreamer_core.pipeline.convert`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerConvertVideo",
            display_name="Video to Stereo 3D (SBS, VR)",
            category="SpatialDreamer",
            **found_by("convert video", "2d to 3d video", "half sbs", "vr180", "movie", "red cyan"),
            description="Converts a whole video to stereo 3D: depth, warp, hole filling, packing. Streams "
            "frame by frame, keeps the sound, saves to the output folder under a name that 3D players "
            "recognise.",
            inputs=film_inputs(),
            outputs=saved_outputs(),
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        video: Any = None,
        depth_video: Any = None,
        filename_prefix: str | None = None,
        film: Any = None,
        **widgets: Any,
    ) -> bool:
        """Refuse when it is queued what cannot run: a value or a prefix, see `check_values`."""
        check_is_linked("video", video, "Load Video")
        check_is_linked("depth_video", depth_video, "Load Video")
        check_is_linked("film", film, "Film Settings")
        check_values(**widgets)
        if widgets.get("format") == "wiggle":
            raise InputError(
                "format must be one for videos, got wiggle, which shows the views of a photo in turn; take "
                "Image to Stereo 3D, or choose frame_sequential"
            )
        if filename_prefix is not None:
            check_prefix(filename_prefix)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, depth: str | None = None, flow: str | None = None, download: bool = False, **_: object
    ) -> str:
        """Tell when another depth model is meant than before, or a model's files were replaced."""
        return f"{depth_fingerprint(depth, download)} {flow_fingerprint(flow)}"

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        filename_prefix: str,
        download: bool = False,
        depth_video: Input.Video | None = None,
        filler: Filler | None = None,
        film: FilmSettings | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Convert the video and save it."""
        config = settings_of(**widgets)
        config.check()
        saved: list[Path] = []
        digest: str | None = graph_digest(cls.hidden.prompt, cls.hidden.unique_id)
        with ExitStack() as files, telling_of_full_memory():
            config = files.enter_context((film or FilmSettings()).applied_to(config))
            source = files.enter_context(open_video_file(video, whole=depth_video is not None))
            is_temporary = source.is_temporary
            if depth_video is not None:
                depth = files.enter_context(open_video_file(depth_video, whole=True))
                config = replace(config, depth_file=depth.path)
                is_temporary |= depth.is_temporary
            if is_temporary or config.resume == "off":  # no later run could go on with it
                digest = None
                config = config if config.sidecar else replace(config, resume="off")
            asked = asked_frame(cls)
            if asked is not None:
                return preview_film(asked, source, config, widgets, download=download)
            info = source.info or probe(source.path)
            warning = check_one_view(source.path, stated=info.stereo)
            if warning is not None:
                show_text(cls.hidden.unique_id, warning)
            width, height = video.get_dimensions()
            path, subfolder = name_file(
                filename_prefix,
                format=config.format,
                width=width,
                height=height,
                aspect=float(config.layout().view_shape(height, width, aspect=info.sample_aspect_ratio)),
                suffix=config.suffix,
                digest=digest,
            )
            prepared = None
            if depth_video is None:
                prepared = prepare_model(config.depth, download=download, node_id=cls.hidden.unique_id)
            flow = prepare_flow_model(config.flow, download=download)
            progress = FilmProgress(cls.hidden.unique_id)
            preview = ParallaxPreview(cls.hidden.unique_id, widgets)
            convert(
                source.path,
                path,
                source.apply_to(config),
                info=info,
                filler=filler,
                depth_model=None if prepared is None else prepared.model,
                flow_model=None if flow is None else flow.model,
                on_progress=progress.on_progress,
                on_scene=progress.on_scene,
                on_first_pass=first_pass_progress(cls.hidden.unique_id),
                metadata=workflow_tags(cls),
                on_saved=saved.append,
                identity={GRAPH: digest},
                load_filler=load_named_filler,
                on_depth=lambda sample: preview.offer(sample, title=film_title(sample)),
            )
        advice = None if prepared is None else prepared.text
        packing = Packing(config.format, config.swap_eyes)
        output = saved_output(cls, saved[0], subfolder, packing, warning=warning, advice=advice)
        return preview.add_to(output)


def load_named_filler(name: str) -> Filler:
    """Load the filler that a sidecar names for a scene.

    Raises:
        InputError: If it needs a model, which only a socket can bring.
    """
    if name != FillerConfig().filler:
        raise InputError(
            f"the sidecar's filler must be {FillerConfig().filler} or empty, which is the connected one, got "
            f"{name!r}; connect another filler"
        )
    return FillerConfig(name).load(device=get_torch_device())


def film_inputs() -> list[io.Input]:
    """Describe the inputs: the sockets, and the settings of a conversion as widgets."""
    options = options_of(ConvertConfig)
    codec, crf = encoding_inputs()
    inputs: list[io.Input] = [
        io.Video.Input("video", tooltip="The mono video, of any length."),
        *view_inputs(),
        crf,
        prefix_input(),
        depth_download_input(),
        widget(options["border"]),
        *shaping_inputs(automatic_edges=True),
        depth_stability_input(),
        io.Video.Input(
            "depth_video",
            optional=True,
            tooltip="Depth of the same frames as a video, used instead of the estimator: any size of the "
            "same shape, as many frames. 10 bits and more keep their precision.",
        ),
        widget(options["depth_kind"]),
        widget(options["allow_incomplete"]),
        codec,
        widget(options["start"]),
        widget(options["end"]),
        flow_method_input(),
        widget(options["border_width"]),
        filler_input(),
        device_input(),
        film_input(),
    ]
    placed = {entry.id for entry in inputs}.union(_NOT_OFFERED)
    # Saved workflows hold values by position: what is new comes last.
    return inputs + [widget(option) for name, option in options.items() if name not in placed]


@contextmanager
def telling_of_full_memory() -> Iterator[None]:
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
