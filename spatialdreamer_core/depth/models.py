"""The depth models that can be used: where they are published, under which licence, what they give.

What a model gives (`semantics`) decides how it becomes inverse depth, see `inverse.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..weights import Snapshot, find_snapshot, repository_address, stable_diffusion_files

MODEL_KIND = "depth_estimation"  # name of the folders
DEFAULT_MODEL = "depth_anything_v2_small"  # what `auto` takes

Family = Literal["dpt", "zoedepth", "depth_anything", "depth_pro", "marigold"]
Semantics = Literal["affine_inverse", "metric", "affine_depth"]

_TRANSFORMERS_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


@dataclass(frozen=True)
class ModelSpec:
    """A published depth model."""

    name: str  # what `estimate_depth` takes
    title: str
    family: Family  # which classes load it; the `model_type` of its config.json
    repository: str  # owner/name on Hugging Face
    semantics: Semantics
    licence: str
    commercial: bool | None  # whether commercial use is allowed; None: see the model card
    revision: str = "main"  # branch or commit; a branch is not pinned
    files: tuple[str, ...] = _TRANSFORMERS_FILES

    @property
    def package(self) -> str:
        """The Python package that runs it."""
        return "diffusers" if self.family == "marigold" else "transformers"

    @property
    def address(self) -> str:
        """The address of its model card."""
        return repository_address(self.repository)

    def find(self) -> Snapshot | None:
        """Find its folder on this machine."""
        return find_snapshot(MODEL_KIND, self.repository, self.files, revision=self.revision)


def _depth_anything() -> list[ModelSpec]:
    """List the models of Depth Anything; their licence depends on version and size."""
    family: Family = "depth_anything"
    licence: tuple[str, bool | None]
    models = []
    for size in ("small", "base", "large"):
        licence = ("Apache-2.0", True) if size == "small" else ("CC-BY-NC-4.0", False)
        title = f"Depth Anything V2 {size.title()}"
        repository = f"depth-anything/Depth-Anything-V2-{size.title()}-hf"
        name = f"depth_anything_v2_{size}"
        models.append(ModelSpec(name, title, family, repository, "affine_inverse", *licence))
    for scene in ("indoor", "outdoor"):
        for size in ("small", "base", "large"):
            licence = ("see model card", None) if size == "small" else ("CC-BY-NC-4.0", False)
            title = f"Depth Anything V2 Metric {scene.title()} {size.title()}"
            repository = f"depth-anything/Depth-Anything-V2-Metric-{scene.title()}-{size.title()}-hf"
            name = f"depth_anything_v2_metric_{scene}_{size}"
            models.append(ModelSpec(name, title, family, repository, "metric", *licence))
    for size in ("small", "base", "large"):
        title = f"Depth Anything V1 {size.title()}"
        repository = f"LiheYoung/depth-anything-{size}-hf"
        name = f"depth_anything_v1_{size}"
        models.append(ModelSpec(name, title, family, repository, "affine_inverse", "Apache-2.0", True))
    return models


MODELS: tuple[ModelSpec, ...] = (
    *_depth_anything(),
    ModelSpec("midas", "MiDaS 3 (DPT-Large)", "dpt", "Intel/dpt-large", "affine_inverse", "Apache-2.0", True),
    ModelSpec("zoedepth", "ZoeDepth NK", "zoedepth", "Intel/zoedepth-nyu-kitti", "metric", "MIT", True),
    ModelSpec(
        "depth_pro",
        "Depth Pro",
        "depth_pro",
        "apple/DepthPro-hf",
        "affine_inverse",
        "apple-amlr, see model card",
        None,
    ),
    ModelSpec(
        "marigold",
        "Marigold Depth 1.1",
        "marigold",
        "prs-eth/marigold-depth-v1-1",
        "affine_depth",
        "see model card",
        None,
        files=stable_diffusion_files(),
    ),
)


def find_model(name: str) -> ModelSpec:
    """Return the model of a name, one of `MODELS`."""
    return next(model for model in MODELS if model.name == name)
