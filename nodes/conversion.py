"""The widgets that Video to Stereo 3D and Image to Stereo 3D share, beside those of `shaping`."""

from __future__ import annotations

from comfy_api.latest import io

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.options import options_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.stereo import StereoLayout
from .sockets import FillerType
from .widgets import Widget, widget


def view_inputs() -> list[Widget]:
    """Describe the widgets for the two views: how they are packed, and how they are made."""
    options = options_of(ConvertConfig)
    names = ("format", "divergence", "convergence", "eye", "depth")
    return [widget(options[name], optional=False) for name in names]


def layout_inputs() -> list[Widget]:
    """Describe the widgets for how the views are packed, but for the format; new ones come last."""
    options = options_of(StereoLayout)
    return [widget(option) for name, option in options.items() if name != "format"]


def flow_method_input() -> Widget:
    """Describe the widget for the optical flow between neighbouring frames."""
    return widget(options_of(ConvertConfig)["flow"])


def filler_input() -> io.Input:
    """Describe the socket for what fills the holes."""
    return FillerType.Input(
        "filler",
        optional=True,
        tooltip="What fills the holes: M2SVid Filler, Frame Matrix Filler or SpatialDreamer Filler. "
        "Without it Fast Fill does, which needs no model.",
    )


def encoding_inputs() -> tuple[Widget, Widget]:
    """Describe the widgets for the encoder and its quality."""
    options = options_of(ConvertConfig)
    return widget(options["codec"]), widget(options["crf"], optional=False)


def prefix_input() -> io.String.Input:
    """Describe the widget for the saved file's name."""
    return io.String.Input(
        "filename_prefix",
        default="SpatialDreamer/stereo",
        tooltip="Subfolder and start of the file name in the output folder. %date:yyyy-MM-dd% and %Node "
        "name.widget% are replaced. A number and the suffix by which players recognise the stereo format "
        "are added.",
    )


def check_is_linked(name: str, value: object, source: str) -> None:
    """Check when a prompt is queued that what comes from another node is no value of the prompt itself.

    Args:
        name: The socket.
        value: What `validate_inputs` gets: None for a link.
        source: What to connect, for the message.

    Raises:
        InputError: If it is one.
    """
    if value is not None:
        raise InputError(f"{name} must come from another node, got {value!r:.80}; connect {source}")
