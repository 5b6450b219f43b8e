"""Trained weights of SpatialDreamer on disk, in safetensors alone.

Either a folder with `config.json`, `unet.safetensors`, `refiner.safetensors` and, from stage 2 of training
on, `til.safetensors`; or one safetensors file with the same tensors under the prefixes `unet.`, `refiner.`
and `til.` and the settings as JSON in its metadata. VAE and image tower are SVD's and never saved. A file
or folder appears under its name only once it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import replacing
from ..checks import InputError
from ..parsing import parsing
from ..svd import SVDModel, widen_unet
from ..weights.files import parse_json, read_header, read_json, read_tensors
from ..weights.loading import load_strictly
from .attention import install_writers
from .config import SpatialDreamerConfig
from .network import SpatialDreamer, assemble, in_channels
from .refiner import build_refiner
from .til import TemporalInteraction

CONFIG_FILE = "config.json"
_METADATA = "spatialdreamer"  # what the settings are called in a file's metadata
PARTS = ("unet", "refiner", "til")
_OWN_FILES = {CONFIG_FILE, *(f"{part}.safetensors" for part in PARTS)}


def save_spatialdreamer(network: SpatialDreamer, path: Path | str) -> None:
    """Save trained weights: to one file if the name ends in `.safetensors`, else to a folder.

    What stood there before is replaced.

    Raises:
        InputError: If a folder of that name holds other files, or is where a file is to be.
    """
    states = {
        part: {name: value.detach().contiguous() for name, value in module.state_dict().items()}
        for part, module in zip(PARTS, (network.svd.unet, network.refiner, network.til), strict=True)
        if module is not None
    }
    write_weights(network.config, states, path)


def write_weights(
    config: SpatialDreamerConfig, states: Mapping[str, Mapping[str, Tensor]], path: Path | str
) -> None:
    """Write trained weights as `save_spatialdreamer` does, from the tensors of each of `PARTS` there is."""
    path = Path(path)
    single = path.suffix == ".safetensors"
    own = path.is_dir() and not single and {item.name for item in path.iterdir()} <= _OWN_FILES
    if path.exists() and not own and not (single and path.is_file()):
        raise InputError(
            f"SpatialDreamer's weights must go to a .safetensors file, a new folder or one of their own, got "
            f"{path} which is something else; choose another name"
        )
    settings = json.dumps(config.to_dict(), indent=2)
    if single:
        tensors = {f"{part}.{name}": value for part, state in states.items() for name, value in state.items()}
        with replacing(path) as partial:
            save_file(tensors, partial, metadata={_METADATA: settings})
        return
    with replacing(path) as partial:
        partial.mkdir(parents=True)
        (partial / CONFIG_FILE).write_text(settings + "\n", encoding="utf-8")
        for part, state in states.items():
            save_file(dict(state), partial / f"{part}.safetensors")


def load_spatialdreamer(
    svd: SVDModel, path: Path | str | None = None, *, refiner: Path | str | None = None
) -> SpatialDreamer:
    """Load trained weights onto SVD; without any, make an untrained network from SVD.

    Only weights of stage 1 of training come without TIL. All networks are in evaluation mode, without
    gradients.

    Args:
        svd: The base model. Weights get its UNet's device and precision; its UNet may be overwritten.
        path: A folder or file from `save_spatialdreamer`, or None.
        refiner: Weights of Stable Diffusion 2.1 from which RefinerNet is made, see `make_refiner`; None: from
            SVD's own. Trained weights have a RefinerNet already.

    Raises:
        InputError: If a file is missing, broken or of another model, or `refiner` comes with trained weights.
    """
    source = None if refiner is None else Path(refiner)
    if path is None:
        return SpatialDreamer.from_svd(svd, refiner_source=source)
    if source is not None:
        raise InputError(
            f"`refiner` must be left out where trained weights bring a RefinerNet of their own, got {source} "
            f"beside {path}; choose one of the two"
        )
    path = Path(path)
    config = _read_config(path)
    _check_parts(path)
    reference = svd.unet.conv_in.weight
    state = _read_part(path, "unet", reference)
    refiner_state = _read_part(path, "refiner", reference)
    til_state = _read_part(path, "til", reference)
    for part, tensors in (("unet", state), ("refiner", refiner_state)):
        if not tensors:
            raise InputError(
                f"SpatialDreamer's weights must hold a UNet and a RefinerNet, but {path} has no {part}; "
                "copy the whole folder, or download the file again"
            )
    _check_inputs(svd, config, state, path)
    unet = _fitting_unet(svd.unet, state)
    load_strictly(unet, state, name="SpatialDreamer's UNet", source=str(path))
    trained = build_refiner(unet.config)
    load_strictly(trained, refiner_state, name="RefinerNet", source=str(path))
    install_writers(trained)
    til = None
    if til_state:
        with torch.device("meta"):
            til = TemporalInteraction(trained, config)
        load_strictly(til, til_state, name="TIL", source=str(path))
    elif config.stage == "stage2":
        raise InputError(
            f"SpatialDreamer's weights of stage 2 must hold TIL, but {path} has none; copy the whole folder, "
            "or download the file again"
        )
    return assemble(svd, unet, trained, til, config)


def _check_inputs(
    svd: SVDModel, config: SpatialDreamerConfig, state: Mapping[str, Tensor], path: Path
) -> None:
    """Check that a UNet has input channels for the deviation map where its settings say so, and else none."""
    first = state.get("conv_in.weight")
    got = first.shape[1] if first is not None and first.ndim == 4 else 0
    wanted = in_channels(svd, deviation_map=config.deviation_map)
    if config.deviation_map != (got == in_channels(svd, deviation_map=True)):
        raise InputError(
            f"SpatialDreamer's UNet must have {wanted} input channels with this base model where its "
            f"settings say deviation_map {str(config.deviation_map).lower()}, got {got} in {path}; give "
            "settings and weights of one export, and the base model that they were trained from"
        )


def _fitting_unet(unet: Any, state: dict[str, Tensor]) -> Any:
    """Return SVD's UNet, as wide in input channels and time ids as the saved one."""
    first, ids = (state.get(name) for name in ("conv_in.weight", "add_embedding.linear_1.weight"))
    if first is None or ids is None or first.ndim != 4 or ids.ndim != 2:
        return unet  # of another model: loading says so
    wide = first.shape[1], ids.shape[1]
    narrow = unet.conv_in.weight.shape[1], unet.add_embedding.linear_1.weight.shape[1]
    if wide == narrow or wide[0] < narrow[0] or wide[1] < narrow[1]:
        return unet
    return widen_unet(unet, in_channels=wide[0], time_ids=wide[1] // unet.config.addition_time_embed_dim)


def _read_config(path: Path) -> SpatialDreamerConfig:
    """Read the settings of saved weights."""
    remedy = "give a folder or file that SpatialDreamer's training exported"
    with parsing(path, rule="SpatialDreamer's settings must be a JSON object of its own", remedy=remedy):
        if path.is_dir():
            file = path / CONFIG_FILE
            settings = read_json(file, remedy=remedy) if file.is_file() else None
        elif path.exists():
            text = read_header(path).metadata.get(_METADATA)
            settings = None if text is None else parse_json(text)
        else:
            raise InputError(f"SpatialDreamer's weights must be a folder or a file, got {path}; {remedy}")
        if settings is None:
            raise InputError(
                f"SpatialDreamer's weights must come with their settings, but {path} has none; {remedy}"
            )
        return SpatialDreamerConfig.from_dict(settings)


def _check_parts(path: Path) -> None:
    """Check that a single file holds nothing but the three networks."""
    if path.is_dir():
        return
    prefixes = tuple(f"{part}." for part in PARTS)
    others = [name for name in read_header(path).shapes if not name.startswith(prefixes)]
    if others:
        raise InputError(
            f"SpatialDreamer's weights must be tensors of {', '.join(PARTS)}, got {len(others)} others in "
            f"{path}, such as {others[0]}; give a file that SpatialDreamer's training exported"
        )


def _read_part(path: Path, part: str, reference: Tensor) -> dict[str, Tensor]:
    """Read the tensors of one network, as the reference in device and precision; none if it is missing."""
    file, prefix = (path / f"{part}.safetensors", "") if path.is_dir() else (path, f"{part}.")
    if not file.is_file():
        return {}
    header = read_header(file)
    header.check_floats({name for name in header.shapes if name.startswith(prefix)})
    return read_tensors(header, prefix=prefix, like=reference)
