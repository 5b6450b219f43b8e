"""Load Depth: depth that another program wrote, from a file or subfolder of ComfyUI's input folder."""

from __future__ import annotations

import os
from dataclasses import replace

import folder_paths
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.depth import DEPTH_SUFFIXES, load_depth
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from .layout import frames_to_image, image_to_frames
from .presentation import found_by
from .widgets import check_each, widget

_KIND = replace(option_of(ConvertConfig, "depth_kind"), name="kind")


class SpatialDreamerLoadDepth(io.ComfyNode):
    """Node around `spatialdreamer_core.depth.load_depth`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerLoadDepth",
            display_name="Stereo 3D: Load Depth",
            category="SpatialDreamer",
            **found_by("depth", "depth map", "exr", "npz", "load depth map"),
            description="Loads depth that another program wrote, with all of its bits: NPZ, NPY, EXR, PNG or "
            "TIFF of 8 or 16 bits, or a depth video.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_input_files(),
                    tooltip="A file in ComfyUI's input folder, or a subfolder of it with one file a frame.",
                ),
                widget(_KIND),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The frames that the depth belongs to. Each of their scenes is then normalised "
                    "by itself; without them, all is one scene.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "depth", display_name="depth", tooltip="Inverse depth in 0 to 1: white is near."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, kind: str | None = None) -> bool:
        """Refuse when it is queued what cannot run."""
        check_each([_KIND], {"kind": kind})
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> float:
        """Return when the file or a file of the folder was changed last, so that it is read again then."""
        path = _path_of(file)
        changed = [os.stat(path).st_mtime]
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                changed += [entry.stat().st_mtime for entry in entries if entry.is_file()]  # no dead links
        return max(changed)

    @classmethod
    def execute(cls, file: str, kind: str = "inverse", image: Tensor | None = None) -> io.NodeOutput:
        """Load the depth."""
        depth = load_depth(
            _path_of(file),
            kind=kind,
            frames=None if image is None else image_to_frames("image", image),
            on_frame=lambda _: throw_exception_if_processing_interrupted(),
        )
        return io.NodeOutput(frames_to_image(depth))


def _path_of(file: str) -> str:
    """Return the path of a choice; ComfyUI itself lets any text through, so that this keeps other paths out.

    Raises:
        InputError: If it is none of the choices.
    """
    if file not in _input_files():
        raise InputError(
            f"file must be a depth file, video or subfolder of ComfyUI's input folder, got {file!r}; "
            "put it there and choose it from the list"
        )
    return os.path.join(folder_paths.get_input_directory(), file)


def _input_files() -> list[str]:
    """List the depth files and videos of the input folder, and its subfolders that hold depth files."""
    with os.scandir(folder_paths.get_input_directory()) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    files = [entry.name for entry in listed if entry.is_file()]
    videos = set(folder_paths.filter_files_content_types(files, ["video"]))
    folders = [entry.name for entry in listed if entry.is_dir() and _holds_depth(entry.path)]
    return [name for name in files if _is_depth(name) or name in videos] + folders


def _holds_depth(folder: str) -> bool:
    """Tell whether a folder can be read and has a file that may hold depth."""
    try:
        return any(map(_is_depth, os.listdir(folder)))
    except OSError:
        return False


def _is_depth(name: str) -> bool:
    """Tell by its suffix whether a file may hold depth."""
    return name.lower().endswith(DEPTH_SUFFIXES)
