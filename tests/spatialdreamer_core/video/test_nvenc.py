"""NVENC: no card is needed to see that it is asked for in the right words, tried first, and done without."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import ColorInfo, VideoWriter, encoders, encoding, nvenc, probe, read_frames
from spatialdreamer_core.video.encoders import choose_encoder, encoder_options, full_colour_format
from spatialdreamer_core.video.hdr import HdrMetadata
from spatialdreamer_core.video.nvenc import nvenc_options, why_not_nvenc

CLOCK = {"frame_rate": Fraction(25), "time_base": Fraction(1, 12800)}
HDR = HdrMetadata(light_level=(1000, 400))


@pytest.fixture(autouse=True)
def forget_what_was_tried():
    for probed in (nvenc._accepted_extras, nvenc._encode_plainly, nvenc._encode_lossless):
        probed.cache_clear()
    yield
    for probed in (nvenc._accepted_extras, nvenc._encode_plainly, nvenc._encode_lossless):
        probed.cache_clear()


@pytest.fixture
def card(monkeypatch):
    """Let a card take some options, and note what it was asked."""
    asked = []

    def take(*refused):
        def try_encoding(codec, pixel_format, options):
            asked.append((codec, pixel_format))
            return "it is refused" if any(options.get(name) == value for name, value in refused) else None

        monkeypatch.setattr(nvenc, "_try_encoding", try_encoding)
        return asked

    return take


@pytest.mark.parametrize(
    ("size", "bits", "expected"),
    [
        ((3840, 1080), 8, "h264_nvenc"),
        ((4096, 2305), 8, "hevc_nvenc"),
        ((7680, 2160), 8, "hevc_nvenc"),
        ((640, 360), 10, "hevc_nvenc"),
        ((8200, 1080), 8, "libx265"),  # wider than NVENC takes
        ((140, 80), 8, "libx264"),
        ((640, 48), 8, "libx264"),
    ],
)
def test_on_a_card_auto_takes_nvenc_by_the_rule_for_x264_and_x265(card, size, bits, expected):
    card()
    assert choose_encoder(*size, bits=bits, cuda=True) == expected
    assert choose_encoder(*size, bits=bits, codec="nvenc") == expected
    assert not choose_encoder(*size, bits=bits).endswith("nvenc"), "where nothing runs on a card"


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_who_names_an_encoder_gets_it(card, codec):
    card()
    assert choose_encoder(640, 360, codec=codec, cuda=True) == codec


def test_a_conversion_on_the_card_asks_for_it(card):
    asked = card()
    cuda, config = torch.device("cuda"), ConvertConfig()
    assert config.encoder(640, 360, device=cuda) == "h264_nvenc"
    assert asked == [("h264_nvenc", "yuv420p")]
    assert config.encoder(640, 360, bits=10, device=cuda) == "hevc_nvenc"
    assert asked[1:] == [("hevc_nvenc", "p010le")]
    assert config.encoder(640, 360, device=torch.device("cpu")) == "libx264"
    assert len(asked) == 2, "once a process"


def test_hdr10_stays_with_the_encoder_that_can_be_given_its_metadata(card, caplog):
    card()
    with caplog.at_level(logging.INFO):
        assert choose_encoder(640, 360, bits=10, hdr=True, cuda=True) == "libx265"
    assert caplog.messages == [
        "encoder: libx265, since NVENC cannot be used here: it cannot be given the metadata of HDR10"
    ]


def test_without_a_card_nvenc_is_not_there_and_the_log_says_so(caplog):
    with caplog.at_level(logging.INFO):
        if choose_encoder(640, 360, cuda=True) != "libx264":
            pytest.skip("this machine has NVENC")
        assert choose_encoder(640, 360, codec="nvenc") == "libx264"
        assert choose_encoder(640, 360, bits=10, codec="nvenc") == "libx265"
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]
    assert all(
        message.startswith(f"encoder: {name}, since NVENC cannot be used here: ")
        for message, name in zip(caplog.messages, ("libx264", "libx264", "libx265"), strict=True)
    )


def test_trying_an_encoder_encodes_a_frame_and_never_raises(capfd):
    assert nvenc._try_encoding("libx264", "yuv420p", {"bf": "2"}) is None
    assert nvenc._try_encoding("libx265", "yuv420p10le", {"x265-params": "log-level=none"}) is None
    for codec, pixel_format in (
        ("no_such_encoder", "yuv420p"),
        ("libx264", "p010le"),
        ("libx264", "nonsense"),
    ):
        assert nvenc._try_encoding(codec, pixel_format, {}), "a reason"
    assert why_not_nvenc("no_such_nvenc", "yuv420p", crf=18)
    assert "nvenc" not in capfd.readouterr().err.lower()


SPOKEN = {"preset": "p4", "rc": "vbr", "cq": "19", "b": "0", "spatial-aq": "1"}
B_FRAMES = {"bf": "2", "b_ref_mode": "middle"}


@pytest.mark.parametrize(
    ("codec", "pixel_format", "refused", "expected"),
    [
        ("h264_nvenc", "yuv420p", (), {**SPOKEN, **B_FRAMES, "profile": "high"}),
        ("hevc_nvenc", "yuv420p", (), {**SPOKEN, **B_FRAMES}),
        ("hevc_nvenc", "p010le", (), {**SPOKEN, **B_FRAMES}),
        (
            "h264_nvenc",
            "yuv420p",
            (("b_ref_mode", "middle"),),
            {**SPOKEN, "bf": "2", "b_ref_mode": "disabled", "profile": "high"},
        ),
        ("hevc_nvenc", "yuv420p", (("bf", "2"),), {**SPOKEN, "bf": "0"}),
    ],
)
def test_what_nvenc_is_sent(card, codec, pixel_format, refused, expected):
    card(*refused)
    assert nvenc_options(codec, pixel_format, crf=18, preset="veryfast") == expected
    assert encoder_options(codec, pixel_format, crf=18, preset="veryfast", hdr=None) == expected


@pytest.mark.parametrize(("crf", "cq"), [(1, "2"), (18, "19"), (23, "24"), (50, "51"), (51, "51")])
def test_quality_is_counted_as_x264_counts_it(card, crf, cq):
    card()
    assert nvenc_options("h264_nvenc", "yuv420p", crf=crf, preset="medium")["cq"] == cq


def test_lossless_is_lossless(card):
    card(("tune", "lossless"))
    options = nvenc_options("hevc_nvenc", "p010le", crf=0, preset="slow")
    assert options == {"preset": "p6", "tune": "lossless", "rc": "constqp", "qp": "0", "bf": "0"}
    assert choose_encoder(640, 360, crf=0, cuda=True) == "libx264", "this card has none"
    assert choose_encoder(640, 360, crf=1, cuda=True) == "h264_nvenc"


def test_every_preset_has_one_of_nvencs_and_slower_ones_are_not_faster():
    of_nvenc = [nvenc._PRESETS[name] for name in encoders.PRESET.list_choices()]
    assert of_nvenc == sorted(of_nvenc)
    assert {*of_nvenc} <= {f"p{level}" for level in range(1, 8)}


class Stream:
    """Takes what `Encoder` sends to a stream of PyAV."""

    def __init__(self):
        self.metadata, self.codec_context = {}, Context()


class Context:
    def open(self):
        self.is_open = True


@pytest.mark.parametrize(("bits", "pixel_format"), [(8, "yuv420p"), (10, "p010le")])
def test_size_format_tag_and_colours_are_sent_too(card, monkeypatch, bits, pixel_format):
    card()
    monkeypatch.setattr(encoding, "VideoStream", Stream)
    sent = {}

    class Container:
        format = type("Format", (), {"name": "mp4"})

        def add_stream(self, codec, rate, options):
            sent.update(codec=codec, rate=rate, options=options)
            return Stream()

    color = ColorInfo(9, primaries=9, transfer=18, bits=bits)
    encoder = encoding.Encoder("hevc_nvenc", width=641, height=360, color=color, crf=18, preset="veryfast")
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 12800)}
    context = encoder.add_to(Container(), **clock, aspect=Fraction(2), metadata={}).codec_context
    assert sent == {"codec": "hevc_nvenc", "rate": 25, "options": {**SPOKEN, **B_FRAMES}}
    assert (context.width, context.height, context.pix_fmt) == (642, 360, pixel_format)
    assert (context.codec_tag, context.time_base, context.sample_aspect_ratio) == (
        "hvc1",
        Fraction(1, 12800),
        2,
    )
    assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (
        9,
        1,
        9,
        18,
    )
    assert context.is_open


def has_nvenc() -> bool:
    return why_not_nvenc("h264_nvenc", "yuv420p", crf=18) is None


@pytest.mark.parametrize(
    ("codec", "bits", "instead"), [("h264_nvenc", 8, "h264"), ("hevc_nvenc", 10, "hevc")]
)
def test_where_it_cannot_be_opened_the_software_writes_the_same_file(tmp_path, caplog, codec, bits, instead):
    if has_nvenc():
        pytest.skip("this machine has NVENC")
    color = ColorInfo(1, bits=bits)
    image = np.full((64, 96, 3), 90 << (bits - 8) * 4, np.uint8 if bits == 8 else np.uint16)
    with (
        caplog.at_level(logging.INFO),
        VideoWriter(tmp_path / "out.mp4", width=96, height=64, codec=codec, color=color, **CLOCK) as writer,
    ):
        writer.write(image, 0)
    (message,) = caplog.messages
    assert message.startswith(f"encoder: libx26{4 if bits == 8 else 5}, since {codec} cannot be used: ")
    with VideoWriter(
        tmp_path / "plain.mp4",
        width=96,
        height=64,
        codec=choose_encoder(96, 64, bits=bits),
        color=color,
        **CLOCK,
    ) as writer:
        writer.write(image, 0)
    assert probe(tmp_path / "out.mp4").codec == codec.removesuffix("_nvenc")
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


def test_a_pixel_format_of_the_cards_own_is_left_with_it():
    color = ColorInfo(1, bits=10)
    encoder = encoding.Encoder(
        "hevc_nvenc", width=96, height=64, color=color, crf=18, preset="fast", pixel_format="p010le"
    )
    assert encoder.pixel_format == "p010le"
    encoder.use_software(OSError("it is gone"))
    assert (encoder.codec, encoder.pixel_format) == ("libx265", "yuv420p10le")


@pytest.fixture
def failing_at(monkeypatch):
    """Let x265 stand in for NVENC that fails at a frame."""

    def fail(number):
        monkeypatch.setattr(encoding, "is_nvenc", lambda codec: codec == "libx265")
        real, count = VideoWriter._encode, iter(range(100))

        def encode(writer, frame, pts):
            if writer._encoder.is_nvenc and next(count) == number:
                raise av.error.ExternalError(1, "no session is free")
            return real(writer, frame, pts)

        monkeypatch.setattr(VideoWriter, "_encode", encode)

    return fail


def write_grey(path, codec, source):
    with VideoWriter(
        path, width=96, height=64, codec=codec, source=probe(source), audio_from=source
    ) as writer:
        frames = list(read_frames(source))
        prepared = [writer.prepare(frame.image) for frame in frames]
        for frame, ready in zip(frames, prepared, strict=True):
            writer.write(ready, frame.pts)
    return path


def test_a_card_that_fails_at_the_first_frame_is_done_without(failing_at, make_video, tmp_path, caplog):
    source = make_video(frames=5, audio=("aac",))
    plain = write_grey(tmp_path / "plain.mp4", "libx264", source)
    failing_at(0)
    with caplog.at_level(logging.WARNING):
        again = write_grey(tmp_path / "out.mp4", "libx265", source)
    assert (probe(again).codec, probe(again).audio_codecs) == ("h264", ("aac",))
    for frame, same in zip(read_frames(again), read_frames(plain), strict=True):
        assert (frame.pts, frame.time_base) == (same.pts, same.time_base)
        np.testing.assert_array_equal(frame.image, same.image)
    assert caplog.messages == ["encoder: libx264, since libx265 cannot be used: no session is free"]


def test_a_card_that_fails_later_ends_the_work_without_a_file(failing_at, make_video, tmp_path):
    source = make_video(frames=5)
    failing_at(2)
    with pytest.raises(
        InputError, match=r"the frames must fit libx265 and \.mp4, got .* choose another codec"
    ):
        write_grey(tmp_path / "out.mp4", "libx265", source)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_who_asks_for_it_without_a_card_gets_a_film(make_video, tmp_path, caplog):
    if has_nvenc():
        pytest.skip("this machine has NVENC")
    source = make_video(frames=2, size=(192, 96))
    with caplog.at_level(logging.INFO):
        assert convert(source, tmp_path / "out.mp4", ConvertConfig(codec="nvenc")) == 2
    assert sum("encoder: libx264, since NVENC" in message for message in caplog.messages) == 1
    assert probe(tmp_path / "out.mp4").codec == "h264"


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("crf", [0, 18])
def test_a_card_with_nvenc_writes_a_film_that_looks_right(tmp_path, bits, crf):
    color = ColorInfo(1, bits=bits)
    codec = choose_encoder(320, 192, bits=bits, codec="nvenc", crf=crf)
    if not codec.endswith("nvenc"):
        pytest.skip("this card has no NVENC")
    ramp = np.linspace(20, 220, 320)[None, :, None] * np.ones((192, 1, 3))
    image = ramp.astype(np.uint8) if bits == 8 else (ramp * 256).astype(np.uint16)
    out = tmp_path / "out.mp4"
    with VideoWriter(out, width=320, height=192, codec=codec, color=color, crf=crf, **CLOCK) as writer:
        for index in range(10):
            writer.write(image, 512 * index)
    frames = list(read_frames(out))
    assert [frame.time for frame in frames] == pytest.approx([index / 25 for index in range(10)])
    assert frames[0].color == color
    error = np.abs(frames[5].image.astype(int) - image).max()
    assert error <= (3 if bits == 8 else 3 * 256)


@pytest.mark.parametrize(
    ("codec", "bits", "expected"),
    [
        ("libx264", 8, "yuv444p"),
        ("libx265", 10, "yuv444p10le"),
        ("prores_ks", 8, "yuv444p10le"),
        ("libvpx-vp9", 10, "yuv444p"),
        ("libsvtav1", 8, None),
        ("none_such", 8, None),
    ],
)
def test_each_pixel_gets_its_own_colour_where_the_encoder_takes_that(codec, bits, expected, caplog):
    assert full_colour_format(codec, bits) == expected
    assert ("takes colours at half resolution only" in caplog.text) == (codec == "libsvtav1")


def test_software_in_the_place_of_nvenc_keeps_each_pixels_colour():
    encoder = encoding.Encoder(
        "hevc_nvenc",
        width=128,
        height=64,
        color=ColorInfo(1, bits=10),
        crf=18,
        preset="fast",
        pixel_format=full_colour_format("hevc_nvenc", 10) or "yuv444p16le",
    )
    encoder.use_software(RuntimeError("no session is left"))
    assert (encoder.codec, encoder.pixel_format) == ("libx265", "yuv444p10le")
