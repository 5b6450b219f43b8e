"""M2SVid in ComfyUI: which of its files ComfyUI's folders hold, and loading."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy import model_management

from ..spatialdreamer_core.checks import InputError, check_choice
from ..spatialdreamer_core.m2svid.variant import ADDRESS, VARIANTS
from .models import lacks_library, list_model_files, register_model_folders
from .placed_model import PlacedM2SVid
from .spatialdreamer_models import PRECISIONS, SVD_FILE, svd_files

KIND = "m2svid"  # the folder of its files
FILE = "m2svid_weights.pt"
_FILE_ADDRESS = f"https://storage.googleapis.com/gresearch/m2svid/{FILE}"
AUTO = "auto"
NO_SVD = "none"
_FOLDERS = {KIND: "", "diffusion_models": "diffusion_models/"}
_SUFFIXES = (".safetensors", ".sft", ".pt")
_NO_FILE = f"none: put {FILE} into models/{KIND}"

register_model_folders(KIND, set(_SUFFIXES))


def file_choices() -> list[str]:
    """List the files to choose from, those named after M2SVid first, or what to do about having none."""
    return sorted(_files(), key=lambda name: KIND not in name.lower()) or [_NO_FILE]


def svd_choices() -> list[str]:
    """List the files that can have what M2SVid's lacks, those named after SVD first."""
    return [NO_SVD, *sorted(svd_files(), key=lambda name: "svd" not in Path(name).name.lower())]


def variant_choices() -> list[str]:
    """List what M2SVid's weights can be trained for."""
    return [AUTO, *VARIANTS]


def load_model(checkpoint: str, svd: str, variant: str, precision: str) -> PlacedM2SVid:
    """Load what was chosen on the widgets.

    Raises:
        InputError: If something is missing, damaged or of another model.
    """
    check_choice("precision", precision, tuple(PRECISIONS))
    check_choice("variant", variant, tuple(variant_choices()))
    files, others = _files(), svd_files()
    if not isinstance(checkpoint, str) or checkpoint not in files:
        raise InputError(
            f"`checkpoint` must be an M2SVid that is there, got {checkpoint!r}; download {_FILE_ADDRESS} "
            f"(4.6 GB, Apache-2.0; {ADDRESS} has it, too) into {folder_paths.get_folder_paths(KIND)[0]} and "
            "press R"
        )
    if svd != NO_SVD and (not isinstance(svd, str) or svd not in others):
        raise InputError(
            f"`svd` must be {NO_SVD!r} or one of those that are there ({', '.join(others) or 'none'}), got "
            f"{svd!r}; put {SVD_FILE} into {folder_paths.get_folder_paths('checkpoints')[0]} and press R, or "
            "choose another"
        )
    try:
        from ..spatialdreamer_core.m2svid import load_m2svid
        from ..spatialdreamer_core.svd import choose_dtype
    except ImportError as error:
        raise lacks_library("M2SVid", error) from error
    network = load_m2svid(
        files[checkpoint],
        variant=next((each for each in VARIANTS if each == variant), None),
        svd=None if svd == NO_SVD else others[svd],
        dtype=choose_dtype(model_management.get_torch_device(), PRECISIONS[precision]),
        device=model_management.unet_offload_device(),
    )
    return PlacedM2SVid(network, (checkpoint, svd, variant, precision))


def files_changed(checkpoint: str, svd: str) -> list[float]:
    """Return when the chosen files changed last, so that ComfyUI loads them again after that."""
    listed = ((checkpoint, _files()), (svd, svd_files()))
    paths = [found.get(choice) for choice, found in listed if isinstance(choice, str)]
    return [path.stat().st_mtime for path in paths if path is not None]


def _files() -> dict[str, Path]:
    """Find the files that may hold an M2SVid."""
    return list_model_files(_FOLDERS, _SUFFIXES)
