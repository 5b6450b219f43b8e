"""Training SpatialDreamer (arXiv 2411.11934): dataset, latents, both stages, validation, export."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .config import TrainConfig
    from .latents import LatentCache, build_latents, open_latents
    from .small_world import make_small_world
    from .validation import Validation, validate

__all__ = [
    "LatentCache",
    "TrainConfig",
    "Validation",
    "build_latents",
    "make_small_world",
    "open_latents",
    "validate",
]
_HOMES = {
    "config": ("TrainConfig",),
    "latents": ("LatentCache", "build_latents", "open_latents"),
    "small_world": ("make_small_world",),
    "validation": ("Validation", "validate"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
