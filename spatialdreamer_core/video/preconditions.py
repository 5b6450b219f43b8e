"""What a conversion is refused for before any work: its settings, its device, the paths of its files."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checks import InputError
from .config import ConvertConfig
from .output import check_another_file


def check_conversion(
    input_path: Path | str,
    output_path: Path | str,
    config: ConvertConfig,
    *,
    preview_path: Path | str | None = None,
) -> None:
    """Check all of a conversion that can be checked without opening a file.

    Raises:
        InputError: If a setting breaks its rule, the device is not there, or an output is an input or the
            other output.
    """
    config.check()
    choose_device(config.device)
    input_path, output_path = Path(input_path), Path(output_path)
    outputs = {"output": output_path}
    if preview_path is not None:
        check_another_file(preview_path, output_path, name="preview", other_name="output")
        outputs["preview"] = Path(preview_path)
    for name, path in outputs.items():
        check_another_file(path, input_path, name=name)
        if config.depth_file is not None:
            check_another_file(path, config.depth_file, name=name, other_name="depth")


def files_read(input_path: Path, config: ConvertConfig) -> tuple[Path, ...]:
    """List what a conversion reads."""
    return (input_path,) if config.depth_file is None else (input_path, Path(config.depth_file))


def choose_device(name: str) -> torch.device:
    """Resolve "auto", and check that a device is one of those that the stages run on and is there.

    Raises:
        InputError: If it is not.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    there = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if name not in there:
        raise InputError(
            f"device must be auto or one that is supported and in this machine ({', '.join(there)}), "
            f"got {name}; use auto"
        )
    return torch.device(name)
