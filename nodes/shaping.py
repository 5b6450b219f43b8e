"""The widgets that are settings of a conversion, and those for depth before the warp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..spatialdreamer_core.depth import EDGE_WIDTH, DepthShaping, guide_depth, shape_depth
from ..spatialdreamer_core.options import options_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.stereo import DeviceConfig
from .strength import suit_device
from .widgets import Widget, check_settings, make_settings, widget


def settings_of(**widgets: Any) -> ConvertConfig:
    """Make a conversion's settings from widgets' values; widgets that are not settings are ignored.

    Those left at their defaults give way to what suits the `device_profile`.
    """
    return make_settings(ConvertConfig, suit_device(widgets))


def check_values(**widgets: Any) -> None:
    """Check widgets by the rules of `ConvertConfig`, see `check_settings`.

    Raises:
        InputError: For the first value that breaks one.
    """
    check_settings(DeviceConfig, widgets)
    check_settings(ConvertConfig, widgets)


def shaping_inputs(*, automatic_edges: bool = False) -> list[Widget]:
    """Describe the widgets for depth before the warp.

    Args:
        automatic_edges: Whether an `edge_width` of -1 leaves the choice to the node.
    """
    options, of_depth = options_of(ConvertConfig), options_of(DepthShaping)
    names = [option.name for option in of_depth.values()]
    changes = {} if automatic_edges else {"edge_width": widget(of_depth["edge_width"], default=EDGE_WIDTH)}
    return [
        *(changes.get(name) or widget(options[name]) for name in names),
        widget(options["guided_upsampling"]),
    ]


def shape_given_depth(
    depth: Tensor,  # [F, 1, H, W] in [0, 1], 1 = near
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    widgets: Mapping[str, Any],
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Make depth ready for the warp as the widgets of `shaping_inputs` say; other widgets are ignored."""
    if widgets.get("guided_upsampling", ConvertConfig.guided_upsampling):
        depth = guide_depth(depth, frames)
    return shape_depth(depth, make_settings(DepthShaping, {"edge_width": EDGE_WIDTH, **widgets}))
