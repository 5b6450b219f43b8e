"""Each codec in each kind of file: written from a test card, read back, or refused with what goes."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import VideoWriter, encoders, probe, read_frames, to_8_bit
from spatialdreamer_core.video.color import ColorInfo
from spatialdreamer_core.video.containers import VIDEO_CONTAINERS, check_codec_fits, choose_suffix
from spatialdreamer_core.video.encoders import (
    CODEC,
    PRESET,
    choose_encoder,
    encoder_options,
    full_colour_format,
)
from spatialdreamer_core.video.stereo_metadata import read_stereo_boxes, stereo_metadata

HELD = {
    ".mp4": ("libx264", "libx265", "libsvtav1", "libvpx-vp9"),
    ".mov": ("libx264", "libx265", "prores_ks"),
    ".mkv": ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1"),
    ".webm": ("libsvtav1", "libvpx-vp9"),
}
PAIRS = [(suffix, encoder) for suffix, held in HELD.items() for encoder in held]
ENCODERS = HELD[".mkv"]
DECODERS = {
    "libx264": ("h264",),
    "libx265": ("hevc",),
    "libsvtav1": ("libdav1d", "av1"),
    "libvpx-vp9": ("vp9", "libvpx-vp9"),
    "prores_ks": ("prores",),
    "ffv1": ("ffv1",),
}
CLOCK = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
SHIFT = 12  # px of disparity of the card's square


def card(*, width=96, height=64):
    """Draw two views beside each other: the left red, the right blue, a white square 12 px apart in them."""
    pair = np.zeros((height, 2 * width, 3), np.uint8)
    pair[:, :width, 0], pair[:, width:, 2] = 200, 200
    top, left = height // 4, width // 2
    pair[top : 3 * top, left : left + 16] = 255
    pair[top : 3 * top, width + left - SHIFT : width + left - SHIFT + 16] = 255
    return pair


def disparity(pair):
    """Measure where the square lies in each view; returns by how much it moved."""
    views = np.split(pair.astype(int), 2, axis=1)
    edges = [np.flatnonzero(view[view.shape[0] // 2, :, 1] > 128)[0] for view in views]
    return edges[0] - edges[1]


def write(path, encoder, *, image=None, color=None, frames=3, crf=18, **options):
    """Write a few frames."""
    image = card() if image is None else image
    size = {"width": image.shape[1], "height": image.shape[0]}
    with VideoWriter(
        path, **size, **CLOCK, codec=encoder, color=color, crf=crf, preset="ultrafast", **options
    ) as film:
        for index in range(frames):
            film.write(image, index)
    return path


@pytest.mark.parametrize(("suffix", "encoder"), PAIRS)
def test_what_fits_is_written_and_read_back(tmp_path, suffix, encoder):
    path = write(tmp_path / f"film{suffix}", encoder, stereo=stereo_metadata("full_sbs"))
    info = probe(path)
    assert info.codec in DECODERS[encoder]
    assert (info.width, info.height, info.frame_rate) == (192, 64, 25)
    assert "side by side" in info.stereo or "left_right" in info.stereo
    if suffix in (".mp4", ".mov"):
        assert read_stereo_boxes(path) == {"st3d": "left-right", "eyes": "left first", "packing": "side"}
    frames = [to_8_bit(frame.image, info.color) for frame in read_frames(path)]
    assert len(frames) == 3
    for image in frames:
        assert disparity(image) == SHIFT
        assert image[:, :40, 0].min() > 180 > 30 > image[:, :40, 2].max(), "the left eye's is red"
        assert image[:, 152:, 2].min() > 180 > 30 > image[:, 152:, 0].max(), "the right eye's is blue"


@pytest.mark.parametrize(("suffix", "encoder"), PAIRS)
def test_more_than_8_bits_are_kept_where_the_codec_has_them(tmp_path, suffix, encoder, caplog):
    deep = ColorInfo(matrix=1, primaries=1, transfer=1, bits=10)
    image = (np.linspace(4096, 60160, 192)[None, :, None] * np.ones((64, 1, 3))).astype(np.uint16)
    path = write(tmp_path / f"film{suffix}", encoder, image=image, color=deep)
    deepened = probe(path).color.bits == 10
    reduced = [record for record in caplog.records if "takes 8 bits a component only" in record.message]
    assert deepened != bool(reduced)
    assert deepened or encoder == "libvpx-vp9", "which some builds have with 8 bits alone"


@pytest.mark.parametrize(
    ("suffix", "encoder"),
    [(suffix, encoder) for suffix, held in HELD.items() for encoder in ENCODERS if encoder not in held],
)
def test_what_does_not_fit_is_refused_with_what_goes(tmp_path, suffix, encoder):
    others = "|".join(other for other, held in HELD.items() if encoder in held)
    message = rf"codec must be one that goes into {suffix} \(.*\), got .* \({encoder}\), .*into .*({others})"
    with pytest.raises(InputError, match=message):
        write(tmp_path / f"film{suffix}", encoder)
    assert list(tmp_path.iterdir()) == []


def test_the_refusal_reads_as_a_sentence():
    with pytest.raises(InputError) as error:
        check_codec_fits("prores_ks", ".mp4")
    assert str(error.value) == (
        "codec must be one that goes into .mp4 (H.264, HEVC, AV1 or VP9), got ProRes (prores_ks), which goes "
        "into .mov or .mkv; choose another codec or kind of file"
    )
    check_codec_fits("libx264", ".avi")  # which is refused as a container, by others


def test_auto_knows_what_webm_holds(monkeypatch):
    assert choose_encoder(640, 360, suffix=".webm") == "libsvtav1"
    assert choose_encoder(62, 360, suffix=".webm") == "libvpx-vp9"
    assert choose_encoder(640, 360, suffix=".mkv") == "libx264"
    monkeypatch.setattr(encoders.av, "codecs_available", {"libvpx-vp9"})
    assert choose_encoder(640, 360, suffix=".webm") == "libvpx-vp9"


@pytest.mark.parametrize(("width", "height"), [(4098, 16), (16, 4098), (4096, 2306), (7680, 2160)])
def test_h264_larger_than_its_level_is_refused_and_hevc_offered(width, height):
    message = (
        rf"libx264 must be given at most 4096 px a side .* got {width}x{height}; choose libx265 \(HEVC\)"
    )
    with pytest.raises(InputError, match=message):
        choose_encoder(width, height, codec="libx264")
    assert choose_encoder(width, height) in ("libx265", "libx264")
    assert choose_encoder(4096, 2304, codec="libx264") == "libx264"


@pytest.mark.parametrize("codec", [name for name in CODEC.list_choices() if name not in ("auto", "nvenc")])
def test_a_codec_that_the_build_lacks_is_told(monkeypatch, codec):
    has = set(av.codecs_available) - {encoders._ENCODERS.get(codec, codec)}
    monkeypatch.setattr(encoders.av, "codecs_available", has)
    message = rf"codec must be one that this build of FFmpeg has \(.*\), got {codec}; choose one of these"
    with pytest.raises(InputError, match=message):
        choose_encoder(640, 360, codec=codec, suffix=".mkv")


def test_the_kind_of_file_follows_the_codec():
    assert [choose_suffix("auto", codec=codec) for codec in ("auto", "vp9", "prores", "ffv1")] == [
        *(".mp4", ".mp4", ".mov", ".mkv")
    ]
    assert choose_suffix("webm", codec="auto") == ".webm"
    assert all(
        choose_suffix(name, codec="auto") in VIDEO_CONTAINERS for name in ("mp4", "mkv", "mov", "webm")
    )
    with pytest.raises(InputError, match="container must be one of auto, mp4, mkv, mov, webm, got 'avi'"):
        choose_suffix("avi", codec="auto")


@pytest.mark.parametrize(
    ("encoder", "suffix"),
    [("prores_ks", ".mov"), ("libvpx-vp9", ".webm"), ("ffv1", ".mkv"), ("libx264", ".mp4")],
)
def test_neighbouring_pixels_keep_their_own_colours_where_the_codec_can(tmp_path, encoder, suffix):
    rows = np.zeros((64, 96, 3), np.uint8)
    rows[::2, :, 0], rows[1::2, :, 2] = 200, 200
    path = write(
        tmp_path / f"film{suffix}", encoder, image=rows, crf=4, pixel_format=full_colour_format(encoder, 8)
    )
    info = probe(path)
    image = to_8_bit(next(read_frames(path)).image, info.color).astype(int)
    assert image[::2, :, 0].mean() > 180 > 20 > image[::2, :, 2].mean(), "the left eye's rows are red"
    assert image[1::2, :, 2].mean() > 180 > 20 > image[1::2, :, 0].mean(), "the right eye's are blue"


@pytest.mark.parametrize("encoder", ["libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"])
@pytest.mark.parametrize("preset", PRESET.list_choices())
def test_each_preset_has_a_speed(encoder, preset):
    options = encoder_options(encoder, "yuv420p", crf=18, preset=preset, hdr=None)
    assert options.get("crf") == {"libsvtav1": "22", "libvpx-vp9": "22"}.get(encoder)
    assert options.get("preset", "0").isdigit()
    assert options.get("cpu-used", "0").isdigit()


@pytest.mark.parametrize(
    ("encoder", "suffix"), [("ffv1", ".mkv"), ("libvpx-vp9", ".webm"), ("libsvtav1", ".webm")]
)
def test_crf_0_is_lossless(tmp_path, encoder, suffix):
    """Each picture that comes back has the YUV that went in."""
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    options = {"codec": encoder, "crf": 0, "preset": "ultrafast"}
    with VideoWriter(tmp_path / f"film{suffix}", width=96, height=64, **CLOCK, **options) as film:
        prepared = film.prepare(image)
        given = prepared.to_ndarray()
        film.write(prepared, 0)
    with av.open(str(tmp_path / f"film{suffix}")) as container:
        assert np.array_equal(next(container.decode(video=0)).to_ndarray(), given)


@pytest.mark.parametrize("sound", ["aac", "ac3", "libopus", "flac"])
def test_webm_keeps_the_sound_as_opus(make_video, packets, tmp_path, sound):
    source = make_video("film.mkv", frames=25, audio=(sound,))
    out = tmp_path / "film.webm"
    write(out, "libvpx-vp9", frames=25, audio_from=source)
    assert probe(out).audio_codecs == ("opus",)
    with av.open(str(source)) as before, av.open(str(out)) as after:
        waves = []
        for container in (before, after):
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000)
            frames = [new for frame in container.decode(audio=0) for new in resampler.resample(frame)]
            waves.append((float(frames[0].time), np.concatenate([new.to_ndarray()[0] for new in frames])))
    (start, wave), (new_start, new_wave) = waves
    assert len(new_wave) == pytest.approx(len(wave), abs=2048)
    assert new_start == pytest.approx(start, abs=0.03)
    moved = round((start - new_start) * 48_000)
    middle = np.arange(9600, 28800)
    correlated = [np.corrcoef(wave[middle], new_wave[middle + moved + lag])[0, 1] for lag in range(-20, 21)]
    assert max(correlated) > 0.5, "noise is the hardest sound there is"
    assert abs(int(np.argmax(correlated)) - 20) <= 2, "in step with the film"


def test_the_films_of_a_conversion_to_webm_and_prores(make_video, tmp_path, caplog):
    source = make_video(frames=3, size=(128, 80))
    for codec, suffix, name in (("auto", ".webm", "libdav1d"), ("prores", ".mov", "prores")):
        out = tmp_path / f"out{suffix}"
        with caplog.at_level(logging.WARNING):
            convert(source, out, ConvertConfig(depth="builtin", preset="ultrafast", codec=codec))
        info = probe(out)
        assert info.codec in (name, "av1")
        assert (info.width, info.height, info.stereo is not None) == (256, 80, True)
    with pytest.raises(InputError, match=r"codec must be one that goes into \.mp4"):
        convert(source, tmp_path / "out.mp4", ConvertConfig(depth="builtin", codec="prores"))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_each_eye_of_4096_px_a_side(tmp_path, suffix):
    image = card(width=4096, height=4096)
    path = write(tmp_path / f"film{suffix}", choose_encoder(8192, 4096), image=image, frames=1)
    info = probe(path)
    assert (info.width, info.height, info.codec) == (8192, 4096, "hevc")
    assert disparity(next(read_frames(path)).image) == SHIFT
