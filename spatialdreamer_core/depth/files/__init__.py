"""Depth that the user gives as a file: arrays, pictures, EXR, videos, each by its own reader."""

from .depth_file import DEPTH_KINDS, DepthFile, load_depth
from .readers import DEPTH_SUFFIXES
from .sizes import check_film_size
from .stream import FileDepth

__all__ = ["DEPTH_KINDS", "DEPTH_SUFFIXES", "DepthFile", "FileDepth", "check_film_size", "load_depth"]
