"""Save Stereo Video: packed frames and sound to a file that 3D players recognise."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import Input, io
from torch import Tensor

from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.stereo import QuiltGrid, check_packed
from ..spatialdreamer_core.video import FRAME_RATE, write_clip
from .conversion import check_is_linked, encoding_inputs, prefix_input
from .layout import audio_to_sound, image_to_frames
from .output_name import check_prefix
from .presentation import found_by
from .progress import frame_progress
from .quilt import check_grid, grid_input
from .saved_video import name_file, saved_output, saved_outputs, workflow_tags
from .shaping import check_values, settings_of
from .viewer import Packing
from .widgets import check_each, widget


class SpatialDreamerSaveStereoVideo(io.ComfyNode):
    """Node around `spatialdreamer_core.video.write_clip`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        codec, crf = encoding_inputs()
        return io.Schema(
            node_id="SpatialDreamerSaveStereoVideo",
            display_name="Save Stereo 3D Video (SBS, VR)",
            category="SpatialDreamer",
            **found_by("save video", "export", "mp4", "half sbs", "vr180"),
            description="Saves packed stereo frames as a video, with sound, to the output folder under a "
            "name that 3D players recognise.",
            inputs=[
                io.Image.Input(
                    "images", tooltip="The packed frames, such as those of SBS Packer or Image to Stereo 3D."
                ),
                widget(
                    FRAME_RATE,
                    optional=False,
                    help="Frame rate of the video, with frame_sequential half of it; Get Video Components "
                    "gives that of another one.",
                ),
                widget(
                    option_of(ConvertConfig, "format"),
                    optional=False,
                    help="How the frames are packed: as chosen on the node that packed them. It sets the "
                    "suffix of the file's name, and the shape in which half formats are shown.",
                ),
                crf,
                prefix_input(),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The sound; what outlasts the frames is left out.",
                ),
                codec,
                widget(option_of(ConvertConfig, "stereo_metadata")),
                widget(option_of(ConvertConfig, "container")),
                grid_input(),
            ],
            outputs=saved_outputs(),
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        images: Any = None,
        audio: Any = None,
        filename_prefix: str | None = None,
        **widgets: Any,
    ) -> bool:
        """Refuse when it is queued what cannot run: a value or a prefix, see `check_values`."""
        check_is_linked("images", images, "SBS Packer")
        check_is_linked("audio", audio, "Load Audio or Get Video Components")
        check_each([FRAME_RATE], widgets)
        check_values(**widgets)
        if filename_prefix is not None:
            check_prefix(filename_prefix)
        return True

    @classmethod
    def execute(
        cls,
        images: Tensor,
        fps: float,
        filename_prefix: str,
        audio: Input.Audio | None = None,
        grid: QuiltGrid | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Save the frames."""
        config = settings_of(**widgets)
        config.check()
        frames = image_to_frames("images", images)
        height, width = frames.shape[-2:]
        check_grid(grid, config.format)
        check_packed(height, width, format=config.format, frames=len(frames), grid=grid)
        path, subfolder = name_file(
            filename_prefix,
            format=config.format,
            width=width,
            height=height,
            aspect=width / 2 / height,
            grid=grid,
            suffix=config.suffix,
        )
        saved = write_clip(
            frames,
            path,
            frame_rate=fps,
            format=config.format,
            grid=grid,
            sound=audio_to_sound(audio),
            codec=config.codec,
            crf=config.crf,
            metadata=workflow_tags(cls),
            stereo=config.stereo_metadata,
            on_frame=frame_progress(len(frames)),
        )
        return saved_output(cls, saved, subfolder, Packing(config.format))
