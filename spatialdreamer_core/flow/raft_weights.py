"""torchvision's RAFT models (Teed and Deng, ECCV 2020, arXiv 2003.12039): finding, downloading, loading them.

The published weights are state dicts; the first digits of a file's SHA-256 checksum end its name. They are
read without running code from them, and nothing is fetched unless `download` says so. What torchvision says
about their licence: its code is BSD-3-Clause; weights may be under terms that follow from the data they were
trained on, and users have to find out whether these allow their use.
"""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checks import InputError, check_choice, check_flag, one_line
from ..weights import download as download_file
from ..weights import download_folder, model_folders, place_for, torch_cache
from ..weights.download import OnProgress, partial_file
from ..weights.files import read_state

_LOGGER = logging.getLogger(__name__)

_LARGEST_FILE = 1 << 28  # bytes; RAFT large has 21 MB
FLOW_MODEL_KIND = "optical_flow"  # name of the folders; newer versions of ComfyUI have it themselves


@dataclass(frozen=True)
class FlowModelSpec:
    """A published RAFT model; its name is that of the torchvision function that builds it."""

    name: str  # what `estimate_flow` takes
    title: str
    licence: str
    address: str  # of the state dict

    @property
    def file(self) -> str:
        """The name of the published file."""
        return self.address.rsplit("/", 1)[-1]

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the published file's checksum."""
        return Path(self.file).stem.rsplit("-", 1)[-1]

    def find(self) -> Path | None:
        """Find the weights on this machine, under the published name or that of the model."""
        names = [
            f"{stem}{suffix}"
            for stem in (Path(self.file).stem, self.name)
            for suffix in (".safetensors", ".pth")
        ]
        candidates = [folder / name for folder in model_folders(FLOW_MODEL_KIND) for name in names]
        candidates.append(torch_cache() / self.file)
        return next((file for file in candidates if os.path.isfile(file)), None)  # never raises


FLOW_MODELS: tuple[FlowModelSpec, ...] = (
    FlowModelSpec(
        "raft_small",
        "RAFT small (C+T V2)",
        "code BSD-3-Clause, weights trained on FlyingChairs and FlyingThings3D: mind their terms",
        "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
    ),
    FlowModelSpec(
        "raft_large",
        "RAFT large (C+T+SKHT V2)",
        "code BSD-3-Clause, weights trained on FlyingChairs, FlyingThings3D, Sintel, KITTI and HD1K: mind "
        "their terms",
        "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    ),
)


@dataclass(frozen=True)
class FlowModel:
    """A loaded RAFT model."""

    spec: FlowModelSpec
    module: nn.Module  # torchvision's RAFT; to be moved between devices


def find_flow_model(name: str) -> FlowModelSpec:
    """Return the model of a name.

    Raises:
        InputError: If it is none of `FLOW_MODELS`.
    """
    check_choice("flow model", name, tuple(model.name for model in FLOW_MODELS))
    return next(model for model in FLOW_MODELS if model.name == name)


def fetch_flow_model(name: str, *, download: bool = False, on_progress: OnProgress | None = None) -> Path:
    """Return the file of a model's weights, downloading it if it is missing and that is wanted.

    Args:
        name: One of `FLOW_MODELS`.
        download: Whether to download a missing file.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Raises:
        InputError: If the name is unknown, the file is missing and not downloaded, or cannot be.
    """
    spec = find_flow_model(name)
    check_flag("download", download)
    file = spec.find()
    if file is not None:
        return file
    if download:
        target = download_folder(FLOW_MODEL_KIND) / spec.file
        _LOGGER.info("downloading %s (%s) from %s", spec.title, spec.licence, spec.address)
        return download_file(
            spec.address,
            target,
            sha256_prefix=spec.sha256_prefix,
            limit=_LARGEST_FILE,
            on_progress=on_progress,
        )
    partial = partial_file(model_folders(FLOW_MODEL_KIND)[0] / spec.file)
    if partial.is_file():
        state = f"of which only a part has come ({partial})"
    else:
        searched = ", ".join(map(str, [*model_folders(FLOW_MODEL_KIND), torch_cache()]))
        state = f"which are in none of {searched}"
    raise InputError(
        f"flow method {name} ({spec.title}) needs its weights {spec.file}, {state}; "
        f"download them (--download, download=True, or the node's `download`), or put the file from "
        f"{spec.address} into {place_for(FLOW_MODEL_KIND)}"
    )


def load_flow_model(
    name: str,
    *,
    device: torch.device | str = "cpu",
    download: bool = False,
    on_progress: OnProgress | None = None,
) -> FlowModel:
    """Load a RAFT model.

    Args:
        name: One of `FLOW_MODELS`.
        device: Where it runs.
        download: Whether to download a missing file.
        on_progress: Of the download, see `fetch_flow_model`.

    Raises:
        InputError: If the name is unknown, torchvision is missing, or the file is missing, damaged, or
            another model's.
    """
    spec = find_flow_model(name)
    file = fetch_flow_model(name, download=download, on_progress=on_progress)
    module: nn.Module = getattr(_import("torchvision.models.optical_flow", spec), name)(weights=None)
    state = _read(spec, file)
    try:
        others = [name for name, value in state.items() if not (value.is_floating_point() or _counts(name))]
        if others:
            raise TypeError(f"{others[0]} holds {state[others[0]].dtype}")
        module.load_state_dict(state)
    except Exception as error:
        raise InputError(
            f"{file} must hold the weights of {spec.title} as torchvision publishes them, got others "
            f"({one_line(error)}); replace it by the file from {spec.address}"
        ) from error
    return FlowModel(spec, module.float().eval().requires_grad_(False).to(device))


def _read(spec: FlowModelSpec, file: Path) -> Any:
    """Read a state dict."""
    if file.suffix == ".safetensors":
        _import("safetensors", spec)
    try:
        return read_state(file, limit=_LARGEST_FILE)
    except Exception as error:
        raise InputError(
            f"{file} must be a whole file of weights, but cannot be read ({one_line(error)}); delete it "
            f"and download it again from {spec.address}"
        ) from error


def _counts(name: str) -> bool:
    """Tell whether a tensor counts training batches and so holds no weights."""
    return name.endswith("num_batches_tracked")


def _import(module: str, spec: FlowModelSpec) -> Any:
    """Import a module of a package that is needed for RAFT alone."""
    try:
        return importlib.import_module(module)
    except (ImportError, AttributeError, RuntimeError) as error:
        package = module.split(".")[0]
        raise InputError(
            f"flow method {spec.name} ({spec.title}) needs the Python package {package}, which cannot be "
            f'used here ({one_line(error)}); install it with: pip install "spatialdreamer[flow]"'
        ) from error
