"""S2VG's frame matrix (arXiv 2508.08048) on SVD: holes filled by a general model, without any training.

The names below are loaded when they are first used: all but the options need diffusers and transformers.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .config import FrameMatrixConfig
    from .filler import FrameMatrixFiller, fill_matrix
    from .model import FrameMatrixModel
    from .scene import MatrixViews

__all__ = ["FrameMatrixConfig", "FrameMatrixFiller", "FrameMatrixModel", "MatrixViews", "fill_matrix"]
_HOMES = {
    "config": ("FrameMatrixConfig",),
    "filler": ("FrameMatrixFiller", "fill_matrix"),
    "model": ("FrameMatrixModel",),
    "scene": ("MatrixViews",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
