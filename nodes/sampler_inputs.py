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
