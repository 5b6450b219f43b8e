"""What a live preview of the warp needs: one frame, its depth, and the numbers in the formulas.

The page repeats `depth.shaping`, `dvg.disparity`, `stereo.strength` and the warp itself while sliders move
(`web/js/parallax/`). It gets depth as it is before its curves are bent and after its edges were worked on,
which takes longer, and every constant from here, so that those are written once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from ..checks import one_line
from ..depth import DepthShaping, upsample_depth
from ..depth.shaping import GROWTH, LEAST_RANGE, SHRINKAGE, shape_frames
from ..depth.subject import find_subject
from ..options import options_of
from ..stereo import COMFORT_LIMIT, DeviceConfig, suggest_settings
from ..video.color import to_8_bit
from .config import ConvertConfig
from .stages import Estimated

_LOGGER = logging.getLogger(__name__)

MOST_WIDTH = 960  # px
_LEAST_CONTRAST = 8.0  # standard deviation of 8-bit values; a fade or a black frame shows nothing
PARALLAX_SETTINGS = (
    *("divergence", "convergence", "eye", "border", "border_width"),
    *("foreground_scale", "depth_gamma", "depth_near", "depth_far"),
    *("auto_convergence", "comfort", "max_crossed", "max_uncrossed"),
)
"""The options, by name, that the preview follows."""


class DepthSample(NamedTuple):
    """A frame and its depth, small enough to be looked at in a browser."""

    picture: np.ndarray  # [h, w, 3] uint8 RGB
    depth: np.ndarray  # [h, w] float32 in [0, 1], 1 = near; its edges are worked on, its curves are not
    time: float  # s from the start of the film, or the frame's number in a clip

    def describe(self) -> dict[str, Any]:
        """Return what the page has to know of the depth, as JSON has it."""
        percentiles = np.percentile(self.depth, np.arange(101))
        return {
            "subject": round(find_subject(self.picture, self.depth), 4),
            "percentiles": [round(float(value), 4) for value in percentiles],
        }

    def packed_depth(self) -> np.ndarray:  # [h, w, 3] uint8
        """Return the depth in 16 bits as a picture: the high byte in red, the low byte in green.

        Browsers reduce pictures of 16 bits to 8.
        """
        values = np.rint(self.depth * 65535).astype(np.uint16)
        return np.dstack([values >> 8, values & 255, np.zeros_like(values)]).astype(np.uint8)


def make_sample(
    picture: np.ndarray,  # [H, W, 3] uint8 RGB
    depth: np.ndarray,  # [H, W] float32 in [0, 1], as it is before its curves are bent
    *,
    time: float,
) -> DepthSample:
    """Shrink a frame and its depth to `MOST_WIDTH`; depth is picked, not mixed, so that edges stay edges."""
    height, width = picture.shape[:2]
    if width > MOST_WIDTH:
        size = (MOST_WIDTH, max(1, round(height * MOST_WIDTH / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return DepthSample(picture, depth.clip(0, 1), time)


def edges_alone(shaping: DepthShaping) -> DepthShaping:
    """Return what is done at depth's edges, without its curves."""
    return DepthShaping(edge_width=shaping.edge_width, edge_dilation=shaping.edge_dilation)


class DepthWatch:
    """Waits for the first frame of a conversion that shows something, and gives it away with its depth.

    What fails there costs the preview alone, and is said in the log.

    Args:
        on_depth: Called once, as soon as that depth is known.
    """

    def __init__(self, on_depth: Callable[[DepthSample], None]) -> None:
        self._on_depth = on_depth
        self._found = False

    def watch(
        self, frames: Iterator[Estimated], *, shaping: DepthShaping, guided: bool
    ) -> Iterator[Estimated]:
        """Let frames pass.

        Args:
            frames: The frames with their depth.
            shaping: How depth is shaped.
            guided: Whether depth's edges follow the picture's colours.
        """
        for frame in frames:
            if not self._found and frame.analysed.small.std() >= _LEAST_CONTRAST:
                self._found = True
                try:
                    self._on_depth(sample_of(frame, shaping=shaping, guided=guided))
                except Exception as error:  # the film goes on
                    _LOGGER.warning("the live preview is left out: %s", one_line(error))
            yield frame


def sample_of(frame: Estimated, *, shaping: DepthShaping, guided: bool) -> DepthSample:
    """Bring a frame's depth to full size and work on its edges, as the stage before the warp does."""
    film_frame = frame.analysed.frame
    picture = to_8_bit(film_frame.image, film_frame.color)
    depth = upsample_depth(frame.depth, picture.shape[:2], guide=picture if guided else None)
    plane = torch.from_numpy(depth)[None, None]
    shaped = shape_frames(plane, edges_alone(shaping), on_device=False)[0, 0].numpy()
    return make_sample(picture, shaped, time=film_frame.time)


def parallax_rules() -> dict[str, Any]:
    """Return the numbers in the formulas that the page repeats, as JSON has them."""
    options = options_of(ConvertConfig)
    devices = options_of(DeviceConfig)["device_profile"].list_choices()
    return {
        "growth": GROWTH,
        "shrinkage": SHRINKAGE,
        "least_range": LEAST_RANGE,
        "comfort_limit": COMFORT_LIMIT,
        "devices": {device: suggest_settings(device) for device in devices},
        "defaults": {
            **{name: options[name].default for name in PARALLAX_SETTINGS},
            "device_profile": DeviceConfig.device_profile,
        },
    }
