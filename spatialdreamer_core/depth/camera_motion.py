"""The part of a flow field that a turning or zooming camera makes, fitted robustly.

With x, y in widths of the frame from its centre, the fitted motion is

    u = pan + zoom * x - roll * y + bend * (x² * pan + x y * tilt)
    v = tilt + zoom * y + roll * x + bend * (x y * pan + y² * tilt)

in pixels; `bend` is 1 / focal², between 0 (very long lens, or a camera that moves sideways instead of
turning) and 1 (a lens whose focal length is the width). What differs from it is parallax or an object's own
movement.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .pixels import length

_ITERATIONS = 6
_TOLERANCE = 0.25  # pixels at the analysis size; deviations up to here belong to the motion
_GRID_STEP = 8  # pixels between the flow vectors used


@dataclass(frozen=True)
class CameraMotion:
    """A fitted motion."""

    shift: np.ndarray  # [2], (pan, tilt) in pixels
    zoom: float  # pixels per width
    roll: float  # pixels per width
    bend: float  # 0 to 1
    weights: np.ndarray  # [n], how well each vector of the grid fits, 0 to 1

    def field(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the motion [..., 2] at positions in widths from the centre."""
        pan, tilt = (np.float32(value) for value in self.shift)
        zoom, roll = np.float32(self.zoom), np.float32(self.roll)
        spread = zoom + np.float32(self.bend) * (x * pan + y * tilt)
        return cv2.merge([pan + spread * x - roll * y, tilt + spread * y + roll * x])


def centred_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y [h, w] of each pixel, in widths from the frame's centre, float32."""
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / width
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / width
    return np.tile(x, (height, 1)), np.tile(y[:, None], (1, width))


def fit_camera_motion(
    flow: np.ndarray,  # [h, w, 2] pixels
    x: np.ndarray,  # [h, w]
    y: np.ndarray,  # [h, w]
    *,
    start: np.ndarray | None = None,  # [n], weights of an earlier fit
    follow: bool = False,
) -> CameraMotion:
    """Fit the motion that most vectors share: reweighted least squares with Geman and McClure's rho.

    Args:
        flow: Flow field.
        x: Positions, see `centred_grid`.
        y: Positions, see `centred_grid`.
        start: Weights to begin with, so that the same part of the scene is followed; None begins with the
            median. Either way the most common vector is tried too, and the better fit is kept.
        follow: Keep to the part of the scene that `start` gives, try nothing else.
    """
    offset_y, offset_x = (min(_GRID_STEP, side) // 2 for side in flow.shape[:2])
    grid = np.s_[offset_y::_GRID_STEP, offset_x::_GRID_STEP]
    vectors, x, y = flow[grid].reshape(-1, 2).astype(np.float64), x[grid].ravel(), y[grid].ravel()
    starts = []
    if start is None or start.shape != x.shape or start.sum() < 8:
        difference = length(vectors - np.median(vectors, axis=0))
        spread = max(_TOLERANCE, 1.5 * float(np.median(difference)))
        starts.append((_robust_weights(difference, spread), spread))
    else:
        fit = _refine(vectors, x, y, start, 2 * _TOLERANCE)
        if follow or fit.weights.mean() > 0.6:  # still the motion of most of the frame
            return fit
        starts.append((start, 2 * _TOLERANCE))
    starts.append((_around(vectors, _most_common(vectors)), 2 * _TOLERANCE))
    fits = [_refine(vectors, x, y, weights, spread) for weights, spread in starts]
    return max(fits, key=lambda fit: float(fit.weights.sum()))


def _refine(
    vectors: np.ndarray, x: np.ndarray, y: np.ndarray, weights: np.ndarray, spread: float
) -> CameraMotion:
    """Alternate between fitting and weighting, from the given weights on."""
    zeros, ones = np.zeros_like(x), np.ones_like(x)
    basis_u, basis_v = np.stack([ones, zeros, x, -y], -1), np.stack([zeros, ones, y, x], -1)
    bend = 0.0
    parameters = np.zeros(4)
    for iteration in range(_ITERATIONS):
        bent = bend * (x * parameters[0] + y * parameters[1])
        targets = vectors - np.stack([bent * x, bent * y], -1)
        normal = (basis_u.T * weights) @ basis_u + (basis_v.T * weights) @ basis_v
        right = basis_u.T @ (weights * targets[:, 0]) + basis_v.T @ (weights * targets[:, 1])
        parameters = np.linalg.solve(normal + np.diag([1e-3, 1e-3, 0.05, 0.05]), right)
        difference = vectors - np.stack([basis_u @ parameters, basis_v @ parameters], -1)
        if iteration >= _ITERATIONS // 2:
            curve = x * parameters[0] + y * parameters[1]
            curve_u, curve_v = curve * x, curve * y
            energy = (weights * (curve_u**2 + curve_v**2)).sum()
            fitted = (weights * (curve_u * difference[:, 0] + curve_v * difference[:, 1])).sum()
            bend = float(np.clip(fitted / (energy + 0.004 * weights.sum() + 1e-9), 0, 1))
            difference -= bend * np.stack([curve_u, curve_v], -1)
        weights = _robust_weights(length(difference), spread)
        spread = max(_TOLERANCE, 0.6 * spread)
    return CameraMotion(parameters[:2], float(parameters[2]), float(parameters[3]), bend, weights)


def _most_common(vectors: np.ndarray) -> np.ndarray:
    """Return the vector that has the most others close to it, of a sample."""
    sample = vectors[:: max(1, len(vectors) // 60)]
    near = length(sample[:, None] - vectors[None]) < _TOLERANCE
    return sample[int(near.sum(1).argmax())]


def _around(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Weight vectors by how close they are to one of them."""
    return _robust_weights(length(vectors - centre), 2 * _TOLERANCE)


def _robust_weights(distance: np.ndarray, spread: float) -> np.ndarray:
    """Weight deviations: 1 at none, 1/4 at `spread`, towards 0 beyond."""
    return (1 / (1 + (distance / spread) ** 2)) ** 2
