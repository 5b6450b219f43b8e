"""The message in H.264 and HEVC that says how a picture holds two views: frame packing arrangement SEI.

It is written into the stream itself (H.264 D.1.26, HEVC D.2.16), so that it outlives any copying of packets
into another file; players and televisions that look at the stream alone go by it. It is put in front of a
picture's first slice: of each key frame, and holds until the next one; of each frame, where the views
alternate frame by frame. All packets are as encoders give them, units behind start codes (Annex B).
"""

from __future__ import annotations

from dataclasses import dataclass

CHECKERBOARD, COLUMNS, ROWS, SIDE_BY_SIDE, TOP_BOTTOM, FRAME_BY_FRAME = range(6)

_HEVC_TYPES = (SIDE_BY_SIDE, TOP_BOTTOM, FRAME_BY_FRAME)  # HEVC reserves the others
_PAYLOAD = 45  # of the message, in both standards
_START = b"\0\0\0\1"
_CODECS = {
    **dict.fromkeys(("libx264", "h264_nvenc", "h264"), "h264"),
    **dict.fromkeys(("libx265", "hevc_nvenc", "hevc"), "hevc"),
}


@dataclass(frozen=True)
class FramePacking:
    """How a picture holds two views.

    Attributes:
        arrangement: `frame_packing_arrangement_type`, such as `SIDE_BY_SIDE`.
        left_first: Whether the first view is the left eye's: the left, upper or earlier one, or that of even
            rows or columns.
    """

    arrangement: int
    left_first: bool = True

    def fits(self, codec: str) -> bool:
        """Tell whether a codec has a message for it.

        Args:
            codec: FFmpeg's name of the codec or of an encoder of it.
        """
        name = _CODECS.get(codec)
        return name == "h264" or (name == "hevc" and self.arrangement in _HEVC_TYPES)

    def belongs(self, codec: str, *, is_key: bool) -> bool:
        """Tell whether a packet gets the message.

        Args:
            codec: As of `fits`.
            is_key: Whether it is a key frame's.
        """
        return self.fits(codec) and (is_key or self.arrangement == FRAME_BY_FRAME)

    def mark(self, packet: bytes, *, codec: str, is_first_view: bool = True) -> bytes:
        """Put the message into a packet.

        Args:
            packet: An encoded picture, units behind start codes.
            codec: FFmpeg's name of the codec or of an encoder of it, one that `fits`.
            is_first_view: Whether it is the first view's picture, where the views alternate frame by frame.
        """
        place = _first_slice(packet, _CODECS[codec])
        unit = _START + self.message(codec, is_first_view=is_first_view)
        return packet[:place] + unit + packet[place:]

    def message(self, codec: str, *, is_first_view: bool = True) -> bytes:
        """Return the message as a unit of the stream, without the start code or length in front of it.

        Args:
            codec: FFmpeg's name of the codec or of an encoder of it, one that `fits`.
            is_first_view: As of `mark`.
        """
        is_h264 = _CODECS[codec] == "h264"
        bits = _Bits()
        alternates = self.arrangement == FRAME_BY_FRAME
        is_quincunx = self.arrangement == CHECKERBOARD
        bits.put_exp_golomb(0)  # frame_packing_arrangement_id
        bits.put(0, 1)  # cancel_flag
        bits.put(self.arrangement, 7)
        bits.put(is_quincunx, 1)
        bits.put(1 if self.left_first else 2, 6)  # content_interpretation_type
        bits.put(0, 3)  # spatial_flipping, frame0_flipped, field_views
        bits.put(alternates and is_first_view, 1)  # current_frame_is_frame0
        bits.put(0, 2)  # frame0 and frame1 self_contained
        if not is_quincunx and not alternates:
            bits.put(0, 16)  # grid positions: not told
        bits.put(0, 8)  # reserved
        if is_h264:
            bits.put_exp_golomb(0 if alternates else 1)  # repetition_period: this picture, or until the next
            bits.put(0, 1)  # extension
        else:
            bits.put(not alternates, 1)  # persistence
            bits.put(0, 1)  # upsampled_aspect_ratio: the video's pixel shape is that of the packed picture
        payload = bits.to_bytes()
        head = b"\x06" if is_h264 else b"\x4e\x01"  # SEI; in HEVC the one in front of slices
        return head + _escape(bytes((_PAYLOAD, len(payload))) + payload + b"\x80")


class _Bits:
    """Bits in the order of a bit stream."""

    def __init__(self) -> None:
        self._bits = ""

    def put(self, value: int, count: int) -> None:
        """Append an unsigned number of a fixed length."""
        self._bits += f"{int(value):0{count}b}"

    def put_exp_golomb(self, value: int) -> None:
        """Append an unsigned number as the standards' ue(v)."""
        digits = f"{value + 1:b}"
        self._bits += "0" * (len(digits) - 1) + digits

    def to_bytes(self) -> bytes:
        """Return them as bytes; where they do not fill the last one, a 1 and zeros do."""
        bits = self._bits
        if len(bits) % 8:
            bits += "1"
            bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _first_slice(packet: bytes, codec: str) -> int:
    """Return where the start code of a picture's first slice begins."""
    place = packet.find(b"\0\0\1")
    while place >= 0:
        kind = packet[place + 3]
        is_slice = kind & 31 in range(1, 6) if codec == "h264" else kind >> 1 & 63 < 32
        if is_slice:
            return place - 1 if place > 0 and packet[place - 1] == 0 else place
        place = packet.find(b"\0\0\1", place + 3)
    raise AssertionError(f"a packet must hold a slice behind a start code, got {packet[:16].hex()}")


def _escape(unit: bytes) -> bytes:
    """Keep start codes from appearing within a unit: a 3 follows two zeros before a byte up to 3."""
    result, zeros = bytearray(), 0
    for byte in unit:
        if zeros >= 2 and byte <= 3:
            result.append(3)
            zeros = 0
        result.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(result)
