"""Films with black bars: all stages see the picture alone, and both eyes get the bars as they were."""

from __future__ import annotations

import logging
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.bars import PictureBox
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.depth import BuiltinStream, DepthFile, estimate_depth
from spatialdreamer_core.depth.models import find_model
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.fill import FastFill, fast_fill
from spatialdreamer_core.flow import Flow, open_flow
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert
from spatialdreamer_core.pipeline.first_pass import measure_film
from spatialdreamer_core.pipeline.given_depth import measure_given_depth
from spatialdreamer_core.pipeline.pictures import cut_pictures
from spatialdreamer_core.pipeline.stages import analyse, estimate, fill, place, render
from spatialdreamer_core.video import VideoFrame

HEIGHT, WIDTH = 96, 160
BOXES = {
    "letterbox": PictureBox(14, 82, 0, WIDTH),
    "pillarbox": PictureBox(0, HEIGHT, 24, 136),
    "windowbox": PictureBox(10, 84, 18, 146),
}
WHOLE = PictureBox(0, HEIGHT, 0, WIDTH)
LETTERBOX = BOXES["letterbox"]


def picture(index, size):
    """Draw a wall that a camera passes, with a bright thing before it."""
    height, width = size
    rng = np.random.default_rng(5)
    wall = cv2.resize(rng.integers(60, 220, (10, 60, 3), np.uint8), (4 * width, height))
    drawn = wall[:, 2 * index : 2 * index + width].copy()
    left = width // 4 + 3 * index
    drawn[height // 3 :, left : left + width // 4] = (240, 210, 60)
    return drawn


def in_bars(index, box, *, level=0, text=False):
    """Draw a frame whose picture has the box's place."""
    frame = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    frame[box.slices] = picture(index, box.size)
    if text and index % 3:
        cv2.putText(frame, "who goes there", (30, 92), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (255, 255, 255), 1)
    return frame


def film(images):
    for index, image in enumerate(images):
        yield VideoFrame(image, index, Fraction(1, 25))


def cut(images, black_bars="auto"):
    return cut_pictures(film(images), black_bars=black_bars, clock=StageClock())


def rendered(frames):
    """Run the chain up to the filled right eye: each frame's depth and view."""
    clock = StageClock()
    estimated = estimate(
        analyse(frames, flow=open_flow("dis_fast"), clock=clock), estimator=BuiltinStream(), clock=clock
    )
    placed = place(
        estimated, eyes=1, divergence=6.0, convergence=0.5, device=torch.device("cpu"), clock=clock
    )
    views = render(placed, eyes=("right",), clock=clock)
    return [
        (frame.depth.numpy().copy(), view[0].numpy().copy())
        for frame, view in fill(views, filler=FastFill(), clock=clock)
    ]


@pytest.mark.parametrize("name", BOXES)
def test_depth_and_views_equal_those_of_the_film_without_bars(name):
    box = BOXES[name]
    with_bars = rendered(cut([in_bars(i, box, level=16, text=name == "letterbox") for i in range(7)]))
    without = rendered(film([picture(i, box.size) for i in range(7)]))
    for (depth, view), (plain_depth, plain_view) in zip(with_bars, without, strict=True):
        assert np.array_equal(depth, plain_depth)
        assert np.array_equal(view, plain_view)


def test_a_film_without_bars_passes_as_it_is():
    frames = list(film([picture(i, (HEIGHT, WIDTH)) for i in range(6)]))
    passed = list(cut_pictures(iter(frames), black_bars="auto", clock=StageClock()))
    assert all(a is b for a, b in zip(frames, passed, strict=True))


def test_off_takes_bars_as_picture():
    assert all(frame.surround is None for frame in cut([in_bars(i, LETTERBOX) for i in range(6)], "off"))
    with pytest.raises(InputError, match=r"black_bars must be one of auto, off, got 'on'"):
        ConvertConfig(black_bars="on").check()


def test_frames_keep_their_order_and_times_while_some_wait():
    order = [WHOLE] * 5 + [LETTERBOX] * 5 + [WHOLE] * 4
    frames = list(cut([in_bars(i, box) for i, box in enumerate(order)]))
    assert [frame.pts for frame in frames] == list(range(14))
    assert [frame.surround and frame.surround.box for frame in frames] == [
        None if box == WHOLE else box for box in order
    ]


def test_each_place_is_reported_once(caplog):
    order = [LETTERBOX] * 5 + [WHOLE] * 4 + [LETTERBOX] * 5 + [BOXES["pillarbox"]] * 5
    frames = film([in_bars(i, box) for i, box in enumerate(order)])
    with caplog.at_level(logging.INFO):
        list(cut_pictures(frames, black_bars="auto", clock=StageClock(), report=True))
    assert [record.getMessage() for record in caplog.records] == [
        "black bars: from 0.00 s on the picture is 160x68 at (0, 14) of 160x96, and is converted alone",
        "black bars: from 0.56 s on the picture is 112x96 at (24, 0) of 160x96, and is converted alone",
    ]


class RedIsNear:
    """A depth model whose output is the red channel; it notes the sizes it was shown."""

    def __init__(self):
        self.spec = find_model("midas")
        self.modules = (torch.nn.Linear(1, 1),)
        self.sizes = set()

    def inverse_depth(self, frames):
        self.sizes.add(tuple(frames.shape[-2:]))
        return frames[:, :1]


def test_both_passes_of_a_model_see_the_same_pictures_and_scenes():
    order = [LETTERBOX] * 6 + [WHOLE] * 5 + [LETTERBOX] * 6
    images = [in_bars(i, box, level=16) for i, box in enumerate(order)]
    clock, model = StageClock(), RedIsNear()
    scenes = measure_film(cut(images), model=model, total=None, on_progress=None, clock=clock)
    starts = [f.starts_scene for f in analyse(cut(images), flow=open_flow("dis_fast"), clock=clock)]
    assert len(scenes) == sum(starts) == 3
    assert [t for t, start in enumerate(starts) if start] == [0, 6, 11]
    assert model.sizes == {LETTERBOX.size, (HEIGHT, WIDTH)}
    plain = [picture(i, LETTERBOX.size) for i in range(6)]
    (alone,) = measure_film(film(plain), model=model, total=None, on_progress=None, clock=clock)
    assert scenes[0] == alone


@pytest.mark.parametrize("factor", [1, 2])
def test_what_a_depth_file_holds_in_the_bars_does_not_count(tmp_path, factor):
    """Neither in a scene's range nor at the picture's edge."""
    box = PictureBox(16, 80, 0, WIDTH)
    images = [in_bars(i, box) for i in range(6)]
    size = (HEIGHT // factor, WIDTH // factor)
    depth = np.full((6, *size), 900, np.float32)
    slope = np.tile(np.linspace(2, 3, size[1], dtype=np.float32), (6, 64 // factor, 1))
    depth[:, 16 // factor : 80 // factor] = slope
    np.save(tmp_path / "depth.npy", depth)
    clock = StageClock()
    options = {"total": None, "on_progress": None, "clock": clock}
    stream = measure_given_depth(cut(images), DepthFile(tmp_path / "depth.npy"), **options)
    analysed = analyse(cut(images), flow=open_flow("dis_fast"), clock=clock)
    for frame in estimate(analysed, estimator=stream, clock=clock):
        assert frame.depth.shape == (64 // factor, size[1])
        np.testing.assert_allclose(frame.depth, ((slope[0] - 2.02) / 0.96).clip(0, 1), atol=0.01)


def eyes_of(path, format="full_sbs"):
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return np.split(frames.astype(int), 2, axis=1 if format.endswith("tb") else 2)


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("settings", [{}, {"eye": "both", "border": "floating_window", "format": "full_tb"}])
def test_bars_come_out_as_they_were_in_both_eyes(make_video, tmp_path, name, settings):
    box = BOXES[name]

    def draw(index):
        return av.VideoFrame.from_ndarray(in_bars(index, box, text=name == "letterbox"))

    source = make_video(frames=7, size=(WIDTH, HEIGHT), picture=draw, options={"crf": "4"})
    config = ConvertConfig(crf=0, divergence=8, depth="builtin", **settings)
    convert(source, tmp_path / "out.mkv", config, preview_path=tmp_path / "sheet.png")
    left, right = eyes_of(tmp_path / "out.mkv", config.format)
    with av.open(str(source)) as container:
        plain = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    outside = np.ones((HEIGHT, WIDTH), bool)
    rows, columns = box.slices
    outside[max(0, rows.start - 2) : rows.stop + 2, max(0, columns.start - 2) : columns.stop + 2] = False
    for eye in (left, right):
        assert np.abs(eye - plain)[:, outside].max() <= 3
        assert (eye[:, outside].max() > 150) == (name == "letterbox")  # the subtitles
    assert np.array_equal(left[:, outside], right[:, outside])
    assert np.abs(left - right)[:, ~outside].mean() > 3
    assert (tmp_path / "sheet.png").exists()


def test_bars_that_come_and_go_from_the_command(make_video, tmp_path, capsys):
    order = [LETTERBOX] * 6 + [WHOLE] * 6 + [BOXES["pillarbox"]] * 6

    def draw(index):
        return av.VideoFrame.from_ndarray(in_bars(index, order[index]))

    source = make_video(frames=18, size=(WIDTH, HEIGHT), picture=draw, options={"crf": "4"})
    output = tmp_path / "out.mkv"
    arguments = ["--depth", "builtin", "--crf", "0", "--divergence", "8", "--quiet"]
    assert main(["convert", str(source), "-o", str(output), *arguments]) == 0
    left, right = eyes_of(output)
    difference = np.abs(left - right)
    assert difference[:6, :12].max() == difference[:6, -12:].max() == 0
    assert difference[12:, :, :22].max() == difference[12:, :, -22:].max() == 0
    assert difference[6:12, 20:70].mean() > 3
    with pytest.raises(SystemExit):
        main(["convert", str(source), "-o", str(output), "--black-bars", "perhaps"])
    assert "--black-bars" in capsys.readouterr().err


def test_a_photo_in_bars(tmp_path):
    Image.fromarray(in_bars(2, BOXES["windowbox"])).save(tmp_path / "photo.png")
    convert(tmp_path / "photo.png", tmp_path / "out.png", ConvertConfig(depth="builtin", divergence=8))
    left, right = np.split(np.asarray(Image.open(tmp_path / "out.png")), 2, axis=1)
    assert np.array_equal(left, in_bars(2, BOXES["windowbox"]))
    box = BOXES["windowbox"]
    different = (left != right).any(-1)
    assert different[box.slices].mean() > 0.2
    different[box.slices] = False
    assert not different.any()


def test_a_clip_in_memory_has_the_depth_of_its_picture():
    """Bars beside it are in front of all else, so the warp leaves their edges straight."""
    order = [*["pillarbox"] * 5, *["letterbox"] * 5]
    images = np.stack([in_bars(i, BOXES[name]) for i, name in enumerate(order)])
    frames = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    counts = []
    depth = estimate_depth(frames, estimator="builtin", on_frame=counts.append)
    assert counts == list(range(1, 11))
    for first, end in pairwise((0, 5, 10)):
        box = BOXES[order[first]]
        alone = frames[first:end, :, box.top : box.bottom, box.left : box.right]
        cut_depth = depth[first:end, :, box.top : box.bottom, box.left : box.right]
        assert torch.equal(cut_depth, estimate_depth(alone, estimator="builtin"))
    assert (depth[:5, ..., :24] == 1).all()
    assert (depth[5:, :, :14] == 0.5).all()
    disparity = depth_to_disparity(depth, divergence=8)
    warped, hole = forward_warp(frames, disparity, eye="right")
    right = fast_fill(warped, hole, eye="right")
    black = right.amax(1) < 0.1
    edges = black[:5].int().diff(dim=-1).ne(0)
    assert (edges.any(dim=1).sum(-1) == 2).all()  # one column a side, in every row


def test_flow_that_is_given_is_cut_likewise():
    images = np.stack([in_bars(i, LETTERBOX) for i in range(5)])
    frames = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    flow = torch.zeros(4, 2, HEIGHT, WIDTH)
    flow[:, :, :14] = flow[:, :, 82:] = 1e3
    depth = estimate_depth(frames, estimator="builtin", flow=Flow.between(flow, flow))
    still = torch.zeros(4, 2, *LETTERBOX.size)
    still = Flow.between(still, still)
    alone = estimate_depth(frames[:, :, 14:82], estimator="builtin", flow=still)
    assert torch.equal(depth[:, :, 14:82], alone)
