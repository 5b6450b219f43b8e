"""Stable Diffusion inpainting pipelines: finding, downloading, checking, loading them.

Stable Diffusion 2 inpainting was published as `stabilityai/stable-diffusion-2-inpainting` until November 2025
and is now kept by `sd2-community`; copies from either repository are found. Only safetensors and plain
configuration files are read, no code from a model's folder, and nothing is fetched unless `download` says so.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..checks import InputError
from ..parsing import parsing
from ..weights import Snapshot, fetch_snapshot, find_snapshot, repository_address, stable_diffusion_files
from ..weights.download import OnProgress
from ..weights.files import read_json
from ..weights.pipelines import load_parts, read_index

INPAINTING_KIND = "diffusers"  # name of the folders, ComfyUI's for pipelines in this layout
TITLE = "Stable Diffusion 2 inpainting"
LICENCE = "CreativeML Open RAIL++-M"
REPOSITORY = "sd2-community/stable-diffusion-2-inpainting"
REVISION = "5f74973cbb64c8568780732c17f43eb269d63a0d"
_FORMER_REPOSITORY = "stabilityai/stable-diffusion-2-inpainting"
_CLASS = "StableDiffusionInpaintPipeline"
_CHANNELS = 9  # 4 noisy latents, 1 mask, 4 latents of the masked image
_ADDRESS = repository_address(REPOSITORY)


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
    index = _check_architecture(folder)
    pipeline_class = _import("diffusers", _CLASS)
    try:
        parts = load_parts(folder, index, channels=_CHANNELS, address=_ADDRESS)
        with parsing(folder, rule=f"a folder must hold a {_CLASS}", remedy="give another one"):
            pipeline = pipeline_class(
                **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
    except (ImportError, AttributeError) as error:
        raise _unusable(error) from error
    except InputError as error:
        cause = str(error).rsplit("; ", 1)[0]  # without its remedy
        raise InputError(
            f"the inpainting model cannot be loaded from {folder} ({cause}); delete that folder and download "
            "it again"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _import(package: str, name: str) -> Any:
    """Import a class of a package; both packages load a class only when it is asked for."""
    try:
        return getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise _unusable(error) from error


def _check_architecture(folder: Path) -> dict[str, Any]:
    """Check that a folder holds an inpainting pipeline made of known libraries' parts; returns its index."""
    index = read_index(folder, what="an inpainting model", address=_ADDRESS)
    channels = read_json(folder / "unet" / "config.json").get("in_channels")
    if (index.get("_class_name"), channels) != (_CLASS, _CHANNELS):
        raise InputError(
            f"{folder} must hold a {_CLASS} whose UNet has {_CHANNELS} input channels, got "
            f"{str(index.get('_class_name'))[:60]} with {str(channels)[:20]}; give the folder of an "
            f"inpainting model, such as {_ADDRESS}"
        )
    return index


def _unusable(error: Exception) -> InputError:
    """Describe packages that are missing, too old, or broken."""
    return InputError(
        f"Stable Diffusion inpainting needs the Python packages diffusers and transformers, which cannot be "
        f'used here ({error}); install them with: pip install --upgrade "spatialdreamer[inpaint]"'
    )
