"""The state of a clip that is converted part by part, as it goes from node to node."""

from __future__ import annotations

from dataclasses import dataclass, fields

from comfy_api.latest import io

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.pipeline import ClipConversion, ConvertConfig
from .presentation import ADVANCED
from .sockets import ClipStateType


@dataclass(frozen=True)
class ClipState:
    """A clip's conversion after one of its parts. It goes on once: then it is another state.

    Attributes:
        conversion: The conversion; None where no part follows.
        parts: How many parts it had taken.
    """

    conversion: ClipConversion | None = None
    parts: int = 0

    def go_on(self, config: ConvertConfig) -> ClipConversion:
        """Return the conversion for the next part.

        Raises:
            InputError: If it is a clip's end or has gone on already, or the settings differ from those of the
                part before.
        """
        if self.conversion is None:
            raise InputError(
                "state must come from a part that another one follows, got a clip's end; turn more_follows "
                "on there"
            )
        before = self.conversion.config
        changed = [
            f"{entry.name} {getattr(config, entry.name)} instead of {getattr(before, entry.name)}"
            for entry in fields(config)
            if getattr(config, entry.name) != getattr(before, entry.name)
        ]
        if changed:
            raise InputError(
                f"all parts of a clip must have the same settings, got {', '.join(changed)}; set them as in "
                "the first part"
            )
        if self.conversion.parts != self.parts:
            raise InputError(
                "state must go to one node, the next part's, got one that has gone on already; connect the "
                "state of the part right before, and turn more_follows on there"
            )
        return self.conversion


def state_input() -> io.Input:
    """Describe the socket for the state of the part before."""
    return ClipStateType.Input(
        "state",
        optional=True,
        tooltip="For a clip in parts, as loops give it: `state` of this node for the part before. The "
        "result is that of the whole clip; only a depth model takes each scene's range from its first 8 "
        "frames.",
    )


def more_follows_input() -> io.Input:
    """Describe the widget that tells whether another part follows."""
    return io.Boolean.Input(
        "more_follows",
        default=False,
        optional=True,
        tooltip="Turn on for all parts of a clip but the last one. Frames that wait for later ones come with "
        "the next part, whose node `state` goes to.",
        **ADVANCED,
    )


def state_output() -> io.Output:
    """Describe the socket that gives the state."""
    return ClipStateType.Output(
        "next_state",
        display_name="state",
        tooltip="For the same node with the next part; needs more_follows.",
    )
