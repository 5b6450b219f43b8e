"""Red-cyan anaglyphs: red on the left eye, by the seven methods that iw3 has, under its names.

Five are matrices on the values as they are encoded, the sixth Dubois' matrix on linear light, the seventh
Wimmer's improved method, which is not linear. The numbers come from:

- color, gray, half-color, wimmer ("optimized anaglyphs", 0.7 G + 0.3 B): P. Wimmer, "Anaglyph Methods
  Comparison", https://3dtv.at/Knowhow/AnaglyphComparison_en.aspx, grey being ITU-R BT.601's
  0.299 R + 0.587 G + 0.114 B.
- wimmer2: Wimmer's improved method as D. McAllister, Y. Zhou and S. Sullivan, "Methods for computing color
  anaglyphs", SPIE 7524, 2010, describe it: G' = G + 0.45 max(0, R - G), B' = B + 0.25 max(0, R - B), and red
  is (0.75 G' + 0.25 B') of the left eye to the power 1/1.6.
- dubois, dubois2: the matrices minimise the difference, in a perceptual space, between what each eye sees
  through red-cyan glasses and what it should see (E. Dubois, "A projection method to generate anaglyph stereo
  images", ICASSP 2001; matrix for a typical LCD screen and glasses as published by the author in 2009). Most
  editors apply it to encoded values, and so does dubois here; dubois2 converts to linear light (sRGB) and
  back, as iw3's dubois and dubois2 both do (iw3's dubois also cuts each eye's share before it adds them).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ..contracts import check_call, working_dtype
from ..options import Option

ANAGLYPHS = ("dubois", "dubois2", "color", "half-color", "gray", "wimmer", "wimmer2")
ANAGLYPH = Option(
    default="dubois",
    choices=ANAGLYPHS,
    name="anaglyph",
    advanced=True,
    help="Colours of the format anaglyph, by iw3's names. dubois: least ghosting and good colours. dubois2: "
    "the same on linear light. color: full colours, which flicker on red things. half-color: less of that. "
    "gray: no colours, no flicker. wimmer, wimmer2: calm reds.",
)
# Rows give red, green, blue of the anaglyph; the first three columns weigh the left view's R, G, B, the
# others the right view's.
DUBOIS_RED_CYAN = (
    (0.437, 0.449, 0.164, -0.011, -0.032, -0.007),
    (-0.062, -0.062, -0.024, 0.377, 0.761, 0.009),
    (-0.048, -0.050, -0.017, -0.026, -0.093, 1.234),
)
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_NONE, _GREEN, _BLUE = (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_CYAN = ((*_NONE, *_GREEN), (*_NONE, *_BLUE))  # the right view's own green and blue
_MATRICES = {
    "dubois": DUBOIS_RED_CYAN,
    "dubois2": DUBOIS_RED_CYAN,
    "color": ((1.0, 0.0, 0.0, *_NONE), *_CYAN),
    "half-color": ((*_GREY, *_NONE), *_CYAN),
    "gray": ((*_GREY, *_NONE), (*_NONE, *_GREY), (*_NONE, *_GREY)),
    "wimmer": ((0.0, 0.7, 0.3, *_NONE), *_CYAN),
    "wimmer2": ((0.0, 0.75, 0.25, *_NONE), *_CYAN),
}


def anaglyph(
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    right: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    method: str = ANAGLYPH.default,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Mix two views into one picture for red-cyan glasses (red on the left eye), of the left view's type.

    Args:
        left: The left eye's view.
        right: The right eye's view.
        method: One of `ANAGLYPHS`.

    Raises:
        InputError: If a view breaks its rule (`contracts.TABLE`), or the method is unknown.
    """
    ANAGLYPH.check(method)
    check_call("anaglyph", left=left, right=right)
    return mix_anaglyph(left, right, method)


def mix_anaglyph(left: Tensor, right: Tensor, method: str = ANAGLYPH.default) -> Tensor:
    """Do as `anaglyph`, for views that are known to be right."""
    dtype = working_dtype(left)
    views = left.to(dtype), right.to(dtype)
    if method == "dubois2":
        views = _to_linear(views[0]), _to_linear(views[1])
    elif method == "wimmer2":
        views = _lift_reds(views[0]), _lift_reds(views[1])
    mixed = torch.einsum("oc,fchw->fohw", _matrix(method, left.device, dtype), torch.cat(views, dim=1))
    mixed = mixed.clamp(0, 1)
    if method == "dubois2":
        mixed = _to_encoded(mixed)
    elif method == "wimmer2":
        mixed = torch.cat([mixed[:, :1] ** (1 / 1.6), mixed[:, 1:]], dim=1)
    return mixed.to(left.dtype)


def _lift_reds(view: Tensor) -> Tensor:
    """Brighten green and blue where red is brighter than they are."""
    red, green, blue = view.split(1, dim=1)
    green, blue = green + 0.45 * (red - green).clamp(min=0), blue + 0.25 * (red - blue).clamp(min=0)
    return torch.cat([red, green, blue], dim=1)


def _to_linear(view: Tensor) -> Tensor:
    """Decode sRGB."""
    view = view.clamp(0, 1)
    return torch.where(view <= 0.04045, view / 12.92, ((view + 0.055) / 1.055) ** 2.4)


def _to_encoded(light: Tensor) -> Tensor:
    """Encode sRGB."""
    curve = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, curve)


@functools.cache
@torch.inference_mode(False)  # gradients may pass through the matrix later
def _matrix(method: str, device: torch.device, dtype: torch.dtype) -> Tensor:  # [3, 6]
    """Give a matrix on a device, to which it is copied once."""
    return torch.tensor(_MATRICES[method], dtype=dtype, device=device)
