"""Which of an EXR file's channels are the depth, by their names.

A name is a layer, a point and a component, as in ViewLayer.Depth.Z; the layer may be absent. Programs have
their own names for depth, and many write Z also for the third component of a normal or a position. So the
first rule that some channel obeys decides:

1. Z without a layer, or depth by its full name: depth, depth.Z, ViewLayer.Depth.V, disparity.R
2. a name with the word in it: VRayZDepth, Denoising Depth.Z
3. Z in another layer
4. Y or V, the luminance and the single value
5. R, G and B, which are equal in a grey picture

Where several obey it, they must hold the same values, which the reader checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_FULL_NAMES = ("depth", "depths", "zdepth", "pz", "disparity", "disp")  # Pz is Houdini's
_WORDS = ("depth", "disparity")
_ALPHA = ("a", "alpha")
_COLOURS = ("r", "g", "b")
_VECTORS = re.compile(  # of which Z, Y or V is a component, and no depth
    r"normal(?!i)|position|world|velocit|motion|vector|tangent|speed|direction|displacement"
    r"|\b(n|p|ng|nn|pos|pref|pw|points?|uvw?|st|xyz|dpd[uv])\d*\b"
)


def find_depth_names(names: Sequence[str]) -> list[str]:
    """Return the channels that can be the depth, all by the same rule, or none.

    A file's only channel is its depth whatever its name, unless that is a vector's.
    """
    channels = [_Name(name, names) for name in names]
    if len(channels) == 1 and not channels[0].is_vector:
        return list(names)
    for rule in _RULES:
        found = [channel.name for channel in channels if rule(channel)]
        if found:
            return found
    return []


class _Name:
    """What a channel's name, and those beside it in its layer, say about the channel.

    Args:
        name: The name.
        names: All of the file's.
    """

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.name = name
        *self.layers, self.component = name.lower().split(".")
        beside = {
            component
            for *layers, component in (other.lower().split(".") for other in names)
            if layers == self.layers
        } - {self.component}
        words = re.sub(r"[\W_]+", " ", " ".join(self.layers or [self.component]))
        self.is_vector = bool(
            _VECTORS.search(words)
            or beside & {"x", "u"}
            or (self.layers and beside & {"y", "z"})  # without a layer, Y is the luminance beside the depth Z
        )
        self.is_luminance = self.component == "y" and not beside & {"ry", "by"}  # those are its colours

    def has_full_name(self) -> bool:
        """Tell whether it is called depth and nothing else."""
        return self.component in _FULL_NAMES or bool(self.layers and self.layers[-1] in _FULL_NAMES)

    def has_word(self) -> bool:
        """Tell whether depth is in its name."""
        return any(word in part for word in _WORDS for part in (*self.layers[-1:], self.component))


_RULES: tuple[Callable[[_Name], bool], ...] = (
    lambda name: (
        (name.has_full_name() and name.component not in _ALPHA)
        or (name.component == "z" and not name.layers and not name.is_vector)
    ),
    lambda name: name.has_word() and name.component not in _ALPHA,
    lambda name: name.component == "z" and not name.is_vector,
    lambda name: (name.is_luminance or name.component == "v") and not name.is_vector,
    lambda name: name.component in _COLOURS,
)
