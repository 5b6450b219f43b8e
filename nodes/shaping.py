"""The widgets for depth before the warp, shared by the nodes that warp, and the settings made of widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

from ..spatialdreamer_core.checks import check_choice
from ..spatialdreamer_core.depth import EDGE_WIDTH, MAX_EDGE_DILATION, MAX_EDGE_WIDTH
from ..spatialdreamer_core.pipeline import ConvertConfig
from .presentation import ADVANCED

_FOR_NONE = {"edge_width": -1, "start": 0.0, "end": 0.0}  # what a widget, which is never empty, has for None
_SETTINGS = {field.name for field in fields(ConvertConfig)}


def settings_of(**widgets: Any) -> ConvertConfig:
    """Make a conversion's settings of widgets' values; those that are no setting are left alone."""
    settings: dict[str, Any] = {
        name: None if name in _FOR_NONE and value == _FOR_NONE[name] else value
        for name, value in widgets.items()
        if name in _SETTINGS
    }
    return ConvertConfig(**settings)


def check_values(**widgets: Any) -> None:
    """Check widgets by the rules of `ConvertConfig`, as `validate_inputs` does before anything runs.

    Args:
        widgets: Their values; None for one that is linked, whose value is not known yet.

    Raises:
        InputError: For the first value that is out of range, NaN, unknown, or at odds with another one.
    """
    settings_of(**{name: value for name, value in widgets.items() if value is not None}).check()


def check_option(name: str, value: str | None, options: Sequence[str]) -> None:
    """Check when a prompt is queued that a widget has one of its options: 0.3.75 leaves that to the node.

    Args:
        name: The widget.
        value: Its value; None for one that is linked.
        options: What it may be.

    Raises:
        InputError: If it is something else.
    """
    if value is not None:
        check_choice(name, value, tuple(options))


def shaping_inputs(
    *, automatic_edges: bool = False
) -> list[io.Float.Input | io.Int.Input | io.Boolean.Input]:
    """Describe the widgets for depth before the warp.

    Args:
        automatic_edges: Whether an `edge_width` of -1 leaves the choice to the node.
    """
    automatic = (
        f" -1: {EDGE_WIDTH} for depth models, 0 for builtin, whose edges are done." if automatic_edges else ""
    )
    return [
        io.Float.Input(
            "foreground_scale",
            default=0.0,
            min=-3.0,
            max=3.0,
            step=0.1,
            tooltip="As in iw3, -3 to 3: above 0 the foreground gets more of the disparity range and the "
            "background less, for people who look flat outdoors; below 0 the other way round. 0: as it is.",
            optional=True,
            **ADVANCED,
        ),
        io.Float.Input(
            "depth_gamma",
            default=1.0,
            min=0.1,
            max=10.0,
            step=0.05,
            tooltip="Exponent of the depth, 0.1 to 10: above 1 pushes the middle back, below 1 brings it "
            "forward. 1: as it is.",
            optional=True,
            **ADVANCED,
        ),
        io.Float.Input(
            "depth_near",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Near clipping: the depth, 0 to 1, from which on everything is nearest. What lies "
            "between depth_far and depth_near gets the whole disparity range.",
            optional=True,
            **ADVANCED,
        ),
        io.Float.Input(
            "depth_far",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Far clipping: the depth, 0 to 1, up to which everything is farthest.",
            optional=True,
            **ADVANCED,
        ),
        io.Int.Input(
            "edge_width",
            default=-1 if automatic_edges else EDGE_WIDTH,
            min=-1 if automatic_edges else 0,
            max=MAX_EDGE_WIDTH,
            tooltip="Pixels beside an edge of depth within which a ramp becomes a step, 0 to 20, so placed "
            "that objects keep their soft outline. Ramps, as depth models leave them, tear outlines. "
            "0: as they are." + (automatic if automatic_edges else ""),
            optional=True,
            **ADVANCED,
        ),
        io.Int.Input(
            "edge_dilation",
            default=0,
            min=0,
            max=MAX_EDGE_DILATION,
            tooltip="Pixels by which foregrounds grow, 0 to 10: for outlines softer than the depth's edges, "
            "of which a rim stays behind on the background.",
            optional=True,
            **ADVANCED,
        ),
        io.Boolean.Input(
            "guided_upsampling",
            default=False,
            tooltip="Moves depth's edges to the edges of the picture's colours: for depth coarser than the "
            "picture. Not for builtin depth, whose outlines it tears.",
            optional=True,
            **ADVANCED,
        ),
    ]
