"""Says in one file, while it is written and in the end, how its pictures hold two views."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.packet import Packet

from .containers import MP4_FAMILY
from .matroska import set_view_shape
from .stereo_metadata import StereoMetadata, add_stereo_boxes


class StereoMarker:
    """Writes all of a `StereoMetadata` that a container and a codec have words for.

    Args:
        said: What is to be said; None: nothing.
        container: FFmpeg's name of the container.
    """

    def __init__(self, said: StereoMetadata | None, container: str) -> None:
        self.said = said
        self._container = container
        self._views: dict[int, bool] = {}  # by pts: whether it is the first view's, until its packet comes

    @property
    def stream_tags(self) -> dict[str, str]:
        """Tags of the stream, which it has to have before the header is written."""
        return {} if self.said is None else self.said.stream_tags(self._container)

    @property
    def adds_boxes(self) -> bool:
        """Whether the finished file gets boxes, and has its index in front with that."""
        return self._container in MP4_FAMILY and self.said is not None and bool(self.said.boxes)

    def note(self, pts: int, index: int) -> None:
        """Take note of a frame that goes to the encoder, which may give packets in another order.

        Args:
            pts: Its time in the encoder's units.
            index: How many frames came before it.
        """
        self._views[pts] = index % 2 == 0

    def mark(self, packet: Packet, *, codec: str) -> Packet:
        """Put the message about the two views into a packet, if one belongs there.

        Args:
            packet: What the encoder gave.
            codec: FFmpeg's name of the encoder.
        """
        is_first_view = self._views.pop(packet.pts or 0, True)
        packing = None if self.said is None else self.said.packing
        if packing is None or not packing.belongs(codec, is_key=packet.is_keyframe):
            return packet
        marked = Packet(packing.mark(bytes(packet), codec=codec, is_first_view=is_first_view))
        marked.stream, marked.time_base = packet.stream, packet.time_base
        marked.pts, marked.dts, marked.duration = packet.pts, packet.dts, packet.duration
        marked.is_keyframe = packet.is_keyframe
        return marked

    def finish(self, path: Path, *, width: int, height: int, aspect: Fraction | None) -> None:
        """Write into a finished file what FFmpeg does not write.

        Args:
            path: The file, closed.
            width: Width of its pictures in pixels.
            height: Their height.
            aspect: Width over height of a pixel; None is square.
        """
        if self.said is None:
            return
        if self.adds_boxes:
            add_stereo_boxes(path, self.said)
        if self.stream_tags and self.said.views and aspect is not None and aspect != 1:
            columns, rows = self.said.views
            set_view_shape(path, Fraction(width * rows, height * columns) * aspect)
