"""Run a depth model over a clip, in batches that the memory takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..memory import run_within_memory
from .loading import DepthModel

_CPU_BATCH = 2  # frames; more gain nothing there
_LARGEST_BATCH = 32  # frames
_SHARE = 0.7  # of the free memory


def infer_clip(
    model: DepthModel,
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 1, H, W] float32 on the CPU
    """Estimate the inverse depth of a clip's frames, each by itself.

    On a GPU the first frame goes alone and shows how much memory a frame takes. A batch that does not fit is
    halved and tried again.

    Args:
        model: The model.
        frames: The clip.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        Inverse depth, larger = nearer, of the model's own scale and shift.

    Raises:
        InputError: If not even one frame fits into memory.
    """
    device = next(model.modules[0].parameters()).device
    raw = torch.empty(len(frames), 1, *frames.shape[-2:])
    batch = 1 if device.type == "cuda" else _CPU_BATCH
    start, measured = 0, device.type != "cuda"
    while start < len(frames):
        if not measured:
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        wanted = min(batch, len(frames) - start)
        result, count = _infer_within_memory(model, frames[start : start + wanted], device)
        raw[start : start + count] = result
        start += count
        if count < wanted:
            batch, measured = count, True
        if not measured:
            measured = True
            batch = _affordable(torch.cuda.max_memory_allocated(device) - before, device)
        if on_frame is not None:
            on_frame(start)
    return raw


def infer_picture(
    model: DepthModel,
    picture: np.ndarray,  # [h, w, 3] uint8 RGB
) -> Tensor:  # [1, 1, h, w] float32 on the CPU
    """Estimate the inverse depth of a single frame, see `infer_clip`."""
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
    return infer_clip(model, planes[None].float() / 255)


def _infer_within_memory(model: DepthModel, frames: Tensor, device: torch.device) -> tuple[Tensor, int]:
    """Run as many of the first frames as fit into memory; return their depth and their number."""
    height, width = frames.shape[-2:]
    return run_within_memory(
        lambda count: model.inverse_depth(frames[:count].to(device)).cpu(),
        len(frames),
        smaller=lambda count: count // 2 or None,
        task=f"depth estimator {model.spec.name}",
        describe=lambda count: f"{count} frame{'s' if count > 1 else ''} at once",
        explain=lambda count: (
            f"a frame must fit into memory, but depth estimator {model.spec.name} ran out of it at "
            f"{width}x{height}; use a smaller model or smaller frames"
        ),
    )


def _affordable(memory: int, device: torch.device) -> int:
    """Return how many frames fit if one takes so many bytes."""
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(_LARGEST_BATCH, int(_SHARE * free / max(1, memory))))
