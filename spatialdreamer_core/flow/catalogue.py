"""The optical flow methods there are to choose from: DIS, and RAFT where its weights are."""

from __future__ import annotations

from importlib.util import find_spec

from ..checks import check_choice, check_flag
from ..weights import EstimatorInfo
from ..weights.download import OnProgress
from .dis import DIS_PREFIX, DIS_PRESETS
from .raft_weights import FLOW_MODELS, FlowModelSpec, fetch_flow_model

FLOW_METHODS = (*(DIS_PREFIX + preset for preset in DIS_PRESETS), *(model.name for model in FLOW_MODELS))


def list_flow_methods() -> list[EstimatorInfo]:
    """List the optical flow methods, from fastest to most accurate."""
    note = "On the CPU, by OpenCV; no weights, no download."
    return [
        *(EstimatorInfo(DIS_PREFIX + name, f"DIS {name}", "Apache-2.0", True, note) for name in DIS_PRESETS),
        *map(_describe, FLOW_MODELS),
    ]


def prepare_flow(method: str, *, download: bool = False, on_progress: OnProgress | None = None) -> None:
    """Make sure that a flow method's weights are there, downloading them if that is wanted.

    Args:
        method: One of `FLOW_METHODS`.
        download: Whether to download a missing file.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Raises:
        InputError: If the name is unknown, the file is missing and not downloaded, or cannot be.
    """
    check_choice("method", method, FLOW_METHODS)
    check_flag("download", download)
    if not method.startswith(DIS_PREFIX):
        fetch_flow_model(method, download=download, on_progress=on_progress)


def _describe(model: FlowModelSpec) -> EstimatorInfo:
    """Describe a model as it is on this machine."""
    file = model.find()
    installed = find_spec("torchvision") is not None
    if file is None:
        note = f"Weights: {model.address}."
    elif installed:
        note = f"In {file}."
    else:
        note = f"In {file}, but needs the Python package torchvision."
    return EstimatorInfo(
        model.name,
        model.title,
        model.licence,
        file is not None and installed,
        note,
        commercial=None,
        folder=None if file is None else file.parent,
        address=model.address,
    )
