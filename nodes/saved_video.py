"""What nodes that save a video share: the file's name and tags, and what they hand on and show."""

from __future__ import annotations

import glob
import json
import os
from datetime import datetime
from pathlib import Path

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui

from ..spatialdreamer_core.pipeline.film.folder import SUFFIX as PARTS_SUFFIX
from ..spatialdreamer_core.pipeline.film.folder import is_begun_with
from ..spatialdreamer_core.stereo import QuiltGrid
from ..spatialdreamer_core.video import format_suffix
from .output_name import check_prefix, fill_in_dates
from .presentation import show_text
from .viewer import Packing, shown_video, stereo_output

GRAPH = "graph"  # the name under which a film's manifest has the digest of its graph


def name_file(
    prefix: str,
    *,
    format: str,
    width: int,
    height: int,
    aspect: float | None = None,
    grid: QuiltGrid | None = None,
    suffix: str = ".mp4",
    digest: str | None = None,
) -> tuple[str, str]:
    """Choose the path of a new file in ComfyUI's output folder, or of a film that was begun there.

    Args:
        prefix: The node's `filename_prefix`.
        format: How the video is packed, for the suffix that players know.
        width: What stands for %width% in the prefix, in pixels.
        height: What stands for %height%.
        aspect: Width over height of a view as it is shown, see `format_suffix`.
        grid: Of quilts, how their views lie, of which width and height are those of all.
        suffix: The kind of file, such as .mp4.
        digest: `graph_digest` of what is to be saved, by which a film that was begun is known.

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
    stereo = format_suffix(format, aspect=aspect) if grid is None else grid.suffix(height, width)
    ending, free = f"{stereo}{suffix}", None
    if digest is not None:
        for begun in sorted(Path(folder).glob(f"{glob.escape(name)}_*{ending}{PARTS_SUFFIX}")):
            path = str(begun)[: -len(PARTS_SUFFIX)]
            if is_begun_with(begun, GRAPH, digest) and not os.path.lexists(path):
                return path, subfolder
    while free is None:
        path = os.path.join(folder, f"{name}_{counter:05}{ending}")
        if not os.path.lexists(path) and not os.path.lexists(path + PARTS_SUFFIX):
            free = path
        counter += 1
    return free, subfolder


def workflow_tags(node: type[io.ComfyNode]) -> dict[str, str] | None:
    """Return the tags from which ComfyUI restores a workflow when the video is dropped onto it."""
    if args.disable_metadata:
        return None
    tags = dict(node.hidden.extra_pnginfo or {})
    if node.hidden.prompt is not None:
        tags["prompt"] = node.hidden.prompt
    return {name: json.dumps(value) for name, value in tags.items()}


def saved_output(
    node: type[io.ComfyNode],
    path: Path,
    subfolder: str,
    packing: Packing,
    *,
    warning: str | None = None,
    advice: str | None = None,
) -> io.NodeOutput:
    """Hand on a saved video and its path; show it on the node, or a copy that browsers play, and its name.

    Args:
        node: The node's class, whose schema has `io.Hidden.unique_id`.
        path: The video.
        subfolder: Its folder inside the output folder.
        packing: How its frames hold two views.
        warning: What is written above the name.
        advice: What is written below it.
    """
    shown = shown_video(path, subfolder, packing)
    files = [ui.SavedResult(path.name, subfolder, io.FolderType.output)]
    text = f"saved as {os.path.join(subfolder, path.name)}"
    if shown is not None and shown["note"]:
        files.insert(0, ui.SavedResult(shown["file"]["filename"], "", io.FolderType.temp))
        text += f"\nshown here: {shown['note']}, as not every browser plays the file"
    output = ui.PreviewVideo(files).as_dict() | stereo_output(shown)
    output |= show_text(node.hidden.unique_id, *filter(None, (warning, text, advice)))
    return io.NodeOutput(InputImpl.VideoFromFile(str(path)), str(path), ui=output)


def saved_outputs() -> list[io.Video.Output | io.String.Output]:
    """Describe what `saved_output` hands on."""
    return [
        io.Video.Output("stereo", display_name="stereo", tooltip="The saved stereo video."),
        io.String.Output("path", display_name="path", tooltip="The whole path of the saved file."),
    ]
