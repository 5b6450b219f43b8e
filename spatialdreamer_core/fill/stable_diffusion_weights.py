"""Stable Diffusion inpainting pipelines: finding, downloading, checking, loading them.

Stable Diffusion 2 inpainting was published as `stabilityai/stable-diffusion-2-inpainting` until November 2025
and is now kept by `sd2-community`; copies from either repository are found. Only safetensors and plain
configuration files are read, no code from a model's folder, and nothing is fetched unless `download` says so.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from ..checks import InputError, one_line
from ..weights import Snapshot, fetch_snapshot, find_snapshot, repository_address, stable_diffusion_files
from ..weights.download import OnProgress

INPAINTING_KIND = "diffusers"  # name of the folders, ComfyUI's for pipelines in this layout
TITLE = "Stable Diffusion 2 inpainting"
LICENCE = "CreativeML Open RAIL++-M"
REPOSITORY = "sd2-community/stable-diffusion-2-inpainting"
REVISION = "5f74973cbb64c8568780732c17f43eb269d63a0d"
_FORMER_REPOSITORY = "stabilityai/stable-diffusion-2-inpainting"
_CLASS = "StableDiffusionInpaintPipeline"
_CHANNELS = 9  # 4 noisy latents, 1 mask, 4 latents of the masked image
_LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")  # whose classes a folder may name


def find_inpainting_model() -> Snapshot | None:
    """Find the published model on this machine, in half or full precision; a whole one is preferred."""
    found = [
        find_snapshot(INPAINTING_KIND, repository, stable_diffusion_files(variant=variant), revision=REVISION)
        for repository in (REPOSITORY, _FORMER_REPOSITORY)
        for variant in ("fp16", None)
    ]
    return min(filter(None, found), key=lambda snapshot: len(snapshot.missing), default=None)


def fetch_inpainting_model(*, download: bool = False, on_progress: OnProgress | None = None) -> Path:
    """Return the folder of Stable Diffusion 2 inpainting, downloading what is missing if that is wanted.

    Args:
        download: Whether to download missing files, 2.6 GB in half precision.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Raises:
        InputError: If files are missing and not downloaded, or cannot be.
    """
    return fetch_snapshot(
        find_inpainting_model(),
        INPAINTING_KIND,
        REPOSITORY,
        stable_diffusion_files(),
        model=f"{TITLE} ({LICENCE})",
        licence=LICENCE,
        revision=REVISION,
        download=download,
        on_progress=on_progress,
    )


def load_pipeline(folder: Path) -> Any:
    """Load the pipeline of a folder, in float32 on the CPU.

    Raises:
        InputError: If a package is missing, or the folder holds no inpainting pipeline, another one or a
            damaged one.
    """
    _check_architecture(folder)
    pipeline_class = _import("diffusers", _CLASS)
    part_classes = {
        "unet": _import("diffusers", "UNet2DConditionModel"),
        "vae": _import("diffusers", "AutoencoderKL"),
        "text_encoder": _import("transformers", "CLIPTextModel"),
    }
    try:
        pipeline = pipeline_class.from_pretrained(
            folder,
            **{part: _load_part(part_class, folder, part) for part, part_class in part_classes.items()},
            local_files_only=True,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,  # the safety checker's
            image_encoder=None,  # of IP-Adapters
            requires_safety_checker=False,
        )
    except ImportError as error:
        raise _unusable(error) from error
    except Exception as error:
        raise _damaged(folder, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_part(part_class: Any, folder: Path, part: str) -> nn.Module:
    """Load a network of a pipeline, in half precision where there is such a file."""
    module, report = part_class.from_pretrained(
        folder,
        subfolder=part,
        variant="fp16" if any((folder / part).glob("*.fp16.safetensors")) else None,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(f"{part} lacks {len(missing)} tensors, such as {missing[0]}")
    return module.float().eval().requires_grad_(False)


def _import(package: str, name: str) -> Any:
    """Import a class of a package; both packages load a class only when it is asked for."""
    try:
        return getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise _unusable(error) from error


def _check_architecture(folder: Path) -> None:
    """Check that a folder holds an inpainting pipeline made of known libraries' parts."""
    index, unet = folder / "model_index.json", folder / "unet" / "config.json"
    if not index.is_file():
        raise InputError(
            f"the folder of an inpainting model must hold a pipeline in diffusers' layout, but {index} is "
            f"missing; give the folder of one, such as that of {repository_address(REPOSITORY)}"
        )
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        channels = json.loads(unet.read_text(encoding="utf-8")).get("in_channels")
        found = parts.pop("_class_name", None)
        foreign = [
            name for name, part in parts.items() if isinstance(part, list) and part[0] not in _LIBRARIES
        ]
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise _damaged(folder, error) from error
    if (found, channels) != (_CLASS, _CHANNELS):
        raise InputError(
            f"{folder} must hold a {_CLASS} whose UNet has {_CHANNELS} input channels, got {found} with "
            f"{channels}; give the folder of an inpainting model, such as {repository_address(REPOSITORY)}"
        )
    if foreign:
        raise InputError(
            f"{folder} must be made of diffusers' and transformers' parts, got others for "
            f"{', '.join(foreign)}, whose code is not run; give the folder of another model"
        )


def _unusable(error: Exception) -> InputError:
    """Describe packages that are missing, too old, or broken."""
    return InputError(
        f"Stable Diffusion inpainting needs the Python packages diffusers and transformers, which cannot be "
        f'used here ({error}); install them with: pip install --upgrade "spatialdreamer[inpaint]"'
    )


def _damaged(folder: Path, error: Exception) -> InputError:
    """Describe files that are there but cannot be loaded."""
    return InputError(
        f"the inpainting model cannot be loaded from {folder} ({one_line(error)}); delete that folder and "
        "download it again"
    )
