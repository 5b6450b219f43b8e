"""The fillers by name: the options of each, and how it is loaded.

What is loaded is a `Filler`; no code after this module knows which one it is. An entry in `FILLERS` is all
that `--filler` needs: the options of its settings class appear in `--help`, are checked, and are refused by
name when given to another filler.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ..checks import InputError, check_choice
from ..fill import FastFill, FastFillConfig, Filler, InpaintConfig, load_inpainter
from ..frame_matrix.config import FrameMatrixConfig
from ..m2svid.config import RefinerConfig
from ..m2svid.variant import ADDRESS, FileConfig
from ..options import option, option_of, options_of
from ..spatialdreamer.sampler_config import FilmSamplerConfig
from ..weights.download import OnProgress

_SVD = "a Stable Video Diffusion, such as svd_xt.safetensors"
_UNTRAINED = {"steps": 10, "strength": 0.4}  # SVD's own UNet redraws what fast fill has filled


class FillerSettings(Protocol):
    """A dataclass whose fields are options."""

    def check(self) -> None:
        """Check every option that can be checked without the filler's model."""


class LoadFiller(Protocol):
    """Loads a filler."""

    def __call__(
        self,
        settings: Any,
        *,
        device: torch.device,
        download: bool,
        on_progress: OnProgress | None,
        on_wait: Callable[[], None] | None,
    ) -> Filler:
        """Load it with settings that have been checked, see `FillerConfig.load`."""


@dataclass(frozen=True)
class FillerEntry:
    """A filler that can be chosen by name.

    Attributes:
        help: What it is, in a few words, for the command's help.
        settings: The class of its options.
        load: Loads it.
        defaults: Returns those defaults that depend on the given options; None if there are none.
    """

    help: str
    settings: type[FillerSettings]
    load: LoadFiller
    defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class SpatialDreamerFillerConfig(FilmSamplerConfig):
    """Options of the filler `spatialdreamer`: its files, and how it samples."""

    steps: int = option_of(FilmSamplerConfig, "steps").as_field(
        help=f"Sampling steps. 8 is the fast preset. Without `weights` the default is {_UNTRAINED['steps']}."
    )
    strength: float = option_of(FilmSamplerConfig, "strength").as_field(
        help="How much noise it starts from; 1 is nothing but noise. "
        f"Without `weights` the default is {_UNTRAINED['strength']:g}."
    )
    checkpoint: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        help="Stable Video Diffusion, such as svd_xt.safetensors: a file, or a folder in diffusers' layout.",
    )
    weights: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        help="Trained weights of SpatialDreamer; without them fast fill goes before it.",
    )

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule, or if there is no checkpoint.
        """
        _check_given(self.checkpoint, "spatialdreamer", _SVD)
        super().check()


@dataclass(frozen=True)
class M2SVidFillerConfig(RefinerConfig, FileConfig):
    """Options of the filler `m2svid`: its files, and how it refines."""

    checkpoint: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        help="M2SVid's weights: the authors' m2svid_weights.pt or m2svid_no_full_atten_weights.pt, or "
        "safetensors made of one.",
    )

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule, or if there is no checkpoint.
        """
        _check_given(self.checkpoint, "m2svid", f"M2SVid's weights, such as m2svid_weights.pt of {ADDRESS}")
        super().check()


@dataclass(frozen=True)
class FrameMatrixFillerConfig(FrameMatrixConfig):
    """Options of the filler `frame_matrix`: its file, and how it fills."""

    checkpoint: str | os.PathLike[str] | None = option_of(SpatialDreamerFillerConfig, "checkpoint").as_field()

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule, or if there is no checkpoint.
        """
        _check_given(self.checkpoint, "frame_matrix", _SVD)
        super().check()


class FillerConfig:
    """Which filler runs, and its options.

    Args:
        filler: One of `FILLERS`.
        options: Options of its settings class; what is not given, or None, keeps the filler's default.
    """

    def __init__(self, filler: str = "fast", **options: Any) -> None:
        self.filler = filler
        self.options = {name: value for name, value in options.items() if value is not None}

    def check(self) -> None:
        """Check every option that can be checked without the filler's model.

        Raises:
            InputError: For the first one that breaks its rule, or that the filler does not take.
        """
        self._settings().check()

    def load(
        self,
        *,
        device: torch.device,
        download: bool = False,
        on_progress: OnProgress | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Filler:
        """Load the filler.

        Args:
            device: Where its model runs.
            download: Whether to download missing weights, where they are published.
            on_progress: Of the download.
            on_wait: Called now and then while it works; may raise to interrupt.

        Raises:
            InputError: If an option breaks its rule, or weights are missing, damaged or another model's.
        """
        settings = self._settings()
        settings.check()
        return FILLERS[self.filler].load(
            settings, device=device, download=download, on_progress=on_progress, on_wait=on_wait
        )

    def _settings(self) -> FillerSettings:
        """Make the filler's settings from the given options."""
        check_choice("filler", self.filler, tuple(FILLERS))
        entry = FILLERS[self.filler]
        for name in self.options:
            if name not in options_of(entry.settings):
                raise InputError(_refusal(name, self.filler))
        defaults = {} if entry.defaults is None else entry.defaults(self.options)
        return entry.settings(**{**defaults, **self.options})


def _check_given(checkpoint: str | os.PathLike[str] | None, filler: str, what: str) -> None:
    """Check that a filler which needs a checkpoint got one."""
    if checkpoint is None:
        raise InputError(f"checkpoint must be given for the filler {filler}; name {what}")


def _refusal(name: str, filler: str) -> str:
    """Say that a filler does not take an option, and which ones do."""
    takers = [other for other, entry in FILLERS.items() if name in options_of(entry.settings)]
    if not takers:
        return f"{name} must be an option of a filler, got it with {filler}; leave it out"
    named = " or ".join(filter(None, (", ".join(takers[:-1]), takers[-1])))
    choose = "that filler" if len(takers) == 1 else "one of those"
    return f"{name} must go with the filler {named}, got it with {filler}; leave it out or choose {choose}"


def _load_fast(settings: FastFillConfig, **_: Any) -> Filler:
    """Make fast fill, which may overwrite the conversion's own frames."""
    return FastFill(texture=settings.texture, overwrite=True, check=False)


def _load_stable_diffusion(
    settings: InpaintConfig,
    *,
    device: torch.device,
    download: bool,
    on_progress: OnProgress | None,
    on_wait: Callable[[], None] | None,
) -> Filler:
    """Load Stable Diffusion inpainting."""
    return load_inpainter(config=settings, device=device, download=download, on_progress=on_progress)


def _load_spatialdreamer(
    settings: SpatialDreamerFillerConfig,
    *,
    device: torch.device,
    download: bool,
    on_progress: OnProgress | None,
    on_wait: Callable[[], None] | None,
) -> Filler:
    """Load Stable Video Diffusion, and SpatialDreamer's weights onto it."""
    from ..spatialdreamer import SpatialDreamerFiller, load_spatialdreamer  # diffusers takes seconds
    from ..svd import load_svd

    assert settings.checkpoint is not None
    weights = None if settings.weights is None else os.fspath(settings.weights)
    trained: dict[str, Any] = {} if weights is None else {"first": None}  # it knows holes as they are
    return SpatialDreamerFiller(
        load_spatialdreamer(load_svd(os.fspath(settings.checkpoint), device=device), weights),
        settings,
        max_side=settings.max_side,
        **trained,
        on_step=None if on_wait is None else lambda *step: on_wait(),
        on_wait=on_wait,
    )


def _load_m2svid(
    settings: M2SVidFillerConfig,
    *,
    device: torch.device,
    download: bool,
    on_progress: OnProgress | None,
    on_wait: Callable[[], None] | None,
) -> Filler:
    """Load M2SVid."""
    from ..m2svid import M2SVidFiller, load_m2svid  # diffusers takes seconds

    assert settings.checkpoint is not None
    model = load_m2svid(
        os.fspath(settings.checkpoint),
        variant=settings.given_variant,
        svd=settings.svd,
        device=device,
    )
    return M2SVidFiller(model, settings, on_wait=on_wait)


def _load_frame_matrix(
    settings: FrameMatrixFillerConfig,
    *,
    device: torch.device,
    download: bool,
    on_progress: OnProgress | None,
    on_wait: Callable[[], None] | None,
) -> Filler:
    """Load Stable Video Diffusion for the frame matrix."""
    from ..frame_matrix import FrameMatrixFiller, FrameMatrixModel  # diffusers takes seconds
    from ..svd import load_svd

    assert settings.checkpoint is not None
    model = FrameMatrixModel(load_svd(os.fspath(settings.checkpoint), device=device))
    on_step = None if on_wait is None else lambda *step: on_wait()
    return FrameMatrixFiller(model, settings, on_step=on_step, on_wait=on_wait)


def _spatialdreamer_defaults(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what suits a model without trained weights, if it is one."""
    return {} if "weights" in given else _UNTRAINED


FILLERS: dict[str, FillerEntry] = {
    "fast": FillerEntry("needs no weights", FastFillConfig, _load_fast),
    "stable_diffusion": FillerEntry("invents each frame for itself", InpaintConfig, _load_stable_diffusion),
    "spatialdreamer": FillerEntry(
        "video diffusion that looks at the left view",
        SpatialDreamerFillerConfig,
        _load_spatialdreamer,
        _spatialdreamer_defaults,
    ),
    "m2svid": FillerEntry("one step of video diffusion, trained to refine", M2SVidFillerConfig, _load_m2svid),
    "frame_matrix": FillerEntry(
        "video diffusion over time and over views between the eyes, without any training",
        FrameMatrixFillerConfig,
        _load_frame_matrix,
    ),
}
