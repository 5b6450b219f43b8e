"""Decoding on a card gives the frames of the software; without a card, what it does is played by software."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.media import ONE_THREAD
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import nvdec, read_frames, reader

from .test_deinterlace import make_interlaced
from .test_hdr import ramp_frame, write_clip
from .test_reader import LONG_GOP, damage, noise

CUDA = torch.device("cuda")


class Packet:
    """Gives frames as a card does, in two planes."""

    def __init__(self, packet, stops):
        self._packet, self._stops = packet, stops

    def decode(self):
        frames = self._packet.decode()
        layouts = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
        if self._stops():
            raise av.error.ExternalError(1, "the card is gone")
        return [
            VideoReformatter().reformat(frame, format=layouts.get(frame.format.name), **ONE_THREAD)
            for frame in frames
        ]


@pytest.fixture
def card(monkeypatch):
    """Let software play the card, which may fail at a packet; counts the packets that it was given."""
    given = []

    def play(fails_at=None):
        def stops():
            given.append(len(given))
            return given[-1] == fails_at

        class Card(nvdec.CardDecoder):
            def __call__(self, packet):
                return super().__call__(Packet(packet, stops))

        real = reader.open_video
        monkeypatch.setattr(nvdec, "CardDecoder", Card)
        monkeypatch.setattr(nvdec, "is_offered", lambda device: device.type == "cuda")
        monkeypatch.setattr(nvdec, "card_of", lambda device: "a card")
        monkeypatch.setattr(reader, "open_video", lambda path, card=None: real(path))
        return given

    return play


def assert_the_same(path, **part):
    """Compare all of the frames that the card gives with those of the software."""
    frames = list(read_frames(path, device=CUDA, **part))
    expected = list(read_frames(path, **part))
    assert len(frames) == len(expected) > 0
    for one, other in zip(frames, expected, strict=True):
        assert (one.pts, one.time_base, one.color) == (other.pts, other.time_base, other.color)
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_where_there_is_no_card_the_software_decodes(make_video, codec, device):
    path = make_video(codec=codec, frames=5, options=LONG_GOP)
    frames = list(read_frames(path, device=torch.device(device)))
    np.testing.assert_array_equal(frames[4].image, list(read_frames(path))[4].image)


def test_a_card_that_cannot_be_opened_is_done_without(make_video, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    path = make_video(frames=5)
    monkeypatch.setattr(nvdec, "is_offered", lambda _: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert_the_same(path)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_the_cards_frames_are_the_softwares(card, make_video, codec):
    given = card()
    path = make_video("clip.mkv", codec=codec, frames=12, size=(98, 66))
    assert_the_same(path)
    assert len(given) >= 12


@pytest.mark.parametrize("part", [{"start": 0.7}, {"end": 0.5}, {"start": 0.3, "end": 1.0}])
def test_parts_of_a_film_are_the_same(card, make_video, part):
    card()
    assert_the_same(make_video(frames=40, options=LONG_GOP), **part)


def test_turned_films_and_hdr_are_the_same(card, make_video, turned, tmp_path):
    given = card()
    assert_the_same(turned(make_video(frames=3), "quarter"))
    clip = write_clip(
        tmp_path / "hdr.mkv",
        frame=ramp_frame("yuv420p10le", size=(96, 64)),
        codec="libx265",
        tags=(9, 9, 16),
        options={"x265-params": "log-level=none:master-display=G(1,2)B(3,4)R(5,6)WP(7,8)L(90,1):max-cll=5,4"},
    )
    assert next(read_frames(clip)).color.hdr is not None
    assert_the_same(clip)
    assert len(given) >= 4


@pytest.mark.parametrize("fails_at", [0, 1, 7, 30])
def test_a_card_that_fails_hands_over_to_the_software(card, make_video, fails_at):
    card(fails_at)
    path = make_video(frames=40, options=LONG_GOP)
    assert_the_same(path)
    assert_the_same(path, start=0.9)


def test_interlaced_films_are_left_to_the_software(card, tmp_path):
    given = card()
    path = make_interlaced(tmp_path / "clip.mp4")
    assert_the_same(path)
    assert_the_same(path, deinterlace=False)
    assert len(given) < 16, "the card stopped at the first frame"


def test_cropped_pictures_and_other_formats_are_left_to_the_software(card, make_video, monkeypatch):
    card()
    for pixel_format in ("yuv444p", "yuv422p10le"):
        assert_the_same(make_video(f"{pixel_format}.mkv", pixel_format=pixel_format, frames=3))
    path = make_video("plain.mp4", frames=3)
    decoder = nvdec.CardDecoder(type("Context", (), {"width": 94, "height": 64})())
    with av.open(str(path)) as container:
        packets = [Packet(packet, lambda: False) for packet in container.demux(video=0)]
        with pytest.raises(nvdec.NotOnCard, match="its frames are 96x64 instead of 94x64"):
            _ = [decoder(packet) for packet in packets]


def test_on_a_damaged_film_the_software_judges(card, make_video):
    card()
    path = make_video(frames=75, picture=noise, options={"g": "5", "bf": "0"})
    damage(path, 30, 45)
    frames = []
    with pytest.raises(InputError, match=r"breaks off at 1\.\d\d s"):
        frames.extend(frame.pts for frame in read_frames(path, device=CUDA))
    expected = []
    with pytest.raises(InputError, match=r"breaks off at 1\.\d\d s"):
        expected.extend(frame.pts for frame in read_frames(path))
    assert frames == expected


@pytest.mark.parametrize(
    ("codec", "pixel_format", "expected"),
    [
        ("h264", "yuv420p", True),
        ("hevc", "yuv420p10le", True),
        ("vp9", "yuv420p", True),
        ("hevc", "yuv420p12le", False),
        ("h264", "yuv444p", False),
        ("h264", None, False),
        ("mpeg2video", "yuv420p", False),
    ],
)
def test_which_films_a_card_is_tried_on(codec, pixel_format, expected):
    assert nvdec.suits(codec, pixel_format) is expected


def test_which_devices_decode(monkeypatch):
    free = {"cuda": 8 << 30, "cuda:1": 1 << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[str(device)], 16 << 30))
    monkeypatch.setattr(nvdec, "PYAV", 18)
    decoders = {name: nvdec.is_offered(torch.device(name)) for name in ("cpu", "cuda", "cuda:1", "mps")}
    assert decoders == {"cpu": False, "cuda": True, "cuda:1": False, "mps": False}
    monkeypatch.setattr(nvdec, "PYAV", 17)
    assert not nvdec.is_offered(CUDA), "its frames have lost their colours"


def test_a_conversion_on_the_cpu_decodes_there(card, make_video, tmp_path):
    given = card()
    convert(make_video(frames=3), tmp_path / "out.mp4", ConvertConfig(device="cpu"))
    assert given == []


@pytest.mark.gpu
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_a_real_card_gives_the_same_frames(make_video, codec):
    path = make_video("clip.mkv", codec=codec, frames=40, size=(354, 290), options=LONG_GOP)
    assert_the_same(path)
    assert_the_same(path, start=0.7)


@pytest.mark.gpu
def test_a_real_card_decodes_and_not_only_the_software_behind_it(make_video):
    path = make_video("clip.mkv", frames=5, size=(354, 290))
    if not nvdec.is_offered(CUDA):
        pytest.skip("this machine has no room on its card, or PyAV before 18")
    with reader.open_video(path, card=nvdec.card_of(CUDA)) as (container, stream):
        decoder = nvdec.CardDecoder(stream.codec_context)
        try:
            frames = [frame for packet in container.demux(stream) for frame in decoder(packet)]
        except nvdec.NotOnCard as reason:
            pytest.skip(
                f"NVDEC cannot be used here, as in containers without the driver's video part: {reason}"
            )
    assert [frame.format.name for frame in frames] == ["yuv420p"] * 5
