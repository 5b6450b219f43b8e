"""The widgets of video diffusion, which are the library's `SamplerConfig` and `FilmSamplerConfig`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from comfy_api.latest import io

from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.options import option_of, options_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.spatialdreamer.sampler_config import FilmSamplerConfig, SamplerConfig
from .widgets import Widget, widget

EYE = replace(
    option_of(ConvertConfig, "eye"),
    choices=get_args(Eye),
    advanced=True,
    help="Which eye's view was rendered, where `disparity` is not connected, which tells it.",
)
_LATER = ("passes", "known_latents")  # than the nodes: last, as saved workflows know widgets by their place
_REQUIRED = ("deviation", "steps", "seed", "max_side")
_LOOKS: dict[str, dict[str, Any]] = {
    "deviation": {"display_mode": io.NumberDisplay.slider},
    "seed": {"control_after_generate": True},
}


def view_inputs() -> list[io.Input]:
    """Describe the sockets for what a filler that takes whole clips is given."""
    return [
        io.Image.Input("left", tooltip="The source view from which the warp was made, all frames."),
        io.Image.Input("warped", tooltip="The warped view of DVG Forward Warp, not filled before."),
        hole_input(),
    ]


def hole_input() -> io.Input:
    """Describe the socket for the hole mask."""
    return io.Mask.Input("hole", tooltip="Hole mask: 1 = to be filled. Refined or not.")


def sampler_inputs(settings: type[SamplerConfig] = SamplerConfig) -> list[Widget]:
    """Describe the widgets but for the last ones; those that most users leave alone are optional."""
    return [
        widget(option, optional=name not in _REQUIRED, look=_LOOKS.get(name))
        for name, option in options_of(settings).items()
        if name not in _LATER
    ]


def last_sampler_inputs() -> list[Widget]:
    """Describe the widgets that come after all others of a node."""
    return [widget(option_of(SamplerConfig, name), optional=True) for name in _LATER]


def max_side_input() -> Widget:
    """Describe the widget for the size at which frames are diffused."""
    return widget(option_of(FilmSamplerConfig, "max_side"), optional=False)
