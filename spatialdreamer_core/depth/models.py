"""The depth models that can be used: where they are published, under which licence, what they give.

What a model gives (`semantics`) decides how it becomes inverse depth, see `inverse.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..weights import Snapshot, find_snapshot, repository_address, stable_diffusion_files

MODEL_KIND = "depth_estimation"  # name of the folders
DEFAULT_MODEL = "depth_anything_v2_small"  # what `auto` takes
DEFAULT_SIZE = "99 MB"  # of its files

Family = Literal["dpt", "zoedepth", "depth_anything", "depth_pro", "marigold"]
Semantics = Literal["affine_inverse", "metric", "affine_depth"]

_TRANSFORMERS_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
_DEPTH_ANYTHING_REVISIONS = {  # by repository
    "depth-anything/Depth-Anything-V2-Small-hf": "5426e4f0f36572d16453bbda7a8389317b1bef99",
    "depth-anything/Depth-Anything-V2-Base-hf": "b1958afc87fb45a9e3746cb387596094de553ed8",
    "depth-anything/Depth-Anything-V2-Large-hf": "7581137eff8d4e94f6e796d3baea0e9fa79b22d2",
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf": "8078d68a9c75a972131914f6afd0c1723be0da7f",
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Base-hf": "c6d9784685727bfc6d0a7b5452ce94afaee1e7f5",
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf": "d2fc6a93601aabb1139a3bf0ebfcb4e89c67817f",
    "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf": "fd2c22027eaf20374204f14099b8341e1925ad39",
    "depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf": "5b575fded0346068343a6d96d0ce3ab6dbc9fb49",
    "depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf": "4eab4cf1983c2801c515804005214de56a4b67cc",
    "LiheYoung/depth-anything-small-hf": "25216a913fa218ccb7d58cce818d52b728b6c1f6",
    "LiheYoung/depth-anything-base-hf": "fbce2ff06a429af8a3fdb9296c6a922a37e43482",
    "LiheYoung/depth-anything-large-hf": "27ccb0920352c0c37b3a96441873c8d37bd52fb6",
}


@dataclass(frozen=True)
class ModelSpec:
    """A published depth model."""

    name: str  # what `estimate_depth` takes
    title: str
    family: Family  # which classes load it; the `model_type` of its config.json
    repository: str  # owner/name on Hugging Face
    revision: str  # the commit of the repository that is downloaded
    semantics: Semantics
    licence: str
    commercial: bool | None  # whether commercial use is allowed; None: see the model card
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
        revision = _DEPTH_ANYTHING_REVISIONS[repository]
        models.append(ModelSpec(name, title, family, repository, revision, "affine_inverse", *licence))
    for scene in ("indoor", "outdoor"):
        for size in ("small", "base", "large"):
            licence = ("see model card", None) if size == "small" else ("CC-BY-NC-4.0", False)
            title = f"Depth Anything V2 Metric {scene.title()} {size.title()}"
            repository = f"depth-anything/Depth-Anything-V2-Metric-{scene.title()}-{size.title()}-hf"
            name = f"depth_anything_v2_metric_{scene}_{size}"
            revision = _DEPTH_ANYTHING_REVISIONS[repository]
            models.append(ModelSpec(name, title, family, repository, revision, "metric", *licence))
    for size in ("small", "base", "large"):
        title = f"Depth Anything V1 {size.title()}"
        repository = f"LiheYoung/depth-anything-{size}-hf"
        name = f"depth_anything_v1_{size}"
        revision = _DEPTH_ANYTHING_REVISIONS[repository]
        licence = ("Apache-2.0", True)
        models.append(ModelSpec(name, title, family, repository, revision, "affine_inverse", *licence))
    return models


MODELS: tuple[ModelSpec, ...] = (
    *_depth_anything(),
    ModelSpec(
        "midas",
        "MiDaS 3 (DPT-Large)",
        "dpt",
        "Intel/dpt-large",
        "bc15f29aa3a80d532f2ed650b5e16ac48d8958f9",
        "affine_inverse",
        "Apache-2.0",
        True,
    ),
    ModelSpec(
        "zoedepth",
        "ZoeDepth NK",
        "zoedepth",
        "Intel/zoedepth-nyu-kitti",
        "f364d4c7936e91f465abba182208dd68142bf0ca",
        "metric",
        "MIT",
        True,
    ),
    ModelSpec(
        "depth_pro",
        "Depth Pro",
        "depth_pro",
        "apple/DepthPro-hf",
        "de816c8ce7168afcb231f96d501d72b869d0beda",
        "affine_inverse",
        "apple-amlr, see model card",
        None,
    ),
    ModelSpec(
        "marigold",
        "Marigold Depth 1.1",
        "marigold",
        "prs-eth/marigold-depth-v1-1",
        "9571e7123e258cf052b4e54241f17971c290e9a8",
        "affine_depth",
        "see model card",
        None,
        files=stable_diffusion_files(),
    ),
)


def find_model(name: str) -> ModelSpec:
    """Return the model of a name, one of `MODELS`."""
    return next(model for model in MODELS if model.name == name)
