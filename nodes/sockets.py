"""Socket types that ComfyUI has no name for, and the values that travel through them."""

from __future__ import annotations

from typing import NamedTuple

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.dvg.eyes import Eye

ClipStateType = io.Custom("SPATIALDREAMER_CLIP_STATE")  # a `clip_state.ClipState`
DisparityType = io.Custom("SPATIALDREAMER_DISPARITY")
FlowType = io.Custom("SPATIALDREAMER_FLOW")  # a `spatialdreamer_core.flow.Flow`
FillerType = io.Custom("SPATIALDREAMER_FILLER")  # a `spatialdreamer_core.fill.Filler`
FilmType = io.Custom("SPATIALDREAMER_FILM")  # a `film.FilmSettings`
ModelType = io.Custom("SPATIALDREAMER_MODEL")  # a `PlacedSpatialDreamer`
M2SVidType = io.Custom("SPATIALDREAMER_M2SVID")  # a `PlacedM2SVid`
QuiltType = io.Custom("SPATIALDREAMER_QUILT")  # a `spatialdreamer_core.stereo.QuiltGrid`
ReferenceType = io.Custom("SPATIALDREAMER_REFERENCE")  # a `PlacedReference`


class Disparity(NamedTuple):
    """Disparity of a clip and how it was rendered, so that later nodes need no widgets for that.

    The shift is what convergence took off: with it added, nothing lies behind the screen.
    """

    pixels: Tensor  # [F, 1, H, W], pixels, larger is nearer
    eye: Eye
    shift: float | tuple[float, ...] = 0.0  # px, see below: of all frames, or of each
