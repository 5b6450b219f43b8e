"""Checkpoints of a run: everything that going on needs, whole or absent.

A checkpoint is a folder `step-00001000` with accelerate's state (weights in safetensors, the optimiser's and
the generators' state, which are read by `weights_only` alone), the moving average in safetensors, and
`checkpoint.json`. It is written under a hidden name and renamed when it is whole; older ones go after that.
So whatever ends a run, at any moment, the newest checkpoint is whole.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file
from torch import nn

from ..atomic import AtomicPath
from ..checks import InputError
from ..parsing import parsing
from ..weights.files import read_json
from .trained import trained_parameters
from .writing import writing

if TYPE_CHECKING:
    from accelerate import Accelerator
    from diffusers.training_utils import EMAModel

FORMAT = 1  # of the files of a run; another number is another version's
_INFO, _AVERAGE = "checkpoint.json", "average.safetensors"
_NAME = re.compile(r"step-(\d{8})$")
_AGAIN = "remove that folder to go on from the checkpoint before it"


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List a run's checkpoints, the oldest first, with the steps that were done."""
    if not folder.is_dir():
        return []
    matches = [(match, path) for path in folder.iterdir() if (match := _NAME.match(path.name))]
    return sorted((int(match[1]), path) for match, path in matches if path.is_dir())


def save_checkpoint(
    folder: Path,
    step: int,
    accelerator: Accelerator,
    trainee: nn.Module,
    average: EMAModel | None,
    *,
    keep: int,
) -> Path:
    """Save a checkpoint, then remove older ones; all processes call it.

    Args:
        folder: Where the checkpoints are.
        step: Steps that are done.
        accelerator: What holds the state.
        trainee: The networks.
        average: The moving average of the trained weights.
        keep: How many checkpoints stay.

    Returns:
        The checkpoint's folder.

    Raises:
        InputError: If it cannot be written, as on a full disk; those before stay.
    """
    from accelerate.utils import broadcast_object_list

    path = folder / f"step-{step:08d}"
    with AtomicPath(path, name="checkpoint") if accelerator.is_main_process else _Elsewhere() as written:
        partial = [str(written.partial)]
        broadcast_object_list(partial)
        target = Path(partial[0])
        with writing(path, name="checkpoint"):
            if accelerator.is_main_process:
                target.mkdir()
                info = {"format": FORMAT, "step": step}
                if average is not None:
                    info["averaged"] = average.optimization_step
                    shadow = dict(zip(trained_parameters(trainee), average.shadow_params, strict=True))
                    save_file(shadow, target / _AVERAGE)
                (target / _INFO).write_text(json.dumps(info), encoding="utf-8")
            accelerator.wait_for_everyone()
            accelerator.save_state(str(target))
            accelerator.wait_for_everyone()
            written.commit()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for _, old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return path


def load_checkpoint(
    path: Path, accelerator: Accelerator, trainee: nn.Module, average: EMAModel | None
) -> int:
    """Bring networks, optimiser and moving average to the state of a checkpoint.

    Returns:
        The steps that are done.

    Raises:
        InputError: If it is damaged, of another version, or of other networks or settings.
    """
    rule = "a checkpoint must be whole, of this version and of the run's networks"
    with parsing(path, rule=rule, remedy=_AGAIN):
        info = read_json(path / _INFO, remedy=_AGAIN)
        if info.get("format") != FORMAT:
            raise InputError(
                f"{rule}, got format {info.get('format')!r} in {path} where {FORMAT} is read; go on with the "
                "version that wrote it, or begin a new run"
            )
        accelerator.load_state(str(path))
        if average is not None:
            shadow = load_file(path / _AVERAGE)
            names = trained_parameters(trainee)
            for name, own in zip(names, average.shadow_params, strict=True):
                own.copy_(shadow[name])
            average.optimization_step = info["averaged"]
        return int(info["step"])


def checkpoint_bytes(trainee: nn.Module, *, averaged: bool, state_bytes: int) -> int:
    """Return how much a checkpoint takes on the drive.

    Args:
        trainee: The networks.
        averaged: Whether there is a moving average.
        state_bytes: Of the optimiser, for each weight that is trained.
    """
    weights = sum(parameter.nbytes for parameter in trainee.parameters())
    trained = trained_parameters(trainee).values()
    average = sum(parameter.nbytes for parameter in trained) if averaged else 0
    return weights + average + state_bytes * sum(parameter.numel() for parameter in trained)


def check_room(folder: Path, needed: int, *, what: str) -> None:
    """Check that a drive has room for what a run will write.

    Raises:
        InputError: If it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"the output folder must have room for {what}, {needed / 2**30:.1f} GB, got "
            f"{free / 2**30:.1f} GB free in {folder}; free space, lower keep or choose another folder"
        )


class _Elsewhere:
    """What stands for the path in a process that only helps to write it."""

    partial = Path()

    def __enter__(self) -> _Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def commit(self) -> None:
        """Leave that to the main process."""
