"""ComfyUI's progress bar, live previews, and the check for a cancelled prompt."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isqrt

import numpy as np
import torch
from comfy.latent_formats import SD15
from comfy.model_management import get_torch_device, throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from latent_preview import get_previewer
from PIL import Image
from torch import Tensor

from ..spatialdreamer_core.pipeline.preview import to_image
from .presentation import show_text

_PREVIEW_SIZE = 512  # pixels, longer side
_TEXT_INTERVAL = 2.0  # seconds
_CHANNELS = SD15.latent_channels
_PREVIEW_INTERVAL = 0.5  # seconds; every preview is a JPEG through the websocket


def frame_progress(total: int) -> Callable[[int], None]:
    """Make the `on_frame` callback of a library function: moves the bar, raises if the user cancelled."""
    bar = ProgressBar(max(1, total))

    def on_frame(done: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(done)

    return on_frame


def first_pass_progress(node_id: str) -> Callable[[int, int | None], None]:
    """Make the `on_first_pass` callback of `convert`: as `frame_progress`, and a line on the node."""
    bar = ProgressBar(1)

    def on_first_pass(done: int, total: int | None) -> None:
        throw_exception_if_processing_interrupted()
        if done == 1:
            show_text(node_id, "measuring the depth range of each scene")
        bar.update_absolute(done, total or done + 1)

    return on_first_pass


class FilmProgress:
    """The `on_progress` and `on_scene` callbacks of `convert`: the bar, pictures, time left and the scene.

    Args:
        node_id: The node on which time and scene are written.
        title: What goes before them, such as the file of several.
    """

    def __init__(self, node_id: str | None, *, title: str = "") -> None:
        self._node_id, self._title = node_id, title
        self._bar = ProgressBar(1)
        self._next_preview = self._next_text = 0.0
        self._began: tuple[int, float] | None = None  # frames done when this run began, and when
        self._scene = ""

    def on_progress(self, done: int, total: int | None, preview: np.ndarray | None) -> None:
        """Take note of a frame; raise if the user cancelled."""
        throw_exception_if_processing_interrupted()
        now, image = time.monotonic(), None
        if preview is not None and now >= self._next_preview:
            self._next_preview = now + _PREVIEW_INTERVAL
            image = ("JPEG", Image.fromarray(preview), _PREVIEW_SIZE)
        self._bar.update_absolute(done, total or done + 1, image)
        if self._began is None:
            self._began, self._next_text = (done, now), now + _TEXT_INTERVAL
        elif total is not None and now >= self._next_text and done > self._began[0]:
            self._next_text = now + _TEXT_INTERVAL
            left = (now - self._began[1]) / (done - self._began[0]) * (total - done)
            show_text(self._node_id, f"{self._title}{self._scene}frame {done} of {total}, {_time_left(left)}")

    def on_scene(self, number: int, count: int) -> None:
        """Take note of a scene that begins."""
        self._scene = f"scene {number} of {count}, "


def _time_left(seconds: float) -> str:
    """Write how long the rest takes."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    return f"about {minutes} min left" if minutes < 60 else f"about {minutes // 60} h {minutes % 60} min left"


def view_progress(total: int) -> Callable[[int, Tensor], None]:
    """Make the `on_view` callback of `refine`: as `frame_progress`, with a finished frame now and then."""
    bar = ProgressBar(max(1, total))
    next_preview = 0.0

    def on_view(done: int, view: Tensor) -> None:  # [3, H, W] in [0, 1]
        nonlocal next_preview
        throw_exception_if_processing_interrupted()
        image = None
        if time.monotonic() >= next_preview:
            next_preview = time.monotonic() + _PREVIEW_INTERVAL
            image = ("JPEG", Image.fromarray(to_image(view.float())), _PREVIEW_SIZE)
        bar.update_absolute(done, preview=image)

    return on_view


def matrix_progress() -> Callable[[int, int, Tensor], None]:
    """Make the `on_step` callback of `fill_matrix`: as `step_progress`, with a frame in all views."""
    bar, device = ProgressBar(1), get_torch_device()
    previewer = get_previewer(device, SD15())
    next_preview = 0.0

    def on_step(done: int, total: int, clean: Tensor) -> None:  # [V, F, C, h, w]
        nonlocal next_preview
        throw_exception_if_processing_interrupted()
        image = None
        if previewer is not None and clean.shape[2] == _CHANNELS and time.monotonic() >= next_preview:
            next_preview = time.monotonic() + _PREVIEW_INTERVAL
            views = clean[:, clean.shape[1] // 2].to(device)
            image = previewer.decode_latent_to_preview_image("JPEG", _in_grid(views)[None])
        bar.update_absolute(done, total, image)

    return on_step


def _in_grid(
    views: Tensor,  # [V, C, h, w]
) -> Tensor:  # [C, rows · h, columns · w]
    """Put views beside and under each other, as views of 16:9 fill a square best."""
    count, channels, height, width = views.shape
    columns = isqrt(count)
    rows = -(-count // columns)
    missing = views.new_zeros(rows * columns - count, channels, height, width)
    grid = torch.cat([views, missing]).unflatten(0, (rows, columns))
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)


def step_progress() -> Callable[[int, int, Tensor], None]:
    """Make the `on_step` callback of `sample`: as `frame_progress`, with previews as the user chose."""
    bar = ProgressBar(1)
    previewer = get_previewer(get_torch_device(), SD15())  # SVD's latents are those of Stable Diffusion 1

    def on_step(done: int, total: int, clean: Tensor) -> None:
        throw_exception_if_processing_interrupted()
        middle = clean[len(clean) // 2][None]
        image = None
        if previewer is not None and middle.shape[1] == _CHANNELS:  # else a small model's own latents
            image = previewer.decode_latent_to_preview_image("JPEG", middle)
        bar.update_absolute(done, total, image)

    return on_step
