"""Quilt Packer: many views in one picture, as Looking Glass displays take it."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.options import options_of
from ..spatialdreamer_core.stereo import QuiltGrid, pack_quilt
from .layout import frames_to_image, image_to_frames
from .presentation import found_by, show_text
from .sockets import QuiltType
from .widgets import check_settings, make_settings, widget


def grid_input() -> io.Input:
    """Describe the socket for how the views of quilts lie, of the nodes that save them."""
    return QuiltType.Input(
        "grid",
        optional=True,
        tooltip="With the format quilt: the grid from Quilt Packer, so that the file's name tells how the "
        "views lie. Without it, two beside each other.",
    )


def check_grid(grid: QuiltGrid | None, format: str) -> None:
    """Check that a grid comes with quilts alone.

    Raises:
        InputError: If it comes with another format.
    """
    if grid is not None and format != "quilt":
        raise InputError(f"`format` must be quilt where `grid` is connected, got {format}; choose quilt")


class SpatialDreamerQuiltPacker(io.ComfyNode):
    """Node around `spatialdreamer_core.stereo.pack_quilt`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerQuiltPacker",
            display_name="Stereo 3D: Quilt Packer",
            category="SpatialDreamer",
            **found_by("looking glass", "light field", "lenticular", "multiview", "grid"),
            description="Lays many views out in a grid, a quilt, as Looking Glass displays take it: the "
            "leftmost view at the bottom left.",
            inputs=[
                io.Image.Input(
                    "views",
                    tooltip="All views, one after the other from the left eye to the right one, as Frame "
                    "Matrix Sampler gives them with `all_views`.",
                ),
                *(widget(option, optional=False) for option in options_of(QuiltGrid).values()),
            ],
            outputs=[
                io.Image.Output("quilt", display_name="quilt", tooltip="The quilts, one a frame."),
                QuiltType.Output(
                    "grid",
                    display_name="grid",
                    tooltip="For Save Stereo 3D Video and Save Stereo 3D Photo, which put it into the file's "
                    "name.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_settings`."""
        check_settings(QuiltGrid, widgets)
        return True

    @classmethod
    def execute(cls, views: Tensor, **widgets: Any) -> io.NodeOutput:
        """Lay the views out."""
        frames = image_to_frames("views", views)
        grid = make_settings(QuiltGrid, widgets)
        if len(frames) % grid.views:
            raise InputError(
                f"`views` must have as many frames of each of columns x rows ({grid.views}) views, got "
                f"{len(frames)} in all; choose a grid that the views fill"
            )
        quilt = pack_quilt(frames.unflatten(0, (grid.views, -1)), columns=grid.columns, rows=grid.rows)
        height, width = quilt.shape[-2:]
        show_text(
            cls.hidden.unique_id, f"{width}x{height}; the file's name ends in {grid.suffix(height, width)}"
        )
        return io.NodeOutput(frames_to_image(quilt), grid)
