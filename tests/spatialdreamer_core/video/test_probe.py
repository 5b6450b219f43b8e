from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import probe, read_frames


def test_it_tells_what_is_in_a_file(make_video):
    info = probe(make_video(frames=20, audio=("aac", "mp3"), matrix=5, aspect=Fraction(4, 3)))
    assert (info.width, info.height, info.rotation) == (96, 64, 0)
    assert (info.frame_rate, info.frame_count, info.codec) == (25, 20, "h264")
    assert info.duration == pytest.approx(0.8)
    assert info.start_time == 0
    assert info.audio_codecs[0] == "aac"
    assert info.audio_codecs[1].startswith("mp3")
    assert info.sample_aspect_ratio == Fraction(4, 3)
    assert (info.color.matrix, info.color.full_range) == (5, False)


def test_matroska_states_the_duration_in_a_tag(make_video):
    info = probe(make_video("clip.mkv", frames=10))
    assert info.duration == pytest.approx(0.4)
    assert info.frame_count == 10
    assert info.time_base == Fraction(1, 1000)


def test_a_turned_video_has_its_displayed_size(make_video, turned):
    info = probe(turned(make_video(aspect=Fraction(4, 3)), "quarter"))
    assert (info.width, info.height, info.rotation) == (64, 96, 90)
    assert info.sample_aspect_ratio == Fraction(3, 4)


def test_an_untagged_video_has_the_matrix_that_players_assume(make_video):
    assert probe(make_video("sd.mp4", frames=1)).color.matrix == 6
    assert probe(make_video("hd.mp4", frames=1, size=(1280, 720))).color.matrix == 1
    assert probe(make_video("full.mp4", frames=1, pixel_format="yuvj420p")).color.full_range


@pytest.mark.parametrize("read", [probe, lambda path: list(read_frames(path))])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.mp4", None, "must be an existing file"),
        ("empty.mp4", b"", "must not be empty, got 0 bytes"),
        ("text.mp4", b"no video\n" * 100, "must be a whole video file"),
        ("text.txt", b"no video\n" * 100, "got the text file"),
    ],
)
def test_what_is_no_video_gets_one_clear_error(tmp_path, read, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_folder_gets_a_clear_error(tmp_path):
    with pytest.raises(InputError, match="got the folder"):
        probe(tmp_path)


def test_a_file_with_sound_alone_gets_a_clear_error(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=8000)
        track.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(track.encode(frame))
    with pytest.raises(InputError, match="must have a video stream"):
        probe(path)


def test_the_cover_of_a_sound_file_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        track, cover = container.add_stream("mp3", rate=44100), container.add_stream("png", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt = "rgb24"
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux(track.encode(sound))
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        container.mux(cover.encode(picture) + cover.encode())
        container.mux(track.encode())
    with pytest.raises(InputError, match="must have a video stream"):
        probe(path)


def test_a_header_cut_off_gets_a_clear_error(make_video):
    path = make_video(frames=20)
    path.write_bytes(path.read_bytes()[:-500])  # the index is at the end
    with pytest.raises(InputError, match="must be a whole video file"):
        probe(path)


def test_a_video_without_frames_gets_a_clear_error(make_video):
    with pytest.raises(InputError, match="at least one frame"):
        probe(make_video("none.mkv", frames=0, audio=("aac",), audio_seconds=1))
