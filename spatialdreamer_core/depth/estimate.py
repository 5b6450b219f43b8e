"""`estimate_depth`: one function for every depth estimator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby, pairwise

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bars import PictureBox, find_pictures
from ..checks import InputError, check_finite, check_picture, check_range, check_size
from ..contracts import check_call
from ..flow import Flow, Motion, estimate_flow, find_cuts, fit_size, open_flow, to_rgb
from ..flow.motion import check_flow
from .alignment import typical_range
from .catalogue import AUTO, open_estimator
from .edges import snap_edges, steepen_edges
from .first_pass import START_FRAMES
from .guided_filter import guided_upsample
from .inference import infer_clip
from .loading import DepthModel
from .scene_range import apply_scene_ranges, measure_scenes
from .stabilise import DEFAULT_STRENGTH, MAX_STRENGTH, DepthStabiliser
from .stream import BuiltinStream

_WORKING_SIDE = 640  # pixels, the longer side of the frames that flow and films' depth are estimated on
_SCREEN, _NEAREST = 0.5, 1.0  # inverse depth of bars above and below, and beside
GUIDE_RADIUS, GUIDE_EPSILON = 4, 1e-3  # pixels of the working size, and variance of colours in [0, 1]


def working_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which films are analysed: the longer side at most 640 pixels.

    Raises:
        InputError: If a side is not a whole number above 0.
    """
    return fit_size(height, width, longer_side=_WORKING_SIDE)


def working_frame(
    image: np.ndarray,  # [H, W, 3] uint8 or uint16
    *,
    levels: np.ndarray | None = None,  # [65536] uint8
) -> np.ndarray:  # [h, w, 3] uint8
    """Shrink a frame to its working size.

    Args:
        image: The frame.
        levels: What each value of a 16-bit frame becomes in 8 bits; None keeps black and white.

    Raises:
        InputError: If it is no such array.
    """
    check_picture("image", image, allow_16_bit=True)
    small = _shrink(image, working_size(*image.shape[:2]))
    if small.dtype == np.uint8:
        return small
    return cv2.convertScaleAbs(small, alpha=1 / 257) if levels is None else levels[small]


def estimate_depth(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    estimator: str | DepthModel = AUTO,
    flow: Flow | None = None,  # of the F frames
    stability: float = DEFAULT_STRENGTH,
    on_frame: Callable[[int], None] | None = None,
    device: torch.device | str | None = None,
    download: bool = False,
) -> Tensor:  # [F, 1, H, W]
    """Estimate the inverse depth of a video's frames; a scene begins anew at each cut.

    A model estimates each frame by itself; its output is stabilised along the flow (`stabilise_depth`) and
    normalised over each scene. That holds for models that give metres too: their scale varies from frame to
    frame like any other's, and what does not vary is left as it is. The clip runs in batches at full size,
    which is faster and finer than the film's `ModelStream`.

    Black bars (see `find_pictures`) are left out of all that. Bars beside the picture get the depth 1: where
    nothing comes before them, a warp keeps their edges straight. Bars above and below get 0.5, and what is
    written there stays on the screen. A chain that crops the frames first needs neither.

    Args:
        frames: The video.
        estimator: A name from `estimator_names`, or a model from `load_model`.
        flow: The frames' flow, as `estimate_flow` gives it; None estimates it.
        stability: How much a model's depth is steadied over time, 0 to 0.95: the strength of
            `DepthStabiliser`; 0 leaves each frame as the model gives it. `builtin` is steady by itself.
        on_frame: Called with the number of finished frames; may raise to interrupt.
        device: Where a model named by `estimator` runs; None is the frames' device.
        download: Whether to download a model's weights if they are missing.

    Returns:
        Inverse depth in [0, 1], 1 = near, float32, on the frames' device; its edges lie on the frames' edges.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`), the estimator is unknown, `stability` is
            out of range, or a model cannot be loaded.
    """
    check_call("estimate_depth", frames=frames)
    if flow is not None:
        check_flow(flow, like=frames)
    check_range("stability", stability, 0.0, MAX_STRENGTH)
    if isinstance(estimator, str):
        place = frames.device if device is None else device
        model = open_estimator(estimator, device=place, download=download)
    else:
        if not callable(getattr(estimator, "inverse_depth", None)):
            raise InputError(
                f"`estimator` must be a name or a model, got {type(estimator).__name__}; see load_model"
            )
        model = estimator
    on_frame = on_frame or (lambda done: None)
    parts: list[Tensor] = []
    first = 0
    for box, run in groupby(find_pictures(frames)):
        end = first + len(list(run))
        rows, columns = box.slices
        # Flow ends where the picture takes another place.
        part = None if flow is None else flow.cut(first, end, rows, columns)
        report = partial(_report, on_frame, first)
        depth = _estimate(frames[first:end, :, rows, columns], model, part, stability, report)
        parts.append(_in_bars(depth, box, (frames.shape[-2], frames.shape[-1])))
        first = end
    depth = parts[0] if len(parts) == 1 else torch.cat(parts)
    return depth.to(frames.device)


def _report(on_frame: Callable[[int], None], before: int, done: int) -> None:
    """Count the frames of a part as those of the whole."""
    on_frame(before + done)


def _estimate(
    frames: Tensor,
    model: DepthModel | None,
    flow: Flow | None,
    stability: float,
    on_frame: Callable[[int], None],
) -> Tensor:  # [F, 1, H, W] on the CPU
    """Estimate the depth of a clip of pictures without bars."""
    if model is None:
        return _estimate_builtin(frames, flow, on_frame)
    depth, cuts = infer_clip(model, frames, on_frame=on_frame), find_cuts(frames)
    if stability:
        depth = _stabilise(depth, frames, flow, cuts, stability, on_frame)
    return apply_scene_ranges(depth, measure_scenes(depth, cuts), cuts)


def _in_bars(
    depth: Tensor,  # [F, 1, h, w]
    box: PictureBox,
    size: tuple[int, int],  # (height, width)
) -> Tensor:  # [F, 1, height, width]
    """Put a picture's depth into frames with bars."""
    if depth.shape[-2:] == size:
        return depth
    rows, columns = box.slices
    whole = depth.new_full((*depth.shape[:2], *size), _SCREEN)
    whole[..., rows, :] = _NEAREST
    whole[..., rows, columns] = depth
    return whole


def _stabilise(
    depth: Tensor,  # [F, 1, H, W] on the CPU
    frames: Tensor,
    flow: Flow | None,
    cuts: list[int],
    strength: float,
    on_frame: Callable[[int], None],
) -> Tensor:  # [F, 1, H, W] on the CPU
    """Stabilise a clip's depth scene by scene; flow is estimated if there is none."""
    stable = torch.empty_like(depth)
    stabiliser = DepthStabiliser(strength=strength)
    for first, end in pairwise((0, *cuts, len(depth))):
        scene = depth[first:end]
        stabiliser.reset(typical_range(frame[None] for frame in scene[:START_FRAMES]))
        for t in range(first, end):
            if t == first:
                motion = None
            elif flow is None:
                motion = _working_flow(frames[t - 1 : t + 1]).to_previous(1)
            else:
                motion = flow.to_previous(t)
            stable[t] = stabiliser.step(depth[t], motion)
            on_frame(len(depth))
    return stable


def _working_flow(frames: Tensor) -> Flow:
    """Estimate the flow between neighbouring frames at working size, and give it at theirs, on the CPU."""
    size = (frames.shape[-2], frames.shape[-1])
    small = F.interpolate(frames.detach().float().cpu(), working_size(*size), mode="area")
    return estimate_flow(small, method="dis_fast").resized(size)


def _estimate_builtin(frames: Tensor, flow: Flow | None, on_frame: Callable[[int], None]) -> Tensor:
    """Estimate a clip's depth with the builtin estimator: a loop over its stream, from cut to cut."""
    height, width = frames.shape[-2:]
    size, estimator = working_size(height, width), open_flow("dis_fast")
    depth = torch.empty(len(frames), 1, height, width)
    stream, starts = BuiltinStream(), {0, *find_cuts(frames)}
    small, to_previous = _shrink(to_rgb(frames[0]), size), None
    prepared = estimator.prepare(_as_planes(small))
    for t in range(len(frames)):
        if t in starts:
            stream.reset()
        to_next = next_to_previous = None
        if t + 1 < len(frames):
            next_small = _shrink(to_rgb(frames[t + 1]), size)
            next_prepared = estimator.prepare(_as_planes(next_small))
            if t + 1 not in starts:
                if flow is None:
                    pair = estimator.between(prepared, next_prepared)
                    to_next, next_to_previous = pair.to_next(0), pair.to_previous(1)
                else:
                    to_next, next_to_previous = (
                        _shrink_motion(motion, size) for motion in (flow.to_next(t), flow.to_previous(t + 1))
                    )
        depth_small = stream.step(small, to_next, to_previous)
        depth[t, 0] = torch.from_numpy(upsample_depth(depth_small, (height, width)))
        if t + 1 < len(frames):
            small, prepared, to_previous = next_small, next_prepared, next_to_previous
        on_frame(t + 1)
    return depth


def upsample_depth(
    depth: np.ndarray,  # [h, w] float32
    size: tuple[int, int],  # (height, width)
    *,
    guide: np.ndarray | None = None,  # [height, width, 3] uint8 RGB
) -> np.ndarray:  # [height, width]
    """Bring one frame's depth to the size of its frame, its edges as steep as they were.

    Bilinear interpolation, then `steepen_edges` over the width of a small pixel. Asking the full-size colours
    where an edge lies gives finer outlines, but also specks along every one that no colour tells apart; so
    that is a choice.

    Args:
        depth: Inverse depth.
        size: The frame's size.
        guide: The frame. With it, edges move to the nearest edge of its colours, by up to 4 pixels of the
            working size, whatever size the depth has; None: they stay where they are.

    Raises:
        InputError: If the depth is no finite array [h, w], the size is none, or the guide has another one.
    """
    check_plane(depth, size, guide)
    return raise_depth(depth, size, guide=guide)


def raise_depth(depth: np.ndarray, size: tuple[int, int], *, guide: np.ndarray | None) -> np.ndarray:
    """Like `upsample_depth`, without checking its arguments."""
    height, width = size
    if guide is not None:
        small = working_size(height, width)
        raised = guided_upsample(depth, guide, size=small, radius=GUIDE_RADIUS, epsilon=GUIDE_EPSILON)
        raised = np.clip(raised, 0, 1)
        return snap_edges(raised, radius=max(2, round(2 * width / small[1])))
    if depth.shape == size:
        return depth
    raised = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
    return steepen_edges(raised, radius=max(1, round(width / depth.shape[1])))


def guide_depth(
    depth: Tensor,  # [F, 1, h, w] in [0, 1]
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Bring depth to the size of its frames, its edges on the edges of their colours: guided upsampling.

    Depth of the frames' size is guided as well. Only for depth whose outlines are better than the builtin
    estimator's, see `upsample_depth`.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`).
    """
    check_call("guide_depth", frames=frames, depth=depth)
    result = depth.new_empty((len(frames), 1, *frames.shape[-2:]), dtype=torch.float32)
    for plane, frame, guided in zip(depth.detach().float().cpu(), frames, result, strict=True):
        picture = upsample_depth(plane[0].numpy(), frame.shape[-2:], guide=to_rgb(frame))
        guided[0] = torch.from_numpy(picture)
    return result


def check_plane(depth: np.ndarray, size: tuple[int, int], guide: np.ndarray | None) -> None:
    """Check what `upsample_depth` is given."""
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or 0 in depth.shape:
        got = list(depth.shape) if isinstance(depth, np.ndarray) else type(depth).__name__
        raise InputError(f"`depth` must be one frame's depth, a NumPy array [h, w], got {got}")
    if depth.dtype not in (np.float32, np.float64):
        raise InputError(f"`depth` must hold float32, got {depth.dtype}; convert it by .astype(np.float32)")
    check_finite("depth", torch.from_numpy(np.ascontiguousarray(depth)), "repair the depth")
    check_size("size", size)
    if guide is None:
        return
    check_picture("guide", guide, allow_16_bit=True)
    if tuple(guide.shape[:2]) != tuple(size):
        raise InputError(
            f"`guide` must have the size that is asked for ({size[1]}x{size[0]}), got "
            f"{guide.shape[1]}x{guide.shape[0]}; give the frame that the depth belongs to"
        )


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a frame to the working size: each pixel is the mean of those it covers.

    That is a third for a film of 1920x1080, whose means of bytes a filter makes in half of the time.
    """
    height, width = size
    if image.dtype == np.uint8 and image.shape[:2] == (3 * height, 3 * width):
        means = cv2.blur(image, (3, 3))
        return cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _shrink_motion(motion: Motion | None, size: tuple[int, int]) -> Motion | None:
    """Bring a motion to the working size and its pixels."""
    if motion is None:
        return None
    height, width = motion.flow.shape[-2:]
    planes = torch.cat([motion.flow, motion.confidence.to(motion.flow.dtype)]).detach().float().cpu()
    small = _shrink(np.ascontiguousarray(planes.permute(1, 2, 0).numpy()), size)
    small *= np.array([size[1] / width, size[0] / height, 1], np.float32)
    shrunk = torch.from_numpy(small).permute(2, 0, 1)
    return Motion(shrunk[:2], shrunk[2:])


def _as_planes(image: np.ndarray) -> Tensor:  # [h, w, 3] -> [3, h, w]
    """Give a picture the layout of frames."""
    return torch.from_numpy(image).permute(2, 0, 1)
