"""What a conversion does with a GPU, with a device of its own memory played by the CPU: same pictures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

import spatialdreamer_core as sd
from spatialdreamer_core.bars import PictureBox, Surround
from spatialdreamer_core.depth import BuiltinStream
from spatialdreamer_core.flow import open_flow
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.pipeline import StageClock, frames, packed, stages
from spatialdreamer_core.pipeline.bits import pack_bits, to_bits, to_floats
from spatialdreamer_core.pipeline.job import Job
from spatialdreamer_core.pipeline.packed import packed_frames
from spatialdreamer_core.pipeline.preview import MiddleSheet, to_image
from spatialdreamer_core.pipeline.stages import to_tensor
from spatialdreamer_core.pipeline.transfer import Arrival, Transfer, delayed, open_transfer
from spatialdreamer_core.stereo import FORMATS, StereoLayout, pictures_a_pair
from spatialdreamer_core.video import ColorInfo, read_frames
from spatialdreamer_core.video.reader import VideoFrame

CPU = torch.device("cpu")


class FarAway(Transfer):
    """A device that shares no memory with the host; it notes what goes up and down."""

    is_remote = True
    delay = 1

    def __init__(self):
        self.ups, self.downs = [], []

    def up(self, values):
        self.ups.append((values.dtype, tuple(values.shape)))
        return super().up(values).clone()

    def down(self, values):
        self.downs.append((values.dtype, tuple(values.shape)))
        return Arrival(values.clone())


@pytest.fixture
def far_away(monkeypatch):
    """Let conversions take the CPU for a GPU; returns the way there and back."""
    transfer = FarAway()
    for module in (stages, packed, frames):
        monkeypatch.setattr(module, "open_transfer", lambda device: transfer)
    return transfer


def images_of(count, dtype=np.uint8, *, bars=False):
    clip = make_clip("translate_right", size=(60, 96), frames=count).frames
    images = (clip * np.iinfo(dtype).max).round().permute(0, 2, 3, 1).numpy().astype(dtype)
    return np.pad(images, ((0, 0), (12, 12), (0, 0), (0, 0)), constant_values=3) if bars else images


def convert_images(images, config, sheet=None):
    film = (VideoFrame(image, t, Fraction(1, 25)) for t, image in enumerate(images))
    flow, filler = open_flow(config.flow), sd.FastFill()
    job = Job(config, CPU, BuiltinStream(), flow, filler, StageClock())
    return list(packed_frames(film, job, sheet=sheet or MiddleSheet(None, index=0)))


@pytest.mark.parametrize(
    ("settings", "dtype", "bars"),
    [
        ({}, np.uint8, False),
        ({"eye": "left", "format": "half_sbs", "guided_upsampling": True}, np.uint8, True),
        ({"eye": "both", "border": "floating_window", "format": "cross_eyed"}, np.uint8, True),
        ({"format": "anaglyph", "border": "ease"}, np.uint8, False),
        ({"format": "full_tb"}, np.uint16, True),
        ({"format": "half_tb", "edge_width": 2, "foreground_scale": 1.0}, np.uint16, False),
        ({"format": "rgbd", "eye": "both"}, np.uint8, True),
        ({"format": "rgbd", "pad": "16:9"}, np.uint16, True),
        ({"format": "frame_sequential", "swap_eyes": True}, np.uint16, True),
        ({"format": "vr180", "output_height": 64}, np.uint8, False),
        ({"format": "row_interlaced", "pad": "16:9", "ipd_offset": 3.0}, np.uint16, True),
        ({"format": "checkerboard", "output_height": 51, "eye": "left"}, np.uint8, True),
    ],
)
def test_a_film_on_a_gpu_gives_the_same_pictures(request, settings, dtype, bars):
    config = sd.ConvertConfig(depth="builtin", divergence=6, convergence=0.3, **settings)
    images = images_of(5, dtype, bars=bars)
    expected = convert_images(images, config)
    far_away = request.getfixturevalue("far_away")
    converted = convert_images(images, config)
    pictures = pictures_a_pair(config.format)
    assert [frame.pts for frame in converted] == list(range(5 * pictures))
    for frame, wanted in zip(converted, expected, strict=True):
        assert frame.image.dtype == dtype
        difference = np.abs(frame.image.astype(int) - wanted.image)
        assert difference.max() <= (1 if dtype == np.uint8 and config.format != "anaglyph" else 2)
    whole = sum(shape == images.shape[1:] for _, shape in far_away.ups)
    assert whole == 5, "a frame goes up once"
    assert len(far_away.downs) == 5 * pictures, "and comes down once, packed"


@pytest.mark.parametrize(("bits", "odd"), [(8, False), (8, True), (10, False)])
def test_a_film_comes_down_as_its_encoder_takes_it(request, make_video, tmp_path, bits, odd):
    """With RGB beside it for the frames that are shown alone."""
    size = (95, 61) if odd else (96, 60)
    settings = {"codec": "ffv1", "pixel_format": "yuv420p10le"} if bits == 10 else {}
    settings |= {"codec": "ffv1", "pixel_format": "bgr0"} if odd else {}
    clip = make_video("clip.mkv", frames=14, size=size, **settings)
    config, shown = sd.ConvertConfig(depth="builtin", divergence=6, crf=0, preset="ultrafast"), []
    sd.convert(clip, tmp_path / "host.mkv", config)
    far_away = request.getfixturevalue("far_away")
    sd.convert(clip, tmp_path / "far.mkv", config, on_progress=lambda *now: shown.append(now[2]))
    expected, got = (
        np.stack([frame.image for frame in read_frames(tmp_path / name)]) for name in ("host.mkv", "far.mkv")
    )
    step = 1 if bits == 8 else 256
    assert np.abs(got.astype(int) - expected).mean() < 0.6 * step
    flat = [shape for _, shape in far_away.downs if len(shape) == 1]
    assert len(flat) == 14
    assert len(far_away.downs) == 14 + 2
    assert [picture is not None for picture in shown] == [t % 12 == 0 for t in range(14)]


def test_the_contact_sheet_is_the_same(request, tmp_path):
    config, sheets = sd.ConvertConfig(depth="builtin", divergence=6), []
    for name in ("host.png", "far.png"):
        with MiddleSheet(tmp_path / name, index=9) as sheet:  # the film ends before
            convert_images(images_of(3, bars=True), config, sheet)
            sheet.write(film_ended=True)
        sheets.append(sd_read(tmp_path / name))
        request.getfixturevalue("far_away")
    assert np.abs(sheets[0].astype(int) - sheets[1]).max() <= 2


def sd_read(path):
    from spatialdreamer_core.video import read_photo

    return read_photo(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_frames_in_memory_on_a_gpu_give_the_same_pairs(request, dtype):
    clip = make_clip("translate_right", size=(60, 96), frames=4).frames.to(dtype)
    clip = torch.nn.functional.pad(clip, (0, 0, 12, 12))
    config = sd.ConvertConfig(depth="builtin", divergence=6, eye="both")
    expected = list(sd.convert_frames(clip, config))
    far_away = request.getfixturevalue("far_away")
    for pair, wanted in zip(sd.convert_frames(clip, config), expected, strict=True):
        for part, other in zip(pair, wanted, strict=True):
            assert torch.equal(part, other)
    assert {dtype for dtype, _ in far_away.downs} == {dtype}, "in the frames' own type"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bits_are_packed_as_floats_are(format, dtype, device):
    rng = np.random.default_rng(0)
    color = ColorInfo.guess(9, 7)
    low, high = (0, 255) if dtype == np.uint8 else color.swing
    views = [rng.integers(low, high + 1, (7, 9, 3)).astype(dtype) for _ in range(2)]
    floats = (torch.from_numpy((view.astype(np.float64) - low) / (high - low)) for view in views)
    layout = StereoLayout(format)
    expected = layout.pack(*(view.movedim(-1, 0)[None] for view in floats)).movedim(1, -1).numpy()
    bits = (torch.from_numpy(view).to(device) for view in views)
    got = np.stack([picture.cpu().numpy() for picture in pack_bits(*bits, layout=layout, color=color)])
    assert got.shape == expected.shape
    assert got.dtype == dtype
    assert np.abs(got - (low + (high - low) * expected)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bits_become_floats_and_bits_again(dtype):
    highest = np.iinfo(dtype).max
    bits = np.arange(0, highest + 1, dtype=dtype)[: highest // 3 * 3].reshape(-1, 5, 3)
    floats = to_floats(torch.from_numpy(bits))
    assert torch.equal(floats, to_tensor(bits, CPU))
    assert np.array_equal(to_bits(floats, torch.from_numpy(bits).dtype).numpy(), bits)
    mixed = floats.lerp(floats.flip(0), 0.3) * 1.2 - 0.1
    assert np.array_equal(to_bits(mixed, torch.from_numpy(bits).dtype).numpy(), to_image(mixed, dtype))


def test_what_comes_down_is_waited_for_one_frame_later():
    begun = []

    def begin():
        for index in range(4):
            begun.append(index)
            yield index

    items = delayed(begin(), 1)
    assert next(items) == 0
    assert begun == [0, 1]
    assert list(items) == [1, 2, 3]
    assert list(delayed(iter(range(3)), 0)) == [0, 1, 2]


def test_nothing_moves_on_the_cpu():
    transfer = open_transfer(CPU)
    image = np.zeros((2, 3, 3), np.uint8)
    tensor = transfer.up(image)
    image[0, 0, 0] = 7
    assert tensor[0, 0, 0] == 7
    assert transfer.down(tensor).wait() is tensor


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_values_survive_the_way_to_a_gpu_and_back(dtype):
    transfer = open_transfer(torch.device("cuda"))
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 255, (90 + t, 160, 3)).astype(dtype) for t in range(20)]
    arrivals = [transfer.down(transfer.up(array)) for array in arrays]
    for array, arrival in zip(arrays, arrivals, strict=True):
        assert np.array_equal(arrival.wait().numpy(), array)


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [{}, {"eye": "both", "format": "half_sbs", "border": "floating_window"}])
def test_a_film_on_cuda_as_on_the_cpu(settings):
    images, config = images_of(6, bars=True), sd.ConvertConfig(depth="builtin", divergence=6, **settings)
    expected = convert_images(images, config)
    film = (VideoFrame(image, t, Fraction(1, 25)) for t, image in enumerate(images))
    device = torch.device("cuda")
    job = Job(config, device, BuiltinStream(), open_flow(config.flow), sd.FastFill(), StageClock())
    for frame, wanted in zip(
        packed_frames(film, job, sheet=MiddleSheet(None, index=0)), expected, strict=True
    ):
        difference = np.abs(frame.image.astype(int) - wanted.image)
        assert (difference > 1).mean() < 0.01


@pytest.mark.gpu
def test_no_stage_waits_for_the_gpu():
    """But for what comes down, by an event, one frame later."""
    images = images_of(12)
    config = sd.ConvertConfig(depth="builtin", divergence=6, border="floating_window")

    def convert():
        film = (VideoFrame(image, t, Fraction(1, 25)) for t, image in enumerate(images))
        job = Job(config, torch.device("cuda"), BuiltinStream(), open_flow(config.flow), sd.FastFill(), clock)
        return list(packed_frames(film, job, sheet=MiddleSheet(None, index=0)))

    clock = StageClock()
    convert()  # kernels are compiled
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        convert()
    names = [event.name for event in profiler.events()]
    assert names.count("cudaStreamSynchronize") < len(images), "no wait a frame"
    assert not [name for name in names if "Memcpy" in name and "Pageable" in name]


def test_a_surround_keeps_its_frame_on_the_device():
    from spatialdreamer_core.pipeline.bits import around_picture, picture_of

    whole = torch.arange(6 * 5 * 3, dtype=torch.int32).to(torch.uint8).view(6, 5, 3)
    surround = Surround(whole.numpy(), PictureBox(1, 4, 0, 5))
    picture = picture_of(whole, surround)
    assert picture.shape == (3, 5, 3)
    other = around_picture(whole, 255 - picture, surround)
    assert np.array_equal(other.numpy(), surround.around(255 - picture.numpy()))
    assert torch.equal(picture_of(whole, surround), picture), "the frame itself stays"


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (3, 5)])
def test_pictures_of_any_size_are_rounded_and_clamped(size):
    view = 1.4 * torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) - 0.2
    assert np.array_equal(to_image(view), to_bits(view, torch.uint8).numpy())
