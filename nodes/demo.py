"""Load Demo Clip: the clip that comes with the pack, so that a workflow runs before a video is chosen."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import InputImpl, io

from ..spatialdreamer_core.checks import InputError
from .presentation import found_by

_CLIP = Path(__file__).parents[1] / "assets" / "bigbuckbunny.mp4"


class SpatialDreamerLoadDemoClip(io.ComfyNode):
    """Node around the pack's own clip; nothing is copied into the user's folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerLoadDemoClip",
            display_name="Stereo 3D: Load Demo Clip",
            category="SpatialDreamer",
            **found_by("example video", "sample", "test video", "load video"),
            description="Gives the 5 second clip that comes with the pack, for a first try. For a video of "
            "your own, put Load Video in its place.",
            outputs=[
                io.Video.Output(
                    "video",
                    display_name="video",
                    tooltip="1280x720, 25 frames per second, with sound: from Big Buck Bunny, (c) Blender "
                    "Foundation, CC BY 3.0.",
                )
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Hand on the clip."""
        if not _CLIP.is_file():
            raise InputError(
                f"the pack must hold its demo clip, got none at {_CLIP}; install the pack anew, or take Load "
                "Video with a video of your own"
            )
        return io.NodeOutput(InputImpl.VideoFromFile(str(_CLIP)))
