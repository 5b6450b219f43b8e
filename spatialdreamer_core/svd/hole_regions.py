"""Which parts of a window a model must see to fill its holes: regions around them, instead of whole pictures.

A picture is divided into squares of a size that the model's levels take. Those that hold a hole in any frame
of the window are joined into rectangles, and each of these gets a margin of context on every side. Rectangles
are joined as long as that is estimated to cost less than leaving them apart, and if all of them cost more
than the whole picture, that is the only region.

What a model makes of a region fades out within its margin: no edge is seen, and no hole lies where it fades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .windows import Region, cut_spans

_ATTENTION_WIDTHS = 125  # see `RegionCost.of_unet`
_LAUNCHES = 16_000  # latents that a fast GPU denoises while a pass's thousands of kernels are launched


@dataclass(frozen=True)
class RegionCost:
    """Estimates what denoising a region costs, in latents of work that is linear in them.

        cost = F·n + (F·n² + M·F·n) / a + o

    for F frames of n latents, M of which, in all frames, are holes that attend to every frame.

    Attributes:
        attention: Latents a frame, a, at which spatial self-attention takes as long as all else together.
        full_attention: Whether holes attend to all frames; otherwise M counts as 0.
        overhead: What a region costs in any case, o, latents.
    """

    attention: float
    full_attention: bool = False
    overhead: float = 0.0

    @classmethod
    def of_unet(
        cls, config: Mapping[str, Any], *, full_attention: bool = False, device: torch.device | None = None
    ) -> RegionCost:
        """Estimate the cost for a UNet in SVD's layout.

        With SVD's widths a latent costs about 150 million multiplications, and attention 3,650 for each other
        latent of its frame, so they are even at 40,000 latents; the first number grows with the square of the
        widths, the second with the widths.

        Args:
            config: Of the UNet.
            full_attention: Whether holes attend to all frames.
            device: Where it runs: on a GPU launching the kernels of a small region takes longer than they do.
        """
        overhead = _LAUNCHES if device is not None and device.type == "cuda" else 0
        return cls(_ATTENTION_WIDTHS * config["block_out_channels"][0], full_attention, overhead)

    def estimate(self, *, frames: int, latents: np.ndarray, holes: np.ndarray) -> np.ndarray:
        """Estimate regions of `latents` a frame, with `holes` latents in all frames."""
        seen = latents + (holes if self.full_attention else 0)
        return frames * latents * (1 + seen / self.attention) + self.overhead


def find_regions(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    cost: RegionCost,
    margin: int,
    step: int = 64,
    factor: int = 8,
    beside: tuple[int, int] = (0, 0),
) -> list[Region]:  # of the window's F frames, in px
    """Choose the regions of a window that are denoised: around its holes, or the whole picture if cheaper.

    Args:
        hole: Hole mask; its sides are multiples of `step`.
        cost: Estimates what regions cost.
        margin: Context on each side of the holes, px, a multiple of `step`.
        step: What regions' sides are multiples of, px.
        factor: Pixels of a latent, each side.
        beside: Height and width, px, of whole pictures that are run, too, where regions are.

    Returns:
        The regions; none if there is no hole.
    """
    frames, _, height, width = hole.shape
    assert height % step == width % step == 0, hole.shape
    shares = F.avg_pool2d((hole > 0.5).float(), step).sum((0, 1)).cpu().numpy()  # of each square, all frames
    if not shares.any():
        return []
    holes = shares * (step // factor) ** 2
    grid = _Grid(holes, frames, margin // step, (step // factor) ** 2, cost)
    boxes = grid.join(_column_runs(shares > 0))
    whole = np.array([[0, shares.shape[0], 0, shares.shape[1]]])
    also = 0.0
    if (area := beside[0] * beside[1]) > 0:
        beside_holes = holes.sum() * area / (height * width)
        also = cost.estimate(frames=frames, latents=np.array(area / factor**2), holes=beside_holes).item()
    if grid.costs(boxes).sum() + also >= grid.costs(whole)[0]:
        return [Region(range(frames), range(height), range(width))]
    return [
        Region(range(frames), range(top * step, bottom * step), range(left * step, right * step))
        for top, bottom, left, right in grid.widen(boxes).tolist()
    ]


class _Grid:
    """The squares of a picture, and what rectangles of them cost; a box is (top, bottom, left, right)."""

    def __init__(
        self, holes: np.ndarray, frames: int, margin: int, square: int, cost: RegionCost
    ) -> None:  # holes: [rows, columns], latents
        self._shape = holes.shape
        self._sums = np.pad(holes.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # of all squares above and left
        self._frames, self._margin, self._square, self._cost = frames, margin, square, cost

    def widen(self, boxes: np.ndarray) -> np.ndarray:  # [..., 4]
        """Add the margin, as far as the picture goes."""
        rows, columns = self._shape
        wide = boxes + self._margin * np.array([-1, 1, -1, 1])
        return np.clip(wide, 0, np.array([rows, rows, columns, columns]))

    def costs(self, boxes: np.ndarray) -> np.ndarray:  # [..., 4] -> [...]
        """Estimate what boxes cost with their margins."""
        top, bottom, left, right = np.moveaxis(self.widen(boxes), -1, 0)
        sums = self._sums
        holes = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        latents = (bottom - top) * (right - left) * self._square
        return self._cost.estimate(frames=self._frames, latents=latents, holes=holes)

    def join(self, boxes: np.ndarray) -> np.ndarray:  # [n, 4] -> [m, 4]
        """Join the two boxes that gain most by it, until none do."""
        while len(boxes) > 1:
            pairs = boxes[:, None], boxes[None, :]
            union = np.where([True, False, True, False], np.minimum(*pairs), np.maximum(*pairs))
            own = self.costs(boxes)
            gains = own[:, None] + own - self.costs(union)
            np.fill_diagonal(gains, -np.inf)
            first, second = np.unravel_index(gains.argmax(), gains.shape)
            if gains[first, second] < 0:
                break
            joined = union[first, second]
            boxes = np.concatenate([np.delete(boxes, [first, second], axis=0), joined[None]])
        return boxes


def _column_runs(holed: np.ndarray) -> np.ndarray:  # [rows, columns] -> [n, 4]
    """List the runs of squares with holes in each column."""
    edges = np.diff(np.pad(holed, ((1, 1), (0, 0))).astype(np.int8), axis=0)
    columns, tops = np.nonzero(edges.T > 0)
    bottoms = np.nonzero(edges.T < 0)[1]
    return np.stack([tops, bottoms, columns, columns + 1], axis=1)


def cut_regions(regions: Sequence[Region], *, tile: int, step: int = 64) -> list[Region]:
    """Cut regions that are longer than a tile into overlapping ones.

    Args:
        regions: The regions, px.
        tile: The longest side, px, a multiple of `step`, at least 2 of them; 0: as long as they are.
        step: What sides are multiples of, px.
    """
    if not tile:
        return list(regions)
    return [
        Region(region.frames, rows, columns)
        for region in regions
        for rows in _cut_side(region.rows, tile, step)
        for columns in _cut_side(region.columns, tile, step)
    ]


def _cut_side(side: range, tile: int, step: int) -> list[range]:
    """Cut a side; neighbours share at least one step."""
    overlap = max(1, tile // step // 4)
    spans = cut_spans(len(side) // step, size=tile // step, overlap=overlap)
    return [range(side.start + span.start * step, side.start + span.stop * step) for span in spans]


def group_regions(regions: Sequence[Region]) -> list[list[Region]]:
    """Group regions of equal size, which a model takes together."""
    groups: dict[tuple[int, int], list[Region]] = defaultdict(list)
    for region in regions:
        groups[region.picture_size].append(region)
    return list(groups.values())


@contextmanager
def varying_sizes() -> Iterator[None]:
    """Keep attention from cuDNN in the `with` block, where its inputs are of another size nearly every time.

    On datacentre cards since Hopper torch prefers cuDNN, which makes a plan for each size that it meets. That
    takes 60 to 500 ms, longer than the attention of a few holes does; torch's other kernels need none.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def fade_in(
    region: Region,
    height: int,
    width: int,
    *,
    ramp: int,
) -> Tensor:  # [h, w] in (0, 1]
    """Weigh a region's pixels: 1 inside, less over `ramp` px at its sides, but not at those of the picture.

    Args:
        region: The region, px.
        height: Of the picture, px.
        width: Of the picture, px.
        ramp: Length of the fade, px.
    """
    sides = ((region.rows, height), (region.columns, width))
    rows, columns = (_fade_side(span, length, ramp) for span, length in sides)
    return rows[:, None] * columns


def _fade_side(span: range, length: int, ramp: int) -> Tensor:  # [len(span)]
    """Weigh the pixels of one side."""
    weights = torch.ones(len(span))
    rise = (torch.arange(min(ramp, len(span))) + 0.5) / ramp
    if span.start > 0:
        weights[: len(rise)] = rise
    if span.stop < length:
        weights[len(weights) - len(rise) :] = torch.minimum(weights[len(weights) - len(rise) :], rise.flip(0))
    return weights
