"""How steady a video is over time: warping error, error of its changes, flicker of hole masks, colour shifts.

Each measure has a function for a clip, and beneath it one for a pair of frames, which films use. Flow between
frames that belong to different scenes means nothing: measure scenes one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_range
from ..contracts import check_call
from ..dvg.eyes import Eye
from ..dvg.zbuffer import bring_motion, find_columns
from ..flow import Flow, Motion
from ..flow.motion import check_flow
from ..flow.sampling import look_up

LEVELS = 255  # by which differences are printed as those of 8-bit values


def warping_error(
    frames: Tensor,  # [F, C, H, W] in [0, 1]
    flow: Flow,
) -> float:
    """E_warp of Lai et al. (ECCV 2018, eq. 12 and 13), which SpatialDreamer's Table 2 prints times 1000.

        E(t) = mean of M(p) · (V_t(p) - V_{t+1}(p + w(p)))²  over pixels with M = 1, and channels

    M leaves out what is occluded in the next frame, by the flow's own confidence, or moves out of it. (Lai et
    al. also leave out motion boundaries.) For a comparison all methods take the same flow: that of the true
    view where there is one.

    Args:
        frames: The video.
        flow: Its flow.

    Returns:
        The mean over pairs of neighbouring frames, 0 for a still clip; NaN for one frame.

    Raises:
        InputError: If the frames break their rule (`contracts.TABLE`) or the flow is not theirs.
    """
    check_call("warping_error", frames=frames)
    check_flow(flow, like=frames)
    errors = []
    for t in range(len(frames) - 1):
        to_next = flow.to_next(t)
        assert to_next is not None
        error, seen = pair_warping_error(frames[t], frames[t + 1], to_next)
        errors.append(float(error[seen].mean()))
    return _mean(errors)


def pair_warping_error(
    first: Tensor,  # [C, H, W]
    second: Tensor,  # [C, H, W]
    to_next: Motion,  # of the first one
) -> tuple[Tensor, Tensor]:  # [1, H, W], [1, H, W] bool
    """Return one pair's error at each pixel of the first frame, and where it is seen in both."""
    carried = _bring_back(second.detach().float(), to_next.flow.float().to(second.device))
    error = (first.detach().float() - carried).square().mean(0, keepdim=True)
    return error, to_next.confidence.to(second.device) > 0.5


def temporal_error(
    result: Tensor,  # [F, C, H, W] in [0, 1]
    truth: Tensor,  # [F, C, H, W] in [0, 1]
    mask: Tensor | None = None,  # [F, 1, H, W] bool, such as the hole
) -> float:
    """Mean |(result's change) - (truth's change)| from frame to frame where both frames are masked.

    Returns:
        Steps of 8-bit values, 0 to 255; NaN if no pixel is masked twice, or for one frame.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("temporal_error", result=result, truth=truth, mask=mask)
    change = result.detach().float().diff(dim=0) - truth.detach().float().diff(dim=0)
    error = change.abs().mean(1, keepdim=True) * LEVELS
    if mask is None:
        return float(error.mean())
    return float(error[(mask[1:] > 0.5) & (mask[:-1] > 0.5)].mean())


def mask_flicker(
    hole: Tensor,  # [F, 1, H, W], 1 = hole of the rendered view
    flow: Flow,  # of the source view
    *,
    disparity: Tensor,  # [F, 1, H, W] px, of the source view
    eye: Eye = "right",
) -> float:
    """Share of the pixels in which a hole mask differs from the one before, carried along by the flow.

    Only pixels whose flow is known in the rendered view and trusted count: a mask that moves with its object
    scores 0, one that jumps does not.

    Returns:
        0 (steady) to 1, the mean over pairs of neighbouring frames; NaN if there is none.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`), the flow is not of as many frames, or
            the eye is unknown.
    """
    check_call("mask_flicker", hole=hole, disparity=disparity)
    check_flow(flow, like=hole)
    changes = []
    for t in range(1, len(hole)):
        towards = flow.to_previous(t)
        assert towards is not None
        columns = find_columns(disparity[t : t + 1], eye=eye)
        changes.append(pair_flicker(hole[t - 1], hole[t], bring_motion(towards, columns)))
    return _mean(changes)


def pair_flicker(
    before: Tensor,  # [1, H, W]
    hole: Tensor,  # [1, H, W]
    towards: Motion,  # of the rendered view, to the frame before
) -> float:
    """Return one pair's flicker; NaN if no flow is trusted."""
    flow = towards.flow[None].float().to(hole.device)
    carried = look_up(before.detach()[None].float(), flow, mode="nearest", outside="zeros")[0]
    trusted = towards.confidence.to(hole.device) > 0.5
    return float((hole.detach().float() - carried).abs()[trusted].mean())


def colour_shift(
    result: Tensor,  # [F, 3, H, W] in [0, 1]
    reference: Tensor,  # [F, 3, H, W] in [0, 1]
    mask: Tensor | None = None,  # [F, 1, H, W] bool, pixels that both show
    *,
    chunk: int = 16,
) -> float:
    """Largest jump of the mean colour between neighbouring chunks of frames, as at the seams of windows.

    What counts is the result's mean colour against the reference's, so that a change of the film itself is
    none.

    Args:
        result: The view to be judged.
        reference: The true view, or one that shows the same, such as the warp before filling.
        mask: The pixels that count; None for all.
        chunk: Frames a chunk, 1 or more: those of the method's windows, if it has any.

    Returns:
        The largest difference of a channel, in steps of 8-bit values; NaN for less than two chunks.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`) or `chunk` is out of range.
    """
    check_call("colour_shift", result=result, reference=reference, mask=mask)
    meter = ColourShift(chunk)
    for t in range(len(result)):
        meter.add(result[t], reference[t], None if mask is None else mask[t] > 0.5)
    return meter.result()


class ColourShift:
    """`colour_shift` of a stream of frames.

    Args:
        chunk: Frames a chunk.
    """

    def __init__(self, chunk: int = 16) -> None:
        check_range("chunk", chunk, 1, 100_000, "frames", whole=True)
        self._chunk = chunk
        self._sum, self._count, self._frames = torch.zeros(3, dtype=torch.float64), 0, 0
        self._before: Tensor | None = None
        self._largest = float("nan")

    def add(
        self,
        result: Tensor,  # [3, H, W]
        reference: Tensor,  # [3, H, W]
        mask: Tensor | None = None,  # [1, H, W] bool
    ) -> None:
        """Take the next frame."""
        difference = (result.detach().double() - reference.detach().double()).flatten(1)
        if mask is not None:
            difference = difference[:, mask.flatten()]
        self._sum += difference.sum(1).cpu()
        self._count += difference.shape[1]
        self._frames += 1
        if self._frames == self._chunk:
            self._end_chunk()

    def result(self) -> float:
        """Return the largest jump so far; a last chunk of less than half of its frames does not count."""
        if 2 * self._frames >= self._chunk:
            self._end_chunk()
        return self._largest

    def _end_chunk(self) -> None:
        """Compare a chunk with the one before."""
        if self._count:
            mean = self._sum / self._count
            if self._before is not None:
                jump = float((mean - self._before).abs().max()) * LEVELS
                self._largest = jump if self._largest != self._largest else max(self._largest, jump)
            self._before = mean
        self._sum, self._count, self._frames = torch.zeros(3, dtype=torch.float64), 0, 0


def _bring_back(
    values: Tensor,  # [C, H, W]
    flow: Tensor,  # [2, H, W] px
) -> Tensor:  # [C, H, W]
    """Look up `values` at p + flow(p) bilinearly; unlike `look_up` without any rounding at whole pixels."""
    height, width = values.shape[-2:]
    x = (torch.arange(width, device=flow.device) + flow[0]).clamp(0, width - 1)
    y = (torch.arange(height, device=flow.device)[:, None] + flow[1]).clamp(0, height - 1)
    left, top = x.long(), y.long()
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    rows = [torch.lerp(values[:, row, left], values[:, row, right], x - left) for row in (top, below)]
    return torch.lerp(rows[0], rows[1], y - top)


def _mean(values: list[float]) -> float:
    """Average those that were measured; NaN if none was."""
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")
