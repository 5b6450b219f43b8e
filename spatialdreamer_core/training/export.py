"""Export: a run's weights as the loader node and `load_spatialdreamer` read them.

A run keeps its `best` and its `last` weights in that form already, averaged if it averages, with LoRA merged
and with the settings that they were trained under. Exporting copies them, in the precision that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..checks import InputError, check_choice
from ..parsing import parsing
from ..spatialdreamer.checkpoint import CONFIG_FILE, PARTS, write_weights
from ..spatialdreamer.config import SpatialDreamerConfig
from ..weights.files import read_header, read_json, read_tensors
from .writing import writing

WEIGHTS = ("best", "last")
PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}

Weights = Literal["best", "last"]
Precision = Literal["float16", "bfloat16", "float32"]


def export(
    run: str | Path,
    output: str | Path,
    *,
    weights: Weights = "best",
    precision: Precision = "float16",
    overwrite: bool = False,
) -> SpatialDreamerConfig:
    """Export the weights of a run.

    Args:
        run: Its folder.
        output: A file if the name ends in `.safetensors`, else a folder.
        weights: "best", by the validation, or "last".
        precision: Of the exported weights.
        overwrite: Whether weights that are there may be replaced.

    Returns:
        The settings that the weights were trained under.

    Raises:
        InputError: If there are no such weights, they are damaged, or the output cannot be written.
    """
    check_choice("weights", weights, WEIGHTS)
    check_choice("precision", precision, tuple(PRECISIONS))
    run, output = Path(run), Path(output)
    if output.exists() and not overwrite:
        raise InputError(
            f"output must be a new file or folder, got {output} which is there already; choose another name, "
            "or ask for it to be overwritten"
        )
    config, states = _read(run, weights)
    dtype = PRECISIONS[precision]
    exported = {
        part: {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
        for part, state in states.items()
    }
    with writing(output, name="output", remedy="free space or choose another folder"):
        write_weights(config, exported, output)
    return config


def _read(run: Path, weights: str) -> tuple[SpatialDreamerConfig, Mapping[str, Mapping[str, Tensor]]]:
    """Read a run's settings and weights, by part."""
    folder = run / weights
    remedy = "choose the folder of a run that has been validated, or its last weights"
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"a run must have weights to export, but {run} has no {weights}; {remedy}")
    again = "choose the run's other weights (best or last), or go on training, which writes them anew"
    config = SpatialDreamerConfig.from_dict(read_json(folder / CONFIG_FILE, remedy=again))
    files = {part: folder / f"{part}.safetensors" for part in PARTS}
    with parsing(folder, rule="the weights of a run must be whole", remedy=again):
        states = {part: read_tensors(read_header(file)) for part, file in files.items() if file.is_file()}
    absent = [part for part in PARTS[:2] if part not in states]
    if absent or (config.stage == "stage2" and "til" not in states):
        missing = " and ".join(absent) or "TIL"
        raise InputError(f"the weights of a run must be whole, but {folder} has no {missing}; {again}")
    return config, states
