"""What moves unlike the farthest part of the scene: parallax of a moving camera, and objects' own movement.

Where the flow radiates from a focus, the camera moves forward or backward and the rates are parallax
(expansion.py); otherwise it is what differs from the farthest part's motion (farthest.py). Both are worth as
much as the flow they are measured on: flow of a wall of one colour is a guess spread in from its
surroundings, and flow longer than the search finds ends somewhere else than it began. Neither is told by the
flow itself, so there must be texture, and both flows of a pair must agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera_motion import centred_grid
from .expansion import Expansion, fit_expansion, measure_rates
from .farthest import COARSE, STILL, FarthestPart
from .pixels import fit_difference, length, look_up, rise

_SPREAD_IN = 0.3  # how far flow without texture is relied on, against flow with it
_TEXTURE = 0.012  # root mean square of the gradient a pixel from which on flow has a hold; noise has less
_WINDOW = 7  # pixels
_NOWHERE = 1e3  # pixels; a vector that nothing undoes
_AGREEMENT, _AGREEMENT_SHARE = 0.25, 0.1  # pixels, and share of the length, that there and back may differ by


@dataclass(frozen=True)
class Parallax:
    """Motion against the farthest part of the scene, in pixels at the analysis size."""

    amount: np.ndarray  # [h, w], proportional to inverse depth where the camera moves
    claimed: np.ndarray  # [h, w], the same before the pixels were asked, the larger of both directions
    reliable: np.ndarray  # [h, w] in [0, 1], both directions agree
    certain: np.ndarray  # [h, w] in [0, 1], the pixels could tell motion from rest
    texture: np.ndarray  # [h, w] in [0, 1], there is something that flow can follow
    to_previous: np.ndarray  # [h, w, 2], where the farthest part was in the previous frame
    scale: float  # a high percentile of the amount
    shared: float  # 1 = nearly all of the frame shares one motion: the camera stands or turns
    speed: float  # pixels, of the farthest part
    camera: float  # 0 = only objects move, 1 = the whole scene moves at many speeds
    quality: float  # 0 to 1, mean confidence in the flow
    decided: float  # 0 to 1, how clearly near and far are told apart


class ParallaxEstimator:
    """Follows one scene; the camera's motion and the evidence for the candidates are carried along."""

    def __init__(self) -> None:
        self._farthest = FarthestPart()
        self._expansion: Expansion | None = None
        self._radiates: float | None = None  # 0 to 1, a running average: how clearly the flow radiates

    def step(
        self,
        flow_to_next: np.ndarray | None,  # [h, w, 2]
        flow_to_previous: np.ndarray | None,  # [h, w, 2]
        *,
        prior: np.ndarray,  # [h, w], inverse depth expected from the single frame
        before: np.ndarray | None,  # [h, w], earlier evidence, moved to this frame
        image: np.ndarray,  # [h, w, 3] float32 in [0, 1], blurred a little
        previous: np.ndarray | None,  # [h, w, 3], the frame before
        earlier: np.ndarray | None = None,  # [h, w, 2], flow from that frame to this one
    ) -> Parallax | None:
        """Measure one frame; None without any flow."""
        # 1. Velocities, from one direction if the other one is missing or leads to a repeated frame.
        flow_to_next, flow_to_previous, repeated = _without_repeats(flow_to_next, flow_to_previous)
        velocities = [] if flow_to_next is None else [flow_to_next]
        if flow_to_previous is not None:
            velocities.append(-flow_to_previous)
        if not velocities:
            return None
        # 2. How far it can be relied on: where there is texture, and where all flows agree.
        mean = velocities[0] if len(velocities) == 1 else 0.5 * (velocities[0] + velocities[1])
        agreeing = np.ones_like(prior)
        if flow_to_previous is not None and earlier is not None:
            agreeing *= agreement_there_and_back(flow_to_previous, earlier)
        if len(velocities) == 2:
            apart = length(velocities[0] - velocities[1])
            agreeing *= 1 / (1 + (apart / (0.5 + 0.3 * length(mean))) ** 2)
        texture = texture_of(image)
        confident = agreeing * texture
        # 3. What the farthest part of the scene does, and by how much each pixel differs from it.
        x, y = centred_grid(*prior.shape)
        expansion = self._follow_expansion(mean, confident, x, y)
        if expansion is None:
            layers = self._farthest.step(velocities, x, y, prior=prior, before=before)
        else:
            layers = measure_rates(velocities, expansion, x, y)
        # Flow without texture is spread in from an outline: right for what that outline belongs to.
        reliable = layers.reliable * agreeing * (_SPREAD_IN + (1 - _SPREAD_IN) * texture)
        amounts = layers.amounts
        claimed = amounts[0] if len(amounts) == 1 else cv2.max(*amounts)
        to_previous = np.zeros_like(mean) if repeated else -layers.field
        certain = np.zeros_like(prior)
        if flow_to_previous is not None and previous is not None:
            better = fit_difference(image, previous, flow_to_previous, to_previous)
            amounts[-1] = amounts[-1] * np.clip(1 + better / 0.05, 0, 1)
            certain = np.clip(np.abs(better) / 0.1, 0, 1)
        amount = amounts[0] if len(amounts) == 1 else cv2.min(*amounts)
        # 4. What kind of motion it is.
        scale = float(np.percentile(amount[COARSE], 95))
        speed = float(length(layers.field[COARSE]).mean())
        if expansion is not None:
            camera = rise(scale, 0.15, 0.4)
        else:
            camera = rise(scale, 0.3, 0.8) * rise(speed, 0.6 * STILL, 1.5 * STILL)
            camera *= (1 - rise(layers.resting, 0.1, 0.3)) * rise(1 - layers.inliers, 0.2, 0.4)
        shared = rise(layers.inliers, 0.7, 0.9)
        quality, decided = float(confident[COARSE].mean()), layers.decided
        if expansion is None and self._expansion is not None:
            decided *= 1 - rise(self._expansion.share, 0.5, 0.65)  # it zooms, or drives along a curve
        return Parallax(
            amount,
            claimed,
            reliable,
            certain,
            texture,
            to_previous,
            scale,
            shared,
            speed,
            camera,
            quality,
            decided,
        )

    def _follow_expansion(
        self, mean: np.ndarray, confident: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> Expansion | None:
        """Fit a focus of expansion; give it where the flow radiates from it at rates that differ."""
        fit = fit_expansion(mean, confident, x, y, start=self._expansion)
        radiates = 0.0
        if fit is not None:
            radiates = (
                rise(fit.share, 0.55, 0.7)
                * rise(fit.contrast, 0.35, 0.5)
                * rise(fit.moving, 0.3, 0.5)
                * rise(fit.fastest, 1.6, 2.6)
            )
        self._radiates = radiates if self._radiates is None else 0.7 * self._radiates + 0.3 * radiates
        self._expansion = fit
        return fit if self._radiates > 0.5 else None


def _without_repeats(
    to_next: np.ndarray | None, to_previous: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Drop the flow to a frame that repeats this one; tell whether the previous one does."""
    if to_next is None or to_previous is None:
        return to_next, to_previous, False
    moving_next, moving_previous = (np.percentile(length(f[COARSE]), 98) for f in (to_next, to_previous))
    if moving_previous < 0.15 * moving_next:
        return to_next, None, True
    return (None if moving_next < 0.15 * moving_previous else to_next), to_previous, False


def texture_of(image: np.ndarray) -> np.ndarray:  # [h, w, 3] float32 in [0, 1] -> [h, w] in [0, 1]
    """Measure whether there is anything about a pixel that flow could follow."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, -1, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    energy = cv2.blur(across * across + down * down, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT)
    return np.clip(np.sqrt(np.maximum(energy, 0)) / _TEXTURE - 0.5, 0, 1)


def agreement_there_and_back(
    flow: np.ndarray,  # [h, w, 2] pixels, from this frame to another
    back: np.ndarray,  # [h, w, 2] pixels, from that frame to this one
) -> np.ndarray:  # [h, w] in [0, 1]
    """Measure how well each vector is undone by the other frame's flow at its end; outside, there is none."""
    tolerance = _AGREEMENT + _AGREEMENT_SHARE * length(flow)
    return 1 / (1 + (length(flow + look_up(back, flow, outside=_NOWHERE)) / tolerance) ** 2)
