"""`builtin`: inverse depth from the video itself, without weights.

Preview grade: a fallback, not a depth model. Three things are put together: motion against the farthest part
of the scene (parallax.py), what single frames suggest (cues.py), and memory: what has once moved in front
stays in front while it rests, carried along by the flow. A moving camera's parallax must earn its say: by
flow that is good, the more so the less it agrees with the single frames, and by a clear order of near and
far. A colour-guided filter spreads each over regions and snaps the sum to the image's edges, and to nothing
else. Every mapping is fixed or follows slow averages of the scene, never one frame's extremes, so depth does
not pump.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..flow import fit_size
from .background_plate import BackgroundPlate
from .cues import CueWeights, combine_cues, fill_enclosed
from .edges import clean_edges, contrast_of, steepen_edges
from .guided_filter import ColourGuide, apply_coefficients
from .parallax import Parallax, ParallaxEstimator
from .pixels import correlation, largest_channel, look_up, rise
from .regions import Regions, find_regions

_ANALYSIS_SIDE = 320  # pixels; cues and motion are worked out at this size
_NEAR = 0.92  # inverse depth of what moves in front of a resting scene
_UNKNOWN = 0.1  # mean trust at which a region's evidence counts as much as what the prior lets expect
_FLATTENING = 0.3  # share of the way to its region's mean that unknown evidence goes in a frame
_FAULTLESS = 0.85  # quality of the flow that is believed whatever it says
_LENIENCE = 2.0  # by how much less will do for each unit of correlation with the single frames
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
        self._to_this: np.ndarray | None = None  # [h, w, 2], flow from the previous frame to the next one
        self._background_plate = BackgroundPlate()
        self._scale = 0.0  # pixels, the range of parallax
        self._camera = 0.0  # 0 = the camera stands or turns, objects move; 1 = the camera moves along
        self._say = 0.0  # 0 to 1, how far the camera's parallax is believed
        self._agreement = 0.0  # -1 to 1, correlation of the evidence with the prior
        self._heard = 0.0  # frames with motion
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
        regions = find_regions(small)
        prior = wide.filter(combine_cues(small, self._weights, regions=regions))
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
            earlier=self._to_this,
        )
        if to_next is not None:
            self._to_this = to_next
        if parallax is not None:
            first = self._evidence is None
            self._update(parallax)
            self._flatten(regions, parallax.texture, rate=1.0 if first else _FLATTENING)
            self._hear(parallax)
        depth = self._fuse(wide)
        narrow = ColourGuide(image, radius=max(2, size[1] // 80), epsilon=2e-3)
        full = frame.astype(np.float32) / 255
        depth = apply_coefficients(narrow.coefficients(depth), full)
        strength = contrast_of(
            small, radius=max(1, round(size[1] / 160))
        )  # where no colour ends, no surface does
        strength = cv2.resize(strength, (width, height), interpolation=cv2.INTER_LINEAR)
        depth = steepen_edges(depth, radius=max(1, round(width / 210)), strength=strength)
        return np.clip(clean_edges(depth, strength=strength), 0, 1).astype(np.float32)

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
        if self._evidence is None or self._trust is None:
            carried = look_up(self._prior, to_previous)
        else:
            state = look_up(cv2.merge([self._evidence, self._trust, self._prior]), to_previous)
            self._evidence, self._trust, carried = cv2.split(state)
            self._fresh = 1 - same
        self._prior = prior + kept * (carried - prior)

    def _update(self, parallax: Parallax) -> None:
        """Take the frame's motion into the state."""
        first = self._evidence is None
        informative = rise(parallax.scale, 0.2, 0.8)
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
        layers = np.where(
            rising, 0.035 + 0.315 * parallax.reliable, informative * (0.02 + 0.28 * parallax.reliable)
        )
        # Where nothing claims to move, memory holds; where something does, the pixels decide for or against.
        active = np.clip((parallax.claimed - 0.3) / 0.4, 0, 1)
        objects = 0.35 * active * (0.05 + 0.95 * parallax.certain)
        denied = np.clip(1 - parallax.amount / np.maximum(parallax.claimed, 1e-3), 0, 1)
        objects = (1 - self._memory) + objects * np.where(rising, np.float32(1), denied)
        speed = objects + self._camera * (layers - objects)
        if self._fresh is not None:
            # What comes into view of a moving camera has to be seen well, or its region tells.
            speed = np.maximum(speed, self._fresh * (1 + self._camera * (parallax.reliable - 1)))
        self._evidence = self._evidence + speed * (measured - self._evidence)
        assert self._image is not None
        seen = self._background_plate.step(self._image, parallax, self._evidence)
        self._evidence = self._evidence * (1 - 0.4 * (1 - self._camera) * seen)
        sure = np.maximum(active * parallax.certain, seen)
        sure = sure + self._camera * (parallax.reliable - sure)
        kept = 0.98 if self._fresh is None else 0.98 * (1 - self._camera * self._fresh)
        self._trust = np.maximum(kept * self._trust, sure)

    def _flatten(self, regions: Regions, texture: np.ndarray, *, rate: float) -> None:
        """Draw evidence that little is known about to what the rest of its region of one colour holds.

        With a moving camera, upright regions become flat; wide ones, which are ground, water or sky, keep the
        prior's slope, and so does what nothing is known of. With a resting one, gaps inside what has moved
        are filled, and nothing is taken away.
        """
        assert self._evidence is not None
        assert self._trust is not None
        assert self._prior is not None
        # 1. At the regions' size: what each holds, and how well the whole agrees with the prior.
        planes = cv2.merge([self._evidence, self._trust, self._prior])
        evidence, trust, prior = cv2.split(
            cv2.resize(planes, regions.label.shape[::-1], interpolation=cv2.INTER_AREA)
        )
        self._agreement = correlation(evidence, prior, trust)
        expected = _in_units_of(evidence, prior, trust)
        mean, level, known = regions.average((evidence, expected), 0.02 + trust)
        known = known / (known + _UNKNOWN)
        slope = 1 - regions.upright()[regions.label]
        layered = np.clip(level + known * (mean - level) + slope * (expected - level), 0, 1)
        filled = np.clip(2 * mean - 0.3, 0, 1)
        # Bare skin that moves over where it was looks like what was there: its region knows better.
        certain = (1 - self._camera) * np.clip(2.5 * mean - 0.8, 0, 1)
        # 2. At full size: towards it.
        planes = cv2.merge([layered, filled, certain])
        size = self._evidence.shape[1], self._evidence.shape[0]
        layered, filled, certain = cv2.split(cv2.resize(planes, size, interpolation=cv2.INTER_LINEAR))
        filled = np.maximum(self._evidence, filled)
        held = filled + self._camera * (layered - filled)
        bare = np.clip(1.5 - 1.5 * texture, 0, 1)
        loose = np.maximum(np.maximum(1 - 2 * self._trust, 0) ** 2, bare * certain)
        pace = rate if self._fresh is None else np.maximum(rate, self._camera * self._fresh)
        self._evidence += pace * loose * (held - self._evidence)

    def _hear(self, parallax: Parallax) -> None:
        """Let motion have its say as far as it has earned it.

        Where the evidence agrees with the single frames, flow of middling quality will do; the less it does,
        the better the flow has to be, and to contradict them takes flow that is good nearly everywhere.
        """
        needed = _FAULTLESS - _LENIENCE * max(0.0, self._agreement)
        earned = parallax.decided * rise(self._scale, 0.3, 0.6)
        earned *= rise(parallax.quality, needed - 0.05, needed + 0.05)
        informative = rise(parallax.scale, 0.2, 0.8)
        self._heard += informative
        self._say += min(informative, max(0.1, informative / (self._heard + 1e-6))) * (earned - self._say)

    def _fuse(self, wide: ColourGuide) -> np.ndarray:
        """Put evidence and prior together at the analysis size."""
        prior = self._prior
        assert prior is not None
        if self._evidence is None or self._trust is None:
            return fill_enclosed(prior)
        weight = 0.05 + self._trust
        evidence = np.clip(wide.filter(weight * self._evidence) / np.maximum(wide.filter(weight), 0.04), 0, 1)
        stands_out = np.clip((evidence - 0.2) / 0.5, 0, 1)
        stands_out *= stands_out * (3 - 2 * stands_out)
        # With a resting camera what moves stands out; with a moving one all depth is evidence, or none is.
        moves = min(1.0, max(0.0, 2 * self._camera - 0.6))
        lifted = fill_enclosed(prior + (1 - moves) * stands_out * np.maximum(_NEAR - prior, 0))
        layered = 0.92 * evidence + 0.08 * prior
        return lifted + moves * self._say * (layered - lifted)


def _in_units_of(evidence: np.ndarray, prior: np.ndarray, trust: np.ndarray) -> np.ndarray:  # [h, w]
    """Bring the prior to the range of the evidence: a line through what is trusted, never a falling one."""
    total = float(trust.sum()) + 1e-6
    mean_prior, mean_evidence = float((trust * prior).sum()) / total, float((trust * evidence).sum()) / total
    variance = float((trust * (prior - mean_prior) ** 2).sum()) / total
    shared = float((trust * (prior - mean_prior) * (evidence - mean_evidence)).sum()) / total
    slope = float(np.clip(shared / (variance + 1e-3), 0, 1.5))
    return np.clip(mean_evidence + slope * (prior - mean_prior), 0, 1)


def _analysis_size(height: int, width: int) -> tuple[int, int]:
    """Return the size at which cues and motion are worked out."""
    return fit_size(height, width, longer_side=_ANALYSIS_SIDE)


def _shrink_flow(flow: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    """Bring a flow field to the analysis size and its pixels."""
    if flow is None:
        return None
    if flow.shape[:2] == size:
        return flow
    factors = size[1] / flow.shape[1], size[0] / flow.shape[0]
    return cv2.multiply(cv2.resize(flow, (size[1], size[0]), interpolation=cv2.INTER_AREA), (*factors, 0, 0))
