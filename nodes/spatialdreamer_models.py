"""SpatialDreamer's models in ComfyUI: which of them its folders hold, and loading."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import folder_paths
import torch
from comfy import model_management

from ..spatialdreamer_core.checks import InputError, check_choice
from ..spatialdreamer_core.weights.files import file_stamp, read_json
from ..spatialdreamer_core.weights.stable_diffusion import is_stable_diffusion_2
from .models import lacks_library, list_model_files, register_model_folders
from .placed_model import PlacedSpatialDreamer

KIND = "spatialdreamer"  # the folder of trained weights
UNTRAINED = "none (untrained)"
OWN_UNET = "from checkpoint"
SVD_REFINER = "from SVD"
PRECISIONS = {"auto": None, "fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
SVD_FILE = "svd_xt.safetensors"
SVD_PAGE = "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt"
_NO_CHECKPOINT = f"none: put {SVD_FILE} into models/checkpoints"
_FILES = (".safetensors", ".sft")

register_model_folders(KIND, {".safetensors"})


def checkpoint_choices() -> list[str]:
    """List the checkpoints to choose from, those named after SVD first, or what to do about having none."""
    return sorted(_checkpoints(), key=lambda name: "svd" not in name.lower()) or [_NO_CHECKPOINT]


def weights_choices() -> list[str]:
    """List the trained weights to choose from."""
    return [UNTRAINED, *_weights()]


def unet_choices() -> list[str]:
    """List the UNets that can take the place of the checkpoint's."""
    return [OWN_UNET, *_unets()]


def refiner_choices() -> list[str]:
    """List the Stable Diffusions 2.1 that RefinerNet can be made from."""
    return [SVD_REFINER, *_refiners()]


def check_model_choices(weights: str | None, unet: str | None, refiner: str | None) -> None:
    """Check that what was chosen on the widgets goes together; None is not known yet.

    Raises:
        InputError: If trained weights come with another UNet or RefinerNet than their own.
    """
    if weights in (None, UNTRAINED):
        return
    for widget, choice, own, what in (
        ("unet", unet, OWN_UNET, "UNet"),
        ("refiner", refiner, SVD_REFINER, "RefinerNet"),
    ):
        if choice not in (None, own):
            raise InputError(
                f"`{widget}` must be {own!r} where `weights` bring a {what} of their own, got {choice!r}; "
                "choose one of the two"
            )


def load_model(
    checkpoint: str, weights: str, unet: str, precision: str, refiner: str
) -> PlacedSpatialDreamer:
    """Load what was chosen on the widgets.

    Raises:
        InputError: If something is missing, damaged or of another model.
    """
    check_choice("precision", precision, tuple(PRECISIONS))
    checkpoint_path = _find_checkpoint(checkpoint)
    weights_path = None if weights == UNTRAINED else _find("weights", weights, _weights(), KIND)
    check_model_choices(weights, unet, refiner)
    unet_path = None if unet == OWN_UNET else _find("unet", unet, _unets(), "diffusers")
    source = None if refiner == SVD_REFINER else _find("refiner", refiner, _refiners(), "checkpoints")
    try:
        from ..spatialdreamer_core.spatialdreamer import load_spatialdreamer
        from ..spatialdreamer_core.svd import choose_dtype, load_svd
    except ImportError as error:
        raise lacks_library("SpatialDreamer", error) from error
    svd = load_svd(
        checkpoint_path,
        unet=unet_path,
        dtype=choose_dtype(model_management.get_torch_device(), PRECISIONS[precision]),
        device=model_management.unet_offload_device(),
    )
    network = load_spatialdreamer(svd, weights_path, refiner=source)
    return PlacedSpatialDreamer(network, (checkpoint, weights, unet, precision, refiner))


def files_changed(checkpoint: str, weights: str, unet: str, refiner: str) -> list[float]:
    """Return when the chosen files changed last, so that ComfyUI loads them again after that."""
    refiners = {} if refiner == SVD_REFINER else _refiners()  # which takes longest to list
    listed = ((checkpoint, _checkpoints()), (weights, _weights()), (unet, _unets()), (refiner, refiners))
    paths = [found.get(choice) for choice, found in listed if isinstance(choice, str)]
    files = [file for path in paths if path for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file.stat().st_mtime for file in files)


def _checkpoints() -> dict[str, Path]:
    """Find files that may hold an SVD, and folders that do."""
    return svd_files() | _diffusers_folders("model_index.json", "StableVideoDiffusionPipeline")


def svd_files() -> dict[str, Path]:
    """Find the safetensors files among ComfyUI's models."""
    return list_model_files({"checkpoints": "", "diffusion_models": "diffusion_models/"}, _FILES)


def _weights() -> dict[str, Path]:
    """Find trained weights: files, and folders with a `config.json`.

    ComfyUI's own list of files fails for good once a folder that was in it is removed.
    """
    found: dict[str, Path] = {}
    for root in reversed(folder_paths.get_folder_paths(KIND)):  # the first one wins
        folders = [file.parent for file in Path(root).glob("*/config.json")]
        found |= {path.name: path for path in [*folders, *Path(root).glob("*.safetensors")]}
    return dict(sorted(found.items()))


def _unets() -> dict[str, Path]:
    """Find folders that hold the UNet of an SVD and nothing else, as StereoCrafter's `unet_diffusers`."""
    found = _diffusers_folders("config.json", "UNetSpatioTemporalConditionModel")
    return {
        name: path
        for name, path in found.items()
        if path.name != "unet" or not (path.parent / "model_index.json").is_file()
    }


def _refiners() -> dict[str, Path]:
    """Find files and folders that hold a Stable Diffusion 2.1, or its UNet."""
    found = {name: path for name, path in svd_files().items() if _is_stable_diffusion_2(path)}
    for index in ("config.json", "unet/config.json"):
        found |= _diffusers_folders(index, "UNet2DConditionModel")
    return {
        name: path
        for name, path in found.items()
        if path.is_file() or (path.name != "unet" and _is_stable_diffusion_2(path))
    }


def _is_stable_diffusion_2(path: Path) -> bool:
    """Tell whether a file or folder looks like a Stable Diffusion 2.1; a file is read once as it stands."""
    return _look_up(path, file_stamp(path)) if path.is_file() else is_stable_diffusion_2(path)


@lru_cache(maxsize=4096)
def _look_up(path: Path, stamp: tuple[int, int]) -> bool:
    """Tell whether a file of that stamp looks like a Stable Diffusion 2.1."""
    return is_stable_diffusion_2(path)


def _diffusers_folders(index: str, class_name: str) -> dict[str, Path]:
    """Find the folders in `models/diffusers`, or one level deeper, whose index file names a class."""
    found = {}
    for root in map(Path, folder_paths.get_folder_paths("diffusers")):
        for file in sorted([*root.glob(f"*/{index}"), *root.glob(f"*/*/{index}")]):
            folder = file.parents[index.count("/")]
            if _class_name(file) == class_name:
                found[f"diffusers/{folder.relative_to(root).as_posix()}"] = folder
    return found


def _class_name(index: Path) -> str | None:
    """Read which class a folder of diffusers is of."""
    try:
        return read_json(index).get("_class_name")
    except InputError:  # the list of choices is no place to complain about a folder that nobody chose
        return None


def _find_checkpoint(choice: str) -> Path:
    """Find the chosen checkpoint."""
    found = _checkpoints()
    if not isinstance(choice, str) or choice not in found:
        folder = folder_paths.get_folder_paths("checkpoints")[0]
        raise InputError(
            f"`checkpoint` must be a Stable Video Diffusion that is there, got {choice!r}; download "
            f"{SVD_PAGE}/resolve/main/{SVD_FILE} (Stability AI Community License) into {folder} and press R"
        )
    return found[choice]


def _find(widget: str, choice: str, found: dict[str, Path], kind: str) -> Path:
    """Find what was chosen on a widget; a shared workflow may have anything there."""
    if not isinstance(choice, str) or choice not in found:
        raise InputError(
            f"`{widget}` must be one of those that are there ({', '.join(found) or 'none'}), got {choice!r}; "
            f"put it into {folder_paths.get_folder_paths(kind)[0]} and press R, or choose another"
        )
    return found[choice]
