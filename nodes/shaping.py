"""The widgets for depth before the warp, shared by the nodes that warp."""

from __future__ import annotations

from comfy_api.latest import io

from ..spatialdreamer_core.depth import EDGE_WIDTH, MAX_EDGE_DILATION, MAX_EDGE_WIDTH
from ..spatialdreamer_core.video import ConvertConfig
from .presentation import ADVANCED


def check_values(**values: float | None) -> None:
    """Check widgets by the rules of `ConvertConfig`, as `validate_inputs` does before anything runs.

    Args:
        values: The widgets' values; None for one that is linked, whose value is not known yet.

    Raises:
        InputError: For the first value that is out of range, NaN, or at odds with another one.
    """
    ConvertConfig(**{name: value for name, value in values.items() if value is not None}).check()


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
