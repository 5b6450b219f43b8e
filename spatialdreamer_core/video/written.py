"""A written film is opened again before it gets its name: it must be what was asked for.

Encoders and muxers report most of what goes wrong, but not all: a card's encoder may scale what it cannot
take, a muxer may drop a stream or a tag without a word. What is compared is quick to read, however long the
film: the first picture is decoded, and where the container does not count its frames, packets are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from ..checks import InputError
from ..media import film_stream, open_media
from .boxes import film_boxes
from .containers import MP4_FAMILY
from .probe import display_matrix
from .stereo_metadata import StereoMetadata

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """What a film's file has to hold.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        container: FFmpeg's name of the container.
        width: Width in pixels.
        height: Height.
        frames: How many pictures.
        sounds: How many sound streams.
        stereo: What it says about its two views, or None.
        tags: Tags of the file. One that is lost is no reason to throw the film away: the log says so.
    """

    encoder: str
    container: str
    width: int
    height: int
    frames: int
    sounds: int = 0
    stereo: StereoMetadata | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def check(self, file: Path, *, path: Path) -> None:
        """Open the file and compare it.

        Args:
            file: Where it is now, closed.
            path: What it is to be called, for messages.

        Raises:
            InputError: If it is something else; the message says what was asked for and what came.
        """
        said: dict[str, str] = {}
        with open_media(file, name="output") as container:
            stream = film_stream(container)
            if stream is None:
                raise _differs(path, "a film", "a file without one")
            if len(container.streams.audio) != self.sounds:
                raise _differs(path, f"{self.sounds} sound streams", f"{len(container.streams.audio)}")
            first = self._check_pictures(container, stream, path)
            said = {key.lower(): value for key, value in stream.metadata.items()}
            held = {_as_written(key): value for key, value in container.metadata.items()}
        lost = [name for name, value in self.tags.items() if value and held.get(_as_written(name)) != value]
        if lost:
            _LOGGER.warning("%s: tags that are not in it as given: %s", path, ", ".join(lost))
        if self.stereo is not None:
            self._check_stereo(self.stereo, file, path, tags=said, first=first)

    def _check_pictures(self, container: InputContainer, stream: VideoStream, path: Path) -> bytes:
        """Compare codec, size, turn and number of the pictures; returns the first one's packet."""
        if stream.codec_context is None:
            _LOGGER.debug("%s: this FFmpeg cannot decode %s, so it is not looked at", path, self.encoder)
        elif stream.codec_context.codec.id != av.codec.Codec(self.encoder, "w").id:
            raise _differs(path, self.encoder, stream.codec_context.name)
        else:
            stream.thread_type = "NONE"
        is_seen = stream.codec_context is None
        count, first = 0, b""
        for packet in container.demux(stream):
            count += packet.size > 0
            first = first or bytes(packet)
            if not is_seen:
                is_seen = self._check_first(packet.decode(), path)
            elif stream.frames:
                count = stream.frames
                break
        if not is_seen:
            raise _differs(path, "pictures", "none that can be decoded")
        if count != self.frames:
            raise _differs(path, f"{self.frames} frames", f"{count}")
        return first

    def _check_first(self, frames: list[av.VideoFrame], path: Path) -> bool:
        """Compare the first decoded picture; tells whether there was one."""
        for frame in frames:
            if (frame.width, frame.height) != (self.width, self.height):
                raise _differs(path, f"{self.width}x{self.height}", f"{frame.width}x{frame.height}")
            if display_matrix(frame) is not None:
                raise _differs(path, "upright pictures", "turned ones")
            return True
        return False

    def _check_stereo(
        self, stereo: StereoMetadata, file: Path, path: Path, *, tags: dict[str, str], first: bytes
    ) -> None:
        """Compare what the file says about its two views."""
        for name, value in stereo.stream_tags(self.container).items():
            if tags.get(name) != value:
                raise _differs(path, f"{name} {value}", f"{tags.get(name)}")
        if self.container in MP4_FAMILY:
            found = film_boxes(file)
            for box in stereo.boxes:
                if found.get(box[4:8]) != box[8:]:
                    raise _differs(path, f"the box {box[4:8].decode()}", "a file that does not have it so")
        if stereo.packing is not None and stereo.packing.fits(self.encoder):
            if stereo.packing.message(self.encoder) not in first:
                raise _differs(path, "a message of frame packing", "a stream without")


def _as_written(name: str) -> str:
    """Return a tag's name by which containers that change its letters are no other."""
    return name.lower().replace(" ", "_")


def _differs(path: Path, asked: str, came: str) -> InputError:
    """Make the error for a file that is not what was asked for."""
    return InputError(
        f"the written file must be what was asked for: {asked}, got {came} for {path}, which is not kept; "
        "choose another codec or container"
    )
