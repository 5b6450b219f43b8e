"""Large photos in horizontal strips: their float views would not fit into memory at full size.

Depth is estimated once, on the whole photo at working size. Then each strip goes through the stages of a film
(place, borders, render, fill) like a frame of its own, with rows to spare above and below. Rows are warped
independently, so all that is seen is what it would be in the whole; only estimates in wide holes look farther
than the spare rows, and neighbouring strips are blended into each other, so that no seam shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
import torch
from torch import Tensor

from ..bars import Surround
from ..depth import RowUpsampler, shape_depth, working_frame
from ..dvg import Placement, depth_to_disparity
from ..stereo import FloatingWindow, FloatingWindowTracker, StereoLayout, apply_floating_window
from ..video.reader import VideoFrame
from .bits import pack_bits
from .borders import treat_borders
from .job import Job
from .placement import place_scenes
from .preview import preview_sheet, to_image
from .stages import Analysed, Estimated, Rendered, estimate, fill, place, render

_LARGE_PIXELS = 1 << 23  # of a photo; larger ones are converted in strips
STRIP_PIXELS = 1 << 23  # of a strip with its spare rows, roughly
MARGIN = 96  # spare rows on each side: more than any filter of depth reaches, and most holes' surroundings
_BLEND = 32  # rows in which two strips are blended
_LEAST_ROWS = 128  # of a strip without its spare rows
_ALIGNMENT = 32  # rows; the fill's pyramid halves strips as it halves the whole
_REDUCED_WIDTH = 1280  # px, of the photo for the contact sheet


def needs_strips(image: np.ndarray) -> bool:
    """Tell whether a photo is converted in strips: if it is large or has 16 bits."""
    return image.dtype != np.uint8 or image.shape[0] * image.shape[1] > _LARGE_PIXELS


def convert_in_strips(
    frame: VideoFrame,
    job: Job,
    *,
    with_sheet: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:  # [H', W', 3] of the photo's type, [h, w, 3] uint8
    """Convert a photo, a strip at a time.

    Args:
        frame: The photo, cut out of its black bars if it has some.
        job: What it is converted with.
        with_sheet: Whether to make a contact sheet, which shows a reduced copy.

    Returns:
        The packed photo, and the sheet or None.
    """
    analysed = Analysed(frame, working_frame(frame.image), True, None, None)
    estimated = estimate(iter([analysed]), estimator=job.depth, clock=job.clock)
    whole = next(
        place_scenes(estimated, config=job.config, shaping=job.shaping, scenes=job.scenes, clock=job.clock)
    )
    photo = _LargePhoto(frame.image, whole.depth, job, whole.analysed.frame.placement)
    sheet = None
    if with_sheet:
        rendered, left, right = photo.reduced()
        view = rendered.views[-1]
        warped = view.warped * (view.hole < 0.5)  # it has been filled in place
        sheet = preview_sheet(left, right, depth=rendered.depth, hole=view.hole, warped=warped)
    return photo.packed(frame.surround), sheet


@dataclass(frozen=True)
class _LargePhoto:
    """A photo with its depth at working size.

    Attributes:
        image: [H, W, 3] uint8 or uint16 RGB.
        depth: [h, w] float32 in [0, 1], not larger than the photo.
        job: What it is converted with.
        placement: How its depth becomes disparity; None: as the settings say.
    """

    image: np.ndarray
    depth: np.ndarray
    job: Job
    placement: Placement | None = None

    def packed(self, surround: Surround | None) -> np.ndarray:  # [H', W', 3], of the photo's type
        """Render the photo's views, or depth, strip by strip, put them into its black bars, and pack them."""
        parts = ("depth",) if self.job.layout.format == "rgbd" else self.job.eyes
        views = {part: np.empty_like(self.image) for part in parts}
        for top, start, strips in self._strips():
            for part, strip in zip(parts, strips, strict=True):
                _lay(views[part], strip, top, start)
        if "depth" in views:
            depth = views["depth"]
            if surround is not None:
                depth = _in_black(depth, surround)
            whole = self.image if surround is None else surround.frame
            with self.job.clock("pack"):
                return pack_in_parts(whole, depth, layout=self.job.layout)
        left, right = views.get("left", self.image), views.get("right", self.image)
        window = self._window()
        if window is not None:
            left, right = _with_bars(left, window, right_eye=False), _with_bars(right, window, right_eye=True)
        if surround is not None:
            left, right = surround.around(left), surround.around(right)
        with self.job.clock("pack"):
            return pack_in_parts(left, right, layout=self.job.layout)

    def reduced(self) -> tuple[Rendered, Tensor, Tensor]:
        """Render a reduced copy for the contact sheet; returns it with its left and right view."""
        height, width = self.image.shape[:2]
        scale = min(1.0, _REDUCED_WIDTH / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        small = replace(self, image=image, depth=cv2.resize(self.depth, size, interpolation=cv2.INTER_LINEAR))
        rendered, views = small._render(image, small.depth)
        by_eye = dict(zip(self.job.eyes, views, strict=True))
        left, right = by_eye.get("left", rendered.image), by_eye.get("right", rendered.image)
        window = small._window()
        if window is not None:
            left, right = (view[0] for view in apply_floating_window(left[None], right[None], window))
        return rendered, left, right

    def _strips(self) -> Iterator[tuple[int, int, list[np.ndarray]]]:
        """Render strip after strip; yields its first row, the row where its own part begins, its views."""
        height, width = self.image.shape[:2]
        upsampler = RowUpsampler(
            self.depth, (height, width), guide=self.image if self.job.config.guided_upsampling else None
        )
        rows = max(_LEAST_ROWS, STRIP_PIXELS // width - 2 * MARGIN) // _ALIGNMENT * _ALIGNMENT
        for start in range(0, height, rows):
            top, bottom = max(0, start - MARGIN), min(height, start + rows + MARGIN)
            with self.job.clock("disparity"):
                depth = upsampler.rows(top, bottom)
            rendered, views = self._render(self.image[top:bottom], depth)
            if self.job.layout.format == "rgbd":
                views = (rendered.depth.expand(3, -1, -1),)
            images = [to_image(view, self.image.dtype) for view in views]
            end = min(height, start + rows + _BLEND // 2) - top
            yield top, start, [image[:end] for image in images]

    def _render(self, image: np.ndarray, depth: np.ndarray) -> tuple[Rendered, tuple[Tensor, ...]]:
        """Send a part of the photo through the stages."""
        config, clock, eyes = self.job.config, self.job.clock, self.job.eyes
        frame = VideoFrame(image, 0, Fraction(1), placement=self.placement)
        analysed = Analysed(frame, working_frame(image), True, None, None)
        placed = place(
            iter([Estimated(analysed, depth)]),
            eyes=len(eyes),
            divergence=config.divergence,
            convergence=config.convergence,
            device=self.job.device,
            clock=clock,
            shaping=self.job.shaping,
        )
        border = "ease" if config.border == "ease" else "none"  # the window is found on the whole photo
        bordered = treat_borders(
            placed, border=border, width_percent=config.border_width, eyes=len(eyes), clock=clock
        )
        rendered = render(bordered, eyes=eyes, clock=clock)
        return next(fill(rendered, filler=self.job.filler, clock=clock))

    def _window(self) -> FloatingWindow | None:
        """Find the floating window on the depth at working size."""
        if self.job.config.border != "floating_window":
            return None
        shaping = replace(self.job.shaping, edge_width=0, edge_dilation=0)
        depth = shape_depth(torch.from_numpy(self.depth)[None, None], shaping)
        own = self.placement or self.job.config
        disparity = depth_to_disparity(depth, divergence=own.divergence, convergence=own.convergence)
        bars = FloatingWindowTracker().step(disparity)
        scale = self.image.shape[1] / depth.shape[-1]
        return FloatingWindow(bars.left * scale, bars.right * scale)


def pack_in_parts(
    left: np.ndarray,  # [H, W, 3] uint8 or uint16
    right: np.ndarray,  # [H, W, 3] of the same type
    *,
    layout: StereoLayout,
) -> np.ndarray:  # [H', W', 3] of the same type
    """Pack two large pictures, a part at a time: rows, columns where rows are mixed, or channels."""
    if not layout.is_plain and layout.format == "anaglyph":  # it mixes channels
        both = pack_in_parts(left, right, layout=replace(layout, format="full_sbs"))
        left, right = np.split(both, 2, axis=1)
        layout = StereoLayout("anaglyph", layout.anaglyph)
    height, width = left.shape[:2]
    packed = np.empty((*layout.size(height, width), 3), left.dtype)
    if not layout.is_plain or layout.format == "vr180":
        for channel in range(3):
            part = np.s_[..., channel : channel + 1]
            packed[part] = _pack(left[part], right[part], layout)
    elif layout.format == "full_tb":
        packed[:height], packed[height:] = left, right
    elif layout.format == "half_tb":
        step = max(1, STRIP_PIXELS // height)
        for start in range(0, width, step):
            columns = np.s_[:, start : start + step]
            packed[columns] = _pack(left[columns], right[columns], layout)
    else:
        step = max(2, STRIP_PIXELS // width // 2 * 2)  # of pairs, in which lines alternate
        for start in range(0, height, step):
            lines = np.s_[start : start + step]
            packed[lines] = _pack(left[lines], right[lines], layout)
    return packed


def _pack(left: np.ndarray, right: np.ndarray, layout: StereoLayout) -> np.ndarray:
    """Pack a part of two pictures."""
    views = (torch.from_numpy(np.ascontiguousarray(view)) for view in (left, right))
    return pack_bits(*views, layout=layout, color=None)[0].numpy()


def _in_black(picture: np.ndarray, surround: Surround) -> np.ndarray:
    """Put a picture where the photo's own lies in its bars, which are black."""
    whole = np.zeros_like(surround.frame)
    whole[surround.box.slices] = picture
    return whole


def _lay(view: np.ndarray, strip: np.ndarray, top: int, start: int) -> None:
    """Lay a strip into the view, blended with the rows that the strip before has left there."""
    if top == start == 0:
        view[: len(strip)] = strip
        return
    first = start - _BLEND // 2
    count = min(_BLEND, len(view) - first)
    weight = ((np.arange(count, dtype=np.float32) + 0.5) / _BLEND)[:, None, None]
    before, after = view[first : first + count], strip[first - top : first - top + count]
    mixed = before + weight * (after.astype(np.float32) - before)
    before[:] = np.rint(mixed)
    view[first + count : top + len(strip)] = strip[first + count - top :]


def _with_bars(view: np.ndarray, window: FloatingWindow, *, right_eye: bool) -> np.ndarray:
    """Draw one eye's bar of the floating window into a copy of its view."""
    width = view.shape[1]
    bar = float(window.right if right_eye else window.left)
    column = np.arange(width, dtype=np.float32)
    shown = ((column[::-1] if right_eye else column) + 1 - bar).clip(0, 1)
    covered = int(np.count_nonzero(shown < 1))
    part = np.s_[:, width - covered :] if right_eye else np.s_[:, :covered]
    view = view.copy()
    view[part] = np.rint(view[part] * shown[part[1]][:, None])
    return view
