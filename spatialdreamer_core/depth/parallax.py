"""What moves unlike the farthest part of the scene: parallax of a moving camera, and objects' own movement.

Flow shows only *relative* motion: three layers that pass at 1, 2 and 3 pixels look the same, up to a turn of the
camera, as three that pass at -3, -2 and -1, whose order in depth is the opposite. So several motions are tried as
that of the farthest part (the one most of the frame shares, and the two ends of the range), and the one is taken
that fits best what is seen: which side is covered where surfaces meet, what reaches the frame's border, how
depth looked before, and what single frames suggest.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera_motion import CameraMotion, centred_grid, fit_camera_motion

_STILL = 0.2  # pixels at the analysis size; less than this is no motion
_WEIGHTS = (1.2, 0.2, 0.8, 0.1, 0.8)  # covering, border, continuity, prior, slowness


@dataclass(frozen=True)
class Parallax:
    """Motion against the farthest part of the scene."""

    amount: np.ndarray  # [h, w] px at the analysis size; proportional to inverse depth where the camera moves
    scale: float  # pixels; a high percentile of the amount
    camera: float  # 0 = only objects move, 1 = the whole scene moves at many speeds
    reliable: np.ndarray  # [h, w] in [0, 1]: both directions agree
    claimed: np.ndarray  # [h, w] px, the larger amount of both directions, before the pixels were asked
    certain: np.ndarray  # [h, w] in [0, 1]: the pixels could tell motion from rest
    to_previous: np.ndarray  # [h, w, 2], where the farthest part was in the previous frame


class ParallaxEstimator:
    """Follows one scene; `scores` of the candidates and the camera's motion are carried from frame to frame."""

    def __init__(self) -> None:
        self._motion: CameraMotion | None = None
        self._axis: np.ndarray | None = None
        self._covering = np.zeros(3)
        self._age = 0  # frames with motion

    def step(
        self,
        flow_to_next: np.ndarray | None,  # [h, w, 2]
        flow_to_previous: np.ndarray | None,  # [h, w, 2]
        prior: np.ndarray,  # [h, w], inverse depth expected from the single frame
        before: np.ndarray | None,  # [h, w], earlier evidence, moved to this frame
        image: np.ndarray,  # [h, w, 3] float32 in [0, 1], blurred a little
        previous: np.ndarray | None,  # [h, w, 3], the frame before
    ) -> Parallax | None:
        """Measure one frame; None without any flow."""
        frozen = False
        if flow_to_next is not None and flow_to_previous is not None:
            moving = [float(np.percentile(_length(f[::4, ::4]), 98)) for f in (flow_to_next, flow_to_previous)]
            if min(moving) < 0.15 * max(moving):  # a frame shown twice
                if moving[0] < moving[1]:
                    flow_to_next = None
                else:
                    flow_to_previous, frozen = None, True
        velocities = [
            f
            for f in (flow_to_next, None if flow_to_previous is None else -flow_to_previous)
            if f is not None
        ]
        if not velocities:
            return None
        height, width = prior.shape
        x, y = centred_grid(height, width)
        start = None if self._motion is None else self._motion.weights
        motions = []
        for velocity in velocities:
            motions.append(fit_camera_motion(velocity, x, y, start=start))
            start = motions[-1].weights
        self._motion = motions[0]
        resting = float((_length(velocities[0][::4, ::4]) < _STILL).mean())
        residuals = [velocity - motion.field(x, y) for velocity, motion in zip(velocities, motions)]
        mean = residuals[0] if len(residuals) == 1 else (residuals[0] + residuals[1]) / 2
        shape, low, high = self._range(mean, motions[0], x, y)
        candidates = [np.zeros((1, 1, 2), np.float32), low * shape, high * shape]
        scaling = _scaling(shape)
        amounts = [
            [_length(residual - farthest) * scaling for residual in residuals] for farthest in candidates
        ]
        inliers = float((_length(mean[::4, ::4]) < 0.2).mean())
        bonus = np.array([1.5 * _rise(inliers, 0.45, 0.65), 0, 0])
        if resting > 0.2:  # a camera that stands: nothing but rest can be the background's motion
            still = [float(_length(motions[0].field(x, y)[::4, ::4] + c[:1, :1]).mean()) for c in candidates]
            bonus = 2 * _rise(resting, 0.1, 0.3) * (np.array(still) < max(2 * _STILL, 1.2 * min(still)))
        best = self._choose(amounts, candidates, mean, motions[0], prior, before, x, y, bonus)
        farthest = motions[0].field(x, y) + candidates[best]
        chosen = amounts[best]
        claimed = chosen[0] if len(chosen) == 1 else cv2.max(*chosen)
        certain = np.zeros_like(prior)
        back = -(motions[-1].field(x, y) + candidates[best])
        if frozen:
            back[:] = 0
        if flow_to_previous is not None and previous is not None:
            fits = _fit_difference(image, previous, flow_to_previous, back)
            chosen[-1] = chosen[-1] * np.clip(1 + fits / 0.05, 0, 1)
            certain = np.clip(np.abs(fits) / 0.1, 0, 1)
        smallest = chosen[0] if len(chosen) == 1 else cv2.min(*chosen)
        reliable = np.ones_like(prior)
        if len(residuals) == 2:
            difference = _length(residuals[0] - residuals[1])
            reliable = 1 / (1 + (difference / (0.5 + 0.3 * _length(mean))) ** 2)
        if len(shape) > 1:  # about the focus of expansion nothing moves, near or far
            reliable = reliable * np.clip(_length(shape) / 0.15, 0, 1) ** 2
        scale = float(np.percentile(smallest[::4, ::4], 95))
        speed = float(_length(farthest[::4, ::4]).mean())
        camera = (1 - _rise(resting, 0.1, 0.3)) * _rise(speed, 0.6 * _STILL, 1.5 * _STILL)
        camera *= _rise(1 - inliers, 0.2, 0.4) * _rise(scale, 0.3, 0.8)
        return Parallax(smallest, scale, camera, reliable, claimed, certain, back)

    def _range(
        self, residual: np.ndarray, motion: CameraMotion, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, float, float]:
        """Find the pattern along which residual motion varies, and the ends of its range.

        Returns:
            The pattern [h, w, 2] or [1, 1, 2]: a direction, or rays from the focus of expansion; and the ends.
        """
        vectors = residual[::4, ::4].reshape(-1, 2)
        limit = np.percentile(_length(vectors), 98)
        vectors = vectors[_length(vectors) <= limit]
        axis = np.linalg.eigh(vectors.T @ vectors)[1][:, 1].astype(np.float32)
        if self._axis is not None and axis @ self._axis < 0:
            axis = -axis
        self._axis = axis
        along = vectors @ axis
        straight = float((along**2).sum())
        focus = np.zeros(2, np.float32)
        if abs(motion.zoom) > 1:
            focus = np.clip(-motion.shift / motion.zoom, -0.6, 0.6).astype(np.float32)
        rays = np.stack([x - focus[0], y - focus[1]], axis=-1)
        sampled, all_vectors = rays[::4, ::4].reshape(-1, 2), residual[::4, ::4].reshape(-1, 2)
        distance = _length(sampled) + 1e-3
        outward = (all_vectors * sampled).sum(-1) / distance
        outward = np.clip(outward, -limit, limit)
        if float((outward**2).sum()) > 1.1 * straight and abs(motion.zoom) > 1:
            rate = outward / np.maximum(distance, 0.1)
            order = np.argsort(rate)
            share = np.cumsum(distance[order])
            ends = [float(rate[order[np.searchsorted(share, q * share[-1])]]) for q in (0.06, 0.94)]
            return rays, ends[0], ends[1]
        return axis[None, None], float(np.percentile(along, 6)), float(np.percentile(along, 94))

    def _choose(
        self,
        amounts: list[list[np.ndarray]],
        candidates: list[np.ndarray],
        mean: np.ndarray,
        motion: CameraMotion,
        prior: np.ndarray,
        before: np.ndarray | None,
        x: np.ndarray,
        y: np.ndarray,
        bonus: np.ndarray,
    ) -> int:
        """Return which candidate is the motion of the farthest part."""
        field = motion.field(x, y)[::4, ::4]
        speeds = [
            float(_length(field + c[:: 4 if len(c) > 1 else 1, :: 4 if len(c) > 1 else 1]).mean())
            for c in candidates
        ]
        self._age += 1
        scores = np.zeros(3)
        covering = np.zeros(3)
        if len(amounts[0]) == 2:
            u, v = cv2.GaussianBlur(mean, (0, 0), 2.0)[..., 0], cv2.GaussianBlur(mean, (0, 0), 2.0)[..., 1]
            divergence = cv2.Sobel(u, -1, 1, 0) + cv2.Sobel(v, -1, 0, 1)
            for k, (to_next, to_previous) in enumerate(amounts):
                difference = to_next - to_previous
                difference = difference - np.median(difference[::4, ::4])
                product = divergence * difference
                covering[k] = -2 * float(product.sum()) / (float(np.abs(product).sum()) + 0.01 * product.size)
            self._covering = 0.8 * self._covering + 0.2 * covering if self._covering.any() else covering
        small = np.s_[::4, ::4]
        for k, amount in enumerate(amounts):
            value = cv2.min(*amount)[small] if len(amount) == 2 else amount[0][small]
            border = np.concatenate([value[0], value[:, 0], value[:, -1]])
            parts = (
                _beyond(self._covering[k], 0.1),
                float((border < 0.5 + 0.2 * np.percentile(value, 95)).mean()),
                0.0 if before is None else min(1, self._age / 3) * _correlation(value, before[small]),
                _correlation(value, prior[small]),
                1 - speeds[k] / (max(speeds) + 0.1),
            )
            scores[k] = np.dot(_WEIGHTS, parts) + bonus[k]
        self.scores = scores
        return int(np.argmax(scores))


def _scaling(shape: np.ndarray) -> np.ndarray | float:
    """Return what makes a radial pattern's motion proportional to inverse depth: one over the distance."""
    if shape.shape[0] == 1:
        return 1.0
    return 0.3 / np.maximum(_length(shape), 0.1)


def _fit_difference(
    image: np.ndarray, previous: np.ndarray, flow: np.ndarray, background: np.ndarray
) -> np.ndarray:  # [h, w], sum of absolute differences of the three channels
    """Ask the pixels how much better the flow to the previous frame fits them than the background's motion does.

    Flow spreads from moving objects over what lies beside them; there the background's motion fits better (< 0).
    """
    window = (5, 5)
    errors = []
    for motion in (flow, background):
        difference = np.abs(look_up(previous, motion) - image).sum(axis=-1)
        errors.append(cv2.blur(difference, window, borderType=cv2.BORDER_REFLECT))
    return errors[1] - errors[0]


def look_up(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Sample a map of another frame where the flow points to."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _length(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors [..., 2]."""
    return np.sqrt(vectors[..., 0] ** 2 + vectors[..., 1] ** 2)


def _rise(value: float, low: float, high: float) -> float:
    """Map a number linearly: 0 up to `low`, 1 from `high` on."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _beyond(value: float, dead: float) -> float:
    """Squash a number to (-1, 1), what is smaller than `dead` to 0."""
    return float(np.sign(value) * np.tanh(4 * max(0.0, abs(value) - dead)))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two maps, 0 if one is flat."""
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 1e-6 * first.size else 0.0
