"""Options that the fillers on SVD share, each worded once; importing them loads no diffusion library."""

from __future__ import annotations

from dataclasses import replace

from ..dvg import DILATION, FEATHER
from ..options import Option
from .canvas import MAX_SIDE, MIN_SIDE

UNIT = 64  # px, of margins and tiles

GUIDANCE_MIN = Option(
    default=1.0,
    low=0.0,
    high=10.0,
    step=0.1,
    advanced=True,
    metavar="SCALE",
    help="Guidance scale of a window's first frame; linear between first and last. 1 at both ends: none. Any "
    "other value doubles the time.",
)
GUIDANCE_MAX = replace(
    GUIDANCE_MIN,
    help="Guidance scale of a window's last frame; SVD is often run with 3.",
)
FPS = Option(
    default=None,
    low=1.0,
    high=240.0,
    unit="frames/s",
    step=0.01,
    none_as=-1,
    none_means="7, as SVD is run",
    advanced=True,
    help="Frames per second that the model is told; SVD knows up to 30.",
)
MOTION_BUCKET = Option(
    default=None,
    low=0,
    high=255,
    none_as=-1,
    none_means="127, as SVD is run",
    advanced=True,
    help="How much motion the model is told to expect; 0 is none.",
)
LONGER_SIDE = Option(
    default=1024,  # px, the longer side of what SVD was trained on
    low=MIN_SIDE,
    high=MAX_SIDE,
    unit="px",
    step=UNIT,
    help="Longer side at which frames are diffused: larger ones are scaled down, smaller ones enlarged to "
    "what the model knows, 1024x576 with SVD. Known pixels of the result stay as they are.",
)
MARGIN = Option(
    default=128,
    low=UNIT,
    high=512,
    unit="px",
    step=UNIT,
    advanced=True,
    help="What the model sees around the holes where it works around them alone. More fits the filling "
    "better to the picture and takes longer.",
)
HOLE_GROWTH = replace(
    DILATION,
    advanced=True,
    help="Pixels by which the holes grow in the result, to hide halos at the edges of objects.",
)
HOLE_FEATHER = replace(
    FEATHER,
    default=4,
    advanced=True,
    help="Pixels around the holes over which the filling is blended into the warped view; 0 is a hard edge.",
)
