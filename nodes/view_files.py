"""Files that the page fetches through ComfyUI's `/view`."""

from __future__ import annotations

import secrets
from pathlib import Path

import folder_paths
from comfy_api.latest import io


def temporary_path(prefix: str, suffix: str) -> Path:
    """Return the path of a new file in ComfyUI's temporary folder, which is made if it is missing."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{prefix}_{secrets.token_hex(6)}{suffix}"


def place_of(path: Path, subfolder: str | None = None) -> dict[str, str]:
    """Return what `/view` needs to find a file.

    Args:
        path: The file.
        subfolder: Its folder inside the output folder; None: it is in the temporary folder.
    """
    kind = io.FolderType.temp if subfolder is None else io.FolderType.output
    return {"filename": path.name, "subfolder": subfolder or "", "type": kind.value}
