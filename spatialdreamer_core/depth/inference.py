"""Run a depth model over a clip, or over a film's pictures as they come, in batches that the memory takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from ..memory import free_memory, run_within_memory
from .loading import DepthModel

_CPU_BATCH = 2  # frames; more gain nothing there
_LARGEST_BATCH = 32  # frames
_FILM_BATCH = 8  # frames on a GPU: what is gained by more is little, and as many frames wait
_SHARE = 0.7  # of the free memory


class Inference:
    """Runs a depth model over frames, and remembers how many fit into memory at once.

    On a GPU the first frame goes alone and shows how much memory a frame takes. A batch that does not fit is
    halved and tried again.

    Args:
        model: The model, on the device where it is to run.
        on_gpu: How many frames go at once at most, on a GPU.
        on_cpu: The same elsewhere.

    Attributes:
        most: How many frames go at once at most on the model's device.
    """

    def __init__(self, model: DepthModel, *, on_gpu: int, on_cpu: int) -> None:
        self._model = model
        self._device = next(model.modules[0].parameters()).device
        self._is_measured = self._device.type != "cuda"
        self.most = on_cpu if self._is_measured else on_gpu
        self._batch = self.most if self._is_measured else 1
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def run(
        self,
        frames: Tensor,  # [F, 3, H, W], float in [0, 1] or uint8
    ) -> Tensor:  # [B, 1, H, W] float32 on the CPU, 1 <= B <= F
        """Estimate the inverse depth of as many of the first frames as go into a batch.

        Raises:
            InputError: If not even one frame fits into memory.
        """
        if not self._is_measured:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
        wanted = min(self._batch, len(frames))
        result, count = self._run_within_memory(frames[:wanted])
        if count < wanted:
            self._batch = count
        if not self._is_measured:
            self._is_measured = True
            taken = torch.cuda.max_memory_allocated(self._device) - before
            affordable = int(_SHARE * free_memory(self._device) / max(1, taken))
            self._batch = max(1, min(self.most, affordable))
        return result

    def run_pictures(
        self,
        pictures: Sequence[np.ndarray],  # each [h, w, 3] uint8 RGB
    ) -> list[Tensor]:  # each [1, 1, h, w] float32 on the CPU
        """Estimate the inverse depth of pictures that may differ in size.

        On a GPU that is work of a CUDA stream of its own. In the stream that a film's other stages share,
        their frames would stand still behind each batch, and a batch would wait for them.

        Raises:
            InputError: If not even one of them fits into memory.
        """
        depths: list[Tensor] = []
        for _, of_one_size in groupby(pictures, key=np.shape):
            frames = torch.from_numpy(np.stack(list(of_one_size))).permute(0, 3, 1, 2)
            while len(frames):
                with self._apart():
                    done = self.run(frames)
                depths.extend(done.split(1))
                frames = frames[len(done) :]
        return depths

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Work in the model's own stream, after what this thread's has begun, such as to load the model."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def _run_within_memory(self, frames: Tensor) -> tuple[Tensor, int]:
        """Run as many of the first frames as fit into memory; return their depth and their number."""
        name = self._model.spec.name
        height, width = frames.shape[-2:]
        return run_within_memory(
            lambda count: self._model.inverse_depth(_as_floats(frames[:count].to(self._device))).cpu(),
            len(frames),
            smaller=lambda count: count // 2 or None,
            task=f"depth estimator {name}",
            describe=lambda count: f"{count} frame{'s' if count > 1 else ''} at once",
            explain=lambda count: (
                f"a frame must fit into memory, but depth estimator {name} ran out of it at "
                f"{width}x{height}; use a smaller model or smaller frames"
            ),
        )


def infer_clip(
    model: DepthModel,
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 1, H, W] float32 on the CPU
    """Estimate the inverse depth of a clip's frames, each by itself, in batches (`Inference`).

    Args:
        model: The model.
        frames: The clip.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        Inverse depth, larger = nearer, of the model's own scale and shift.

    Raises:
        InputError: If not even one frame fits into memory.
    """
    inference = Inference(model, on_gpu=_LARGEST_BATCH, on_cpu=_CPU_BATCH)
    raw = torch.empty(len(frames), 1, *frames.shape[-2:])
    done = 0
    while done < len(frames):
        result = inference.run(frames[done:])
        raw[done : done + len(result)] = result
        done += len(result)
        if on_frame is not None:
            on_frame(done)
    return raw


def film_inference(model: DepthModel) -> Inference:
    """Make what runs a model over a film; on the CPU frame by frame, where batches gain nothing."""
    return Inference(model, on_gpu=_FILM_BATCH, on_cpu=1)


def infer_picture(
    model: DepthModel,
    picture: np.ndarray,  # [h, w, 3] uint8 RGB
) -> Tensor:  # [1, 1, h, w] float32 on the CPU
    """Estimate the inverse depth of a single picture, see `Inference`."""
    return film_inference(model).run_pictures([picture])[0]


def _as_floats(frames: Tensor) -> Tensor:
    """Bring frames of 8 bits to [0, 1]."""
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames
