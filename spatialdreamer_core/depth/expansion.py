"""Forward and backward motion: flow that radiates from a focus of expansion, whose rate is nearness.

With p in widths of the frame from its centre, a camera that moves towards e and turns a little makes

    flow(p) = turn + roll * (-y, x) + rate(p) * (p - e)

where `rate` is inverse depth times the speed: above zero everywhere when driving forward, below when backing,
nought in the sky. The focus and the turn are those that leave the least flow across the rays (the epipolar
constraint of a small motion); each vector's rate is then free. A zoom lens makes such flow too, at one rate
for all: then the rate says nothing about depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .farthest import COARSE, STILL, Layers
from .pixels import length

_ITERATIONS = 4
_STEP = 8  # pixels between the flow vectors used
_FEWEST = 16  # vectors' worth of confidence
_REST = 0.3  # pixels; less than this is rest
_STANDS = 0.25  # share of the vectors that must move
_HOPELESS = 0.4  # share of the votes below which a focus is not worth refining
_CANDIDATES = (9, 5)  # foci tried, across and down
_VOTERS = 200  # vectors that vote
_HOLDS = 0.7  # share of the vectors above which the last frame's focus is followed
_REACH = 0.55  # widths and heights from the centre within which a focus is believed
_TOLERANCE, _TOLERANCE_SHARE = (
    0.25,
    0.1,
)  # pixels, and share of a vector's length, that it may miss the rays by
_RAY = 0.3  # widths from the focus at which rates are given as pixels
_NEAREST = 0.05  # widths from the focus within which rates are not compared
_RIDGE = (1e-3, 1e-3, 0.05, 0.05, 0.5)  # focus (x, y), turn (x, y), roll: holds what the flow does not tell


@dataclass(frozen=True)
class Expansion:
    """A fitted focus and turn."""

    focus: tuple[float, float]  # x and y, widths from the centre
    turn: tuple[float, float]  # along x and y, pixels
    roll: float  # pixels per width
    sign: float  # 1 = forward, -1 = backward
    share: float  # 0 to 1, of the vectors that move, how many fit with the right sign
    contrast: float  # spread of the rates against their size; near 0 for a zoom lens
    moving: float  # 0 to 1, of the vectors, how many move at all

    def turning(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return what the turn makes of the flow [h, w, 2]: the motion of what is infinitely far."""
        turn_x, turn_y = (np.float32(value) for value in self.turn)
        roll = np.float32(self.roll)
        return cv2.merge([turn_x - roll * y, turn_y + roll * x])

    def rays(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return p - e, [h, w, 2] in widths."""
        focus_x, focus_y = (np.float32(value) for value in self.focus)
        return cv2.merge([x - focus_x, y - focus_y])


def fit_expansion(
    flow: np.ndarray,  # [h, w, 2] pixels
    confidence: np.ndarray,  # [h, w] in [0, 1]
    x: np.ndarray,  # [h, w], see `centred_grid`
    y: np.ndarray,  # [h, w]
    *,
    start: Expansion | None = None,  # an earlier fit, followed while it explains most of the flow
) -> Expansion | None:
    """Find the focus from which the flow radiates; None if it plainly does not, or cannot be relied on.

    Foci on a grid are voted on by all vectors at once, and the best is refined by reweighted Gauss-Newton
    steps with Geman and McClure's rho.
    """
    offset_y, offset_x = (min(_STEP, side) // 2 for side in flow.shape[:2])
    grid = np.s_[offset_y::_STEP, offset_x::_STEP]
    vectors = flow[grid].reshape(-1, 2).astype(np.float64)
    points = np.stack([x[grid].ravel(), y[grid].ravel()], -1).astype(np.float64)
    trust = confidence[grid].ravel().astype(np.float64)
    speed = length(vectors)
    if trust.sum() < _FEWEST or (trust * (speed > _REST)).sum() < _STANDS * trust.sum():
        return None
    tolerance = _TOLERANCE + _TOLERANCE_SHARE * speed
    weight = trust * speed / (speed + 0.5)
    perpendicular = np.stack([-points[:, 1], points[:, 0]], -1)
    # 1. Vote, unless the last frame's focus still holds.
    reach = _REACH * np.array([1.0, flow.shape[0] / flow.shape[1]])
    if start is not None and start.share > _HOLDS:
        parameters = np.array([*start.focus, *start.turn, start.roll])
    else:
        axes = [np.linspace(-r, r, n) for r, n in zip(reach, _CANDIDATES, strict=True)]
        foci = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
        few = np.s_[:: max(1, len(points) // _VOTERS)]
        rays = points[few] - foci[:, None]
        rays /= length(rays)[..., None] + 1e-6
        across = rays[..., 0] * vectors[few, 1] - rays[..., 1] * vectors[few, 0]
        outward = (rays * vectors[few]).sum(-1)
        votes = weight[few] * _robust(across, tolerance[few])
        counts = np.abs((votes * np.sign(outward)).sum(1))
        best = int(counts.argmax())
        if counts[best] < _HOPELESS * weight[few].sum():
            return None
        parameters = np.array([*foci[best], 0, 0, 0])
    # 2. Refine.
    for _ in range(_ITERATIONS):
        rays = points - parameters[:2]
        distance = np.maximum(length(rays), _NEAREST)
        rays /= distance[:, None]
        normal = np.stack([-rays[:, 1], rays[:, 0]], -1)
        free = vectors - parameters[2:4] - parameters[4] * perpendicular
        across, outward = (normal * free).sum(-1), (rays * free).sum(-1)
        w = trust * _robust(across, tolerance)
        jacobian = np.concatenate(
            [-(outward / distance)[:, None] * normal, normal, (normal * perpendicular).sum(-1)[:, None]], 1
        )
        # The ridge draws the turn to nought and the focus to where it is.
        hold = np.diag(_RIDGE) * len(points)
        pull = hold @ np.array([0, 0, *-parameters[2:]])
        step = np.linalg.solve((jacobian.T * w) @ jacobian + hold, jacobian.T @ (w * across) + pull)
        parameters = parameters + step
        parameters[:2] = np.clip(parameters[:2], -reach, reach)
    # 3. Judge.
    rays = points - parameters[:2]
    distance = length(rays)
    free = vectors - parameters[2:4] - parameters[4] * perpendicular
    unit = rays / np.maximum(distance, 1e-6)[:, None]
    outward = (unit * free).sum(-1)
    across = unit[:, 0] * free[:, 1] - unit[:, 1] * free[:, 0]
    own = length(free)
    weight = trust * own / (own + 0.5)
    fits = weight * _robust(across, tolerance)
    sign = 1.0 if (fits * outward).sum() >= 0 else -1.0
    against = np.clip(-sign * outward / tolerance - 0.5, 0, 1)
    share = float((fits * (1 - against)).sum() / (weight.sum() + 1e-9))
    counted = trust * _robust(across, tolerance) * np.minimum(distance, 0.3) * (distance > _NEAREST)
    rate = sign * outward / np.maximum(distance, _NEAREST)
    low, middle, high = _quantiles(rate, counted, (0.1, 0.5, 0.9))
    contrast = (high - low) / (abs(middle) + 0.25 * abs(high) + 1e-3)
    moving = float((trust * (own > _REST)).sum() / trust.sum())
    focus_x, focus_y, turn_x, turn_y, roll = (float(value) for value in parameters)
    return Expansion((focus_x, focus_y), (turn_x, turn_y), roll, sign, share, contrast, moving)


def measure_rates(
    velocities: list[np.ndarray],  # one or two of [h, w, 2], pixels
    expansion: Expansion,
    x: np.ndarray,  # [h, w], see `centred_grid`
    y: np.ndarray,  # [h, w]
) -> Layers:
    """Measure the rates at which the flow leaves the focus, or runs into it: what has none is farthest."""
    rays = expansion.rays(x, y)
    distance = length(rays)
    field = expansion.turning(x, y)
    unit = rays / np.maximum(distance, 1e-3)[..., None]
    toward = (expansion.sign * _RAY / np.maximum(distance, 0.1)).astype(np.float32)
    amounts, reliable = [], np.clip(distance / 0.1, 0, 1) ** 2
    for velocity in velocities:
        free = velocity - field
        outward = (free * unit).sum(-1)
        across = free[..., 0] * unit[..., 1] - free[..., 1] * unit[..., 0]
        amounts.append(np.maximum(toward * outward, 0))
        # What crosses the rays moves by itself, and what runs against them is a fault.
        amiss = np.abs(across) + np.maximum(-expansion.sign * outward, 0)
        reliable = reliable / (1 + (amiss / (0.5 + 0.2 * length(free))) ** 2)
    resting = float((length(velocities[0][COARSE]) < STILL).mean())
    inliers = float((length((velocities[-1] - field)[COARSE]) < STILL).mean())
    return Layers(amounts, reliable, field, resting, inliers, 1.0)


def _robust(distance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Weight deviations: 1 at none, 1/4 at `spread`, towards 0 beyond."""
    return (1 / (1 + (distance / spread) ** 2)) ** 2


def _quantiles(values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Return weighted quantiles."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    places = np.searchsorted(total, np.array(shares) * total[-1])
    return [float(values[order[min(place, len(order) - 1)]]) for place in places]
