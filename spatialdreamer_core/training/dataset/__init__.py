"""The DVG dataset: training clips that forward-backward rendering makes of any videos (section 3.2).

`build` splits videos into scenes (`scenes`), renders clips of each (`scene_clips`), leaves out what teaches
nothing (`quality`) and stores the rest (`clip_file`, `records`); `reader` opens what was stored.
"""

from typing import TYPE_CHECKING

from ...lazy_names import lazy_names

if TYPE_CHECKING:
    from .build import Built, build_dataset
    from .clip_file import DamagedClip, DVGClip
    from .config import DatasetConfig
    from .reader import ClipDataset, check_dataset, open_dataset
    from .records import ClipRecord

__all__ = [
    "Built",
    "ClipDataset",
    "ClipRecord",
    "DVGClip",
    "DamagedClip",
    "DatasetConfig",
    "build_dataset",
    "check_dataset",
    "open_dataset",
]
_HOMES = {
    "build": ("Built", "build_dataset"),
    "clip_file": ("DVGClip", "DamagedClip"),
    "config": ("DatasetConfig",),
    "reader": ("ClipDataset", "check_dataset", "open_dataset"),
    "records": ("ClipRecord",),
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
