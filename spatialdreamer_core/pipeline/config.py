"""The settings of a conversion."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from ..depth import DEFAULT_STRENGTH, DEPTH_KINDS, EDGE_WIDTH, MAX_STRENGTH, DepthShaping, estimator_names
from ..dvg import BORDER_WIDTH, CONVERGENCE, DIVERGENCE
from ..flow import FLOW_METHODS
from ..options import OptionConflict, check_options, option, options_of
from ..stereo import StereoLayout, StrengthConfig
from ..video.containers import CONTAINER, choose_suffix
from ..video.encoders import CODEC, CRF, PRESET, choose_encoder
from ..video.stereo_metadata import STEREO_METADATA

_LATEST = 10_000_000.0  # s; no film is longer
_SHAPING = options_of(DepthShaping)
_LAYOUT = options_of(StereoLayout)
_STRENGTH = options_of(StrengthConfig)


@dataclass(frozen=True)
class ConvertConfig:
    """What to make of a video or photo; the defaults suit a 16:9 film on a headset or a 3D television."""

    format: str = _LAYOUT["format"].as_field()
    divergence: float = DIVERGENCE.as_field()
    convergence: float = CONVERGENCE.as_field()
    eye: Literal["right", "left", "both"] = option(
        "right",
        help="Which view is rendered; the source is the other one. both: each is rendered with half of the "
        "disparity.",
    )
    border: str = option(
        "none",
        choices=("none", "ease", "floating_window"),
        help="What to do about things that pop out of the screen and are cut by the frame's left or right "
        "edge. ease: they sink back to the screen towards the edge. floating_window: narrow black bars "
        "bring the edge forward.",
    )
    border_width: float = BORDER_WIDTH.as_field(
        name="",
        advanced=True,
        help="Width of the border in which what pops out of the screen sinks back to it, with border ease.",
    )
    black_bars: str = option(
        "auto",
        choices=("auto", "off"),
        advanced=True,
        help="auto: black bars are found, and the picture between them is converted alone. off: all of the "
        "frame is taken as picture.",
    )
    depth: str = option(
        "auto",
        choices=estimator_names,
        metavar="NAME",
        help="Depth estimator. auto: Depth Anything V2 Small if it is installed or may be downloaded, else "
        "builtin, which needs no weights and is preview grade.",
    )
    depth_file: str | os.PathLike[str] | None = option(
        None, metavar="FILE", help="File or folder whose depth is used instead of an estimator's."
    )
    depth_kind: str = option(
        "inverse",
        choices=DEPTH_KINDS,
        help="What the values of depth from a file mean. inverse: inverse depth or disparity, large is "
        "near. depth: large is far. metres: distances. Each is brought to 0 to 1 per scene; normalised: it "
        "is inverse depth in 0 to 1 already and stays as it is.",
    )
    depth_stability: float = option(
        DEFAULT_STRENGTH,
        0.0,
        MAX_STRENGTH,
        step=0.05,
        advanced=True,
        metavar="SHARE",
        help="How much the depth of a depth model is steadied over time: the share that each frame takes "
        "over from the one before, where they agree. 0 leaves each frame as the model gives it; any other "
        "value also corrects jumps of the whole map. builtin is steady by itself.",
    )
    foreground_scale: float = _SHAPING["foreground_scale"].as_field()
    depth_gamma: float = _SHAPING["gamma"].as_field()
    depth_near: float = _SHAPING["near"].as_field()
    depth_far: float = _SHAPING["far"].as_field()
    edge_width: int | None = _SHAPING["edge_width"].as_field(
        default=None, none_as=-1, none_means=f"{EDGE_WIDTH} for depth models, 0 for builtin"
    )
    edge_dilation: int = _SHAPING["edge_dilation"].as_field()
    guided_upsampling: bool = option(
        False,
        advanced=True,
        help="Moves depth's edges to the edges of the picture's colours: for depth coarser than the "
        "picture. Not for builtin depth, whose outlines it tears.",
    )
    start: float | None = option(
        None,
        0.0,
        _LATEST,
        "seconds",
        step=0.1,
        none_as=0.0,
        none_means="from the beginning",
        advanced=True,
        help="First moment to convert.",
    )
    end: float | None = option(
        None,
        0.0,
        _LATEST,
        "seconds",
        step=0.1,
        none_as=0.0,
        none_means="to the end",
        advanced=True,
        help="First moment not to convert any more.",
    )
    audio: bool = option(True, help="Passes the sound through.")
    deinterlace: str = option(
        "auto",
        choices=("auto", "off"),
        advanced=True,
        help="auto: frames that are marked as interlaced are made whole. off: they stay as they are.",
    )
    allow_incomplete: bool = option(
        False,
        advanced=True,
        help="Converts a video that is cut short or damaged as far as it goes, instead of refusing it or "
        "ending with an error.",
    )
    codec: str = CODEC.as_field()
    crf: int = CRF.as_field()
    preset: str = PRESET.as_field()
    flow: str = option(
        "dis_fast",
        choices=FLOW_METHODS,
        advanced=True,
        help="Optical flow between neighbouring frames, along which depth and holes are steadied, from "
        "fastest to most accurate. dis_ultrafast, dis_fast, dis_medium: on the CPU, no weights. "
        "raft_small, raft_large: networks, whose weights can be downloaded.",
    )
    device: str = option(
        "auto",
        metavar="DEVICE",
        advanced=True,
        help="Where views are rendered and models run: auto, cpu, cuda or cuda:N.",
    )
    stereo_metadata: str = STEREO_METADATA.as_field()
    container: str = CONTAINER.as_field()
    anaglyph: str = _LAYOUT["anaglyph"].as_field()
    field_of_view: float = _LAYOUT["field_of_view"].as_field()
    swap_eyes: bool = _LAYOUT["swap_eyes"].as_field()
    ipd_offset: float = _LAYOUT["ipd_offset"].as_field()
    ipd_fill: str = _LAYOUT["ipd_fill"].as_field()
    pad: str = _LAYOUT["pad"].as_field()
    output_height: int | None = _LAYOUT["output_height"].as_field()
    projection: str = option(
        "auto",
        choices=("auto", "flat"),
        advanced=True,
        help="auto: a source that is a panorama or a fisheye picture, as its metadata or name says, is "
        "refused, since it would be bent wrongly. flat: it is converted as it is.",
    )
    auto_convergence: bool = _STRENGTH["auto_convergence"].as_field()
    comfort: bool = _STRENGTH["comfort"].as_field()
    max_crossed: float = _STRENGTH["max_crossed"].as_field()
    max_uncrossed: float = _STRENGTH["max_uncrossed"].as_field()
    sidecar: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        advanced=True,
        help="CSV or JSON file with settings for single scenes or parts of them; `spatialdreamer scenes` "
        "writes one to begin with.",
    )
    resume: str = option(
        "auto",
        choices=("auto", "on", "off"),
        advanced=True,
        help="Whether finished parts of a film are kept on disk until it is whole, so that a conversion that "
        "was killed goes on where it was. auto: for films longer than a minute, and for clips longer than "
        "10 seconds that a diffusion model fills.",
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        self.shaping().check()
        if self.sidecar is not None and self.resume == "off":
            raise OptionConflict(
                "resume must be auto or on with a sidecar, got off; leave it out", "resume", "sidecar"
            )
        self.layout().check()
        self._strength().check(offset=self.ipd_offset)
        if self.end is not None and self.end <= (self.start or 0.0):
            raise OptionConflict(
                f"end must be later than start ({self.start or 0.0:g} s), got {self.end:g} s", "end", "start"
            )

    def shaping(self, *, builtin: bool = False) -> DepthShaping:
        """Return how depth is shaped before the warp.

        Args:
            builtin: Whether depth is the builtin estimator's, which snaps its edges itself: its automatic
                edge width is 0.
        """
        settings = {field: getattr(self, described.name) for field, described in _SHAPING.items()}
        if self.edge_width is None:
            settings["edge_width"] = 0 if builtin else EDGE_WIDTH
        return DepthShaping(**settings)

    @property
    def suffix(self) -> str:
        """The suffix of a video whose name is not given."""
        return choose_suffix(self.container, codec=self.codec)

    def layout(self) -> StereoLayout:
        """Return how the two views become one picture."""
        return StereoLayout(**{name: getattr(self, name) for name in _LAYOUT})

    def strength(self) -> StrengthConfig:
        """Return what is done about each scene's strength and place, for `ipd_offset` comes after it."""
        return self._strength().shifted(self.ipd_offset)

    def _strength(self) -> StrengthConfig:
        """Return what is done about each scene's strength and place, as it was asked for."""
        return StrengthConfig(**{field: getattr(self, field) for field in _STRENGTH})

    def encoder(
        self,
        width: int,
        height: int,
        *,
        bits: int = 8,
        hdr: bool = False,
        device: torch.device | None = None,
        suffix: str = ".mp4",
    ) -> str:
        """Return the encoder for a packed video, see `choose_encoder`.

        Args:
            width: Width of the packed video in pixels.
            height: Its height.
            bits: Bits of a component in the source.
            hdr: Whether the source has the metadata of HDR10.
            device: Where the conversion runs.
            suffix: The file's.
        """
        cuda = device is not None and device.type == "cuda" and torch.version.hip is None
        return choose_encoder(
            width, height, codec=self.codec, bits=bits, hdr=hdr, crf=self.crf, cuda=cuda, suffix=suffix
        )
