"""Writers of small depth files for tests."""

import struct
from fractions import Fraction

import av
import numpy as np

UINT, HALF, FLOAT = 0, 1, 2  # EXR's pixel types


def ramp(frames=3, height=12, width=20):
    """Values in [0, 1], different in each frame."""
    values = np.linspace(0, 1, frames * height * width, dtype=np.float32)
    return values.reshape(frames, height, width)


def write_exr(path, channels, pixel_type=FLOAT):
    """Write an uncompressed EXR file: {name: [h, w]}."""
    names = sorted(channels)
    planes = [channels[name].astype(("<u4", "<f2", "<f4")[pixel_type]) for name in names]
    height, width = planes[0].shape
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", pixel_type, 0, 1, 1) for name in names)
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = b"\x76\x2f\x31\x01" + struct.pack("<i", 2)
    for name, kind, value in (
        ("channels", "chlist", listed + b"\0"),
        ("compression", "compression", b"\0"),
        ("dataWindow", "box2i", box),
        ("displayWindow", "box2i", box),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ):
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    rows = [
        struct.pack("<ii", y, sum(plane[y].nbytes for plane in planes))
        + b"".join(plane[y].tobytes() for plane in planes)
        for y in range(height)
    ]
    starts = len(header) + 8 * height + np.cumsum([0, *map(len, rows[:-1])])
    path.write_bytes(header + struct.pack(f"<{height}Q", *starts) + b"".join(rows))
    return path


def as_frame(format, luma, chroma=None):
    """Fill a frame's planes."""
    frame = av.VideoFrame(luma.shape[1], luma.shape[0], format)
    for plane, values in zip(frame.planes, (luma, chroma, chroma), strict=False):
        rows = np.zeros((values.shape[0], plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    return frame


def write_video(path, frames, *, codec, pixel_format, options=None, color_range=None):
    """Write frames of a pixel format."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, pixel_format
        if color_range is not None:
            context.color_range = color_range
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
