"""A photo file to a stereoscopic one."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from ..fill import Filler
from ..flow import FlowEstimator
from ..stereo import packed_size
from ..video.output import OutputFile
from ..video.photo import check_photo_target, read_photo, save_photo
from ..video.reader import VideoFrame
from .clock import StageClock
from .config import ConvertConfig
from .depth_source import DepthSource, open_depth
from .large_photo import convert_in_strips, needs_strips
from .packed import packed_frames
from .pictures import cut_pictures
from .preview import MiddleSheet


def convert_photo(
    input_path: Path,
    output: OutputFile,
    config: ConvertConfig,
    *,
    device: torch.device,
    source: DepthSource,
    flow: FlowEstimator,
    filler: Filler,
    sheet: MiddleSheet,
    clock: StageClock,
) -> np.ndarray | None:  # [H, W, 3], of the photo's type
    """Convert a photo: a film of one frame, or in strips if it is large.

    Args:
        input_path: The photo.
        output: Where the result goes.
        config: The settings.
        device: Where views are rendered.
        source: Where its depth comes from.
        flow: A flow method, for the chain of films; nothing moves.
        filler: Fills the holes of its views.
        sheet: Takes the contact sheet.
        clock: Adds up the time that each stage takes.

    Returns:
        The packed picture; None for a large photo, of which no preview is shown.

    Raises:
        InputError: If the photo or its depth cannot be used.
    """
    with open_depth(
        source, input_path, config, photo=True, total=1, on_first_pass=None, clock=clock
    ) as estimator:
        image = read_photo(input_path)
        check_photo_target(output.path, *packed_size(*image.shape[:2], format=config.format))
        large, frames = needs_strips(image), iter([VideoFrame(image, 0, Fraction(1))])
        del image  # encoding takes as much memory again
        if large:
            packed, picture = convert_in_strips(
                next(cut_pictures(frames, black_bars=config.black_bars, clock=clock, report=True)),
                config,
                estimator=estimator,
                filler=filler,
                device=device,
                clock=clock,
                with_sheet=sheet.is_wanted,
            )
            sheet.give(picture)
        else:
            with closing(
                packed_frames(
                    frames,
                    config,
                    device=device,
                    estimator=estimator,
                    flow=flow,
                    filler=filler,
                    sheet=sheet,
                    clock=clock,
                )
            ) as pictures:
                packed = next(picture for _, picture in pictures)
        with clock("encode"):
            save_photo(output.partial, packed, suffix=output.path.suffix)
    sheet.write(film_ended=True)
    output.commit()
    return None if large else packed
