"""Build DVG Clip: a training pair of a clip, as `spatialdreamer dataset build` makes them by the thousand."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.depth import DepthShaping
from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.fill import FastFill, PairConfig, render_pair
from ..spatialdreamer_core.options import options_of
from .conversion import check_is_linked
from .layout import frames_to_image, frames_to_mask, image_to_depth, image_to_frames
from .presentation import found_by, show_text
from .progress import frame_progress
from .shaping import check_values, shape_given_depth, shaping_inputs
from .widgets import check_settings, widget


class SpatialDreamerBuildDVGClip(io.ComfyNode):
    """Node around `spatialdreamer_core.fill.render_pair`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerBuildDVGClip",
            display_name="Stereo 3D: Build DVG Clip",
            category="SpatialDreamer",
            **found_by("training", "dataset", "training pair", "forward-backward rendering"),
            description="Renders a clip to the other eye and back: what SpatialDreamer is trained on. The "
            "clip itself is the truth for the holes of the view that came back.",
            inputs=[
                io.Image.Input(
                    "image", tooltip="x1, the truth: frames of one scene, in order, or one photo."
                ),
                io.Image.Input(
                    "depth",
                    tooltip="Depth map of any depth node, 0 to 1, white = near; one for each frame or one "
                    "for all. Another size of the same aspect ratio is resized.",
                ),
                io.Boolean.Input(
                    "invert_depth",
                    default=False,
                    tooltip="Turn on if the depth map is dark where the scene is near (metric depth).",
                ),
                *(widget(option, optional=option.advanced) for option in options_of(PairConfig).values()),
                *shaping_inputs(),
            ],
            outputs=[
                io.Image.Output("target", display_name="target", tooltip="x1: the clip itself, the truth."),
                io.Image.Output(
                    "reference",
                    display_name="reference",
                    tooltip="x2: the other eye's view, holes filled.",
                ),
                io.Image.Output(
                    "warped", display_name="warped", tooltip="x2 rendered back to x1, black in the holes."
                ),
                io.Mask.Output(
                    "hole", display_name="hole", tooltip="1 = hole of `warped`, refined over time (Eq. 2)."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, depth: Any = None, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_is_linked("depth", depth, "a depth map")
        check_settings(PairConfig, widgets)
        check_settings(DepthShaping, widgets)
        check_values(**widgets)
        return True

    @classmethod
    def execute(
        cls,
        image: Tensor,
        depth: Tensor,
        invert_depth: bool,
        divergence: float,
        convergence: float,
        side: Eye,
        texture: float = PairConfig.texture,
        **shaping: Any,
    ) -> io.NodeOutput:
        """Render the pair."""
        frames = image_to_frames("image", image)
        inverse_depth = image_to_depth(depth, like=frames, invert=invert_depth)
        pair = render_pair(
            frames,
            shape_given_depth(inverse_depth, frames, shaping),
            side=side,
            filler=FastFill(texture=texture),
            divergence=divergence,
            convergence=convergence,
            on_frame=frame_progress(len(frames)),
        )
        holes = 100 * float(pair.hole.mean())
        show_text(cls.hidden.unique_id, f"holes: {holes:.1f} % of the pixels")
        views = (frames, pair.reference, pair.warped)
        return io.NodeOutput(*map(frames_to_image, views), frames_to_mask(pair.hole))
