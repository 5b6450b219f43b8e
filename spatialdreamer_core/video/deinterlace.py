"""Turn interlaced frames, made of two fields of different moments, into whole pictures.

FFmpeg's filter makes one frame of each: the first field's lines stay, the others are interpolated in space
and time. Only frames that are marked as interlaced change; as long as none is, the filter costs nothing.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter
from av.filter import Graph

_FILTERS = ("bwdif", "yadif")  # the better one first
_PARITIES = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}  # by FFmpeg's AVFieldOrder, as a container states it
_MARKING_CODECS = """
    av1 cavs dirac dnxhd dvvideo h264 hevc mpeg1video mpeg2video mpeg4 prores theora vc1 vp8 vp9 vvc wmv3
""".split()  # whose frames say themselves what they are, more reliably than the container
_TICK = Fraction(1, 1000)  # seconds; only the order of frames counts here
_COPIED = ("colorspace", "color_range", "color_trc", "color_primaries")


class Deinterlacer:
    """Deinterlaces the frames of one stream; each frame in gives one frame out, a frame later.

    Args:
        context: The stream's decoder.
    """

    def __init__(self, context: av.VideoCodecContext) -> None:
        order = getattr(context, "field_order", 0)  # of PyAV from version 15 on
        stated = None if context.name in _MARKING_CODECS else _PARITIES.get(order)
        self._all, self._parity = stated is not None, stated or "auto"
        self._graph: Graph | None = None
        self._layout: tuple[int, int, str] | None = None
        self._waiting: deque[av.VideoFrame] = deque()
        self.found = False

    def step(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take in a frame; yields those that are done, with the times and colours that they came with."""
        if not self.found and not self._all and not frame.interlaced_frame:
            yield frame
            return
        self.found = True
        layout = (frame.width, frame.height, frame.format.name)
        if layout != self._layout:
            yield from self.finish()
            self._graph, self._layout = self._make_graph(frame), layout
        self._waiting.append(frame)
        yield from self._run(frame)

    def finish(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are left."""
        if self._graph is not None:
            yield from self._run(None)
        self._graph = self._layout = None

    def _run(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Push a frame, or the end, into the filter and pull what comes out."""
        assert self._graph is not None, "make the graph first"
        self._graph.vpush(frame)
        while self._waiting:
            try:
                done = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            source = self._waiting.popleft()
            done.pts, done.time_base = source.pts, source.time_base
            for name in _COPIED:
                with contextlib.suppress(AttributeError):  # older versions of PyAV cannot set some of them
                    setattr(done, name, getattr(source, name))
            yield done

    def _make_graph(self, frame: av.VideoFrame) -> Graph:
        """Set the filter up for frames like this one."""
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=_TICK
        )
        name = next(name for name in _FILTERS if name in av.filter.filters_available)
        which = "all" if self._all else "interlaced"
        filter_ = graph.add(name, f"mode=send_frame:parity={self._parity}:deint={which}")
        sink = graph.add("buffersink")
        source.link_to(filter_)
        filter_.link_to(sink)
        graph.configure()
        return graph
