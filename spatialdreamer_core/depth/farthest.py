"""The farthest part of the scene, found among several motions, and what differs from it.

Flow shows only *relative* motion: three layers that pass at 1, 2 and 3 pixels look the same, up to a turn of
the camera, as three that pass at -3, -2 and -1, whose order in depth is the opposite. So several motions are
tried as that of the farthest part (the one most of the frame shares, and the two ends of the range), and the
one that best fits the evidence is taken: which side is covered where surfaces meet, what is at rest, what
depth was before, what reaches the frame's border, and what single frames suggest.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera_motion import CameraMotion, fit_camera_motion
from .pixels import correlation, length, rise

STILL = 0.2  # pixels at the analysis size; slower counts as at rest
COARSE = np.s_[::4, ::4]  # where averages and percentiles are taken
_HALF = np.s_[::2, ::2]  # where the candidates are compared
# Weights of the cues that a motion is the farthest part's, and of the one against it.
_COVERING, _BORDER, _CONTINUITY, _PRIOR, _SLOWNESS, _SHARED, _AT_REST = 1.4, 0.2, 0.6, 0.1, 0.8, 1.5, 2.0
_ISLAND = 0.6
_CLEAR = (0.05, 0.3)  # lead over the opposite order: undecided up to the first, decided from the second on


@dataclass(frozen=True)
class Layers:
    """What differs from the farthest part's motion."""

    amounts: list[np.ndarray]  # [h, w] each, pixels, for each of the velocities
    reliable: np.ndarray  # [h, w] in [0, 1]
    field: np.ndarray  # [h, w, 2], the farthest part's motion in the last of them
    resting: float  # share of the frame that does not move
    inliers: float  # share of the frame that moves with most of it
    decided: float  # 0 to 1, how clearly this is the farthest part rather than the nearest


class FarthestPart:
    """Follows one scene; the camera's motion and the evidence for the candidates are carried along."""

    def __init__(self) -> None:
        self._motion: CameraMotion | None = None
        self._axis: np.ndarray | None = None  # [2], direction of the range of motions
        self._covering: np.ndarray | None = None  # [3], a running average for each candidate
        self._age = 0  # frames with motion

    def step(
        self,
        velocities: list[np.ndarray],  # one or two of [h, w, 2], pixels
        x: np.ndarray,  # [h, w], see `centred_grid`
        y: np.ndarray,  # [h, w]
        *,
        prior: np.ndarray,  # [h, w], inverse depth expected from the single frame
        before: np.ndarray | None,  # [h, w], earlier evidence, moved to this frame
    ) -> Layers:
        """Subtract the motion that most of the frame shares, and choose the farthest part's from the rest."""
        motions: list[CameraMotion] = []
        for velocity in velocities:
            last = motions[-1] if motions else self._motion
            start = None if last is None else last.weights
            motions.append(fit_camera_motion(velocity, x, y, start=start, follow=bool(motions)))
        self._motion = motions[0]
        fields: list[np.ndarray] = [motion.field(x, y) for motion in motions]
        residuals = [velocity - field for velocity, field in zip(velocities, fields, strict=True)]
        mean = residuals[0] if len(residuals) == 1 else 0.5 * (residuals[0] + residuals[1])
        pattern, low, high = self._range(mean, motions[0], x, y)
        still = np.zeros((1, 1, 2), np.float32)
        candidates: list[np.ndarray] = [still, low * pattern, high * pattern]
        resting = float((length(velocities[0][COARSE]) < STILL).mean())
        best, decided = self._choose(residuals, mean, candidates, fields[0], resting, prior, before)
        farthest = candidates[best]
        amounts = [length(residual - farthest) for residual in residuals]
        reliable = np.ones_like(prior)
        if pattern.shape[0] > 1:  # around the focus of expansion nothing moves, near or far
            distance = length(pattern)
            amounts = [amount * (0.3 / np.maximum(distance, 0.1)) for amount in amounts]
            reliable = np.clip(distance / 0.15, 0, 1) ** 2
        inliers = float((length(mean[COARSE]) < STILL).mean())
        return Layers(amounts, reliable, fields[-1] + farthest, resting, inliers, decided)

    def _range(
        self, residual: np.ndarray, motion: CameraMotion, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, float, float]:
        """Find the pattern along which residual motion varies, and the ends of its range.

        Returns:
            The pattern: a direction [1, 1, 2] or rays from the focus of expansion [h, w, 2]; and both ends.
        """
        vectors = residual[COARSE].reshape(-1, 2)
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
            sampled = rays[COARSE].reshape(-1, 2)
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
    ) -> tuple[int, float]:
        """Return which candidate is the motion of the farthest part, and how clearly: the highest score."""
        farthest = [candidate[_HALF] for candidate in candidates]
        amounts = [[length(residual[_HALF] - f) for residual in residuals] for f in farthest]
        speeds = np.array([float(length(field[_HALF] + f).mean()) for f in farthest])
        if len(residuals) == 2:
            covering = _covering(mean[_HALF], amounts)
            self._covering = covering if self._covering is None else 0.8 * self._covering + 0.2 * covering
        self._age += 1
        slowness = _SLOWNESS * (1 - speeds / (speeds.max() + 0.1))
        continuity = np.zeros(len(candidates))
        scores = np.zeros(len(candidates))
        scores[0] += _SHARED * rise(float((length(mean[COARSE]) < STILL).mean()), 0.45, 0.65)
        if resting > 0.1:
            at_rest = speeds < max(2 * STILL, 1.2 * speeds.min())
            scores += _AT_REST * rise(resting, 0.1, 0.3) * at_rest
        values = [(amount[0] if len(amount) == 1 else cv2.min(*amount))[_HALF] for amount in amounts]
        for k, value in enumerate(values):
            border = np.concatenate([value[0], value[:, 0], value[:, -1]])
            reaching = float((border < 0.5 + 0.2 * np.percentile(value, 95)).mean())
            # A part away from the border is more likely what the camera circles around.
            scores[k] += _BORDER * reaching - _ISLAND * (1 - rise(reaching, 0.05, 0.25))
            scores[k] += _PRIOR * correlation(value, prior[COARSE])
            if before is not None:
                continuity[k] = _CONTINUITY * min(1, self._age / 4) * correlation(value, before[COARSE])
            if self._covering is not None:
                clear = np.sign(self._covering[k]) * max(0.0, abs(self._covering[k]) - 0.12)
                scores[k] += _COVERING * float(np.tanh(4 * clear))
        total = scores + slowness + continuity
        best = int(np.argmax(total))
        # How clearly: by how much it leads over the opposite order, which the slower motion alone does not
        # decide where both are about as slow, as when the camera circles about something in between.
        alike = [correlation(value, values[best]) for value in values]
        others = [k for k, likeness in enumerate(alike) if likeness < 0.5]
        if not others:
            return best, 1.0
        rival = max(others, key=lambda k: float(total[k]))
        slower = rise(1 - speeds[best] / (speeds[rival] + 0.1), 0.45, 0.6)
        seen = rise(float(scores[best] - scores[rival]), 0.1, 0.3)
        return best, rise(float(total[best] - total[rival]), *_CLEAR) * max(slower, seen)


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
