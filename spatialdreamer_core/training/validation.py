"""Validation: what the deployed sampler makes of held-out clips, measured against their true views.

The loss of a diffusion model says little of its pictures: fine-tuning may lower it while the holes blur. So
each validation samples the same clips with the same noise, as a user would, and compares what fills the holes
with what is really there, in frames as the dataset stores them, without loss. Two figures tell whether the
model has learnt anything: filling each hole with the mean colour of its known surroundings, which it should
beat, and its own result when RefinerNet looks at another clip, which should be worse.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..atomic import replacing, write_error
from ..checks import InputError
from ..metrics import ComparedFrame, Comparison, PerceptualDistance, hole_regions, masked_psnr
from ..metrics.measures import MOST_DECIBELS
from ..metrics.views import gradient_within
from ..spatialdreamer import Reference, SamplerConfig, SpatialDreamer, encode_reference, sample_views
from ..svd.vae import own_precision
from ..svd.windows import Region
from .clips import Clips, FittedClip, fit_clip

_LOGGER = logging.getLogger(__name__)

HOLE_PSNR = "hole_psnr"
MEAN_PSNR = "mean_fill_psnr"  # of filling each hole with the mean of its known surroundings
OTHER_PSNR = "other_reference_psnr"  # of holes, where RefinerNet sees another clip
SHARPNESS = "sharpness"  # of holes: their gradients over the truth's; below 1 they are blurred
WHOLE_PSNR = "whole_view_psnr"  # of the diffused picture everywhere, known pixels too
_COMPARED = {  # measures of the filled view, from `metrics.MEASURES`; some need LPIPS's weights or two frames
    **{name: name for name in ("psnr", "ssim", "lpips", "warping_error", "temporal_error")},
    "hole_lpips": "lpips_holes",
    "hole_warping_error": "warping_error_holes",
    "hole_temporal_error": "temporal_error_holes",
}
_REACH = 4  # px, how far surroundings reach from a hole


@dataclass(frozen=True)
class Validation:
    """The outcome of a validation.

    Attributes:
        metrics: Figures by name: the constants of this module; psnr, ssim, lpips, warping_error and
            temporal_error of the filled view, and the last three in holes alone (hole_lpips, …).
        pictures: Of each clip its middle frame: truth, rendered view, filled view and the whole diffused
            picture, from left to right, each [3, H, 4 · W] in [0, 1].
    """

    metrics: dict[str, float]
    pictures: dict[str, Tensor]

    def save_pictures(self, file: str | Path) -> None:
        """Save the pictures one above the other, as a PNG.

        Raises:
            InputError: If the file cannot be written.
        """
        from PIL import Image

        file = Path(file)
        rows = torch.cat(list(self.pictures.values()), dim=1)
        pixels = (rows.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        try:
            with replacing(file) as partial:
                Image.fromarray(pixels).save(partial, format="PNG")
        except OSError as error:
            raise write_error(file, error, name="pictures") from error


def validate(
    model: SpatialDreamer,
    dataset: Clips,
    *,
    height: int,
    width: int,
    clips: int = 8,
    frames: int = 8,
    steps: int = 8,
    seed: int = 0,
    lpips: PerceptualDistance | None = None,
    other_reference: bool = True,
    on_clip: Callable[[int, int], None] | None = None,
) -> Validation:
    """Sample held-out clips and measure the result; nothing of the model changes, nor any generator.

    Args:
        model: The model, in training or not.
        dataset: The dataset, of which the same clips are taken each time, all with holes to fill.
        height: px, to which clips are fitted as in training.
        width: px.
        clips: How many clips, at most.
        frames: Of each clip, at most: 1 for what stage 1 trains.
        steps: Sampling steps.
        seed: Of the noise.
        lpips: What `metrics.load_lpips` gives; None leaves LPIPS out.
        other_reference: Whether to sample all clips once more, with another clip before RefinerNet.
        on_clip: Called with the samplings done and those in all; may raise to interrupt.

    Raises:
        InputError: If no held-out clip can be read and has holes.
    """
    pairs = _read(dataset, clips, frames, height=height, width=width)
    other_reference = other_reference and len(pairs) > 1
    config = SamplerConfig(steps=steps, seed=seed, window=max(len(clip.hole) for _, clip in pairs), overlap=0)
    scores, pictures = _Scores(lpips), {}
    done, total = 0, len(pairs) * (2 if other_reference else 1)

    def count() -> None:
        nonlocal done
        done += 1
        if on_clip is not None:
            on_clip(done, total)

    with _evaluating(model):
        for place, (name, clip) in enumerate(pairs):
            reference = encode_reference(model, clip.reference, max_side=max(height, width))
            views = sample_views(model, reference, clip.warped, clip.hole, config)
            with own_precision(model.device):
                scores.add(clip, views.filled, views.whole)
            count()
            shown = (clip.target, clip.warped, views.filled, views.whole)
            pictures[name] = torch.cat([view[len(view) // 2].clone() for view in shown], dim=-1).cpu()
            if other_reference:
                stranger = pairs[(place + 1) % len(pairs)][1].reference
                stranger = stranger[torch.arange(len(clip.hole)).clamp(max=len(stranger) - 1)]
                other = encode_reference(model, stranger, max_side=max(height, width))
                views = sample_views(model, MisledReference(reference, other), clip.warped, clip.hole, config)
                with own_precision(model.device):
                    scores.add_other(clip, views.filled)
                count()
    return Validation(scores.result(), pictures)


def fill_with_mean(
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Fill each hole with the mean colour of the known pixels up to 4 px from it.

    A hole is what hangs together in a frame, corners included. One without known surroundings gets the mean
    of the frame's known pixels, or mid-grey where there are none.
    """
    filled = warped.detach().float().cpu().numpy().copy()
    kernel = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    for frame, mask in zip(filled, (hole[:, 0] > 0.5).cpu().numpy().astype(np.uint8), strict=True):
        known = frame[:, mask == 0]
        usual = known.mean(1) if known.size else np.full(3, 0.5, np.float32)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        for label in range(1, count):
            x, y, w, h = boxes[label][:4]
            rows = slice(max(0, y - _REACH), y + h + _REACH)
            columns = slice(max(0, x - _REACH), x + w + _REACH)
            own = labels[rows, columns] == label
            around = (cv2.dilate(own.astype(np.uint8), kernel) > 0) & (mask[rows, columns] == 0)
            part = frame[:, rows, columns]
            part[:, own] = (part[:, around].mean(1) if around.any() else usual)[:, None]
    return torch.from_numpy(filled).to(warped)


class MisledReference(Reference):
    """A clip's reference, but RefinerNet sees another clip; the deviation strength stays the clip's own."""

    def __init__(self, own: Reference, other: Reference) -> None:
        super().__init__(own.model, own.canvas, own.latents, own.embeddings)
        self._other = other

    def features(self, region: Region, *, on_frame: Callable[[int], None] | None = None) -> dict[str, Tensor]:
        """Return the other clip's features."""
        return self._other.features(region, on_frame=on_frame)


class _Scores:
    """Collects the figures of all clips; every hole pixel counts alike."""

    def __init__(self, lpips: PerceptualDistance | None) -> None:
        self._comparison = Comparison(lpips=lpips)
        self._holes: dict[str, list[Tensor]] = {}  # hole pixels of all clips, each [3, N]
        self._gradients = [0.0, 0.0]  # of the result and the truth
        self._whole: list[float] = []  # mean squared errors

    def add(self, clip: FittedClip, filled: Tensor, whole: Tensor) -> None:
        """Take a clip's result."""
        hole = ~hole_regions(clip.hole).visible
        self._comparison.start_scene()
        for frame in range(len(filled)):
            own = (filled[frame], clip.target[frame], None, None, clip.hole[frame])
            self._comparison.add(ComparedFrame(*own))
        parts = {"truth": clip.target, HOLE_PSNR: filled, MEAN_PSNR: fill_with_mean(clip.warped, clip.hole)}
        for name, view in parts.items():
            self._holes.setdefault(name, []).append(_pixels(view, hole))
        pixels = float(hole.sum())
        for place, view in enumerate((filled, clip.target)):
            gradient = float(gradient_within(view, hole))
            self._gradients[place] += gradient * pixels if gradient == gradient else 0.0
        self._whole.append(float((whole.float() - clip.target).square().mean()))

    def add_other(self, clip: FittedClip, filled: Tensor) -> None:
        """Take a clip's result with another clip's reference."""
        self._holes.setdefault(OTHER_PSNR, []).append(_pixels(filled, ~hole_regions(clip.hole).visible))

    def result(self) -> dict[str, float]:
        """Return all figures."""
        truth, *others = (
            (name, torch.cat(parts, dim=1)[None, :, None]) for name, parts in self._holes.items()
        )
        figures = {name: min(MOST_DECIBELS, masked_psnr(pixels, truth[1])) for name, pixels in others}
        if self._gradients[1] > 0:
            figures[SHARPNESS] = self._gradients[0] / self._gradients[1]
        error = sum(self._whole) / len(self._whole)
        figures[WHOLE_PSNR] = min(MOST_DECIBELS, -10 * math.log10(error)) if error > 0 else MOST_DECIBELS
        compared = self._comparison.result()
        return figures | {name: compared[own] for name, own in _COMPARED.items() if own in compared}


def _pixels(view: Tensor, hole: Tensor) -> Tensor:  # [3, N]
    """Return a view's pixels in the holes."""
    return view.float().transpose(0, 1)[:, hole[:, 0]].cpu()


def _read(
    dataset: Clips, clips: int, frames: int, *, height: int, width: int
) -> list[tuple[str, FittedClip]]:
    """Read the first frames of held-out clips, without those that are damaged or have no holes there."""
    chosen: list[tuple[str, FittedClip]] = []
    damaged = 0
    for index in _order(dataset, clips):
        if len(chosen) == clips:
            break
        record = dataset.records[index]
        try:
            clip = dataset.read(index, range(min(frames, record.frames)))
        except InputError as error:
            _LOGGER.warning("clip %s is left out of the validation: %s", record.name, error)
            damaged += 1
            continue
        fitted = fit_clip(clip, height=height, width=width)
        if bool((fitted.hole > 0.5).any()):
            chosen.append((record.name, fitted))
    if not chosen:
        raise InputError(
            f"a dataset must hold out clips with holes for the validation, got none at {width}x{height} "
            f"({damaged} are damaged); build it with more divergence or a larger held-out share"
        )
    return chosen


def _order(dataset: Clips, clips: int) -> list[int]:
    """Order the held-out clips: first so many that are spread over all of them, then the others."""
    held_out = [index for index, record in enumerate(dataset.records) if record.held_out]
    if not held_out:
        raise InputError(
            f"a dataset must hold out clips for the validation, got none of {len(dataset.records)}; build it "
            "with a held-out share above 0 from videos of at least two scenes"
        )
    places = np.linspace(0, len(held_out) - 1, min(clips, len(held_out)))
    first = [held_out[round(place)] for place in places]
    return first + [index for index in held_out if index not in first]


@contextmanager
def _evaluating(model: SpatialDreamer) -> Iterator[None]:
    """Put all networks in evaluation mode, and back in what each of their modules was in."""
    modes = [(module, module.training) for network in model.modules for module in network.modules()]
    try:
        for network in model.modules:
            network.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
