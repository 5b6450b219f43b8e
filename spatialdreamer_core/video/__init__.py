"""Films and photos as files: a streaming reader, a writer whose files are whole or absent, sound, colour."""

from ..atomic import partial_path_for, write_error
from .clip_file import FRAME_RATE, exact_rate, frame_to_picture, write_clip
from .color import ColorInfo, to_8_bit
from .completeness import IncompleteInput
from .containers import VIDEO_CONTAINERS
from .naming import FORMAT_SUFFIXES, format_suffix, output_path_for
from .output import OutputFile, check_output_path
from .photo import read_photo, write_photo
from .photo_kind import PHOTO_SUFFIXES, is_photo
from .playable import (
    PREVIEW_SECONDS,
    PREVIEW_WIDTH,
    plays_in_browsers,
    shows_in_browsers,
    write_picture_preview,
    write_pictures_preview,
    write_preview,
)
from .probe import VideoInfo, probe
from .reader import VideoFrame, read_frames
from .sound import Sound
from .stereo_photo import PHOTO_TYPE, packing_format, write_stereo_photo
from .stereo_source import check_one_view
from .writer import VideoWriter

__all__ = [
    "FORMAT_SUFFIXES",
    "FRAME_RATE",
    "PHOTO_SUFFIXES",
    "PHOTO_TYPE",
    "PREVIEW_SECONDS",
    "PREVIEW_WIDTH",
    "VIDEO_CONTAINERS",
    "ColorInfo",
    "IncompleteInput",
    "OutputFile",
    "Sound",
    "VideoFrame",
    "VideoInfo",
    "VideoWriter",
    "check_one_view",
    "check_output_path",
    "exact_rate",
    "format_suffix",
    "frame_to_picture",
    "is_photo",
    "output_path_for",
    "packing_format",
    "partial_path_for",
    "plays_in_browsers",
    "probe",
    "read_frames",
    "read_photo",
    "shows_in_browsers",
    "to_8_bit",
    "write_clip",
    "write_error",
    "write_photo",
    "write_picture_preview",
    "write_pictures_preview",
    "write_preview",
    "write_stereo_photo",
]
