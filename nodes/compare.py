"""Compare: how close a view comes to the true one, and how well it goes with the given one, in numbers."""

from __future__ import annotations

import json
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.checks import InputError, check_video
from ..spatialdreamer_core.evaluation import EvaluateConfig
from ..spatialdreamer_core.metrics import MEASURES, ComparedFrame, Comparison
from ..spatialdreamer_core.options import option_of
from .layout import image_to_frames, mask_to_frames
from .presentation import found_by, show_text
from .progress import frame_progress
from .sockets import Disparity, DisparityType
from .widgets import check_each, widget

_CHUNK = option_of(EvaluateConfig, "chunk")


class SpatialDreamerCompareStereo(io.ComfyNode):
    """Node around `spatialdreamer_core.metrics.Comparison`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerCompareStereo",
            display_name="Stereo 3D: Compare",
            category="SpatialDreamer",
            **found_by("psnr", "ssim", "metrics", "evaluate", "quality", "benchmark"),
            description="Measures a view: against the true one, against the given one, and from frame to "
            "frame. The figures are shown on the node and come out as JSON.",
            inputs=[
                io.Image.Input("result", tooltip="The view to be judged."),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="What it should be, of the same size and length: the true view, or another "
                    "method's.",
                ),
                io.Image.Input(
                    "source",
                    optional=True,
                    tooltip="The given view, which the result was rendered from. `truth` or this one must be "
                    "there.",
                ),
                io.Mask.Input(
                    "hole",
                    optional=True,
                    tooltip="Hole mask of DVG Forward Warp: holes are measured by themselves. Not needed "
                    "with `disparity`.",
                ),
                DisparityType.Input(
                    "disparity",
                    optional=True,
                    tooltip="Disparity of DVG Forward Warp: tells the holes, what the views should share, "
                    "and the way back to `source`.",
                ),
                widget(_CHUNK),
            ],
            outputs=[
                io.String.Output(
                    "figures", display_name="figures", tooltip="The figures as JSON, by the measures' names."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run."""
        check_each([_CHUNK], widgets)
        return True

    @classmethod
    def execute(
        cls,
        result: Tensor,
        truth: Tensor | None = None,
        source: Tensor | None = None,
        hole: Tensor | None = None,
        disparity: Disparity | None = None,
        chunk: int = EvaluateConfig.chunk,
    ) -> io.NodeOutput:
        """Measure the view."""
        if truth is None and source is None:
            raise InputError(
                "`truth` or `source` must be connected, got neither; connect what to compare with"
            )
        frames = image_to_frames("result", result)
        given: dict[str, Tensor] = {}
        for name, image in (("truth", truth), ("source", source)):
            if image is not None:
                given[name] = image_to_frames(name, image)
        if hole is not None:
            given["hole"] = mask_to_frames("hole", hole, like=frames)
        if disparity is not None:
            given["disparity"] = disparity.pixels
        for name, video in given.items():
            check_video(name, video, like=frames, like_name="result")
        comparison = Comparison(eye=disparity.eye if disparity else "right", chunk=chunk)
        on_frame = frame_progress(len(frames))
        for t, frame in enumerate(frames):
            comparison.add(ComparedFrame(frame, **{name: video[t] for name, video in given.items()}))
            on_frame(t + 1)
        figures, left_out = comparison.result(), comparison.left_out()
        text = json.dumps({"frames": len(frames), "figures": figures, "left_out": left_out}, indent=2)
        lines = [
            f"{MEASURES[name].title}: {value:.4g} {MEASURES[name].unit}" for name, value in figures.items()
        ]
        return io.NodeOutput(text, ui=show_text(cls.hidden.unique_id, *map(str.rstrip, lines)))
