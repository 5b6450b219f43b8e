"""What accompanies a film goes into the output where its container can hold it; the rest is named."""

from __future__ import annotations

import io
import logging
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import VideoWriter, probe, read_frames

HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
LINES = [(0.1, 0.3, "First"), (0.5, 1.0, "Second"), (1.2, 0.2, "Third, with a comma")]


LINES_IN_TURN = [
    *(LINES[0], (0.5, 0.7, "Second")),
    *((1.2, 0.2, "Second\nThird, with a comma"), (1.4, 0.1, "Second")),
]  # for containers where lines cannot overlap


def make_rich(path, *, subtitle="subrip", fonts=True, frames=40):
    """Write a film with two sounds, subtitles, a font, a cover, chapters and tags."""
    if not hasattr(av.container.OutputContainer, "add_attachment"):
        pytest.skip("this version of PyAV cannot write such a file")
    cover = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 20, 20)).save(cover, "PNG")
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "A film", "comment": "of mine"})
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        sounds = [container.add_stream("aac", rate=48000) for _ in range(2)]
        for stream, language, kind in zip(
            sounds, ("eng", "fra"), (0, Disposition.default.value), strict=True
        ):
            stream.metadata.update(language=language, title=f"in {language}")
            stream.disposition = kind
        text = container.add_stream(subtitle)
        text.codec_context.subtitle_header = HEADER
        text.metadata["language"] = "spa"
        text.disposition = Disposition.forced.value
        if fonts:
            container.add_attachment("font.ttf", "font/ttf", bytes(range(100)))
            container.add_attachment("cover.png", "image/png", cover.getvalue())
        chapter = {"time_base": Fraction(1, 1000)}
        container.set_chapters(
            [
                {"id": 1, "start": 0, "end": 800, "metadata": {"title": "One"}, **chapter},
                {"id": 2, "start": 800, "end": 1600, "metadata": {"title": "Two"}, **chapter},
            ]
        )
        container.start_encoding()
        for start, length, line in LINES:
            entry = av.subtitles.subtitle.SubtitleSet.create(
                f"0,0,Default,,0,0,0,,{line}".encode(), 0, round(length * 1000), 0
            )
            packet = text.codec_context.encode_subtitle(entry)
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round(length * 1000)
            container.mux(packet)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 10 + index, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for seed, stream in enumerate(sounds):
            rng = np.random.default_rng(seed)
            for start in range(0, frames * 1920, 1024):
                samples = (rng.normal(size=(2, 1024)) * 0.1).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
                sound.sample_rate, sound.time_base, sound.pts = 48000, Fraction(1, 48000), start
                container.mux(stream.encode(sound))
            container.mux(stream.encode())
    return path


def copy(source, target, *, start=None, end=None):
    """Write the frames of a file with all that accompanies them, as a conversion does."""
    info = probe(source)
    with VideoWriter(
        target,
        width=info.width,
        height=info.height,
        source=info,
        audio_from=source,
        extras_from=source,
        audio_start=start,
        audio_end=end,
    ) as writer:
        for frame in read_frames(source, start=start, end=end):
            writer.write(frame.image, frame.pts)
    return target


def subtitles(path):
    """Read the subtitles of a file: (start, length, text)."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(subtitles=0):
            texts = packet.decode() if packet.size else []
            for text in texts:
                if text.dialogue:
                    base = packet.time_base
                    found.append(
                        (float(packet.pts * base), float(packet.duration * base), text.dialogue.decode())
                    )
    return found


@pytest.mark.parametrize(
    ("subtitle", "suffix", "codec"),
    [
        ("subrip", ".mkv", "srt"),
        ("subrip", ".mp4", "mov_text"),
        ("ass", ".mkv", "ssa"),
        ("ass", ".mov", "mov_text"),
        ("webvtt", ".mp4", "mov_text"),
    ],
)
def test_all_that_accompanies_a_film_is_kept(tmp_path, subtitle, suffix, codec):
    out = copy(make_rich(tmp_path / "rich.mkv", subtitle=subtitle), tmp_path / f"out{suffix}")
    with av.open(str(out)) as container:
        assert container.metadata["title"] == "A film"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One", "Two"]
        assert [float(c["start"] * c["time_base"]) for c in container.chapters()] == [0, 0.8]
        sounds, texts = container.streams.audio, container.streams.subtitles
        assert [s.language for s in sounds] == ["eng", "fra"]
        assert [bool(s.disposition & Disposition.default) for s in sounds] == [False, True]
        assert [s.codec_context.name for s in texts] == [codec]
        assert texts[0].language == "spa"
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert len(covers) == (0 if suffix == ".mov" else 1)
        fonts = [s.metadata["filename"] for s in container.streams.attachments]
        assert fonts == (["font.ttf"] if suffix == ".mkv" else [])
    expected = LINES if suffix == ".mkv" else LINES_IN_TURN
    found = subtitles(out)
    assert [line for _, _, line in found] == [line for _, _, line in expected]
    assert [(t, d) for t, d, _ in found] == [pytest.approx(line[:2], abs=2e-3) for line in expected]


def test_subtitles_of_an_mp4_become_text_in_matroska(tmp_path):
    between = copy(make_rich(tmp_path / "rich.mkv"), tmp_path / "between.mp4")
    out = copy(between, tmp_path / "out.mkv")
    assert [line for _, _, line in subtitles(out)] == [line for _, _, line in LINES_IN_TURN]
    with av.open(str(out)) as container:
        assert container.streams.subtitles[0].codec_context.name == "srt"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One", "Two"]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_part_takes_what_lies_in_it(tmp_path, suffix):
    out = copy(make_rich(tmp_path / "rich.mkv"), tmp_path / f"out{suffix}", start=0.6, end=1.3)
    found = subtitles(out)
    assert found[0][:2] == pytest.approx((0, 0.7 if suffix == ".mkv" else 0.6), abs=0.002)
    assert found[1][:2] == pytest.approx((0.6, 0.1), abs=0.002)
    third = LINES[2][2]
    assert [line for _, _, line in found] == ["Second", third if suffix == ".mkv" else f"Second\n{third}"]
    with av.open(str(out)) as container:
        spans = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in container.chapters()
        ]
    assert spans == [pytest.approx((0, 0.2)), pytest.approx((0.2, 0.7))]


def test_what_a_container_cannot_hold_is_named_in_one_line(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        copy(make_rich(tmp_path / "rich.mkv"), tmp_path / "out.mp4")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'rich.mkv'}: left out, not for this container: attachment stream 4 (font.ttf); "
        "a .mkv file holds more"
    ]


def test_without_sound_the_rest_stays(tmp_path):
    source = make_rich(tmp_path / "rich.mkv", frames=20)
    assert convert(source, tmp_path / "out.mkv", ConvertConfig(audio=False)) == 20
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert not container.streams.audio
        assert len(container.streams.subtitles) == len(container.streams.attachments) == 1
        assert len(container.chapters()) == 2


def silent_track(path, codec="ac3", *, announced=True):
    """Write a film whose second sound carries nothing."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sounds = [container.add_stream(name, rate=48000) for name in ("aac", codec)]
        container.start_encoding()
        for index in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), 9 * index, np.uint8))))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        sound.sample_rate, sound.time_base, sound.pts = 48000, Fraction(1, 48000), 0
        container.mux(sounds[0].encode(sound))
        container.mux(sounds[0].encode())
    return path


@pytest.mark.parametrize("codec", ["ac3", "eac3", "aac", "flac", "libopus"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_track_that_carries_nothing_is_left_out(tmp_path, caplog, codec, suffix):
    source = silent_track(tmp_path / "announced.mkv", codec)
    with caplog.at_level(logging.WARNING):
        out = copy(source, tmp_path / f"out{suffix}")
    assert len(probe(out).audio_codecs) == 1
    assert "audio stream 2" in caplog.text
    assert "carries nothing here and is left out" in caplog.text


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_cannot_be_decoded_is_kept_as_it_is(make_video, packets, tmp_path, suffix):
    source = make_video("clip.mkv", frames=50, audio=("mp3",))
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    data = bytearray(source.read_bytes())
    for position, size in places[10:20]:
        found = data.find(b"\xff\xfb", position)
        data[found : found + size - 8] = bytes(size - 8)
    source.write_bytes(data)
    out = copy(source, tmp_path / f"out{suffix}")
    assert [p[2] for p in packets(out)] == [p[2] for p in packets(source)]
    assert len(list(read_frames(out))) == 50


def test_an_unknown_sound_is_left_out_with_a_line(make_video, tmp_path, caplog):
    source = make_video("clip.avi", frames=5, codec="mpeg4", audio=("mp3",))
    data = source.read_bytes()
    tag = struct.pack("<H", 0x55)
    place = data.find(b"strf", data.find(b"auds")) + 8
    assert data[place : place + 2] == tag
    source.write_bytes(data[:place] + struct.pack("<H", 0x7EEE) + data[place + 2 :])
    with caplog.at_level(logging.WARNING):
        out = copy(source, tmp_path / "out.mp4")
    assert probe(out).audio_codecs == ()
    assert len(list(read_frames(out))) == 5
    assert "audio stream 1" in caplog.text


@pytest.mark.parametrize(("source", "layout"), [("a.avi", "stereo"), ("a.mkv", "stereo"), ("a.avi", "mono")])
def test_pcm_of_cameras_is_kept_in_mp4(tmp_path, source, layout):
    path = tmp_path / source
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout=layout)
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            samples = np.full((1, 320 * sound.channels), 500 + index, np.int16)
            heard = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            heard.sample_rate, heard.time_base, heard.pts = 8000, Fraction(1, 8000), 320 * index
            container.mux(sound.encode(heard))
    out = copy(path, tmp_path / "out.mp4")
    assert content(out) == content(path)


def content(path):
    """Return the bytes of a file's sound."""
    with av.open(str(path)) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0))
