"""What moves unlike the farthest part of the scene: parallax of a moving camera, and objects' own movement.

Flow shows only *relative* motion: three layers that pass at 1, 2 and 3 pixels look the same, up to a turn of
the camera, as three that pass at -3, -2 and -1, whose order in depth is the opposite. So several motions are
tried as that of the farthest part (the one most of the frame shares, and the two ends of the range), and the
one is taken that fits best what is seen: which side is covered where surfaces meet, what rests, how depth
looked before, what reaches the frame's border, and what single frames suggest.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera_motion import CameraMotion, centred_grid, fit_camera_motion
from .pixels import fit_difference, length

_STILL = 0.2  # pixels at the analysis size; less than this is rest
_COARSE = np.s_[::4, ::4]  # where averages and percentiles are taken
_HALF = np.s_[::2, ::2]  # where the candidates are compared
# Weights of the reasons to take a motion for the farthest part's.
_COVERING, _BORDER, _CONTINUITY, _PRIOR, _SLOWNESS, _SHARED, _AT_REST = 1.4, 0.2, 0.6, 0.1, 0.8, 1.5, 2.0


@dataclass(frozen=True)
class Parallax:
    """Motion against the farthest part of the scene, in pixels at the analysis size."""

    amount: np.ndarray  # [h, w], proportional to inverse depth where the camera moves
    claimed: np.ndarray  # [h, w], the same before the pixels were asked, the larger of both directions
    reliable: np.ndarray  # [h, w] in [0, 1], both directions agree
    certain: np.ndarray  # [h, w] in [0, 1], the pixels could tell motion from rest
    to_previous: np.ndarray  # [h, w, 2], where the farthest part was in the previous frame
    scale: float  # a high percentile of the amount
    shared: float  # 1 = nearly all of the frame shares one motion: the camera stands or turns
    speed: float  # pixels, of the farthest part
    camera: float  # 0 = only objects move, 1 = the whole scene moves at many speeds


class ParallaxEstimator:
    """Follows one scene; the camera's motion and the evidence for the candidates are carried along."""

    def __init__(self) -> None:
        self._motion: CameraMotion | None = None
        self._axis: np.ndarray | None = None  # [2], direction of the range of motions
        self._covering: np.ndarray | None = None  # [3], a running average for each candidate
        self._age = 0  # frames with motion

    def step(
        self,
        flow_to_next: np.ndarray | None,  # [h, w, 2]
        flow_to_previous: np.ndarray | None,  # [h, w, 2]
        *,
        prior: np.ndarray,  # [h, w], inverse depth expected from the single frame
        before: np.ndarray | None,  # [h, w], earlier evidence, moved to this frame
        image: np.ndarray,  # [h, w, 3] float32 in [0, 1], blurred a little
        previous: np.ndarray | None,  # [h, w, 3], the frame before
    ) -> Parallax | None:
        """Measure one frame; None without any flow."""
        # 1. Velocities, from one direction if the other one is missing or leads to a repeated frame.
        flow_to_next, flow_to_previous, repeated = _without_repeats(flow_to_next, flow_to_previous)
        velocities = [] if flow_to_next is None else [flow_to_next]
        if flow_to_previous is not None:
            velocities.append(-flow_to_previous)
        if not velocities:
            return None
        # 2. The motion that most of the frame shares, and what differs from it.
        x, y = centred_grid(*prior.shape)
        motions: list[CameraMotion] = []
        for velocity in velocities:
            last = motions[-1] if motions else self._motion
            start = None if last is None else last.weights
            motions.append(fit_camera_motion(velocity, x, y, start=start, follow=bool(motions)))
        self._motion = motions[0]
        fields: list[np.ndarray] = [motion.field(x, y) for motion in motions]
        residuals = [velocity - field for velocity, field in zip(velocities, fields, strict=True)]
        mean = residuals[0] if len(residuals) == 1 else 0.5 * (residuals[0] + residuals[1])
        # 3. Of the candidates, the farthest part's motion.
        pattern, low, high = self._range(mean, motions[0], x, y)
        still = np.zeros((1, 1, 2), np.float32)
        candidates: list[np.ndarray] = [still, low * pattern, high * pattern]
        resting = float((length(velocities[0][_COARSE]) < _STILL).mean())
        best = self._choose(residuals, mean, candidates, fields[0], resting, prior, before)
        farthest = candidates[best]
        # 4. The amount by which each pixel differs from it.
        amounts = [length(residual - farthest) for residual in residuals]
        if pattern.shape[0] > 1:
            distance = length(pattern)
            amounts = [amount * (0.3 / np.maximum(distance, 0.1)) for amount in amounts]
        claimed = amounts[0] if len(amounts) == 1 else cv2.max(*amounts)
        to_previous = np.zeros_like(fields[0]) if repeated else -(fields[-1] + farthest)
        certain = np.zeros_like(prior)
        if flow_to_previous is not None and previous is not None:
            better = fit_difference(image, previous, flow_to_previous, to_previous)
            amounts[-1] = amounts[-1] * np.clip(1 + better / 0.05, 0, 1)
            certain = np.clip(np.abs(better) / 0.1, 0, 1)
        amount = amounts[0] if len(amounts) == 1 else cv2.min(*amounts)
        # 5. How far it can be relied on, and what kind of motion it is.
        reliable = np.ones_like(prior)
        if len(residuals) == 2:
            tolerance = 0.5 + 0.3 * length(mean)
            reliable = 1 / (1 + (length(residuals[0] - residuals[1]) / tolerance) ** 2)
        if pattern.shape[0] > 1:  # about the focus of expansion nothing moves, near or far
            reliable = reliable * np.clip(distance / 0.15, 0, 1) ** 2
        scale = float(np.percentile(amount[_COARSE], 95))
        speed = float(length((fields[0] + farthest)[_COARSE]).mean())
        inliers = float((length(mean[_COARSE]) < _STILL).mean())
        camera = _rise(scale, 0.3, 0.8) * _rise(speed, 0.6 * _STILL, 1.5 * _STILL)
        camera *= (1 - _rise(resting, 0.1, 0.3)) * _rise(1 - inliers, 0.2, 0.4)
        shared = _rise(inliers, 0.7, 0.9)
        return Parallax(amount, claimed, reliable, certain, to_previous, scale, shared, speed, camera)

    def _range(
        self, residual: np.ndarray, motion: CameraMotion, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, float, float]:
        """Find the pattern along which residual motion varies, and the ends of its range.

        Returns:
            The pattern: a direction [1, 1, 2] or rays from the focus of expansion [h, w, 2]; and both ends.
        """
        vectors = residual[_COARSE].reshape(-1, 2)
        lengths = length(vectors)
        limit = np.percentile(lengths, 98)
        trimmed = vectors[lengths <= limit]
        axis = np.linalg.eigh(trimmed.T @ trimmed)[1][:, 1].astype(np.float32)
        if self._axis is not None and axis @ self._axis < 0:
            axis = -axis
        self._axis = axis
        along = trimmed @ axis
        if abs(motion.zoom) > 1:
            focus = np.clip(-motion.shift / motion.zoom, -0.6, 0.6).astype(np.float32)
            rays = np.stack([x - focus[0], y - focus[1]], axis=-1)
            sampled = rays[_COARSE].reshape(-1, 2)
            distance = length(sampled) + 1e-3
            outward = np.clip((vectors * sampled).sum(-1) / distance, -limit, limit)
            if float((outward**2).sum()) > 1.1 * float((along**2).sum()):
                rate = outward / np.maximum(distance, 0.1)
                order = np.argsort(rate)
                share = np.cumsum(distance[order])
                low, high = (rate[order[np.searchsorted(share, q * share[-1])]] for q in (0.06, 0.94))
                return rays, float(low), float(high)
        low, high = np.percentile(along, (6, 94))
        return axis[None, None], float(low), float(high)

    def _choose(
        self,
        residuals: list[np.ndarray],
        mean: np.ndarray,
        candidates: list[np.ndarray],
        field: np.ndarray,
        resting: float,
        prior: np.ndarray,
        before: np.ndarray | None,
    ) -> int:
        """Return which candidate is the motion of the farthest part: the one with the highest score."""
        farthest = [candidate[_HALF] for candidate in candidates]
        amounts = [[length(residual[_HALF] - f) for residual in residuals] for f in farthest]
        speeds = np.array([float(length(field[_HALF] + f).mean()) for f in farthest])
        if len(residuals) == 2:
            covering = _covering(mean[_HALF], amounts)
            self._covering = covering if self._covering is None else 0.8 * self._covering + 0.2 * covering
        self._age += 1
        scores = _SLOWNESS * (1 - speeds / (speeds.max() + 0.1))
        scores[0] += _SHARED * _rise(float((length(mean[_COARSE]) < _STILL).mean()), 0.45, 0.65)
        if resting > 0.1:
            at_rest = speeds < max(2 * _STILL, 1.2 * speeds.min())
            scores += _AT_REST * _rise(resting, 0.1, 0.3) * at_rest
        for k, amount in enumerate(amounts):
            value = (amount[0] if len(amount) == 1 else cv2.min(*amount))[_HALF]
            border = np.concatenate([value[0], value[:, 0], value[:, -1]])
            scores[k] += _BORDER * float((border < 0.5 + 0.2 * np.percentile(value, 95)).mean())
            scores[k] += _PRIOR * _correlation(value, prior[_COARSE])
            if before is not None:
                scores[k] += _CONTINUITY * min(1, self._age / 4) * _correlation(value, before[_COARSE])
            if self._covering is not None:
                clear = np.sign(self._covering[k]) * max(0.0, abs(self._covering[k]) - 0.12)
                scores[k] += _COVERING * float(np.tanh(4 * clear))
        return int(np.argmax(scores))


def _without_repeats(
    to_next: np.ndarray | None, to_previous: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Drop the flow to a frame that repeats this one; tell whether the previous one does."""
    if to_next is None or to_previous is None:
        return to_next, to_previous, False
    moving_next, moving_previous = (np.percentile(length(f[_COARSE]), 98) for f in (to_next, to_previous))
    if moving_previous < 0.15 * moving_next:
        return to_next, None, True
    return (None if moving_next < 0.15 * moving_previous else to_next), to_previous, False


def _covering(mean: np.ndarray, amounts: list[list[np.ndarray]]) -> np.ndarray:  # [3]
    """Measure for each candidate, from -1 to 1, how well covered and uncovered strips agree with it.

    Beside an edge at which surfaces converge, a strip of the farther one is about to be covered: it has no
    match in the next frame, and flow gives it the nearer one's motion. Where they diverge, the same holds for
    the previous frame. So under the right candidate the larger amount is on the next frame's side where
    motion converges, and on the previous one's where it diverges.
    """
    smooth = cv2.GaussianBlur(mean, (0, 0), 1.2)
    divergence = cv2.Sobel(smooth[..., 0], -1, 1, 0) + cv2.Sobel(smooth[..., 1], -1, 0, 1)
    result = np.zeros(len(amounts))
    for k, (to_next, to_previous) in enumerate(amounts):
        difference = to_next - to_previous
        product = divergence * (difference - np.median(difference[_HALF]))
        result[k] = -2 * float(product.sum()) / (float(np.abs(product).sum()) + 0.03 * product.size)
    return result


def _rise(value: float, low: float, high: float) -> float:
    """Map a number linearly: 0 up to `low`, 1 from `high` on."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two maps, 0 if one is flat."""
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 1e-6 * first.size else 0.0
