"""ComfyUI's progress bar, live previews, messages on a node, and the check for a cancelled prompt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from comfy.latent_formats import SD15
from comfy.model_management import get_torch_device, throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from latent_preview import get_previewer
from PIL import Image
from server import PromptServer
from torch import Tensor

_PREVIEW_SIZE = 512  # pixels, longer side
_PREVIEW_INTERVAL = 0.5  # seconds; every preview is a JPEG through the websocket

_LOGGER = logging.getLogger(__name__)


def frame_progress(total: int) -> Callable[[int], None]:
    """Make the `on_frame` callback of a library function: moves the bar, raises if the user cancelled."""
    bar = ProgressBar(max(1, total))

    def on_frame(done: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(done)

    return on_frame


def survey_progress(node_id: str) -> Callable[[int, int | None], None]:
    """Make the `on_survey` callback of `convert`: as `frame_progress`, and says on the node what goes on."""
    bar = ProgressBar(1)

    def on_survey(done: int, total: int | None) -> None:
        throw_exception_if_processing_interrupted()
        if done == 1:
            PromptServer.instance.send_progress_text("measuring the depth range of each scene", node_id)
        bar.update_absolute(done, total or done + 1)

    return on_survey


def video_progress() -> Callable[[int, int | None, np.ndarray | None], None]:
    """Make the `on_progress` callback of `convert`: as `frame_progress`, with a picture now and then."""
    bar = ProgressBar(1)
    next_preview = 0.0

    def on_progress(done: int, total: int | None, preview: np.ndarray | None) -> None:
        nonlocal next_preview
        throw_exception_if_processing_interrupted()
        image = None
        if preview is not None and time.monotonic() >= next_preview:
            next_preview = time.monotonic() + _PREVIEW_INTERVAL
            image = ("JPEG", Image.fromarray(preview), _PREVIEW_SIZE)
        bar.update_absolute(done, total or done + 1, image)

    return on_progress


def step_progress() -> Callable[[int, int, Tensor], None]:
    """Make the `on_step` callback of `sample`: as `frame_progress`, with previews as the user chose."""
    bar = ProgressBar(1)
    previewer = get_previewer(get_torch_device(), SD15())  # SVD's latents are those of Stable Diffusion 1

    def on_step(done: int, total: int, clean: Tensor) -> None:
        throw_exception_if_processing_interrupted()
        middle = clean[len(clean) // 2][None]
        image = None if previewer is None else previewer.decode_latent_to_preview_image("JPEG", middle)
        bar.update_absolute(done, total, image)

    return on_step


def report(node_id: str, text: str, *, warnings: Sequence[str] = ()) -> None:
    """Write a text onto the node, below the warnings, which go to the log too; it replaces the last text."""
    for warning in warnings:
        _LOGGER.warning("%s", warning)
    shown = "\n".join([*warnings, text])
    # The page takes it for HTML, and names of files come from workflows of others.
    PromptServer.instance.send_progress_text(shown.replace("<", "\u2039").replace(">", "\u203a"), node_id)
