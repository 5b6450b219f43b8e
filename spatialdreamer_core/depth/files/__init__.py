"""Depth that the user gives as a file: arrays, pictures, EXR, videos, each by its own reader."""

from .colours import check_equal_channels
from .depth_file import DEPTH_KINDS, DepthFile, load_depth
from .readers import DEPTH_SUFFIXES
from .sizes import check_film_size, is_size_of_film
from .stream import FileDepth

__all__ = [
    "DEPTH_KINDS",
    "DEPTH_SUFFIXES",
    "DepthFile",
    "FileDepth",
    "check_equal_channels",
    "check_film_size",
    "is_size_of_film",
    "load_depth",
]
