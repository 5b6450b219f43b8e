"""The live preview of the warp: a frame and its depth for the page, from a run or for the asking.

A run sends its frame as soon as the depth is known, long before a film is done, and hands it on with its
result, so that the page gets it from ComfyUI's cache too. "Preview a frame" (`web/js/parallax/ask.mjs`)
queues the prompt with a copy of the node that asks, which has `ASKS_FOR` and `ASKS_AT` among its inputs. The
node itself stays as it is, and with it what ComfyUI keeps of its last run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from comfy_api.latest import io
from PIL import Image
from server import PromptServer
from torch import Tensor

from ..spatialdreamer_core.checks import check_range, one_line
from ..spatialdreamer_core.flow.pictures import to_bytes
from ..spatialdreamer_core.pipeline import ConvertConfig, DepthSample, sample_film, sample_picture
from ..spatialdreamer_core.pipeline.parallax import PARALLAX_SETTINGS, parallax_rules
from .depth_models import prepare_model
from .video_file import VideoFile
from .view_files import place_of, temporary_path

_LOGGER = logging.getLogger(__name__)
EVENT = "spatialdreamer_parallax"
"""The message to the page, and what the node's output has beside its pictures."""
ASKS_FOR, ASKS_AT = "spatialdreamer_preview_of", "spatialdreamer_preview_at"
_OF_EDGES = ("edge_width", "edge_dilation", "guided_upsampling", "depth", "invert_depth", "depth_kind")
_LATEST = 10_000_000.0  # s or frames
CURVES = ("foreground_scale", "depth_gamma", "depth_near", "depth_far")
"""The widgets that the page follows in place of the node."""
OWN_RANGE = "depth is brought to 0 to 1 by this frame alone; in a run its scene's range counts"


class AskedFrame(NamedTuple):
    """A frame that is to be previewed, in place of a run."""

    node_id: str  # of the node that asks
    at: float  # s from the start of the video, or the number of the frame in a batch, from 1 on


def asked_frame(node: type[io.ComfyNode]) -> AskedFrame | None:
    """Return which frame a prompt asks for, or None where the node is to run.

    Args:
        node: The node's class, whose schema has `io.Hidden.prompt` and `io.Hidden.unique_id`.

    Raises:
        InputError: If the moment is no number from 0 on.
    """
    prompt: Mapping[str, Any] = node.hidden.prompt or {}
    inputs = prompt.get(str(node.hidden.unique_id), {}).get("inputs", {})
    if ASKS_FOR not in inputs:
        return None
    at = inputs.get(ASKS_AT, 0)
    check_range("the moment to preview", at, 0, _LATEST)
    return AskedFrame(str(inputs[ASKS_FOR]), float(at))


class ParallaxPreview:
    """The preview of one run.

    Args:
        node_id: The node that shows it.
        widgets: The node's values, which the page takes for those of inputs that it cannot see.
    """

    def __init__(self, node_id: str | None, widgets: Mapping[str, Any]) -> None:
        self._node_id, self._widgets = node_id, widgets
        self._message: dict[str, Any] | None = None

    def offer(self, sample: DepthSample, *, title: str) -> None:
        """Do as `show` beside a run's work: what fails costs the preview alone, and is said in the log."""
        try:
            self.show(sample, title=title)
        except Exception as error:
            _LOGGER.warning("the live preview is left out: %s", one_line(error))

    def show(self, sample: DepthSample, *, title: str, note: str = "") -> None:
        """Send a frame to the page.

        Args:
            sample: The frame and its depth.
            title: Which frame it is.
            note: What is to be known of its depth.

        Raises:
            OSError: If its files cannot be written.
        """
        height, width = sample.depth.shape
        known = {name: value for name, value in self._widgets.items() if value is not None}
        self._message = {
            "node": self._node_id,
            "title": title,
            "note": note,
            "width": width,
            "height": height,
            "picture": _save(sample.picture),
            "depth": _save(sample.packed_depth()),
            "depths": sample.describe(),
            "values": {name: known[name] for name in (*PARALLAX_SETTINGS, "device_profile") if name in known},
            "fixed": {name: known[name] for name in _OF_EDGES if name in known},
            "rules": parallax_rules(),
        }
        server = getattr(PromptServer, "instance", None)
        if server is not None and server.client_id is not None:  # None would be all pages
            server.send_sync(EVENT, self._message, server.client_id)

    def add_to(self, output: io.NodeOutput) -> io.NodeOutput:
        """Hand the preview on with a node's output, of which the page hears again."""
        if self._message is not None:
            output.ui = {**(output.ui or {}), EVENT: [self._message]}
        return output


def _save(picture: np.ndarray) -> dict[str, str]:
    """Write a picture into ComfyUI's folder for temporary files; return what `/view` needs to find it."""
    path = temporary_path("parallax", ".png")
    Image.fromarray(picture).save(path, compress_level=1)
    return place_of(path)


def preview_film(
    asked: AskedFrame,
    source: VideoFile,
    config: ConvertConfig,
    widgets: Mapping[str, Any],
    *,
    download: bool,
) -> io.NodeOutput:
    """Show the frame of a video that was asked for, in place of a conversion.

    Args:
        asked: The frame.
        source: The video.
        config: The settings of the conversion, with the file of a given depth.
        widgets: The node's values.
        download: Whether weights may be downloaded.

    Raises:
        InputError: If there is no such frame, or its depth cannot be had.
    """
    model = None
    if config.depth_file is None:
        model = prepare_model(config.depth, download=download, node_id=asked.node_id).model
    moment = source.apply_to(replace(config, start=asked.at, end=None))
    sample = sample_film(source.path, moment, depth_model=model)
    ranged = model is not None or (config.depth_file is not None and config.depth_kind != "normalised")
    preview = ParallaxPreview(asked.node_id, widgets)
    preview.show(sample, title=film_title(sample), note=OWN_RANGE if ranged else "")
    return preview.add_to(io.NodeOutput(None, None))


def preview_picture(
    asked: AskedFrame,
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    config: ConvertConfig,
    widgets: Mapping[str, Any],
    *,
    depth: Tensor | None,  # [F, 1, H, W] in [0, 1]
    download: bool,
) -> io.NodeOutput:
    """Show one picture of a batch, in place of its conversion.

    Args:
        asked: The picture's number.
        frames: The batch.
        config: The settings of the conversion.
        widgets: The node's values.
        depth: The depth that is given for it.
        download: Whether weights may be downloaded.

    Raises:
        InputError: If there is no such picture, or its depth cannot be had.
    """
    check_range("the number of the frame to preview", asked.at, 1, len(frames), whole=True)
    index = int(asked.at) - 1
    model = None
    if depth is None:
        model = prepare_model(config.depth, download=download, node_id=asked.node_id).model
    given = None if depth is None else depth[index, 0].float().cpu().numpy()
    sample = sample_picture(to_bytes(frames[index]), config, depth=given, depth_model=model)
    preview = ParallaxPreview(asked.node_id, widgets)
    note = OWN_RANGE if model is not None and len(frames) > 1 else ""
    preview.show(sample, title=batch_title(index, len(frames)), note=note)
    return preview.add_to(io.NodeOutput(None, None))


def film_title(sample: DepthSample) -> str:
    """Say which frame of a film a sample is."""
    return f"frame at {sample.time:.2f} s"


def batch_title(index: int, frames: int) -> str:
    """Say which frame of a batch is shown."""
    return f"frame {index + 1} of {frames}" if frames > 1 else ""
