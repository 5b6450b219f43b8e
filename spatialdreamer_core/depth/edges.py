"""Depth edges fit for warping: steep, without specks, and with the foreground's soft rim on its own side.

Where a foreground's edge is soft in depth, the warp tears it; where shadows or texture have left specks in
depth, it punches holes into surfaces. A preview-grade estimate has both, so it is cleaned by rank filters,
which make neither new values nor new ramps.
"""

from __future__ import annotations

import cv2
import numpy as np

CONTRAST = 0.08  # difference of depth within a few pixels that counts as an edge
# Share of an edge's height above which a pixel belongs to its foreground (`benchmarks.edges`).
FOREGROUND = 0.35
MOVED = 1e-3
_COLOUR_EDGE = (8, 24)  # of 255, a channel's difference: no edge up to the first, strong from the second


def contrast_of(
    image: np.ndarray,  # [h, w, 3] uint8
    *,
    radius: int,
) -> np.ndarray:  # [h, w] float32 in [0, 1]
    """Find edges of colour within `radius` pixels: 0 none, 1 a strong one."""
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    first, second, third = cv2.split(cv2.subtract(cv2.dilate(image, window), cv2.erode(image, window)))
    strength = cv2.max(cv2.max(first, second), third)
    low, high = _COLOUR_EDGE
    return np.clip((strength.astype(np.float32) - low) / (high - low), 0, 1)


def clean_edges(
    depth: np.ndarray,  # [h, w] float32, 1 = near
    *,
    strength: np.ndarray | None = None,  # [h, w] in [0, 1], see `snap_edges`
) -> np.ndarray:  # [h, w]
    """Remove specks and gaps a few pixels wide, then let the foreground cover one pixel more.

    A median takes single pixels, a closing (radius 3) the far gaps inside near surfaces, an opening (radius
    1) the near specks before far ones; the dilation (radius 1) and the snap (radius 2) put the mixed colours
    of a foreground's rim on the foreground.
    """
    depth = cv2.medianBlur(depth, 5)
    depth = cv2.morphologyEx(depth, cv2.MORPH_CLOSE, disc(3))
    depth = cv2.morphologyEx(depth, cv2.MORPH_OPEN, disc(1))
    return snap_edges(cv2.dilate(depth, disc(1)), radius=2, strength=strength)


def disc(radius: int) -> np.ndarray:
    """Make a round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def steepen_edges(
    values: np.ndarray,  # [h, w] float32
    *,
    radius: int,
    contrast: float = CONTRAST,
    strength: np.ndarray | None = None,  # [h, w] in [0, 1]
) -> np.ndarray:  # [h, w]
    """Turn the ramps that filters and resizing leave at an edge into steps.

    Each value moves to the nearer of the smallest and the largest value about it, where the two differ by
    clearly more than `contrast`; slopes of a surface are flatter than that and stay as they are.

    Args:
        values: Map.
        radius: Half the width of the ramps, pixels.
        contrast: Difference within the window from which on it is an edge.
        strength: How far each ramp may be turned into a step; None: all of them wholly.
    """
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    low, high = cv2.erode(values, window), cv2.dilate(values, window)
    result = cv2.subtract(high, low)
    at_edge = np.flatnonzero(result > contrast)
    if at_edge.size == 0:
        return values
    np.copyto(result, values)
    low, high, old = (array.ravel()[at_edge] for array in (low, high, values))
    spread = high - low
    snapped = low + np.clip(2.5 * (old - low) - 0.75 * spread, 0, spread)
    share = np.minimum(spread / contrast - 1, 1)
    if strength is not None:
        share *= strength.ravel()[at_edge]
    result.ravel()[at_edge] = old + share * (snapped - old)
    return result


def snap_edges(
    depth: np.ndarray,  # [h, w] float32, 1 = near
    *,
    radius: int,
    strength: np.ndarray | None = None,  # [h, w] in [0, 1]
) -> np.ndarray:  # [h, w]
    """Turn ramps at edges into steps, placed so that the foreground covers its soft outline.

    Where depth differs by clearly more than an edge's contrast within `radius`, a value becomes the largest
    or the smallest one there: the largest from `FOREGROUND` of the way up on, because colours at an outline
    are mixed and look torn when they stay behind. A median then smooths the outline of what has moved; thin
    things that were steep already are not touched.

    Args:
        depth: Inverse depth.
        radius: How far a ramp's ends may lie away, pixels.
        strength: How far each ramp may be turned into a step; None: all of them wholly.
    """
    low, high = cv2.erode(depth, disc(radius)), cv2.dilate(depth, disc(radius))
    result = cv2.subtract(high, low)
    at_edge = np.flatnonzero(result > CONTRAST)
    if at_edge.size == 0:
        return depth
    np.copyto(result, depth)
    low, high, old = (array.ravel()[at_edge] for array in (low, high, depth))
    snapped = np.where(old > low + FOREGROUND * (high - low), high, low)
    share = np.minimum((high - low) / CONTRAST - 1, 1)
    if strength is not None:
        share *= strength.ravel()[at_edge]
    values = old + share * (snapped - old)
    result.ravel()[at_edge] = values
    moved = at_edge[np.abs(values - old) > MOVED]
    result.ravel()[moved] = _medians_at(result, moved)
    return result


def _medians_at(
    plane: np.ndarray,  # [h, w] float32
    index: np.ndarray,  # [N] int64, pixels of the flattened plane
) -> np.ndarray:  # [N]
    """Return what `cv2.medianBlur` over 5x5 pixels gives at some; few are looked at alone."""
    height, width = plane.shape
    if 25 * index.size > plane.size:
        return cv2.medianBlur(plane, 5).ravel()[index]
    if index.size == 0:
        return np.empty(0, plane.dtype)
    row, column = np.divmod(index, width)
    rows = (row + np.arange(-2, 3)[:, None]).clip(0, height - 1)
    columns = (column[:, None] + np.arange(-2, 3)).clip(0, width - 1)
    surroundings = plane.ravel().take((rows * width)[..., None] + columns)  # [5, N, 5]
    return cv2.medianBlur(surroundings.reshape(5, -1), 5)[2, 2::5]


def dilate_foreground(
    depth: np.ndarray,  # [h, w] float32, 1 = near
    *,
    radius: int,
) -> np.ndarray:  # [h, w]
    """Let foregrounds cover `radius` pixels more about their outlines.

    A grey dilation at edges alone: where it raises depth by no more than an edge's contrast, on a surface's
    slope, depth stays as it is; weak edges move in part.
    """
    grown = cv2.dilate(depth, disc(radius))
    rise = cv2.subtract(grown, depth)
    at_edge = np.flatnonzero(rise > CONTRAST)
    if at_edge.size == 0:
        return depth
    risen = rise.ravel()[at_edge]
    result = depth.copy()
    result.ravel()[at_edge] += np.minimum(risen / CONTRAST - 1, 1) * risen
    return result
