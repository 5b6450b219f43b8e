"""Black bars: where a film's picture lies within its frames, so that depth and warp see nothing else.

A pair of bars (above and below, or left and right) is taken for one where, on both sides, lines that are
black and even over nearly their whole length end at a straight edge, beneath which the picture covers most of
the length; several frames must agree. Bars come in pairs: a night sky, a wall, a silhouette has one side or
no straight edge. Subtitles and logos cover a part of a bar's lines and leave others clean. A dark picture
says nothing, so what was found before stays, until something appears outside that no subtitle looks like.

Thresholds are levels of 255 above the bars' own black, which limited range or noise may have raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from .checks import check_video

_BLACKEST = 32  # of 255: bars' own level is at most this
_ABOVE, _ABOVE_CLEAN = 16, 6  # of 255 above the bars' level: the picture; if the bars have no noise
_UNEVEN = 6  # of 255: what averages over parts of a bar may differ by
_SAMPLES = 128  # pixels of a line that are looked at
_CLEAN = 0.05  # share of a line's pixels that noise may lift
_COVERED = 0.6  # share of a line's pixels that the picture covers at a bar's edge
_COVERED_ALONE = 0.8  # the same where a single picture is all there is
_MARKED = 0.35  # share of a bar that subtitles and logos may cover
_UNMARKED = 0.25  # share of a bar's lines that they leave free, at least
_WIDEST = 0.4  # of the side: one bar; the picture keeps a fifth of it
_SMALLEST_SIDE = 32  # pixels; smaller frames have no bars
_LOOK_AHEAD = 5  # frames, the first one included, that a change is decided on
_AGREEING = 3  # of those, at least

Bars = tuple[int, int]  # pixels, before and behind the picture along one axis
_NONE: Bars = (0, 0)


class PictureBox(NamedTuple):
    """The part of a frame that holds the picture, as bounds of rows and columns."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index a frame [H, W, ...] with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def __str__(self) -> str:
        """Write size and place."""
        return f"{self.right - self.left}x{self.bottom - self.top} at ({self.left}, {self.top})"


class Surround(NamedTuple):
    """A whole frame with bars, and where the picture lies in it."""

    frame: np.ndarray  # [H, W, 3]
    box: PictureBox

    def around(self, picture: np.ndarray) -> np.ndarray:  # the box's size -> [H, W, 3]
        """Put a picture in the place of the frame's own; the rest is the frame's."""
        whole = self.frame.copy()
        whole[self.box.slices] = picture
        return whole


class PictureFinder:
    """Finds the picture in a stream of frames of one size, a few frames late where something changes."""

    def __init__(self) -> None:
        self._bars: tuple[Bars, Bars] = (_NONE, _NONE)  # rows, columns
        self._crossed: tuple[set[int], set[int]] = (set(), set())  # ends of each axis
        self._waiting: deque[_Frame] = deque()
        self._seen = 0

    def step(
        self,
        image: np.ndarray,  # [H, W, 3] uint8, uint16 or float in [0, 1]
    ) -> list[PictureBox]:
        """Take the next frame; return the boxes of the frames decided by it, in their order."""
        self._waiting.append(_Frame(image))
        self._seen += 1
        return self._decide(ended=False)

    def finish(self) -> list[PictureBox]:
        """Return the boxes of the frames that are left."""
        if self._seen == 1 and self._waiting:
            self._waiting[0] = _Frame(self._waiting[0].image, covered=_COVERED_ALONE)
        return self._decide(ended=True)

    def _decide(self, *, ended: bool) -> list[PictureBox]:
        """Decide on as many frames as can be."""
        boxes = []
        while self._waiting:
            head = self._waiting[0]
            if head.may_have_bars or self._bars != (_NONE, _NONE):
                changes = [self._wants_change(k, axis) for k, axis in enumerate(head.axes)]
                if any(changes) and len(self._waiting) < _LOOK_AHEAD and not ended:
                    break
                self._bars = (self._choose(0, changes[0]), self._choose(1, changes[1]))
            (top, below), (left, beside) = self._bars
            height, width = head.image.shape[:2]
            boxes.append(PictureBox(top, height - below, left, width - beside))
            self._waiting.popleft()
        return boxes

    def _wants_change(self, number: int, axis: _Axis) -> bool:
        """Whether a frame speaks for other bars than the current ones."""
        current, crossed = self._bars[number], self._crossed[number]
        found = axis.bars
        if current == _NONE or found is not None:
            crossed.clear()
        else:
            crossed.update(axis.crossed(current))
        if current != _NONE and (axis.contradicts(current) or len(crossed) == 2):
            return True
        if found is None or found == _NONE or _alike(found, current, max(2, axis.side // 250)):
            return False
        # Within bars that are known, a black sky may end straight at one side, but not at both.
        return current == _NONE or (found[0] > current[0] and found[1] > current[1])

    def _choose(self, axis: int, changes: bool) -> Bars:
        """Return an axis's bars from the first waiting frame on."""
        current = self._bars[axis]
        if not changes:
            return current
        evidence = [frame.axes[axis] for frame in self._waiting]
        head = evidence[0]
        fallback = _NONE if head.contradicts(current) or len(self._crossed[axis]) == 2 else current
        if not head.bars or head.bars == _NONE:
            return fallback
        known = [each.bars for each in evidence if each.bars is not None]
        first, last = (sorted(bars[k] for bars in known)[len(known) // 2] for k in (0, 1))
        typical = (first, last)
        steady = sum(_alike(bars, typical, 1) for bars in known)  # bars that slide are not
        if steady < min(_AGREEING, self._seen) or not all(_alike(bars, typical, 2) for bars in known):
            return fallback
        if any(each.contradicts(typical) for each in evidence):
            return fallback
        return typical


def find_pictures(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
) -> list[PictureBox]:
    """Find where the picture lies in each frame of a clip; without black bars it is the whole frame.

    Raises:
        InputError: If the tensor is no video.
    """
    check_video("frames", frames, channels=3)
    height, width = frames.shape[-2:]
    if not _may_have_bars(frames):
        return [PictureBox(0, height, 0, width)] * len(frames)
    finder = PictureFinder()
    boxes = []
    for frame in frames:
        pixels = (frame.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        boxes += finder.step(pixels.cpu().numpy())
    return boxes + finder.finish()


def _may_have_bars(frames: Tensor) -> bool:
    """Whether two opposite sides of any frame are black; cheaper than to look at whole frames."""
    lines = (frames[:, :, [0, -1]], frames[..., [0, -1]].transpose(2, 3))
    return any(bool((side.amax(1).median(-1).values.amax(1) < (_BLACKEST + 1) / 255).any()) for side in lines)


def crop_map(
    values: np.ndarray,  # [h, w] float32, of the whole frame at any size
    surround: Surround,
) -> np.ndarray:  # [h', w']
    """Cut the picture out of a map of the whole frame; what the bars hold does not bleed into it."""
    box, size = surround.box, surround.frame.shape[:2]
    if values.shape == size:
        return np.ascontiguousarray(values[box.slices])
    axes = [
        _resample(*bounds, full, own)
        for bounds, full, own in (
            ((box.top, box.bottom), size[0], values.shape[0]),
            ((box.left, box.right), size[1], values.shape[1]),
        )
    ]
    (rows, columns) = axes
    x, y = np.meshgrid(columns, rows)
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _resample(first: int, end: int, full: int, own: int) -> np.ndarray:  # [n] float32
    """Return where along an axis of `own` pixels the picture's pixels lie, of those within it alone."""
    scale = own / full
    count = max(1, round((end - first) * scale))
    places = (np.arange(count) + 0.5) * ((end - first) * scale / count) + first * scale - 0.5
    low, high = np.ceil(first * scale - 1e-6), np.floor(end * scale + 1e-6) - 1
    return (places.clip(low, high) if low <= high else places).astype(np.float32)


class _Frame:
    """A frame, and what its lines tell; nothing is measured before it is asked for."""

    def __init__(self, image: np.ndarray, *, covered: float = _COVERED) -> None:
        self.image = image
        self._covered = covered
        self._can_have = min(image.shape[:2]) >= _SMALLEST_SIDE

    @cached_property
    def may_have_bars(self) -> bool:
        """Whether two opposite sides are black."""
        return self._can_have and any(
            all(self._level(axis, end) <= _BLACKEST for end in (0, -1)) for axis in (0, 1)
        )

    def _level(self, axis: int, end: int) -> int:
        """Return the typical level of the outermost row or column at an end, of 255."""
        line = self.image[end] if axis == 0 else self.image[:, end]
        brightest = line[:: max(1, len(line) // _SAMPLES)].max(1)
        middle = len(brightest) // 2
        return int(_to_8_bits(np.partition(brightest, middle)[middle : middle + 1])[0])

    @cached_property
    def axes(self) -> tuple[_Axis, _Axis]:
        """What its rows and its columns tell."""
        # Bars above and below must not count among a column's pixels, nor those beside among a row's.
        middle = self._axis(
            1, lambda: self._columns[:, self._columns.shape[1] * 3 // 8 :][:, : _SAMPLES // 4]
        )
        rows = self._axis(0, lambda: self._inside(self._rows, middle.bars, self.image.shape[1]))
        columns = self._axis(1, lambda: self._inside(self._columns, rows.bars, self.image.shape[0]))
        return rows, columns

    def _axis(self, number: int, lines: Callable[[], np.ndarray]) -> _Axis:
        """Look at one axis."""
        return _Axis(lines, (self._level(number, 0), self._level(number, -1)), self._covered)

    @cached_property
    def _rows(self) -> np.ndarray:  # [H, samples] uint8
        """Some pixels of each row."""
        height, width = self.image.shape[:2]
        return self._brightest((min(width, _SAMPLES), height))

    @cached_property
    def _columns(self) -> np.ndarray:  # [W, samples] uint8
        """Some pixels of each column."""
        height, width = self.image.shape[:2]
        return np.ascontiguousarray(self._brightest((width, min(height, _SAMPLES))).T)

    def _brightest(self, size: tuple[int, int]) -> np.ndarray:  # (width, height) -> [height, width] uint8
        """Sample the frame and take each pixel's brightest channel, of 255."""
        small = cv2.resize(self.image, size, interpolation=cv2.INTER_NEAREST)
        red, green, blue = cv2.split(small)
        return _to_8_bits(cv2.max(cv2.max(red, green), blue))

    @staticmethod
    def _inside(lines: np.ndarray, bars: Bars | None, length: int) -> np.ndarray:
        """Cut the other axis's bars off lines of a length in pixels."""
        first, last = bars or _NONE
        samples = lines.shape[1]
        return lines[:, -(-first * samples // length) : samples - -(-last * samples // length)]


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Give levels of any depth as those of 255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        return (values.clip(0, 1) * 255).astype(np.uint8)
    return (values // (np.iinfo(values.dtype).max // 255)).astype(np.uint8)


class _Axis:
    """What lines across one axis of a frame tell about the bars at its two ends."""

    def __init__(
        self,
        lines: Callable[[], np.ndarray],  # gives [n, samples] uint8, from one end of the axis to the other
        levels: tuple[int, int],  # of the outermost lines
        covered: float,
    ) -> None:
        self._lines = lines
        self._levels = levels
        self._needed = covered

    @cached_property
    def _ends(self) -> tuple[_End, _End]:
        """Its two ends."""
        lines = self._lines()
        first, last = self._levels
        return _End(lines, first, self._needed), _End(lines[::-1], last, self._needed)

    @property
    def side(self) -> int:
        """How many lines there are."""
        return self._ends[0].side

    @cached_property
    def bars(self) -> Bars | None:
        """The bars that this frame shows; (0, 0) is none, and None that it does not tell."""
        if max(self._levels) > _BLACKEST:
            return _NONE  # bars come in pairs
        first, last = (end.bar for end in self._ends)
        if first == 0 or last == 0:
            return _NONE
        return None if first is None or last is None else (first, last)

    def contradicts(self, bars: Bars) -> bool:
        """Whether the frame shows picture where these bars would be."""
        return any(end.is_picture(bar) for end, bar in zip(self._ends, bars, strict=True) if bar)

    def crossed(self, bars: Bars) -> set[int]:
        """At which ends text crosses the edges of bars."""
        return {number for number, bar in enumerate(bars) if bar and self._ends[number].is_crossed(bar)}


class _End:
    """One end of an axis."""

    def __init__(self, lines: np.ndarray, level: int, covered: float) -> None:
        self.side = len(lines)
        self._within = int(self.side * _WIDEST)
        self._depth = max(4, self.side // 12)
        self._lines = lines[: self._within + self._depth + 1]  # from the frame's side inwards
        self._level = level
        self._needed = covered

    @cached_property
    def _above(self) -> np.ndarray:  # [n, samples] bool
        """Which pixels are clearly brighter than a bar."""
        return self._lines > min(self._level, _BLACKEST) + _ABOVE

    @cached_property
    def _cover(self) -> np.ndarray:  # [n]
        """The share of each line that is clearly brighter than a bar."""
        return self._above.mean(1)

    @cached_property
    def bar(self) -> int | None:
        """How many lines the bar has: 0 where the picture begins at once, None where nothing tells."""
        bar = self._measure(self._cover, _ABOVE)
        if bar is None:  # a dark picture may show against bars without noise
            cover = (self._lines > min(self._level, _BLACKEST) + _ABOVE_CLEAN).mean(1)
            bar = self._measure(cover, _ABOVE_CLEAN)
        return bar

    def _measure(self, cover: np.ndarray, above: int) -> int | None:
        """Find the straight edge that ends a bar, given the share of each line that is `above` the bar."""
        covered = cover[: self._within + 1] >= self._needed
        if not covered.any():
            return None
        edge = int(covered.argmax())
        if edge < 2:
            return 0
        inside = cover[edge : edge + self._depth]
        steady = (inside >= self._needed).mean() >= 0.9 and inside.min() > _CLEAN
        # One or two lines at an edge are blurred, and their picture half as bright.
        outside = cover[: max(1, edge - 2)]
        clean = outside <= _CLEAN
        straight = clean[-1] or outside[-1] <= inside.mean() - _COVERED  # with text across the edge
        if not (steady and straight and clean.mean() >= _UNMARKED and outside.mean() <= _MARKED):
            return None
        if not self._is_even(self._lines[: len(outside)][clean]):
            return None
        before, brightness = self._lines[max(0, edge - 5) : edge - 1], self._lines[edge : edge + 6].mean(1)
        if brightness[1:4].mean() - before.mean() < above:
            return None  # it brightens, but not all at once
        dim = brightness[:2] < self._level + 0.6 * (brightness[2:].mean() - self._level)
        edge += int(dim[0]) * (1 + int(dim[1]))
        return edge if edge <= self._within else None

    @staticmethod
    def _is_even(lines: np.ndarray) -> bool:  # [n, samples]
        """Whether lines are one black everywhere, as no wall or sky is."""
        parts = np.array_split(lines, min(8, lines.shape[1]), axis=1)
        along = [float(np.median(part)) for part in parts]
        across = np.median(lines, axis=1)
        return max(along) - min(along) <= _UNEVEN and float(np.ptp(across)) <= _UNEVEN

    def is_picture(self, bar: int) -> bool:
        """Whether a bar of so many lines holds what no subtitle or logo looks like."""
        outside = self._cover[: max(1, bar - 2)]
        if (outside <= _CLEAN).mean() < 0.1:
            return True
        beside = self._above[max(0, bar - 6) : max(1, bar - 2)]
        margin = max(1, beside.shape[1] // 16)
        reaches_both_sides = beside[:, :margin].mean() > 0.5 and beside[:, -margin:].mean() > 0.5
        return bool(reaches_both_sides and (beside.mean(1) >= _COVERED).all())

    def is_crossed(self, bar: int) -> bool:
        """Whether text crosses a bar's edge where no picture shows: credits over all of a black frame."""
        cover = self._cover[max(0, bar - 4) : bar + 4]
        return bool(cover.min() > 0.01 and cover.max() < 0.5)


def _alike(first: Bars, second: Bars, tolerance: int) -> bool:
    """Whether two pairs of bars are the same but for a few lines."""
    return all(abs(a - b) <= tolerance for a, b in zip(first, second, strict=True))
