"""What nodes that save a video share: the file's name and tags, and what they hand on and show."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui

from ..spatialdreamer_core.video import FORMAT_SUFFIXES
from .output_name import check_prefix, fill_in_dates


def name_file(prefix: str, *, format: str, width: int, height: int) -> tuple[str, str]:
    """Choose the path of a new file in ComfyUI's output folder.

    Args:
        prefix: The node's `filename_prefix`.
        format: How the video is packed, for the suffix that players know.
        width: What stands for %width% in the prefix, in pixels.
        height: What stands for %height%.

    Returns:
        The path, and its folder inside the output folder.

    Raises:
        InputError: If the prefix is none.
    """
    prefix = fill_in_dates(prefix, datetime.now())
    check_prefix(prefix)
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), width, height
    )
    # ComfyUI counts by the number before an underscore, players want the suffix last.
    while os.path.lexists(path := os.path.join(folder, f"{name}_{counter:05}{FORMAT_SUFFIXES[format]}.mp4")):
        counter += 1
    return path, subfolder


def workflow_tags(node: type[io.ComfyNode]) -> dict[str, str] | None:
    """Return the tags from which ComfyUI restores a workflow when the video is dropped onto it."""
    if args.disable_metadata:
        return None
    tags = dict(node.hidden.extra_pnginfo or {})
    if node.hidden.prompt is not None:
        tags["prompt"] = node.hidden.prompt
    return {name: json.dumps(value) for name, value in tags.items()}


def saved_output(path: Path, subfolder: str) -> io.NodeOutput:
    """Hand on a saved video and its path, and show it on the node."""
    result = ui.SavedResult(path.name, subfolder, io.FolderType.output)
    return io.NodeOutput(InputImpl.VideoFromFile(str(path)), str(path), ui=ui.PreviewVideo([result]))


def saved_outputs() -> list[io.Video.Output | io.String.Output]:
    """Describe what `saved_output` hands on."""
    return [
        io.Video.Output("stereo", display_name="stereo", tooltip="The saved stereo video."),
        io.String.Output("path", display_name="path", tooltip="The whole path of the saved file."),
    ]
