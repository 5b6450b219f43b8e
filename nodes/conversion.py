"""The widgets that Video to Stereo 3D and Image to Stereo 3D share, beside those of `shaping`."""

from __future__ import annotations

from comfy_api.latest import io

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.depth import estimator_names
from ..spatialdreamer_core.flow import FLOW_METHODS
from ..spatialdreamer_core.pipeline import EYES, ConvertConfig
from ..spatialdreamer_core.stereo import FORMATS
from ..spatialdreamer_core.video import CODECS
from .dvg import convergence_input, divergence_input
from .presentation import ADVANCED
from .stereo import FORMAT_TOOLTIP

_DEFAULT = ConvertConfig()


def view_inputs() -> list[io.Combo.Input | io.Float.Input]:
    """Describe the widgets for the two views: how they are packed, and how they are made."""
    return [
        io.Combo.Input("format", options=list(FORMATS), default=_DEFAULT.format, tooltip=FORMAT_TOOLTIP),
        divergence_input(),
        convergence_input(),
        io.Combo.Input(
            "eye",
            options=list(EYES),
            default=_DEFAULT.eye,
            tooltip="Which view is synthesised; the other one is the original. both: each is rendered with "
            "half of the disparity.",
        ),
        io.Combo.Input(
            "depth",
            options=list(estimator_names()),
            default=_DEFAULT.depth,
            tooltip="Depth estimator, see the Depth Estimator node. auto: Depth Anything V2 Small if it is "
            "installed or `download` brings it, else builtin, which needs no weights and is preview grade.",
        ),
    ]


def flow_method_input() -> io.Combo.Input:
    """Describe the widget for the optical flow between neighbouring frames."""
    return io.Combo.Input(
        "flow",
        options=list(FLOW_METHODS),
        default=_DEFAULT.flow,
        optional=True,
        tooltip="Optical flow between neighbouring frames, along which depth and holes are steadied, from "
        "fastest to most accurate. dis_…: on the CPU, no weights. raft_…: a network, see the Optical Flow "
        "node; `download` gets its weights.",
        **ADVANCED,
    )


def encoding_inputs() -> tuple[io.Combo.Input, io.Int.Input]:
    """Describe the widgets for the encoder and its quality."""
    codec = io.Combo.Input(
        "codec",
        options=list(CODECS),
        default=_DEFAULT.codec,
        optional=True,
        tooltip="Encoder. libx264: H.264, which plays everywhere up to 4096 px. libx265: HEVC, smaller files "
        "and more pixels, but not every browser plays it. auto: libx264 for 8 bits up to 4096x2304, else "
        "libx265.",
        **ADVANCED,
    )
    crf = io.Int.Input(
        "crf",
        default=_DEFAULT.crf,
        min=0,
        max=51,
        tooltip="Quality of the encoded video as constant rate factor, 0 to 51: lower is better and larger. "
        "18 is visually lossless.",
    )
    return codec, crf


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
