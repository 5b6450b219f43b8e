"""The settings of a conversion."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from ..checks import InputError, check_choice, check_range, check_types
from ..depth import (
    DEFAULT_STRENGTH,
    DEPTH_KINDS,
    EDGE_WIDTH,
    MAX_STRENGTH,
    DepthShaping,
    estimator_names,
)
from ..dvg.borders import MAX_BORDER_WIDTH
from ..dvg.disparity import MAX_DIVERGENCE
from ..flow import FLOW_METHODS
from ..stereo import FORMATS
from ..video.encoders import check_encoding, choose_encoder

EYES = ("right", "left", "both")
BORDERS = ("none", "ease", "floating_window")
DEINTERLACING = ("auto", "off")
BLACK_BARS = ("auto", "off")
MAX_SECONDS = 10_000_000.0  # latest start or end; no film is longer


@dataclass(frozen=True)
class ConvertConfig:
    """What to make of a video or photo; the defaults suit a 16:9 film on a headset or a 3D television."""

    format: str = "full_sbs"  # how the two views share a frame, one of stereo.FORMATS
    divergence: float = 2.5  # total disparity range between the eyes, % of the width, 0 to 20
    convergence: float = 0.5  # the depth that lies on the screen, 0 to 1
    eye: Literal["right", "left", "both"] = "right"  # which view is rendered; the source is the other one
    depth: str = "auto"  # the depth estimator, one of depth.estimator_names
    depth_stability: float = DEFAULT_STRENGTH  # how much a model's depth is steadied over time, 0 to 0.95
    start: float | None = None  # s, first moment to convert
    end: float | None = None  # s, first moment not to convert any more
    audio: bool = True  # whether the sound is passed through
    codec: str = "auto"  # encoder: "auto" is libx264 for 8 bits up to 4096x2304, else libx265
    crf: int = 18  # quality, 0 (lossless) to 51 (worst)
    preset: str = "veryfast"  # speed of the encoder, one of PRESETS
    flow: str = "dis_fast"  # optical flow method, one of flow.FLOW_METHODS
    border: str = "none"  # what keeps near things that the frame's sides cut behind the frame, one of BORDERS
    border_width: float = 5.0  # width of the border that "ease" flattens, % of the width, 0 to 25
    depth_file: str | os.PathLike[str] | None = (
        None  # file or folder whose depth is used instead of an estimator's
    )
    depth_kind: str = "inverse"  # what the values in depth_file mean, one of depth.DEPTH_KINDS
    device: str = "auto"  # where views are rendered and models run: "auto", "cpu", "cuda" or "cuda:N"
    foreground_scale: float = 0.0  # share of the range for the foreground, -3 to 3, as in iw3
    depth_gamma: float = 1.0  # exponent of the depth, 0.1 to 10: above 1 pushes the middle back
    depth_near: float = 1.0  # depth from which on everything is nearest, 0 to 1
    depth_far: float = 0.0  # depth up to which everything is farthest, 0 to 1
    edge_width: int | None = None  # px beside an edge in which ramps become steps, 0 to 20; None: automatic
    edge_dilation: int = 0  # px by which foregrounds grow, 0 to 10
    guided_upsampling: bool = False  # whether depth's edges move to the edges of the frame's colours
    black_bars: str = "auto"  # "auto" converts the picture between black bars alone, "off" the frame
    deinterlace: str = "auto"  # "auto" makes frames that are marked as interlaced whole, "off" does not
    allow_incomplete: bool = False  # whether an input that is cut short or damaged counts as converted

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_types(self)
        check_choice("format", self.format, FORMATS)
        check_range("divergence", self.divergence, 0.0, MAX_DIVERGENCE, "% of width")
        check_range("convergence", self.convergence, 0.0, 1.0)
        check_choice("eye", self.eye, EYES)
        check_choice("depth", self.depth, estimator_names())
        check_range("depth_stability", self.depth_stability, 0.0, MAX_STRENGTH)
        check_choice("depth_kind", self.depth_kind, DEPTH_KINDS)
        check_choice("border", self.border, BORDERS)
        check_range("border_width", self.border_width, 0.0, MAX_BORDER_WIDTH, "% of width")
        check_choice("flow", self.flow, FLOW_METHODS)
        self.shaping().check()
        check_choice("black_bars", self.black_bars, BLACK_BARS)
        check_choice("deinterlace", self.deinterlace, DEINTERLACING)
        check_encoding(codec=self.codec, crf=self.crf, preset=self.preset)
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None:
                check_range(name, value, 0.0, MAX_SECONDS, "seconds")
        if self.end is not None and self.end <= (self.start or 0.0):
            raise InputError(f"end must be later than start ({self.start or 0.0:g} s), got {self.end:g} s")

    def shaping(self, *, builtin: bool = False) -> DepthShaping:
        """Return how depth is shaped before the warp.

        Args:
            builtin: Whether depth is the builtin estimator's, which snaps its edges itself: its automatic
                edge width is 0.
        """
        automatic = 0 if builtin else EDGE_WIDTH
        return DepthShaping(
            foreground_scale=self.foreground_scale,
            gamma=self.depth_gamma,
            near=self.depth_near,
            far=self.depth_far,
            edge_width=automatic if self.edge_width is None else self.edge_width,
            edge_dilation=self.edge_dilation,
        )

    def encoder(self, width: int, height: int, *, bits: int = 8) -> str:
        """Return the encoder for a packed video, see `choose_encoder`.

        Args:
            width: Width of the packed video in pixels.
            height: Its height.
            bits: Bits of a component in the source.
        """
        return choose_encoder(width, height, codec=self.codec, bits=bits)
