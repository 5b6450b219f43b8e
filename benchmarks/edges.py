"""What edges of depth are best for the warp: `python -m benchmarks.edges`.

The exact inverse depth of synthetic clips is blurred as a depth network's is, then rendered with each
`edge_width` and `edge_dilation`, with sharp colours and with the soft ones of a lens. Visible: PSNR where
the second view sees what the first one saw too. Rim: PSNR within 4 px of a nearer surface in the second view
on the background's side, holes filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.masks import EYES
from benchmarks.report import format_table, write_result
from spatialdreamer_core.depth import EDGE_WIDTH, DepthShaping, guide_depth, shape_depth
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.eyes import Eye
from spatialdreamer_core.dvg.forward import forward_warp_with_disparity
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.fill.pair import extend_background
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.metrics.views import masked_psnr

CLIPS = ("translate_right", "strips_right", "walker")  # upright and round outlines, three depths
SIZE = (360, 640)
LENS = {"sharp": 0.0, "soft": 1.0}  # standard deviation of the blur of colours, px
RIM, JUMP = 4, 2.0  # px


class Shot(NamedTuple):
    """One frame with the truth about its second view; tensors of one frame."""

    eye: Eye
    scale: float  # px of disparity for inverse depth 1
    image: Tensor
    other: Tensor
    depth: np.ndarray  # [H, W]
    seen: Tensor  # [1, 1, H, W] bool, what both views see
    rim: Tensor  # [1, 1, H, W] bool


def main() -> None:
    """Measure, print the table, write the result file."""
    torch.set_grad_enabled(False)
    metrics, rows = {}, []
    for lens, sigma in LENS.items():
        shots = list(make_shots(sigma))
        for network in NETWORKS:
            for treatment in TREATMENTS:
                visible, rim = np.mean([measure(shot, network, treatment) for shot in shots], axis=0)
                rows.append([lens, network, treatment, float(visible), float(rim)])
                metrics[f"{lens}/{network}/{treatment}/visible_psnr"] = float(visible)
                metrics[f"{lens}/{network}/{treatment}/rim_psnr"] = float(rim)
    print(format_table(("colours", "depth", "treatment", "visible PSNR", "rim PSNR"), rows))
    print(write_result("edges", metrics, "mean over clips and eyes, dB; 640x360"))


def make_shots(sigma: float) -> Iterator[Shot]:
    """Render the clips' first frames for both eyes."""
    for eye, baseline in EYES:
        for name in CLIPS:
            clip = make_clip(name, size=SIZE, frames=1, baseline=baseline)
            assert clip.other is not None
            assert clip.disparity is not None
            assert clip.other_hole is not None
            _, hole, seen = forward_warp_with_disparity(clip.frames, clip.disparity, eye=eye)
            disparity = extend_background(seen, hole)
            rise = F.max_pool2d(disparity, 2 * RIM + 1, stride=1, padding=RIM) - disparity
            image, other = (blur_colours(video, sigma) for video in (clip.frames, clip.other))
            yield Shot(
                eye=eye,
                scale=abs(baseline) * SIZE[1],
                image=image,
                other=other,
                depth=clip.inverse_depth[0, 0].numpy(),
                seen=clip.other_hole < 0.5,
                rim=rise > JUMP,
            )


def blur_colours(video: Tensor, sigma: float) -> Tensor:
    """Make a frame as soft as a lens does."""
    if sigma == 0:
        return video
    picture = cv2.GaussianBlur(video[0].permute(1, 2, 0).numpy(), (0, 0), sigma)
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def shrink_depth(depth: np.ndarray, factor: int) -> np.ndarray:
    """Bring depth to a smaller size and back."""
    small = cv2.resize(depth, (SIZE[1] // factor, SIZE[0] // factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


NETWORKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda depth: depth,
    "blur_1px": lambda depth: cv2.GaussianBlur(depth, (0, 0), 1.0),
    "blur_2px": lambda depth: cv2.GaussianBlur(depth, (0, 0), 2.0),
    "half_size": lambda depth: shrink_depth(depth, 2),
    "third_size": lambda depth: shrink_depth(depth, 3),
}
TREATMENTS = {  # name: shaping, and whether the depth is guided by the colours before
    **{f"width_{width}": (DepthShaping(edge_width=width), False) for width in (0, 1, 2, 3, 4, 6)},
    **{
        f"width_{width}_dilation_{dilation}": (DepthShaping(edge_width=width, edge_dilation=dilation), False)
        for width, dilation in ((0, 1), (0, 2), *((EDGE_WIDTH, dilation) for dilation in (1, 2, 3, 4)))
    },
    "guided": (DepthShaping(), True),
    f"guided_width_{EDGE_WIDTH}": (DepthShaping(edge_width=EDGE_WIDTH), True),
}


def measure(shot: Shot, network: str, treatment: str) -> tuple[float, float]:
    """Render one shot; returns visible and rim PSNR."""
    shaping, guided = TREATMENTS[treatment]
    depth = torch.from_numpy(NETWORKS[network](shot.depth))[None, None]
    depth = shape_depth(guide_depth(depth, shot.image) if guided else depth, shaping)
    disparity = depth * shot.scale
    view, hole = forward_warp(shot.image, disparity, eye=shot.eye)
    filled = fast_fill(view, hole, left=shot.image, disparity=disparity, eye=shot.eye)
    return masked_psnr(view, shot.other, shot.seen & (hole < 0.5)), masked_psnr(filled, shot.other, shot.rim)


if __name__ == "__main__":
    main()
