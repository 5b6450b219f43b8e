"""Depth stable over time, for estimators whose output has a scale and a shift of its own in each frame.

Each frame's inverse depth x is brought to the unit of the frame before by `scale * x + shift`, fitted to the
stabilised previous frame carried along the flow; then the two are blended where they agree. Nothing is
normalised here: a stable input stays what it is, in its own unit. `scene_range` normalises afterwards.

A chain of fits drifts, and calls a camera's approach a change of scale. So the running range of the output is
pulled slowly to that of the input over the same frames; what the input keeps up for seconds therefore passes,
what changes from frame to frame does not. A scene's first frame has its scale and shift by chance, too:
`reset` takes the range that its frames typically have, if it is known, and the scene begins in that unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..checks import InputError, check_cuts, check_finite, check_range, check_tensor, check_type, check_video
from ..contracts import check_call
from ..flow import Flow, Motion
from ..flow.motion import check_flow, check_motion
from ..flow.sampling import look_up
from .alignment import SCALE_LIMIT, fit_scale_shift, frame_range
from .scene_range import DEPTH_REMEDY

DEFAULT_STRENGTH = 0.6
MAX_STRENGTH = 0.95
_TOLERANCE = 0.05  # difference at which the filter halves its trust, as a share of the frame's range
_CONTRADICTION = 2.0  # tolerances by which a pixel differs from its past if it is not to be carried on
_MEMORY = 16  # frames that the running ranges look back
_PULL = 1 / 64  # share of the drift taken back a frame; at most 1 / (4 * _MEMORY), or it swings


class DepthStabiliser:
    """Stabilises a stream of depth maps frame by frame; its memory is one frame.

    Args:
        strength: Share of the carried previous frame where the two frames agree, 0 to 0.95; 0 corrects scale
            and shift only.

    Raises:
        InputError: If `strength` is out of range.
    """

    def __init__(self, *, strength: float = DEFAULT_STRENGTH) -> None:
        check_range("strength", strength, 0.0, MAX_STRENGTH)
        self._strength = strength
        self.reset()

    def reset(self, typical_range: tuple[float, float] | None = None) -> None:
        """Forget everything: the next frame begins a scene.

        Args:
            typical_range: What `typical_range` finds for the scene's first frames, to which its first one is
                brought; None leaves that one as it is.
        """
        self._previous: Tensor | None = None  # [1, 2, H, W]: depth; 1 = it contradicted its own past, else 0
        self._scale = 1.0
        self._typical_range = typical_range
        self._seen = 0
        self._range_in = self._range_out = (0.0, 0.0)

    @property
    def continues(self) -> bool:
        """Whether the next frame follows one of the same scene, so that its flow is needed."""
        return self._previous is not None

    def step(
        self,
        depth: Tensor,  # [1, H, W] or [H, W], any unit, larger = nearer
        to_previous: Motion | None = None,
    ) -> Tensor:  # as `depth`, float32
        """Take the next frame's inverse depth; return it stabilised.

        Args:
            depth: As the estimator gives it.
            to_previous: The motion from this frame to the previous one; needed for every frame but the first
                after `reset`.

        Returns:
            Inverse depth in the unit of the scene's first frame.

        Raises:
            InputError: If a shape is wrong, a value is not finite or the motion is missing.
        """
        current = _as_batch(depth)
        if self._previous is None:
            return self._begin(current).reshape(depth.shape).clone()
        motion = self._check_motion(current, to_previous)
        flow, trust = motion.flow[None].to(current).detach(), motion.confidence[None].to(current).detach()
        carried, foreign = look_up(self._previous, flow).split(1, dim=1)
        carried = self._take_drift_back(carried)
        scale, shift = fit_scale_shift(current, carried, trust, scale_otherwise=self._scale)
        stable = aligned = scale * current + shift
        low, high = frame_range(current)
        range_out = (scale * low + shift, scale * high + shift)
        contradicts = torch.zeros_like(current)
        if self._strength and range_out[1] > range_out[0]:
            difference = carried - aligned
            tolerance = _TOLERANCE * (range_out[1] - range_out[0])
            agreement = 1 / (1 + (difference / tolerance).square().square())  # `pow` takes ten times as long
            # Beside a particle, interpolation mixes in so little of it that the mixture would seem to agree.
            share = self._strength * trust * agreement * (foreign == 0)
            stable = aligned + share * difference
            contradicts = (difference.abs() > _CONTRADICTION * tolerance).to(current)
        self._scale = scale
        self._remember(stable, contradicts, (low, high), range_out)
        return stable.reshape(depth.shape).clone()

    def _begin(self, current: Tensor) -> Tensor:  # [1, 1, H, W]
        """Take a scene's first frame and bring it to the scene's typical range."""
        range_in = range_out = frame_range(current)
        stable = current
        if self._typical_range is not None:
            range_out = self._typical_range
            width_in, width_out = range_in[1] - range_in[0], range_out[1] - range_out[0]
            if min(width_in, width_out) > 0:
                self._scale = min(max(width_out / width_in, 1 / SCALE_LIMIT), SCALE_LIMIT)
            stable = self._scale * current + (sum(range_out) - self._scale * sum(range_in)) / 2
            range_in = range_out
        self._remember(stable, torch.zeros_like(stable), range_in, range_out)
        return stable

    def _check_motion(self, current: Tensor, motion: Motion | None) -> Motion:
        """Check what tells where the pixels were."""
        assert self._previous is not None
        size = list(current.shape[-2:])
        if list(self._previous.shape[-2:]) != size:
            raise InputError(
                f"`depth` must keep its size within a scene, {list(self._previous.shape[-2:])}, got {size}; "
                "resize it, or call reset() where another video begins"
            )
        if motion is None:
            raise InputError(
                "`to_previous` must be given for every frame but a scene's first, got none; use "
                "estimate_flow, or call reset() at a cut"
            )
        check_motion("to_previous", motion)
        motion = motion.to(current.device)
        check_call(
            "DepthStabiliser.step",
            depth=current[0],
            motion__flow=motion.flow,
            motion__confidence=motion.confidence,
        )
        return motion

    def _take_drift_back(self, carried: Tensor) -> Tensor:
        """Pull the carried frame a little towards the running range of the input."""
        (low_in, high_in), (low_out, high_out) = self._range_in, self._range_out
        centre_in, centre_out = (low_in + high_in) / 2, (low_out + high_out) / 2
        width_in, width_out = high_in - low_in, high_out - low_out
        ratio = width_in / width_out if min(width_in, width_out) > 0 else 1.0
        gain = min(max(ratio, 1 / SCALE_LIMIT), SCALE_LIMIT) ** _PULL
        offset = centre_out + _PULL * (centre_in - centre_out) - gain * centre_out
        return gain * carried + offset

    def _remember(
        self,
        stable: Tensor,
        contradicts: Tensor,
        range_in: tuple[float, float],
        range_out: tuple[float, float],
    ) -> None:
        """Keep the frame, and bring the running ranges up to date."""
        self._previous = torch.cat((stable, contradicts), dim=1)
        self._seen = min(self._seen + 1, _MEMORY)
        self._range_in, self._range_out = (
            (old[0] + (new[0] - old[0]) / self._seen, old[1] + (new[1] - old[1]) / self._seen)
            for old, new in ((self._range_in, range_in), (self._range_out, range_out))
        )


def stabilise_depth(
    depth: Tensor,  # [F, 1, H, W], any unit, larger = nearer
    flow: Flow,  # of the F frames
    *,
    cuts: Sequence[int] = (),
    strength: float = DEFAULT_STRENGTH,
    stabiliser: DepthStabiliser | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 1, H, W]
    """Take out of a video's depth what changes from frame to frame in scale, shift and detail.

    Args:
        depth: Inverse depth as a per-frame estimator gives it.
        flow: The frames' flow, as `estimate_flow` gives it.
        cuts: Frames with which a new scene begins; there the state is forgotten.
        strength: Share of the carried previous frame where the two frames agree, 0 to 0.95; 0 corrects scale
            and shift only.
        stabiliser: State to be continued, for a long video in chunks: its strength counts, and if it has seen
            a frame before, the flow is that of F+1 frames, beginning with that one.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        Inverse depth in the unit of each scene's first frame, float32; `measure_scenes` and
        `apply_scene_ranges` bring it to [0, 1].

    Raises:
        InputError: If a shape, a cut or `strength` is wrong or a value is not finite.
    """
    check_video("depth", depth, channels=1)
    check_cuts(cuts, len(depth))
    if stabiliser is not None:
        check_type("stabiliser", stabiliser, DepthStabiliser)
    state = DepthStabiliser(strength=strength) if stabiliser is None else stabiliser
    lead = int(state.continues)  # frames before the first one that the flow begins with
    check_flow(flow, like=depth[:1].expand(len(depth) + lead, -1, -1, -1))
    starts = set(cuts)
    stable = torch.empty_like(depth, dtype=torch.float32)
    for t in range(len(depth)):
        if t in starts:
            state.reset()
        stable[t] = state.step(depth[t], flow.to_previous(t + lead) if state.continues else None)
        if on_frame is not None:
            on_frame(t + 1)
    return stable


def _as_batch(depth: Tensor) -> Tensor:  # [1, H, W] or [H, W] -> [1, 1, H, W] float32
    """Check one frame's depth and bring it to the layout of videos."""
    check_tensor("depth", depth)
    frame = depth[None] if depth.ndim == 2 else depth
    if frame.ndim != 3 or frame.shape[0] != 1:
        raise InputError(
            f"`depth` must be one frame, [1, H, W] or [H, W], got {list(depth.shape)}; give one at a time"
        )
    check_video("depth", frame[None], channels=1)
    check_finite("depth", frame, DEPTH_REMEDY)
    return frame[None].float().detach()
