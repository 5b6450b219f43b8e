"""Measures of a stereo pair: its stereo effect against the true one, and which features match across it.

Features are SIFT's, which needs no weights. x' = x - d in the right eye's view: a feature's disparity is its
column in the left view less that in the right one.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import check_range
from ..contracts import check_call
from ..dvg.eyes import Eye, eye_sign
from ..dvg.forward import warp_frames
from ..flow import fit_size
from ..flow.pictures import to_bytes
from .views import masked_psnr

_CANNY = (100, 200)  # thresholds, those of Mono2Stereo's code
_CHANGED = 5  # 8-bit steps from which on a pixel shows that the eyes see something else
_EDGES_SHARE = 0.75
_LONGER_SIDE = 1280  # px; larger frames are shrunk before features are looked for
_MOST_FEATURES = 2000
ROW_TOLERANCE = 2.0  # px, by which a match may leave its row
_FARTHEST_ROW = 8.0  # px; what leaves its row by more is no match at all


class ViewMatches(NamedTuple):
    """Features of one frame's source view, and where they are found in the other one; px of the frame."""

    source: Tensor  # [K, 2] float32, (x, y) of each feature
    found: Tensor  # [K, 2] float32, (x, y) in the other view, NaN where there is none

    def in_row(self, tolerance: float = ROW_TOLERANCE) -> Tensor:  # [K] bool
        """Tell which features have a match that stays in its row, as it must between parallel cameras."""
        return (self.found[:, 1] - self.source[:, 1]).abs() <= tolerance

    def disparity(self, eye: Eye = "right") -> Tensor:  # [K] px
        """Return each match's disparity; NaN where there is none. `eye` is the one that was rendered."""
        return (self.found[:, 0] - self.source[:, 0]) * eye_sign(eye)


class Matchability(NamedTuple):
    """Features of the source view by where they are matched, counted over a clip."""

    both: int  # in the true view and in the result
    only_truth: int  # detail that the result lost
    only_result: int  # detail that the result made up

    @property
    def error(self) -> float:
        """1 - |both| / |either|: 0 is ideal; NaN if there is no match at all."""
        either = sum(self)
        return 1 - self.both / either if either else float("nan")


def siou(
    source: Tensor,  # [F, 3, H, W] in [0, 1], the view that was given
    result: Tensor,  # [F, 3, H, W] in [0, 1], the view to be judged
    truth: Tensor,  # [F, 3, H, W] in [0, 1], what it should be
) -> float:
    """SIoU, how well the stereo effect is met (Mono2Stereo, Yu et al., CVPR 2025); 1 is ideal.

        0.75 · IoU(Canny edges of result, of truth) + 0.25 · IoU(|result - source| > 5, |truth - source| > 5)

    Edges are those of grey 8-bit pictures, with thresholds 100 and 200, as in the published code; differences
    are absolute ones (that code's wrap around below 0) and then turned to grey. Two empty sets are equal.

    Returns:
        0 to 1, the mean over the frames.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("siou", source=source, result=result, truth=truth)
    return sum(frame_siou(*frames) for frames in zip(source, result, truth, strict=True)) / len(source)


def frame_siou(source: Tensor, result: Tensor, truth: Tensor) -> float:
    """Return one frame's SIoU, of [3, H, W] each."""
    given, judged, wanted = (to_bytes(view) for view in (source, result, truth))
    edges = [cv2.Canny(_grey(view), *_CANNY) > 0 for view in (judged, wanted)]
    changes = [_grey(cv2.absdiff(view, given)) > _CHANGED for view in (judged, wanted)]
    return _EDGES_SHARE * _iou(*edges) + (1 - _EDGES_SHARE) * _iou(*changes)


def match_views(
    source: Tensor,  # [F, 3, H, W] in [0, 1]
    *others: Tensor,  # [F, 3, H, W] in [0, 1]
) -> list[tuple[ViewMatches, ...]]:
    """Find each frame's SIFT features of one view in other ones, by mutually nearest descriptors.

    Args:
        source: The view whose features are looked for: the same ones in all others.
        others: The views in which they are found.

    Returns:
        For each frame, the matches in each of the others.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    for other in others:
        check_call("match_views", source=source, other=other)
    return [frame_matches(*frames) for frames in zip(source, *others, strict=True)]


def frame_matches(source: Tensor, *others: Tensor) -> tuple[ViewMatches, ...]:
    """Return one frame's matches, of [3, H, W] each."""
    height, width = source.shape[-2:]
    size = fit_size(height, width, longer_side=_LONGER_SIDE)
    scale = torch.tensor([width / size[1], height / size[0]])
    points, descriptors = _features(source, size)
    found = []
    for other in others:
        places = torch.full_like(points, torch.nan)
        other_points, other_descriptors = _features(other, size)
        if len(points) and len(other_points):
            for match in cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(descriptors, other_descriptors):
                places[match.queryIdx] = other_points[match.trainIdx]
        found.append(ViewMatches(_to_frame(points, scale), _to_frame(places, scale)))
    return tuple(found)


def matchability(
    source: Tensor,  # [F, 3, H, W] in [0, 1], the view that was given
    result: Tensor,  # [F, 3, H, W] in [0, 1], the view to be judged
    truth: Tensor,  # [F, 3, H, W] in [0, 1], what it should be
    *,
    tolerance: float = ROW_TOLERANCE,
) -> Matchability:
    """Matchability error of Elastic3D (Metzger et al., CVPR 2026), with SIFT in place of a learned matcher.

        E = 1 - |M_truth ∩ M_result| / |M_truth ∪ M_result|

    M are the source view's features that have a match in the other view and in their row: what eyes can fuse.
    The paper's figures are of DeDoDe features, so only those of one matcher can be compared.

    Args:
        source: The view whose features are looked for.
        result: The view to be judged.
        truth: What it should be.
        tolerance: Pixels by which a match may leave its row, 0 to 100.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`) or the tolerance is out of range.
    """
    check_call("matchability", source=source, result=result, truth=truth)
    check_range("tolerance", tolerance, 0, 100, "px")
    counts = [0, 0, 0]
    for of_result, of_truth in match_views(source, result, truth):
        for i, count in enumerate(compare_matches(of_result, of_truth, tolerance=tolerance)):
            counts[i] += count
    return Matchability(*counts)


def compare_matches(
    of_result: ViewMatches, of_truth: ViewMatches, *, tolerance: float = ROW_TOLERANCE
) -> Matchability:
    """Count the features of a frame that are matched in both views, and in one alone."""
    result, truth = of_result.in_row(tolerance), of_truth.in_row(tolerance)
    return Matchability(*(int(part.sum()) for part in (truth & result, truth & ~result, result & ~truth)))


def match_rate(matches: ViewMatches) -> float:
    """Share of the source view's features with a match in their row, 0 to 1; NaN without features."""
    in_row = matches.in_row()
    return float(in_row.float().mean())


def disparity_error(
    matches: ViewMatches,
    disparity: Tensor,  # [1, H, W] px, of the source view
    *,
    eye: Eye = "right",
) -> float:
    """Median |disparity of a match - intended one| in pixels, over matches in their row; NaN for none.

    Raises:
        InputError: If the disparity breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("disparity_error", disparity=disparity)
    in_row = matches.in_row()
    height, width = disparity.shape[-2:]
    x, y = matches.source[in_row].round().long().unbind(1)
    intended = disparity.detach().float().cpu()[0, y.clamp(0, height - 1), x.clamp(0, width - 1)]
    errors = (matches.disparity(eye)[in_row] - intended).abs()
    return float(errors.median()) if len(errors) else float("nan")


def vertical_disparity(matches: ViewMatches) -> float:
    """Root of the mean squared vertical disparity in pixels, which is to be 0; NaN without matches.

    Matches by chance are left out: those more than 8 px off their row, and then those farther from the median
    than 3 standard deviations (by the median deviation) and half a pixel.
    """
    vertical = matches.found[:, 1] - matches.source[:, 1]
    vertical = vertical[vertical.abs() <= _FARTHEST_ROW]
    if not len(vertical):
        return float("nan")
    deviation = (vertical - vertical.median()).abs()
    inliers = vertical[deviation <= 3 * 1.4826 * deviation.median() + 0.5]
    return float(inliers.square().mean().sqrt())


def consistency(
    source: Tensor,  # [F, 3, H, W] in [0, 1]
    result: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px, of the source view
    *,
    eye: Eye = "right",
) -> float:
    """Left-right consistency: PSNR in dB of the result against the source's warp, outside of holes.

    What both eyes see should look the same in both. Infinite where a result keeps the warp's known pixels.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("consistency", source=source, result=result, disparity=disparity)
    warped, hole, _ = warp_frames(source.detach().float(), disparity, eye=eye)
    return masked_psnr(result, warped, hole < 0.5)


def _features(view: Tensor, size: tuple[int, int]) -> tuple[Tensor, np.ndarray]:  # [K, 2], [K, 128]
    """Find the features of a view at a size; their places are px of it, pixel centres at integers."""
    grey = _grey(to_bytes(view))
    if grey.shape != size:
        grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
    points, descriptors = cv2.SIFT_create(nfeatures=_MOST_FEATURES).detectAndCompute(grey, None)
    places = torch.tensor([point.pt for point in points], dtype=torch.float32).reshape(-1, 2)
    return places, np.zeros((0, 128), np.float32) if descriptors is None else descriptors


def _to_frame(points: Tensor, scale: Tensor) -> Tensor:
    """Bring places from the size of work to the frame's."""
    return (points + 0.5) * scale - 0.5


def _grey(picture: np.ndarray) -> np.ndarray:
    """Turn 8-bit RGB to grey."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
