"""Image to Stereo 3D: photos, or the frames of a clip, to stereo pictures in one node."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.depth import BUILTIN
from ..spatialdreamer_core.fill import Filler
from ..spatialdreamer_core.pipeline import convert_frames
from .conversion import check_is_linked, filler_input, flow_method_input, layout_inputs, view_inputs
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .flow_models import flow_fingerprint, prepare_flow_model
from .layout import frames_to_image, image_to_depth, image_to_frames
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
            ],
            outputs=[
                io.Image.Output("stereo", display_name="stereo", tooltip="The stereo pictures."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, image: Any = None, depth_map: Any = None, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_is_linked("image", image, "Load Image")
        check_is_linked("depth_map", depth_map, "a depth map")
        check_values(**widgets)
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
        image: Tensor,
        download: bool = False,
        depth_map: Tensor | None = None,
        filler: Filler | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Make stereo pictures."""
        config = settings_of(**widgets)
        config.check()
        frames = image_to_frames("image", image)
        depth = None if depth_map is None else image_to_depth(depth_map, like=frames, name="depth_map")
        depth_model = flow_model = None
        if len(frames) > 1 and (kept := prepare_flow_model(config.flow, download=download)) is not None:
            flow_model = kept.model
        if depth is None:
            depth_model = prepare_model(config.depth, download=download, node_id=cls.hidden.unique_id).model
            if depth_model is None:
                config = replace(config, depth=BUILTIN)
        measured, converted = frame_progress(len(frames)), frame_progress(len(frames))
        pairs = convert_frames(
            frames,
            config,
            filler=filler,
            depth=depth,
            depth_model=depth_model,
            flow_model=flow_model,
            on_first_pass=lambda done, total: measured(done),
        )
        layout = config.layout()
        count = layout.pictures_a_pair
        stereo = frames.new_empty(count * len(frames), 3, *layout.size(*frames.shape[-2:]))
        with closing(pairs):
            for index, pair in enumerate(pairs):
                views = (frames[index], pair.depth.expand(3, -1, -1)) if layout.format == "rgbd" else pair[:2]
                stereo[count * index : count * (index + 1)] = layout.pack(*(view[None] for view in views))
                converted(index + 1)
        shown = shown_frames(stereo, Packing(layout.format, layout.swap_eyes))
        return io.NodeOutput(frames_to_image(stereo), ui=stereo_output(shown))
