"""The whole job: a film or photo in, a stereoscopic one out, through every stage, in constant memory.

The only place that knows all stages. `config` holds the settings, `before_work` checks them and the files.
`convert` goes from file to file, `frames` from tensors to tensors, and both run `chain`, the stages of
`analysis` and `stages` side by side. `job` is what a conversion works with, `transfer` the way to a GPU and
back, `flight` the frames there. `first_pass` looks at a film before a depth model's second pass, `one_frame`
at one frame for a live preview (`parallax`).
"""

from .before_work import check_conversion
from .clip_parts import ClipConversion
from .clock import StageClock
from .config import ConvertConfig
from .convert import convert
from .device import choose_device
from .fillers import FILLERS, FillerConfig, FillerEntry
from .film.cluster import Cluster, ClusterConfig, Spread
from .film.listing import list_scenes
from .frames import StereoPair, convert_frames
from .one_frame import sample_film, sample_picture
from .parallax import DepthSample

__all__ = [
    "FILLERS",
    "ClipConversion",
    "Cluster",
    "ClusterConfig",
    "ConvertConfig",
    "DepthSample",
    "FillerConfig",
    "FillerEntry",
    "Spread",
    "StageClock",
    "StereoPair",
    "check_conversion",
    "choose_device",
    "convert",
    "convert_frames",
    "list_scenes",
    "sample_film",
    "sample_picture",
]
