"""What is opened: files that hold their own frames, and no other file, host or device through them."""

import os

import av
import numpy as np
import pytest
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.media import film_stream, open_media
from spatialdreamer_core.video import probe, read_frames

SECRET = "secret.mp4"
PLAYLIST = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{SECRET}\n#EXT-X-ENDLIST\n"
LIST = f"ffconcat version 1.0\nfile {SECRET}\n"
SESSION = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
MANIFEST = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    f'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{SECRET}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>"
)


def write_film(path, levels, *, default=0, codec="mpeg4"):
    """Write a file with one small video a grey level."""
    with av.open(str(path), "w") as container:
        streams = []
        for index in range(len(levels)):
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.disposition = av.stream.Disposition.default.value if index == default else 0
            streams.append(stream)
        for stream, level in zip(streams, levels, strict=True):
            for _ in range(3):
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8)))
                )
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "name", ["list.m3u8", "list.mp4", "list.ffconcat", "list", "list.mkv", "list.sdp", "a.mpd"]
)
@pytest.mark.parametrize("text", [PLAYLIST, LIST, SESSION, MANIFEST])
def test_a_list_of_other_files_is_refused(tmp_path, name, text):
    write_film(tmp_path / SECRET, [200])
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"^input must (hold its own frames|be a whole video file), got"):
        probe(tmp_path / name)


@pytest.mark.parametrize("name", ["frame%03d.png", "frame*.png", "frame[0-9].png", "frame{001,002}.png"])
def test_a_pattern_is_a_file_name(tmp_path, name):
    for index in range(3):
        Image.fromarray(np.full((48, 64, 3), 250, np.uint8)).save(tmp_path / f"frame{index:03}.png")
    with pytest.raises(InputError, match="must be an existing file"):
        probe(tmp_path / name)
    try:
        Image.fromarray(np.full((48, 64, 3), 20, np.uint8)).save(tmp_path / name)
    except OSError:
        pytest.skip("no such names here")
    assert [int(f.image.mean()) for f in read_frames(tmp_path / name)] == [20]


@pytest.mark.parametrize(
    "spelling",
    [
        "concat:{0}",
        "file:{0}",
        "subfile,,start,0,end,0,,:{0}",
        "http://127.0.0.1:9/a.mp4",
        "data:,a",
        "-",
        "a\0b",
    ],
)
def test_a_protocol_is_no_file(tmp_path, spelling):
    path = write_film(tmp_path / SECRET, [200])
    with pytest.raises(InputError, match="must be an existing file"):
        probe(spelling.format(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", os.devnull):
        with pytest.raises(InputError, match="must be a regular file"):
            probe(path)


def test_the_name_in_messages_is_the_callers(tmp_path):
    with (
        pytest.raises(InputError, match=r"^depth must be an existing file"),
        open_media(tmp_path / "no", name="depth"),
    ):
        pass


@pytest.mark.parametrize("default", [0, 1, 2])
def test_the_default_video_is_the_film(tmp_path, default):
    path = write_film(tmp_path / "angles.mkv", [40, 120, 200], default=default)
    with open_media(path) as container:
        assert film_stream(container).index == default
    assert next(read_frames(path)).image.mean() == pytest.approx([40, 120, 200][default], abs=3)


def test_a_cover_in_front_is_no_film(tmp_path):
    path = tmp_path / "covered.mp4"
    with av.open(str(path), "w") as container:
        cover, film = container.add_stream("png", rate=1), container.add_stream("mpeg4", rate=10)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(cover.encode())
        container.mux(film.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))))
        container.mux(film.encode())
    assert probe(path).width == 64
