"""Forward and backward motion: flow that radiates from a focus of expansion, whose rate is nearness.

With p in widths of the frame from its centre, a camera that moves towards e and turns a little gives

    flow(p) = turn + roll * (-y, x) + rate(p) * (p - e)

where `rate` is inverse depth times the speed: above zero everywhere when driving forward, below when backing,
zero in the sky. The focus and the turn are those that leave the least flow across the rays (the epipolar
constraint of a small motion); each vector's rate is then free. A zoom lens makes such flow too, at one rate
for all: then the rate says nothing about depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .farthest import COARSE, STILL, Layers
from .pixels import length, rise

_TYPICAL = 0.2  # widths from the focus at which an equation's residual is turned into pixels
_ITERATIONS, _LINEAR_ITERATIONS = 4, 3
_STEP = 8  # pixels between the flow vectors used
_FEWEST = 16  # vectors' worth of confidence
_REST = 0.3  # pixels; slower counts as at rest
_STANDS = 0.25  # share of the vectors that must move
_HOPELESS = 0.4  # share of the votes below which a focus is not worth refining
_CANDIDATES = (9, 5)  # foci tried, across and down
_VOTERS = 200  # vectors that vote
_HOLDS = 0.7  # share of the vectors above which the last frame's focus is kept
_REACH = 0.55  # widths and heights from the centre within which a focus is believed
# Pixels, and share of a vector's length, by which it may miss the rays.
_TOLERANCE, _TOLERANCE_SHARE = 0.25, 0.1
_RAY = 0.3  # widths from the focus at which rates are given as pixels
_EDGE = (0.8, 0.95)  # of the reach; a focus that far out more likely means sideways motion
_NEAREST = 0.05  # widths from the focus within which rates are not compared
# Ridge weights of focus (x, y), turn (x, y) and roll, for what the flow leaves open: straight on, in a curve.
_STIFF, _LOOSE = (1e-3, 1e-3, 0.05, 0.05, 0.5), (1e-4, 1e-4, 2e-3, 2e-3, 5e-3)
_NOISE = 1.0  # pixels per width; rates that differ by less count as equal
_BETTER = 0.1  # share of the flow that a curve must explain more


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
    fastest: float  # pixels per width, a high percentile of the rates

    def turning(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the flow that the turn alone causes, [h, w, 2]: that of points infinitely far away."""
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

    First nearly without a turn; only where that explains too little is the turn set free, for with it an
    object's own movement can be taken for the way of the camera.
    """
    offset_y, offset_x = (min(_STEP, side) // 2 for side in flow.shape[:2])
    grid = np.s_[offset_y::_STEP, offset_x::_STEP]
    trust = confidence[grid].ravel().astype(np.float64)
    vectors = flow[grid].reshape(-1, 2).astype(np.float64)
    speed = length(vectors)
    if trust.sum() < _FEWEST or (trust * (speed > _REST)).sum() < _STANDS * trust.sum():
        return None
    points = np.stack([x[grid].ravel(), y[grid].ravel()], -1).astype(np.float64)
    reach = _REACH * np.array([1.0, flow.shape[0] / flow.shape[1]])
    fit = _Fit(vectors, points, trust, _TOLERANCE + _TOLERANCE_SHARE * speed, reach)
    followed = None
    if start is not None and start.share > _HOLDS:
        followed = np.array([*start.focus, *start.turn, start.roll])
    straight = followed if followed is not None else fit.vote(turning=False)
    result = None if straight is None else fit.judge(fit.refine(straight, _STIFF))
    if result is None or result.share < _HOLDS:
        curved = followed if followed is not None else fit.vote(turning=True)
        if curved is not None:
            other = fit.judge(fit.refine(curved, _LOOSE))
            if result is None or other.share > result.share + _BETTER:
                result = other
    return result


@dataclass(frozen=True)
class _Fit:
    """Vectors of the flow at points of a grid, and how a focus and a turn are fitted to them."""

    vectors: np.ndarray  # [n, 2] pixels
    points: np.ndarray  # [n, 2] widths
    trust: np.ndarray  # [n] in [0, 1]
    tolerance: np.ndarray  # [n] pixels
    reach: np.ndarray  # [2] widths

    def _free(self, parameters: np.ndarray) -> np.ndarray:  # [n, 2]
        """Subtract the flow that the turn causes."""
        perpendicular = np.stack([-self.points[:, 1], self.points[:, 0]], -1)
        return self.vectors - parameters[2:4] - parameters[4] * perpendicular

    def vote(self, *, turning: bool) -> np.ndarray | None:  # [5]
        """Let vectors vote on foci without a turn, or on the solution of the linear equations with one."""
        if turning:
            parameters = self._solve()
            foci, vectors, few = parameters[None, :2], self._free(parameters), slice(None)
        else:
            axes = [np.linspace(-r, r, n) for r, n in zip(self.reach, _CANDIDATES, strict=True)]
            foci = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
            vectors, few = self.vectors, slice(None, None, max(1, len(self.points) // _VOTERS))
        free, trust = vectors[few], self.trust[few]
        rays = self.points[few] - foci[:, None]
        rays /= length(rays)[..., None] + 1e-6
        across = rays[..., 0] * free[:, 1] - rays[..., 1] * free[:, 0]
        outward = (rays * free).sum(-1)
        votes = trust * _robust(across, self.tolerance[few])
        moves = length(free) / (length(free) + 0.5)
        # Vectors at rest fit any focus; moving ones must all point outwards, or all inwards.
        counts = np.abs((votes * moves * np.sign(outward)).sum(1)) + (votes * (1 - moves)).sum(1)
        best = int(counts.argmax())
        if counts[best] < _HOPELESS * trust.sum():
            return None
        return parameters if turning else np.array([*foci[best], 0, 0, 0])

    def _solve(self) -> np.ndarray:  # [5]
        """Solve (flow - turn) x (p - e) = 0 for all vectors; the product of both is one more unknown."""
        (u, v), (x, y) = self.vectors.T, self.points.T
        equations = np.stack([v, -u, -y, x, x**2 + y**2, np.ones_like(x)], -1)
        right = v * x - u * y
        weight, solution = self.trust / self.tolerance, np.zeros(6)
        hold = np.diag([1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-6]) * len(x)
        for _ in range(_LINEAR_ITERATIONS):
            weighted = equations.T * weight
            solution = np.linalg.solve(weighted @ equations + hold, weighted @ right)
            missed = np.abs(equations @ solution - right) / _TYPICAL
            weight = self.trust / self.tolerance * _robust(missed, self.tolerance)
        solution[:2] = np.clip(solution[:2], -self.reach, self.reach)
        return solution[:5]

    def refine(self, parameters: np.ndarray, ridge: tuple[float, ...]) -> np.ndarray:  # [5]
        """Take reweighted Gauss-Newton steps, with Geman and McClure's rho, on the flow across the rays."""
        perpendicular = np.stack([-self.points[:, 1], self.points[:, 0]], -1)
        hold = np.diag(ridge) * len(self.points)
        for _ in range(_ITERATIONS):
            rays = self.points - parameters[:2]
            distance = np.maximum(length(rays), _NEAREST)
            rays /= distance[:, None]
            normal = np.stack([-rays[:, 1], rays[:, 0]], -1)
            free = self._free(parameters)
            across, outward = (normal * free).sum(-1), (rays * free).sum(-1)
            weight = self.trust * _robust(across, self.tolerance)
            jacobian = np.concatenate(
                [-(outward / distance)[:, None] * normal, normal, (normal * perpendicular).sum(-1)[:, None]],
                1,
            )
            # The ridge pulls the turn to zero and holds the focus where it is.
            pull = hold @ np.array([0, 0, *-parameters[2:]])
            weighted = jacobian.T * weight
            step = np.linalg.solve(weighted @ jacobian + hold, weighted @ across + pull)
            parameters = parameters + step
            parameters[:2] = np.clip(parameters[:2], -self.reach, self.reach)
        return parameters

    def judge(self, parameters: np.ndarray) -> Expansion:
        """Tell the direction, how much of the flow fits, and how far the rates differ."""
        rays = self.points - parameters[:2]
        distance = length(rays)
        free = self._free(parameters)
        unit = rays / np.maximum(distance, 1e-6)[:, None]
        outward = (unit * free).sum(-1)
        across = unit[:, 0] * free[:, 1] - unit[:, 1] * free[:, 0]
        own, fits = length(free), self.trust * _robust(across, self.tolerance)
        moves = own / (own + 0.5)
        sign = 1.0 if (fits * moves * outward).sum() >= 0 else -1.0
        against = np.clip(-sign * outward / self.tolerance - 0.5, 0, 1)
        share = float((fits * moves * (1 - against)).sum() / ((self.trust * moves).sum() + 1e-9))
        share *= 1 - rise(float((np.abs(parameters[:2]) / self.reach).max()), *_EDGE)
        counted = fits * np.minimum(distance, 0.3) * (distance > _NEAREST)
        rate = sign * outward / np.maximum(distance, _NEAREST)
        low, middle, high = _quantiles(rate, counted, (0.1, 0.5, 0.9))
        contrast = max(0.0, high - low - _NOISE) / (abs(middle) + 0.25 * abs(high) + 1e-3)
        moving = float((self.trust * (own > _REST)).sum() / self.trust.sum())
        focus_x, focus_y, turn_x, turn_y, roll = (float(value) for value in parameters)
        return Expansion((focus_x, focus_y), (turn_x, turn_y), roll, sign, share, contrast, moving, high)


def measure_rates(
    velocities: list[np.ndarray],  # one or two of [h, w, 2], pixels
    expansion: Expansion,
    x: np.ndarray,  # [h, w], see `centred_grid`
    y: np.ndarray,  # [h, w]
) -> Layers:
    """Measure the rates at which the flow leaves the focus, or runs into it; a rate of zero is farthest."""
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
        # Flow across the rays is an object's own motion; flow against them is an error.
        amiss = np.abs(across) + np.maximum(-expansion.sign * outward, 0)
        reliable = reliable / (1 + (amiss / (0.5 + 0.2 * length(free))) ** 2)
    resting = float((length(velocities[0][COARSE]) < STILL).mean())
    inliers = float((length((velocities[-1] - field)[COARSE]) < STILL).mean())
    return Layers(amounts, reliable, field, resting, inliers, 1.0)


def _robust(distance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Weight deviations: 1 at zero, 1/4 at `spread`, falling to 0 beyond."""
    return (1 / (1 + (distance / spread) ** 2)) ** 2


def _quantiles(values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Return weighted quantiles."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    places = np.searchsorted(total, np.array(shares) * total[-1])
    return [float(values[order[min(place, len(order) - 1)]]) for place in places]
