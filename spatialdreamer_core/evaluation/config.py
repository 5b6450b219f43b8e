"""The settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..depth import BUILTIN, names_file
from ..flow import FLOW_METHODS
from ..options import check_options, option, options_of
from ..pipeline import ConvertConfig
from ..stereo import WHOLE_FORMATS

AUTO, ONE_VIEW = "auto", "view"
LAYOUTS = (AUTO, ONE_VIEW, *WHOLE_FORMATS)
_CONVERSION = options_of(ConvertConfig)
RENDERING = (  # options by which a result was rendered, and is followed
    *("divergence", "convergence", "depth_kind", "depth_stability", "foreground_scale", "depth_gamma"),
    *("depth_near", "depth_far", "edge_width", "edge_dilation", "guided_upsampling", "black_bars"),
)


@dataclass(frozen=True)
class EvaluateConfig:
    """What to measure, and how to read the files."""

    format: str = option(
        AUTO,
        choices=LAYOUTS,
        help="How the results hold two views. auto: as their metadata or names say, else they hold one view. "
        "view: they hold one view, the rendered eye's.",
    )
    truth_format: str = option(AUTO, choices=LAYOUTS, help="The same for the truth.")
    eye: Literal["right", "left"] = option(
        "right", help="The eye that was rendered and is judged; the other one is the given view."
    )
    depth: str | None = option(
        None,
        metavar="NAME|PATH",
        none_means="none",
        help="The depth that the results were rendered from, an estimator's name or a file as of `convert`; "
        "it tells holes, the intended disparity and the way back to the given view.",
    )
    divergence: float = _CONVERSION["divergence"].as_field()
    convergence: float = _CONVERSION["convergence"].as_field()
    depth_kind: str = _CONVERSION["depth_kind"].as_field()
    depth_stability: float = _CONVERSION["depth_stability"].as_field()
    foreground_scale: float = _CONVERSION["foreground_scale"].as_field()
    depth_gamma: float = _CONVERSION["depth_gamma"].as_field()
    depth_near: float = _CONVERSION["depth_near"].as_field()
    depth_far: float = _CONVERSION["depth_far"].as_field()
    edge_width: int | None = _CONVERSION["edge_width"].as_field()
    edge_dilation: int = _CONVERSION["edge_dilation"].as_field()
    guided_upsampling: bool = _CONVERSION["guided_upsampling"].as_field()
    black_bars: str = _CONVERSION["black_bars"].as_field()
    flow: str = option(
        "dis_medium",
        choices=FLOW_METHODS,
        help="Optical flow along which frames are compared with the ones before.",
    )
    chunk: int = option(
        16,
        1,
        100_000,
        "frames",
        help="Length of the chunks between which colours are compared: the window of the method.",
    )
    scanline: float = option(
        50.0,
        0.0,
        100.0,
        "% of height",
        help="The row that is drawn over time in the plots, counted from above.",
    )
    lpips: str | None = option(
        None,
        metavar="FILE",
        none_means="not measured",
        help="AlexNet's weights as torchvision publishes them (alexnet-owt-7be5be79.pth), to measure LPIPS; "
        "needs torchmetrics.",
    )
    i3d: str | None = option(
        None,
        metavar="FILE",
        none_means="not measured",
        help="I3D as a TorchScript file (i3d_torchscript.pt), to measure FVD. Such a file is a program, and "
        "it is run: give only one that you trust.",
    )
    device: str = _CONVERSION["device"].as_field()

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.depth is not None:
            names_file(self.depth)  # it raises if there is no such file

    @property
    def depth_file(self) -> Path | None:
        """The file or folder that `depth` names, if it is no estimator."""
        return Path(self.depth) if self.depth is not None and names_file(self.depth) else None

    def conversion(self) -> ConvertConfig:
        """Return the settings of the conversion that is followed."""
        return ConvertConfig(
            eye=self.eye,
            depth=BUILTIN if self.depth is None or self.depth_file is not None else self.depth,
            device=self.device,
            **{name: getattr(self, name) for name in RENDERING},
        )
