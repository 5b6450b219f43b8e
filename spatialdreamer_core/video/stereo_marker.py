"""Says in one file, while it is written and in the end, how its pictures hold two views."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.packet import Packet

from .containers import MATROSKA_FAMILY, MP4_FAMILY
from .matroska import add_half_sphere, set_view_shape
from .stereo_metadata import StereoMetadata, add_stereo_boxes


class StereoMarker:
    """Writes all of a `StereoMetadata` that a container and a codec have words for.

    Args:
        said: What is to be said; None: nothing.
    """

    def __init__(self, said: StereoMetadata | None) -> None:
        self.said = said
        self._views: dict[int, bool] = {}  # by pts: whether it is the first view's, until its packet comes

    def stream_tags(self, container: str) -> dict[str, str]:
        """Return tags of the stream, which it has to have before the header is written.

        Args:
            container: FFmpeg's name of the container.
        """
        return {} if self.said is None else self.said.stream_tags(container)

    def adds_boxes(self, container: str) -> bool:
        """Tell whether a finished file gets boxes, and has its index in front with that.

        Args:
            container: FFmpeg's name of the container.
        """
        return container in MP4_FAMILY and self.said is not None and bool(self.said.boxes)

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

    def finish(self, path: Path, *, container: str, width: int, height: int, aspect: Fraction | None) -> None:
        """Write into a finished file what FFmpeg does not write.

        Args:
            path: The file, closed.
            container: FFmpeg's name of the container.
            width: Width of its pictures in pixels.
            height: Their height.
            aspect: Width over height of a pixel; None is square.
        """
        if self.said is None:
            return
        if self.adds_boxes(container):
            add_stereo_boxes(path, self.said)
        if self.stream_tags(container) and self.said.views and aspect is not None and aspect != 1:
            columns, rows = self.said.views
            set_view_shape(path, Fraction(width * rows, height * columns) * aspect)
        if self.said.is_vr180 and container in MATROSKA_FAMILY:
            add_half_sphere(path)
