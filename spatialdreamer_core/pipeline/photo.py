"""A photo file to a stereoscopic one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..video.output import OutputFile
from ..video.photo import read_photo
from ..video.reader import VideoFrame
from ..video.stereo_photo import check_stereo_photo, packing_format, save_stereo_photo
from .job import Job
from .large_photo import convert_in_strips, needs_strips
from .packed import packed_frames
from .pictures import cut_pictures
from .preview import MiddleSheet


def convert_photo(
    input_path: Path,
    output: OutputFile,
    job: Job,
    *,
    sheet: MiddleSheet,
) -> np.ndarray | None:  # [H, W, 3], of the photo's type
    """Convert a photo: a film of one frame, or in strips if it is large.

    Args:
        input_path: The photo.
        output: Where the result goes.
        job: What it is converted with.
        sheet: Takes the contact sheet.

    Returns:
        The packed picture; None for a large photo, of which no preview is shown.

    Raises:
        InputError: If the photo or its depth cannot be used.
    """
    image = read_photo(input_path)
    suffix, format = output.path.suffix, job.config.format
    job = replace(job, config=replace(job.config, format=packing_format(suffix, format)))
    check_stereo_photo(output.path, *job.layout.size(*image.shape[:2]), format=format)
    packed: np.ndarray | None
    large, frames = needs_strips(image), iter([VideoFrame(image, 0, Fraction(1))])
    del image  # encoding takes as much memory again
    if large:
        packed, picture = convert_in_strips(
            next(cut_pictures(frames, black_bars=job.config.black_bars, clock=job.clock, report=True)),
            job,
            with_sheet=sheet.is_wanted,
        )
        sheet.give(picture)
    else:
        with closing(packed_frames(frames, job, sheet=sheet)) as pictures:
            packed = next(pictures).image
            assert packed is not None, "it was asked for"
    with job.clock("encode"):
        save_stereo_photo(output.partial, packed, suffix=suffix, format=format)
    sheet.write(film_ended=True)
    output.commit()
    return None if large else packed
