"""Save Stereo Photo: packed frames to photos, also as MPO, JPS and animations of the two views."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io, ui
from torch import Tensor

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.stereo import QuiltGrid, check_packed
from ..spatialdreamer_core.video import PHOTO_TYPE, frame_to_picture, packing_format, write_stereo_photo
from .conversion import check_is_linked, prefix_input
from .layout import image_to_frames
from .output_name import check_prefix
from .presentation import found_by, show_text
from .quilt import check_grid, grid_input
from .saved_video import name_file, workflow_tags
from .shaping import check_values, settings_of
from .viewer import Packing, shown_photo, stereo_output
from .widgets import check_each, widget

_NOT_SHOWN = ("mpo", "jps", "tif")  # kinds that browsers do not know


class SpatialDreamerSaveStereoPhoto(io.ComfyNode):
    """Node around `spatialdreamer_core.video.write_stereo_photo`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerSaveStereoPhoto",
            display_name="Save Stereo 3D Photo (MPO, JPS, wiggle)",
            category="SpatialDreamer",
            **found_by("save image", "export", "mpo", "jps", "wigglegram", "gif"),
            description="Saves packed stereo pictures as photos to the output folder, under names that 3D "
            "viewers recognise.",
            inputs=[
                io.Image.Input(
                    "images", tooltip="The packed frames, such as those of SBS Packer or Image to Stereo 3D."
                ),
                widget(
                    option_of(ConvertConfig, "format"),
                    optional=False,
                    help="How the frames are packed: as chosen on the node that packed them. It sets the "
                    "suffix of the file's name.",
                ),
                widget(PHOTO_TYPE, optional=False),
                prefix_input(),
                grid_input(),
            ],
            outputs=[
                io.String.Output(
                    "path", display_name="path", tooltip="The whole paths of the saved files, one a line."
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, images: Any = None, filename_prefix: str | None = None, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run: a value or a prefix, see `check_values`."""
        check_is_linked("images", images, "SBS Packer")
        check_each([PHOTO_TYPE], widgets)
        check_values(**widgets)
        format, file_type = widgets.get("format"), widgets.get(PHOTO_TYPE.name)
        if format is not None and file_type is not None:
            _check_pair(format, file_type)
        if filename_prefix is not None:
            check_prefix(filename_prefix)
        return True

    @classmethod
    def execute(
        cls,
        images: Tensor,
        file_type: str,
        filename_prefix: str,
        grid: QuiltGrid | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Save the photos."""
        format = settings_of(**widgets).format
        _check_pair(format, file_type)
        frames = image_to_frames("images", images)
        height, width = frames.shape[-2:]
        check_grid(grid, format)
        check_packed(height, width, format=format, frames=len(frames), grid=grid)
        saved: list[Path] = []
        files: list[ui.SavedResult] = []
        shown: list[dict[str, Any] | None] = []
        for picture in _pictures(frames, format):
            throw_exception_if_processing_interrupted()
            path, subfolder = name_file(
                filename_prefix,
                format=format,
                width=width,
                height=height,
                aspect=width / 2 / height,
                grid=grid,
                suffix=f".{file_type}",
            )
            saved.append(write_stereo_photo(path, picture, format=format, metadata=workflow_tags(cls)))
            files.append(ui.SavedResult(saved[-1].name, subfolder, io.FolderType.output))
            shown.append(_shown(saved[-1], subfolder, format, picture))
        text = f"saved as {os.path.join(subfolder, saved[0].name)}"
        if len(saved) > 1:
            text += f" to {saved[-1].name}"
        display = show_text(cls.hidden.unique_id, text) | stereo_output(*shown)
        if file_type not in _NOT_SHOWN:
            display = ui.SavedImages(files, is_animated=format == "wiggle").as_dict() | display
        return io.NodeOutput("\n".join(map(str, saved)), ui=display)


def _check_pair(format: str, file_type: str) -> None:
    """Check that a kind of file holds frames that are packed in a format."""
    packing = packing_format(f".{file_type}", format)
    if packing != format and format != "wiggle":
        raise InputError(
            f"format must be {packing} for {file_type} files, got {format}; pack the views so, and the file "
            "has them in its own order"
        )


def _shown(path: Path, subfolder: str, format: str, picture: np.ndarray) -> dict[str, Any] | None:
    """Describe a photo for the viewer, by both views in one picture where the file has them apart."""
    if format == "wiggle" or path.suffix in (".mpo", ".jps"):
        return shown_photo(path, subfolder, Packing("full_sbs"), picture=picture)
    return shown_photo(path, subfolder, Packing(format))


def _pictures(frames: Tensor, format: str) -> Iterator[np.ndarray]:
    """Give each frame as a picture, for wiggle pairs of them side by side."""
    pictures = map(frame_to_picture, frames)
    if format == "wiggle":
        for left in pictures:
            yield np.hstack([left, next(pictures)])
    else:
        yield from pictures
