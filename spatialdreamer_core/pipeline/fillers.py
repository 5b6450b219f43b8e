"""The fillers by name, with the options that each one takes, and how each is loaded.

What is loaded is a `Filler`; nothing after this place knows which one it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch

from ..checks import InputError, check_choice, check_range, check_types
from ..fill import FastFill, Filler, InpaintConfig, load_inpainter
from ..spatialdreamer.sampler_config import DEFAULT_MAX_SIDE, SamplerConfig
from ..svd.canvas import MAX_SIDE, MIN_SIDE
from ..weights.download import OnProgress

_TAKES = {
    "fast": (),
    "stable_diffusion": ("steps", "seed", "prompt"),
    "spatialdreamer": ("checkpoint", "weights", "steps", "seed", "strength", "window", "overlap", "max_side"),
}
FILLERS = tuple(_TAKES)


@dataclass(frozen=True)
class FillerConfig:
    """Which filler runs, and its options; None is that filler's own default."""

    filler: str = "fast"  # one of FILLERS
    checkpoint: str | os.PathLike[str] | None = None  # Stable Video Diffusion: a file, or a diffusers folder
    weights: str | os.PathLike[str] | None = None  # trained weights of SpatialDreamer; None: untrained
    steps: int | None = None  # of denoising
    seed: int | None = None  # of the noise
    strength: float | None = None  # noise that sampling starts from, 0.05 to 1
    window: int | None = None  # frames diffused at a time
    overlap: int | None = None  # finished frames of a scene that its next window sees
    max_side: int | None = None  # px, longer side at which frames are diffused
    prompt: str | None = None  # what the holes show, in words

    def check(self) -> None:
        """Check every option that can be checked without its model.

        Raises:
            InputError: For the first one that breaks its rule, or that the filler does not take.
        """
        check_types(self)
        check_choice("filler", self.filler, FILLERS)
        for field in fields(self)[1:]:
            if getattr(self, field.name) is not None and field.name not in _TAKES[self.filler]:
                takers = [name for name, options in _TAKES.items() if field.name in options]
                raise InputError(
                    f"{field.name} must go with the filler {' or '.join(takers)}, got it with {self.filler}; "
                    "leave it out or choose that filler"
                )
        if self.filler == "spatialdreamer":
            if self.checkpoint is None:
                raise InputError(
                    "checkpoint must be given for the filler spatialdreamer; name a Stable Video Diffusion, "
                    "such as svd_xt.safetensors"
                )
            if self.max_side is not None:
                check_range("max_side", self.max_side, MIN_SIDE, MAX_SIDE, "px")
            self._sampler().check()
        if self.filler == "stable_diffusion":
            InpaintConfig(**self._given_of(InpaintConfig)).check()

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
        self.check()
        if self.filler == "stable_diffusion":
            config = InpaintConfig(**self._given_of(InpaintConfig))
            return load_inpainter(config=config, device=device, download=download, on_progress=on_progress)
        if self.filler == "spatialdreamer":
            return self._load_spatialdreamer(device, on_wait)
        return FastFill(overwrite=True, check=False)

    def _load_spatialdreamer(self, device: torch.device, on_wait: Callable[[], None] | None) -> Filler:
        """Load Stable Video Diffusion, and SpatialDreamer's weights onto it."""
        from ..spatialdreamer import SpatialDreamerFiller, load_spatialdreamer  # diffusers takes seconds
        from ..svd import load_svd

        assert self.checkpoint is not None
        return SpatialDreamerFiller(
            load_spatialdreamer(load_svd(os.fspath(self.checkpoint), device=device), self._weights()),
            self._sampler(),
            max_side=DEFAULT_MAX_SIDE if self.max_side is None else self.max_side,
            first=FastFill() if self.weights is None else None,
            on_step=None if on_wait is None else lambda *step: on_wait(),
            on_wait=on_wait,
        )

    def _weights(self) -> str | None:
        """Return the path of the trained weights."""
        return None if self.weights is None else os.fspath(self.weights)

    def _sampler(self) -> SamplerConfig:
        """Return the sampler's options: an untrained model redraws what fast fill has filled."""
        untrained = {"strength": 0.4} if self.weights is None else {}
        return SamplerConfig(**untrained | self._given_of(SamplerConfig))

    def _given_of(self, config: type[SamplerConfig | InpaintConfig]) -> dict[str, Any]:
        """Return the options of a filler's settings that are given."""
        names = {field.name for field in fields(config)} & {field.name for field in fields(self)}
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
