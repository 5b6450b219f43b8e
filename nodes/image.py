"""Image to Stereo 3D: photos, or the frames of a clip, to stereo pictures in one node."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.depth import BUILTIN
from ..spatialdreamer_core.fill import Filler
from ..spatialdreamer_core.pipeline import ClipConversion, StereoPair, convert_frames
from ..spatialdreamer_core.stereo import StereoLayout
from .clip_state import ClipState, more_follows_input, state_input, state_output
from .conversion import check_is_linked, filler_input, flow_method_input, layout_inputs, view_inputs
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .flow_models import flow_fingerprint, prepare_flow_model
from .layout import frames_to_image, image_to_depth, image_to_frames
from .parallax import ParallaxPreview, asked_frame, batch_title, preview_picture
from .presentation import found_by
from .progress import frame_progress
from .shaping import check_values, settings_of, shaping_inputs
from .strength import strength_inputs
from .viewer import Packing, shown_frames, stereo_output


class SpatialDreamerImageToStereo(io.ComfyNode):
    """Node around `spatialdreamer_core.pipeline.convert_frames` and `StereoLayout.pack`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerImageToStereo",
            display_name="Image to Stereo 3D (SBS, VR)",
            category="SpatialDreamer",
            **found_by("2d to 3d image", "photo", "half sbs", "stereogram", "red cyan", "depth"),
            description="Converts a photo, or the frames of a clip, to stereo 3D: depth, warp, hole filling, "
            "packing. For whole videos take Video to Stereo 3D, which keeps the sound and streams.",
            inputs=[
                io.Image.Input("image", tooltip="One photo, or a clip's frames in order."),
                *view_inputs(),
                depth_download_input(),
                io.Image.Input(
                    "depth_map",
                    optional=True,
                    tooltip="Depth map of any depth node, 0 to 1, white = near, used instead of the "
                    "estimator; one for each frame or one for all.",
                ),
                *shaping_inputs(automatic_edges=True),
                depth_stability_input(),
                flow_method_input(),
                filler_input(),
                *layout_inputs(),
                *strength_inputs(),
                state_input(),
                more_follows_input(),
            ],
            outputs=[
                io.Image.Output("stereo", display_name="stereo", tooltip="The stereo pictures."),
                state_output(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, image: Any = None, depth_map: Any = None, state: Any = None, **widgets: Any
    ) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_is_linked("state", state, "Image to Stereo 3D")
        check_is_linked("image", image, "Load Image")
        check_is_linked("depth_map", depth_map, "a depth map")
        check_values(**widgets)
        return True

    @classmethod
    def fingerprint_inputs(
        cls,
        depth: str | None = None,
        flow: str | None = None,
        download: bool = False,
        more_follows: bool = False,
        **_: object,
    ) -> str | float:
        """Tell when another depth model is meant than before, or a model's files were replaced.

        A part that others follow is always converted anew: its state has gone on.
        """
        if more_follows:
            return float("nan")
        return f"{depth_fingerprint(depth, download)} {flow_fingerprint(flow)}"

    @classmethod
    def execute(
        cls,
        image: Tensor,
        download: bool = False,
        depth_map: Tensor | None = None,
        filler: Filler | None = None,
        state: ClipState | None = None,
        more_follows: bool = False,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Make stereo pictures."""
        config = settings_of(**widgets)
        config.check()
        if config.format == "rgbd":  # which shows the source and its depth
            config = replace(config, eye="right")
        frames = image_to_frames("image", image)
        depth = None if depth_map is None else image_to_depth(depth_map, like=frames, name="depth_map")
        asked = asked_frame(cls)
        if asked is not None:
            return preview_picture(asked, frames, config, widgets, depth=depth, download=download)
        depth_model = flow_model = None
        is_part = more_follows or state is not None
        if is_part or len(frames) > 1:
            kept = prepare_flow_model(config.flow, download=download)
            flow_model = None if kept is None else kept.model
        if depth is None:
            depth_model = prepare_model(config.depth, download=download, node_id=cls.hidden.unique_id).model
            if depth_model is None:
                config = replace(config, depth=BUILTIN)
        preview = ParallaxPreview(cls.hidden.unique_id, widgets)
        layout = config.layout()
        if not is_part:
            measured = frame_progress(len(frames))
            pairs = convert_frames(
                frames,
                config,
                filler=filler,
                depth=depth,
                depth_model=depth_model,
                flow_model=flow_model,
                on_first_pass=lambda done, total: measured(done),
                on_depth=lambda sample: preview.offer(
                    sample, title=batch_title(int(sample.time), len(frames))
                ),
            )
            count = layout.pictures_a_pair
            stereo = frames.new_empty(count * len(frames), 3, *layout.size(*frames.shape[-2:]))
            for index, pictures in enumerate(_packed(pairs, layout, len(frames))):
                stereo[count * index : count * (index + 1)] = pictures
            following = ClipState()
        else:
            if state is None:
                clip = ClipConversion(config, filler=filler, depth_model=depth_model, flow_model=flow_model)
            else:
                clip = state.go_on(config)
            stereo = _convert_part(clip, frames, depth, more_follows=more_follows)
            following = ClipState(clip, clip.parts) if more_follows else ClipState()
        shown = shown_frames(stereo, Packing(layout.format, layout.swap_eyes))
        output = io.NodeOutput(frames_to_image(stereo), following, ui=stereo_output(shown))
        return preview.add_to(output)


def _packed(pairs: Generator[StereoPair, None, None], layout: StereoLayout, frames: int) -> Iterator[Tensor]:
    """Pack pairs as they come, of about as many frames; the progress bar follows."""
    converted = frame_progress(frames)
    with closing(pairs):
        for index, pair in enumerate(pairs, start=1):
            views = (pair.left, pair.depth.expand(3, -1, -1)) if layout.format == "rgbd" else pair[:2]
            yield layout.pack(*(view[None] for view in views))
            converted(min(index, frames))


def _convert_part(
    clip: ClipConversion, frames: Tensor, depth: Tensor | None, *, more_follows: bool
) -> Tensor:
    """Convert a part of a clip, whose frames may come in part with the next one.

    Raises:
        InputError: If all of them do.
    """
    try:
        pairs = clip.take(frames, depth=depth, more_follows=more_follows)
        packed = list(_packed(pairs, clip.config.layout(), len(frames)))
    except BaseException:
        clip.close()
        raise
    if not packed:
        raise InputError(
            f"image must have more frames where more_follows is on, got {len(frames)}, all of which wait for "
            "later ones; give longer parts"
        )
    return torch.cat(packed)
