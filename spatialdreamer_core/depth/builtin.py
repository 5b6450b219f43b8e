"""`builtin`: inverse depth from the video itself, without weights.

Preview grade: a fallback, not a depth model. Three things are put together: motion against the farthest part
of the scene (parallax.py), what single frames suggest (cues.py), and memory: what has once moved in front
stays in front while it rests, carried along by the flow. A colour-guided filter spreads each over regions and
snaps the sum to the image's edges. Every mapping is fixed or follows slow averages of the scene, never one
frame's extremes, so depth does not pump.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..flow import fit_size
from .cues import CueWeights, combine_cues
from .edges import clean_edges, steepen_edges
from .guided_filter import ColourGuide, apply_coefficients
from .parallax import Parallax, ParallaxEstimator
from .pixels import largest_channel, look_up
from .plate import BackgroundPlate

_ANALYSIS_SIDE = 320  # pixels; cues and motion are worked out at this size
_NEAR = 0.92  # inverse depth of what moves in front of a resting scene
_OBJECT_SPEED = 0.8  # pixels at the analysis size; an object this fast stands out fully


class BuiltinDepth:
    """Streaming estimator; its state has a fixed size, is carried from frame to frame and reset at cuts.

    Args:
        weights: How much each single-frame cue counts.
        memory: Share of the evidence from motion that is kept from one frame to the next where nothing moves.
    """

    def __init__(self, *, weights: CueWeights | None = None, memory: float = 0.998) -> None:
        self._weights = weights or CueWeights()
        self._memory = memory
        self.reset()

    def reset(self) -> None:
        """Forget the scene: the next frame begins a new one."""
        self._parallax = ParallaxEstimator()
        self._evidence: np.ndarray | None = None  # [h, w] in [0, 1]
        self._trust: np.ndarray | None = None  # [h, w] in [0, 1]
        self._fresh: np.ndarray | None = None  # [h, w] in [0, 1], 1 = not seen in the previous frame
        self._prior: np.ndarray | None = None
        self._image: np.ndarray | None = None
        self._plate = BackgroundPlate()
        self._scale = 0.0  # pixels, the range of parallax
        self._camera = 0.0  # 0 = the camera stands or turns, objects move; 1 = the camera moves along
        self._stood = 0.0  # 1 = the camera stood or turned not long ago

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB at working size
        flow_to_next: np.ndarray | None,  # [h, w, 2] px at working size; None at the scene's last frame
        flow_to_previous: np.ndarray | None,  # [h, w, 2] px at working size; None at the scene's first frame
    ) -> np.ndarray:  # [h, w] float32
        """Take the scene's next frame; return its inverse depth in [0, 1], 1 = near."""
        height, width = frame.shape[:2]
        size = _analysis_size(height, width)
        small = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        to_next, to_previous = (_shrink_flow(flow, size) for flow in (flow_to_next, flow_to_previous))
        image = small.astype(np.float32) / 255
        wide = ColourGuide(image, radius=max(2, size[1] // 32), epsilon=2e-3, shrink=2)
        prior = wide.filter(combine_cues(small, self._weights))
        previous = self._image
        self._advance(image, prior, to_previous)
        assert self._prior is not None
        assert self._image is not None
        parallax = self._parallax.step(
            to_next,
            to_previous,
            prior=self._prior,
            before=self._evidence,
            image=self._image,
            previous=previous,
        )
        if parallax is not None:
            self._update(parallax)
        depth = self._fuse(wide)
        narrow = ColourGuide(image, radius=max(2, size[1] // 80), epsilon=2e-3)
        full = frame.astype(np.float32) / 255
        depth = apply_coefficients(narrow.coefficients(depth), full)
        depth = steepen_edges(depth, radius=max(1, round(width / 210)))
        return np.clip(clean_edges(depth), 0, 1).astype(np.float32)

    def _advance(self, image: np.ndarray, prior: np.ndarray, to_previous: np.ndarray | None) -> None:
        """Move the state to the new frame along the flow; forget what the flow does not carry over."""
        previous = self._image
        self._image = cv2.blur(image, (3, 3))
        if previous is None or to_previous is None:
            self._prior = prior
            return
        assert self._prior is not None
        moved = look_up(previous, to_previous)
        change = largest_channel(cv2.absdiff(moved, self._image))
        same = np.clip(2 - change / 0.06, 0, 1)
        kept = 0.95 * same
        self._prior = prior + kept * (look_up(self._prior, to_previous) - prior)
        if self._evidence is not None and self._trust is not None:
            state = look_up(cv2.merge([self._evidence, self._trust]), to_previous)
            self._evidence, self._trust = cv2.split(state)
            self._fresh = 1 - same

    def _update(self, parallax: Parallax) -> None:
        """Take the frame's motion into the state."""
        first = self._evidence is None
        informative = float(np.clip((parallax.scale - 0.2) / 0.6, 0, 1))
        self._stood = max(0.98 * self._stood, parallax.shared)
        rate = 1.0 if first else 0.15 * informative
        # Something large passes more often than a camera starts to move.
        if parallax.camera > self._camera and not first:
            rate *= 0.3 * (1 - self._stood)
        self._camera += rate * (parallax.camera - self._camera)
        self._camera *= 1 - (0.06 if parallax.speed > 0.3 else 0.015) * parallax.shared
        if parallax.scale > self._scale:
            self._scale += (1.0 if first else 0.2) * (parallax.scale - self._scale)
        else:
            self._scale += 0.02 * informative * (parallax.scale - self._scale)
        # Objects stand out at a fixed speed; a moving camera's parallax is measured against its own range.
        reference = _OBJECT_SPEED + self._camera * (max(self._scale, _OBJECT_SPEED) - _OBJECT_SPEED)
        noise = 0.15
        measured = np.clip((parallax.amount - noise) / reference, 0, 1)
        if self._evidence is None or self._trust is None:
            self._evidence, self._trust = 0.5 * (1 + self._camera) * measured, 0.5 * parallax.reliable
            return
        rising = measured > self._evidence
        layers = np.where(rising, 0.035 + 0.315 * parallax.reliable, np.float32(0.3 * informative))
        # Where nothing claims to move, memory holds; where something does, the pixels decide for or against.
        active = np.clip((parallax.claimed - 0.3) / 0.4, 0, 1)
        objects = 0.35 * active * (0.05 + 0.95 * parallax.certain)
        denied = np.clip(1 - parallax.amount / np.maximum(parallax.claimed, 1e-3), 0, 1)
        objects = (1 - self._memory) + objects * np.where(rising, np.float32(1), denied)
        speed = objects + self._camera * (layers - objects)
        if self._fresh is not None:
            speed = np.maximum(speed, self._fresh)
        self._evidence = self._evidence + speed * (measured - self._evidence)
        assert self._image is not None
        seen = self._plate.step(self._image, parallax, self._evidence)
        self._evidence = self._evidence * (1 - 0.4 * (1 - self._camera) * seen)
        sure = np.maximum(active * parallax.certain, seen)
        sure = sure + self._camera * (parallax.reliable - sure)
        self._trust = np.maximum(0.98 * self._trust, sure)

    def _fuse(self, wide: ColourGuide) -> np.ndarray:
        """Put evidence and prior together at the analysis size."""
        prior = self._prior
        assert prior is not None
        if self._evidence is None or self._trust is None:
            return prior
        weight = 0.05 + self._trust
        evidence = np.clip(wide.filter(weight * self._evidence) / np.maximum(wide.filter(weight), 0.04), 0, 1)
        stands_out = np.clip((evidence - 0.2) / 0.5, 0, 1)
        stands_out *= stands_out * (3 - 2 * stands_out)
        lifted = prior + stands_out * np.maximum(_NEAR - prior, 0)
        layered = 0.92 * evidence + 0.08 * prior
        share = min(1.0, max(0.0, 2 * self._camera - 0.6))
        return lifted + share * (layered - lifted)


def _analysis_size(height: int, width: int) -> tuple[int, int]:
    """Return the size at which cues and motion are worked out."""
    return fit_size(height, width, longer_side=_ANALYSIS_SIDE)


def _shrink_flow(flow: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    """Bring a flow field to the analysis size and its pixels."""
    if flow is None:
        return None
    factors = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return cv2.resize(flow, (size[1], size[0]), interpolation=cv2.INTER_AREA) * factors
