"""What a file says about the two views in its pictures, so that a player need not be told.

Each kind of file has its own words for it:

- the stream of H.264 and HEVC: a message of frame packing (`frame_packing`);
- Matroska and WebM: StereoMode of the track, which FFmpeg writes from the stream's tag `stereo_mode`, and for
  VR180 Projection (`matroska`);
- MP4 and MOV: `st3d` (Google, Spherical Video V2), `vexu` (Apple, ISO base media file format and Apple HEVC
  stereo video), and for VR180 `sv3d` (Spherical Video V2) with the part of the sphere that is shown.

`VideoWriter` writes all of it. Who joins its files by copying packets keeps the message, which is in the
packets, and gives the rest anew: the tag by `StereoMetadata.stream_tags` before the header is written, the
boxes by `add_stereo_boxes` on the finished file, before that gets its name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

from ..options import Option
from .boxes import add_film_boxes, film_boxes, make_box, walk_boxes
from .frame_packing import (
    CHECKERBOARD,
    COLUMNS,
    FRAME_BY_FRAME,
    ROWS,
    SIDE_BY_SIDE,
    TOP_BOTTOM,
    FramePacking,
)

STEREO_METADATA = Option(
    default="auto",
    choices=("auto", "no_sei", "off"),
    name="stereo_metadata",
    advanced=True,
    help="What the video's file says about its two views. auto: all that its kind of file has words for, "
    "which is frame packing in the H.264 or HEVC stream, StereoMode in Matroska, st3d, vexu and sv3d in MP4 "
    "and MOV. no_sei: all but the message in the stream, for players that show a video wrongly because of "
    "it. off: nothing.",
)
_WEBM_MODES = ("left_right", "right_left", "top_bottom")  # of ours, those that WebM's specification knows
_BOXES = (b"st3d", b"sv3d", b"vexu", b"hfov")
_ST3D = {0: "mono", 1: "top-bottom", 2: "left-right", 3: "custom", 4: "right-left"}
_HAS_BOTH_EYES, _REVERSED = 0b0011, 0b1000  # of stri
_QUARTER = 2**30  # of the sphere's width, as a 0.32 fixed-point number
_HALF_SPHERE = 180_000  # thousandths of a degree


@dataclass(frozen=True)
class StereoMetadata:
    """What files say about one packing; None where it has no word for it.

    Attributes:
        packing: The message in the stream.
        matroska: StereoMode by FFmpeg's name.
        st3d: The mode in `st3d`.
        view_packing: How the views lie in `vexu`: b"side" or b"over".
        left_first: Whether the first view is the left eye's.
        is_vr180: Whether each view is half a sphere, equirectangular.
    """

    packing: FramePacking | None = None
    matroska: str | None = None
    st3d: int | None = None
    view_packing: bytes | None = None
    left_first: bool = True
    is_vr180: bool = False

    @property
    def views(self) -> tuple[int, int] | None:
        """How many views lie beside each other and above each other; None where they are not apart."""
        layouts = {"left_right": (2, 1), "right_left": (2, 1), "top_bottom": (1, 2)}
        return layouts.get(self.matroska or "")

    @property
    def boxes(self) -> tuple[bytes, ...]:
        """The boxes for MP4 and MOV, which there are none of for some packings."""
        boxes = []
        if self.st3d is not None:
            boxes.append(make_box(b"st3d", bytes([self.st3d]), version=0))
        if self.is_vr180:
            boxes.append(_half_sphere_box())
        if self.view_packing is not None:
            boxes.append(self._extended_usage_box())
        if self.is_vr180:
            boxes.append(make_box(b"hfov", struct.pack(">I", _HALF_SPHERE)))
        return tuple(boxes)

    def stream_tags(self, container: str) -> dict[str, str]:
        """Return the tags of the stream from which FFmpeg writes Matroska's StereoMode.

        Args:
            container: FFmpeg's name of the container.
        """
        modes = {"matroska": (self.matroska,), "webm": _WEBM_MODES}.get(container, ())
        return {"stereo_mode": self.matroska} if self.matroska and self.matroska in modes else {}

    def _extended_usage_box(self) -> bytes:
        """Make vexu: which eyes there are, how they lie in a picture, and what of the world it shows."""
        assert self.view_packing is not None
        eyes = _HAS_BOTH_EYES | (0 if self.left_first else _REVERSED)
        parts = [
            make_box(b"eyes", make_box(b"stri", bytes([eyes]), version=0)),
            make_box(b"pack", make_box(b"pkin", self.view_packing, version=0)),
        ]
        if self.is_vr180:
            parts.append(make_box(b"proj", make_box(b"prji", b"hequ", version=0)))
        return make_box(b"vexu", *parts)


_BESIDE = StereoMetadata(FramePacking(SIDE_BY_SIDE), matroska="left_right", st3d=2, view_packing=b"side")
_ABOVE = StereoMetadata(FramePacking(TOP_BOTTOM), matroska="top_bottom", st3d=1, view_packing=b"over")
_BY_FORMAT: dict[str, StereoMetadata] = {
    "full_sbs": _BESIDE,
    "half_sbs": _BESIDE,
    "full_tb": _ABOVE,
    "half_tb": _ABOVE,
    "cross_eyed": StereoMetadata(
        packing=FramePacking(SIDE_BY_SIDE, left_first=False),
        matroska="right_left",
        st3d=4,
        view_packing=b"side",
        left_first=False,
    ),
    "anaglyph": StereoMetadata(matroska="anaglyph_cyan_red"),
    "row_interlaced": StereoMetadata(packing=FramePacking(ROWS), matroska="row_interleaved_lr"),
    "column_interlaced": StereoMetadata(packing=FramePacking(COLUMNS), matroska="col_interleaved_lr"),
    "checkerboard": StereoMetadata(packing=FramePacking(CHECKERBOARD), matroska="checkerboard_lr"),
    "frame_sequential": StereoMetadata(packing=FramePacking(FRAME_BY_FRAME)),
    # Headsets go by the boxes and the name; a television that obeyed a message would show bent halves.
    "vr180": StereoMetadata(matroska="left_right", st3d=2, view_packing=b"side", is_vr180=True),
}


def stereo_metadata(format: str, *, choice: str = STEREO_METADATA.default) -> StereoMetadata | None:
    """Return what a file says about a packing.

    Args:
        format: One of `stereo.FORMATS`; for those that no player has a word for, such as a picture beside its
            depth, files say nothing.
        choice: One of `STEREO_METADATA`'s choices.

    Returns:
        None if nothing is to be said.

    Raises:
        InputError: If the choice is unknown.
    """
    STEREO_METADATA.check(choice)
    said = _BY_FORMAT.get(format)
    if said is None or choice == "off":
        return None
    return replace(said, packing=None) if choice == "no_sei" else said


def add_stereo_boxes(path: str | Path, said: StereoMetadata) -> None:
    """Write the boxes into a finished MP4 or MOV, whose index comes in front with that.

    What its boxes said about stereo before is replaced. However long the film is, only its index comes into
    memory.

    Args:
        path: The file, closed, and best without its name yet: a failure leaves it useless.
        said: What is to be said.

    Raises:
        InputError: If the file holds no film, or is fragmented.
    """
    add_film_boxes(path, b"".join(said.boxes), replacing=_BOXES)


def read_stereo_boxes(path: str | Path) -> dict[str, str]:
    """Tell what the boxes of an MP4 or MOV say: "st3d", "eyes", "packing", "projection", "bounds", "hfov".

    Raises:
        InputError: If it is no such file, or holds no film.
    """
    found = film_boxes(path)
    said = {}
    if b"st3d" in found:
        said["st3d"] = _ST3D.get(found[b"st3d"][4], "unknown")
    if b"hfov" in found:
        said["hfov"] = f"{struct.unpack('>I', found[b'hfov'])[0] / 1000:g}"
    usage = _children(found.get(b"vexu", b""))
    eyes = _children(usage.get(b"eyes", b"")).get(b"stri")
    if eyes is not None:
        said["eyes"] = "right first" if eyes[4] & _REVERSED else "left first"
    for box, inner, name in ((b"pack", b"pkin", "packing"), (b"proj", b"prji", "projection")):
        kind = _children(usage.get(box, b"")).get(inner)
        if kind is not None:
            said[name] = kind[4:8].decode("latin-1")
    sphere = _children(_children(found.get(b"sv3d", b"")).get(b"proj", b"")).get(b"equi")
    if sphere is not None:
        bounds = (f"{bound / 2**32:g}" for bound in struct.unpack(">4I", sphere[4:20]))
        said["bounds"] = " ".join(bounds)
    return said


def _half_sphere_box() -> bytes:
    """Make sv3d for the front half of the sphere: a quarter of its width is cut off at each side."""
    return make_box(
        b"sv3d",
        make_box(b"svhd", b"spatialdreamer\0", version=0),
        make_box(
            b"proj",
            make_box(b"prhd", struct.pack(">3i", 0, 0, 0), version=0),
            make_box(b"equi", struct.pack(">4I", 0, 0, _QUARTER, _QUARTER), version=0),
        ),
    )


def _children(content: bytes) -> dict[bytes, bytes]:
    """Return the boxes in a box: content by name."""
    return {box.kind: content[box.body : box.end] for box in walk_boxes(content)}
