"""The widgets for each scene's strength and place, and a clip's depth placed as they say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..spatialdreamer_core.depth import measure_statistics
from ..spatialdreamer_core.dvg import Placement, depth_to_disparity
from ..spatialdreamer_core.dvg.disparity import convergence_shift
from ..spatialdreamer_core.flow import find_cuts
from ..spatialdreamer_core.options import options_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.stereo import DeviceConfig, StrengthConfig, describe_placement, with_suggestions
from .widgets import Widget, make_settings, widget

_SHOWN = 8  # scenes of which the node says what they got


def device_input() -> Widget:
    """Describe the widget for the viewing device."""
    described = options_of(DeviceConfig)["device_profile"]
    return widget(described, help=f"{described.help} A widget that is not at its default counts as given.")


def strength_inputs() -> list[Widget]:
    """Describe the widgets for a scene's strength and place, and for the viewing device."""
    options = options_of(ConvertConfig)
    return [*(widget(options[name]) for name in options_of(StrengthConfig)), device_input()]


def suit_device(widgets: Mapping[str, Any]) -> dict[str, Any]:
    """Complete widgets' values by what suits the `device_profile` among them, if there is one.

    Raises:
        InputError: If it is unknown.
    """
    options = options_of(ConvertConfig)
    given = {
        name: value
        for name, value in widgets.items()
        if name not in options or value != options[name].default
    }
    return {**widgets, **with_suggestions(given)}


class PlacedClip(NamedTuple):
    """A clip's disparity, each scene by its own strength and place."""

    disparity: Tensor  # [F, 1, H, W] px
    shift: float | tuple[float, ...]  # px, what convergence has taken off: of all frames, or of each
    said: tuple[str, ...]  # what scenes got, if it was not what the widgets say


def place_clip(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    depth: Tensor,  # [F, 1, H, W] in [0, 1], as it is warped
    widgets: Mapping[str, Any],
) -> PlacedClip:
    """Turn a clip's depth into disparity as the widgets of `strength_inputs` say.

    Args:
        frames: The clip.
        depth: Its depth.
        widgets: Those, `divergence` and `convergence`; others are ignored.
    """
    suited = suit_device(widgets)
    config = make_settings(StrengthConfig, suited)
    config.check()
    wanted = Placement(suited["divergence"], suited["convergence"], 0.0)
    bounds, placements, said = [0, len(frames)], [wanted], []
    if config.needs_statistics:
        cuts = find_cuts(frames)
        bounds = [0, *cuts, len(frames)]
        scenes = measure_statistics(frames, depth, cuts=cuts)
        placements = [config.choose(scene, wanted) for scene in scenes]
        for start, scene, placement in zip(bounds, scenes, placements, strict=False):
            said.append(f"from frame {start}: {describe_placement(scene, wanted, placement)}")
    elif wanted[:2] != (widgets["divergence"], widgets["convergence"]):
        said = [f"divergence {wanted.divergence:g} %, convergence {wanted.convergence:g}"]
    disparity, shifts = [], []
    for (start, end), placement in zip(pairwise(bounds), placements, strict=True):
        values = {"divergence": placement.divergence, "convergence": placement.convergence}
        disparity.append(depth_to_disparity(depth[start:end], **values))
        shifts += [convergence_shift(frames.shape[-1], **values)] * (end - start)
    shift = shifts[0] if len({*shifts}) == 1 else tuple(shifts)
    more = [f"and {len(said) - _SHOWN} more scenes"] if len(said) > _SHOWN else []
    return PlacedClip(torch.cat(disparity), shift, (*said[:_SHOWN], *more))
