"""All measures of a film, a frame at a time, in memory that does not grow with its length."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import InputError
from ..contracts import check_call
from ..dvg.eyes import Eye, eye_sign
from ..dvg.forward import warp_frames
from ..dvg.zbuffer import NO_SOURCE, bring_motion, find_columns
from ..flow import CutDetector, FlowModel, Motion, open_flow
from ..flow.pictures import to_bytes
from .measures import MEASURES
from .perceptual import CLIP_FRAMES, ClipFeatures, FeatureStatistics, PerceptualDistance, frechet_distance
from .round_trip import bring_back
from .similarity import ssim_map
from .stereo_views import (
    compare_matches,
    disparity_error,
    frame_matches,
    frame_siou,
    match_rate,
    vertical_disparity,
)
from .temporal import LEVELS, ColourShift, pair_flicker, pair_warping_error
from .views import ViewRegions, gradient_within, inner_gradient, split_regions

_LEAST_SSIM, _LEAST_LPIPS = 11, 32  # px, smallest sides of frames


class ComparedFrame(NamedTuple):
    """A frame to be judged, and what is known besides; all of one size."""

    result: Tensor  # [3, H, W] in [0, 1], the view to be judged
    truth: Tensor | None = None  # [3, H, W] in [0, 1], what it should be
    source: Tensor | None = None  # [3, H, W] in [0, 1], the other eye's view, which was given
    disparity: Tensor | None = None  # [1, H, W] px of the source view, by which the result was rendered
    hole: Tensor | None = None  # [1, H, W], 1 = hole of the result; not needed with a disparity


class _Rendering(NamedTuple):
    """What a disparity tells of a frame; tensors of one frame."""

    warped: Tensor  # [1, 3, H, W]
    hole: Tensor  # [1, 1, H, W]
    seen: Tensor  # [1, 1, H, W] px
    columns: Tensor  # [1, 1, H, W]


class _Before(NamedTuple):
    """The frame before, and what flow estimators made of it."""

    frame: ComparedFrame
    hole: Tensor | None  # [1, H, W] bool
    prepared: Any  # of the view whose flow the warping error follows
    prepared_source: Any


class Comparison:
    """Judges a film, a frame at a time.

    Scenes are found in the source view if there is one, else in the truth or the result; what is measured
    from frame to frame stays within them. The flow of the warping error is the truth's where there is one.

    Args:
        eye: The eye of the result.
        flow: One of `FLOW_METHODS`, or a model from `load_flow_model`.
        chunk: Frames of the chunks between which colours are compared.
        lpips: What `load_lpips` gives; None leaves LPIPS out.
        clip_features: What `load_clip_features` gives; None leaves FVD out.
        device: Where a flow model named by `flow` runs.

    Raises:
        InputError: If an option is wrong or a flow model cannot be loaded.
    """

    def __init__(
        self,
        *,
        eye: Eye = "right",
        flow: str | FlowModel = "dis_medium",
        chunk: int = 16,
        lpips: PerceptualDistance | None = None,
        clip_features: ClipFeatures | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        eye_sign(eye)
        self._eye: Eye = eye
        self._flow = open_flow(flow, device=device)
        self._colours = ColourShift(chunk)
        self._lpips, self._clip_features = lpips, clip_features
        self.statistics = FeatureStatistics(), FeatureStatistics()  # of the result, of its reference
        self._clips: tuple[list[Tensor], list[Tensor]] = [], []
        self._totals: dict[str, list[float]] = {}
        self._cuts = CutDetector()
        self._before: _Before | None = None
        self._given: set[str] = set()
        self.frames = 0

    def add(self, frame: ComparedFrame) -> dict[str, float]:
        """Judge the next frame; returns its own figures by name.

        Raises:
            InputError: If a tensor breaks its rule (`contracts.TABLE`), or frames are not of one size.
        """
        check_call("Comparison.add", **frame._asdict())
        if self._before is not None:
            before, now = (each.result.shape for each in (self._before.frame, frame))
            if before != now:
                raise InputError(
                    f"`result` must be of one size in all frames, got {now[2]}x{now[1]} after "
                    f"{before[2]}x{before[1]}; resize them"
                )
        parts = {name: part.detach().float() for name, part in frame._asdict().items() if part is not None}
        frame = ComparedFrame(**parts)
        samples: dict[str, tuple[float, float]] = {}
        rendering = self._render(frame)
        regions = self._regions(frame, rendering)
        starts_scene = self._cuts.step(to_bytes(_first(frame.source, frame.truth, frame.result)))
        if frame.truth is not None:
            samples |= self._against_truth(frame, regions)
        if frame.source is not None:
            samples |= self._against_source(frame, rendering)
        samples |= self._over_time(frame, rendering, regions, starts_scene or self._before is None)
        self._follow_colours(frame, rendering)
        self._collect_clips(frame, starts_scene)
        self.frames += 1
        self._note(frame)
        figures = {}
        for name, (total, weight) in samples.items():
            if weight > 0 and total == total:
                sums = self._totals.setdefault(name, [0.0, 0.0])
                sums[0], sums[1] = sums[0] + total, sums[1] + weight
                figures[name] = MEASURES[name].figure(total, weight)
        return figures

    def start_scene(self) -> None:
        """Let the next frame begin a scene, as where another clip follows that may look alike."""
        self._before, self._cuts = None, CutDetector()
        for clip in self._clips:
            clip.clear()

    def result(self) -> dict[str, float]:
        """Return the figures of all frames by name, in the order of `MEASURES`.

        Squared errors are averaged over pixels before they become decibels, ratios are those of sums, and all
        else is the mean over frames.
        """
        figures = {name: MEASURES[name].figure(*sums) for name, sums in self._totals.items()}
        figures["colour_shift"] = self._colours.result()
        figures["fvd"] = frechet_distance(*self.statistics)
        return {
            name: figures[name] for name in MEASURES if figures.get(name, float("nan")) == figures.get(name)
        }

    def left_out(self) -> dict[str, str]:
        """Return why measures have no figure, though all that they take was given."""
        done = self.result()
        return {
            name: measure.needs
            for name, measure in MEASURES.items()
            if name not in done and set(measure.takes) <= self._given
        }

    def _note(self, frame: ComparedFrame) -> None:
        """Note what is given."""
        self._given |= {name for name, part in frame._asdict().items() if part is not None}
        self._given |= {"hole"} if frame.disparity is not None else set()
        self._given |= {"lpips"} if self._lpips else set()
        self._given |= {"i3d"} if self._clip_features else set()

    def _render(self, frame: ComparedFrame) -> _Rendering | None:
        """Warp the source by its disparity, if both are known."""
        if frame.disparity is None:
            return None
        disparity = frame.disparity[None]
        picture = _first(frame.source, frame.result)[None]
        columns = find_columns(disparity, eye=self._eye)
        return _Rendering(*warp_frames(picture, disparity, eye=self._eye), columns)

    def _regions(self, frame: ComparedFrame, rendering: _Rendering | None) -> ViewRegions | None:
        """Split the view, by its disparity or its mask."""
        if rendering is not None:
            return split_regions(rendering.columns == NO_SOURCE)
        return None if frame.hole is None else split_regions(frame.hole[None] > 0.5)

    def _against_truth(
        self, frame: ComparedFrame, regions: ViewRegions | None
    ) -> dict[str, tuple[float, float]]:
        """Compare with the true view."""
        assert frame.truth is not None
        result, truth = frame.result[None].clamp(0, 1), frame.truth[None]
        error = (result - truth).square().mean(1, keepdim=True)
        samples = {"psnr": _sum(error)}
        least = min(result.shape[-2:])
        if least >= _LEAST_SSIM:
            samples["ssim"] = float(ssim_map(result, truth).mean()), 1.0
        visible = torch.ones_like(error, dtype=torch.bool)
        if regions is not None:
            visible = regions.visible
            samples["psnr_visible"] = _sum(error[regions.visible])
            samples["psnr_inner_hole"] = _sum(error[regions.inner_hole])
            samples["psnr_border"] = _sum(error[regions.border])
            views = (result, truth)
            samples["gradient_inner_hole"] = _ratio(*(gradient_within(v, regions.inner_hole) for v in views))
        samples["sharpness"] = _ratio(inner_gradient(result, visible), inner_gradient(truth, visible))
        if self._lpips is not None and least >= _LEAST_LPIPS:
            with torch.no_grad():
                samples["lpips"] = float(self._lpips(result, truth)), 1.0
                if regions is not None:
                    pasted = truth.where(regions.visible, result)
                    samples["lpips_holes"] = float(self._lpips(pasted, truth)), 1.0
        return samples

    def _against_source(
        self, frame: ComparedFrame, rendering: _Rendering | None
    ) -> dict[str, tuple[float, float]]:
        """Compare with the given view: what matches, and what should look the same."""
        assert frame.source is not None
        others = (frame.result,) if frame.truth is None else (frame.result, frame.truth)
        matches = frame_matches(frame.source, *others)
        samples = {
            "match_rate": (match_rate(matches[0]), 1.0),
            "vertical_disparity": (vertical_disparity(matches[0]), 1.0),
        }
        if frame.truth is not None:
            samples["siou"] = frame_siou(frame.source, frame.result, frame.truth), 1.0
            counts = compare_matches(*matches)
            samples["matchability_error"] = float(counts.only_truth + counts.only_result), float(sum(counts))
        if rendering is not None:
            assert frame.disparity is not None
            error = disparity_error(matches[0], frame.disparity, eye=self._eye)
            samples["disparity_error"] = error, 1.0
            result, source = frame.result[None].clamp(0, 1), frame.source[None]
            error_map = (result - rendering.warped).square().mean(1, keepdim=True)
            samples["consistency"] = _sum(error_map[rendering.hole < 0.5])
            back = bring_back(result, rendering.seen, rendering.hole, eye=self._eye)
            error_map = (back.view - source).square().mean(1, keepdim=True)
            samples["round_trip"] = _sum(error_map[back.known])
        return samples

    def _over_time(
        self,
        frame: ComparedFrame,
        rendering: _Rendering | None,
        regions: ViewRegions | None,
        starts_scene: bool,
    ) -> dict[str, tuple[float, float]]:
        """Compare with the frame before, unless a scene begins."""
        hole = None if regions is None else ~regions.visible[0]
        prepared = self._flow.prepare(_first(frame.truth, frame.result))
        follow_source = rendering is not None and frame.source is not None
        prepared_source = self._flow.prepare(_first(frame.source)) if follow_source else None
        before, self._before = self._before, _Before(frame, hole, prepared, prepared_source)
        if starts_scene or before is None:
            return {}
        samples = {}
        to_next = self._motion(before.prepared, prepared, forward=True)
        error, seen = pair_warping_error(before.frame.result, frame.result, to_next)
        samples["warping_error"] = 1e3 * float(error[seen].mean()), 1.0
        if hole is not None and before.hole is not None:
            samples["warping_error_holes"] = 1e3 * float(error[seen & before.hole].mean()), 1.0
        if frame.truth is not None and before.frame.truth is not None:
            change = (frame.result - before.frame.result) - (frame.truth - before.frame.truth)
            error = change.abs().mean(0, keepdim=True) * LEVELS
            samples["temporal_error"] = float(error.mean()), 1.0
            if hole is not None and before.hole is not None:
                samples["temporal_error_holes"] = _sum(error[hole & before.hole])
        if rendering is not None and follow_source and before.hole is not None and hole is not None:
            motion = self._motion(before.prepared_source, prepared_source, forward=False)
            carried = bring_motion(motion, rendering.columns)
            samples["mask_flicker"] = pair_flicker(before.hole.float(), hole.float(), carried), 1.0
        return samples

    def _motion(self, first: Any, second: Any, *, forward: bool) -> Motion:
        """Estimate the flow of a pair of frames, in one direction."""
        flow = self._flow.between(first, second)
        motion = flow.to_next(0) if forward else flow.to_previous(1)
        assert motion is not None
        return motion

    def _follow_colours(self, frame: ComparedFrame, rendering: _Rendering | None) -> None:
        """Compare the frame's mean colour with what shows the same, as far as that is known."""
        if frame.truth is not None:
            self._colours.add(frame.result, frame.truth)
        elif rendering is not None and frame.source is not None:
            self._colours.add(frame.result, rendering.warped[0], rendering.hole[0] < 0.5)
        elif frame.source is not None:
            self._colours.add(frame.result, frame.source)

    def _collect_clips(self, frame: ComparedFrame, starts_scene: bool) -> None:
        """Take the features of each clip of `CLIP_FRAMES` frames within a scene."""
        reference = frame.source if frame.truth is None else frame.truth
        if self._clip_features is None or reference is None:
            return
        for clip, statistics, view in zip(
            self._clips, self.statistics, (frame.result, reference), strict=True
        ):
            if starts_scene:
                clip.clear()
            clip.append(torch.from_numpy(to_bytes(view)))
            if len(clip) == CLIP_FRAMES:
                statistics.add(self._clip_features(torch.stack(clip).permute(0, 3, 1, 2) / 255))
                clip.clear()


def _first(*views: Tensor | None) -> Tensor:
    """Return the first view that is there."""
    return next(view for view in views if view is not None)


def _sum(values: Tensor) -> tuple[float, float]:
    """Return the sum of values and their number."""
    return float(values.double().sum()), float(values.numel())


def _ratio(result: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return two gradients as a total and its weight; none if one of them is not known."""
    both = float(result), float(truth)
    return both if both[0] == both[0] and both[1] == both[1] else (0.0, 0.0)
