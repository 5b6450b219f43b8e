"""Whole conversions of small real files: what comes out, what is refused, and that nothing partial stays."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import (
    EDGE_WIDTH,
    BuiltinStream,
    DepthShaping,
    estimate_depth,
    guide_depth,
    shape_depth,
)
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.fill import FastFill
from spatialdreamer_core.flow import estimate_flow, open_flow
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert
from spatialdreamer_core.pipeline.prefetch import prefetch
from spatialdreamer_core.stereo import FORMATS, packed_size, pictures_a_pair
from spatialdreamer_core.video import output_path_for, probe, read_frames


def moving_square(index, size=(160, 96)):
    """A bright square that moves before a textured wall."""
    width, height = size
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(40, 140, (12, 20, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
    left = 20 + 4 * index
    wall[height // 3 : height - 12, left : left + width // 4] = (230, 210, 60)
    return av.VideoFrame.from_ndarray(wall)


@pytest.fixture
def clip(make_video):
    """Twelve frames with sound."""
    return make_video(frames=12, size=(160, 96), picture=moving_square, audio=("aac",))


def decode(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def leftovers(folder):
    return [name for name in os.listdir(folder) if "partial" in name]


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "wiggle"])
def test_every_format(clip, tmp_path, format):
    pictures = 12 * pictures_a_pair(format)
    output = output_path_for(clip, format=format, folder=tmp_path / "out")
    seen = []
    count = convert(
        clip,
        output,
        ConvertConfig(format=format),
        on_progress=lambda done, total, packed: seen.append((done, total)),
    )
    assert count == pictures
    assert seen == [(done, pictures) for done in range(1, pictures + 1)]
    frames = decode(output)
    assert len(frames) == pictures
    assert frames[0].shape[:2] == packed_size(96, 160, format=format)
    assert packets(output) == packets(clip)
    assert leftovers(output.parent) == []


def test_left_half_is_the_source_and_the_right_half_differs(clip, tmp_path):
    output = tmp_path / "out.mkv"
    convert(clip, output, ConvertConfig(crf=8, divergence=8))
    for source, packed in zip(decode(clip), decode(output), strict=True):
        left, right = packed[:, :160].astype(int), packed[:, 160:].astype(int)
        assert np.abs(left - source).mean() < 2
        assert np.abs(right - source).mean() > 4


def test_the_eye_decides_which_side_is_the_source(clip, tmp_path):
    source = np.stack(decode(clip)).astype(int)
    error = {}
    for eye in ("right", "left", "both"):
        output = tmp_path / f"{eye}.mp4"
        convert(clip, output, ConvertConfig(eye=eye, crf=8, divergence=8))
        packed = np.stack(decode(output)).astype(int)
        error[eye] = [
            float(np.abs(half - source).mean()) for half in (packed[:, :, :160], packed[:, :, 160:])
        ]
    assert error["right"][0] < 2 < error["right"][1]
    assert error["left"][1] < 2 < error["left"][0]
    assert error["both"][0] > 2
    assert error["both"][1] > 2


def test_streaming_equals_the_functions(clip, tmp_path):
    """The first stages of the stream give what the public functions give on the whole clip."""
    from spatialdreamer_core.pipeline.stages import analyse, estimate, fill, place, refine, render

    frames = list(read_frames(clip))
    clock = StageClock()
    analysed = analyse(iter(frames), flow=open_flow("dis_fast"), clock=clock)
    placed = place(
        estimate(analysed, estimator=BuiltinStream(), clock=clock),
        eyes=1,
        divergence=4.0,
        convergence=0.5,
        device=torch.device("cpu"),
        clock=clock,
    )
    stream = render(placed, eyes=("right",), clock=clock)
    rendered = list(stream)
    video = torch.stack([item.image for item in rendered])
    depth = estimate_depth(video, estimator="builtin")
    view, hole = forward_warp(video, depth_to_disparity(depth, divergence=4.0))
    assert torch.allclose(torch.stack([item.depth for item in rendered]), depth, atol=1e-5)
    assert torch.allclose(torch.stack([item.views[0].warped for item in rendered]), view, atol=1e-3)
    masked = list(refine(iter(rendered), clock=clock))
    refined = torch.stack([item.views[0].hole for item in masked])
    assert (refined >= hole).all()
    assert torch.equal(refined[0], hole[0]), "no frame before the first one"
    filled = torch.stack([views[0] for _, views in fill(iter(rendered), filler=FastFill(), clock=clock)])
    seen = hole < 0.5
    assert torch.allclose(filled * seen, view * seen, atol=1e-3), "fast fill keeps what was seen"
    assert set(clock.seconds) == {"flow", "depth", "disparity", "warp", "refine", "fill"}


def test_a_film_takes_its_flow_from_raft(make_video, install_raft, tmp_path):
    from spatialdreamer_core.pipeline.stages import analyse

    install_raft("raft_small")
    clip = make_video(frames=3, size=(160, 96), picture=moving_square)
    analysed = list(analyse(read_frames(clip), flow=open_flow("raft_small"), clock=StageClock()))
    video = torch.stack([torch.from_numpy(item.frame.image).permute(2, 0, 1) / 255 for item in analysed])
    flow = estimate_flow(video, method="raft_small")
    for t in range(2):
        torch.testing.assert_close(analysed[t].to_next.flow, flow.forward[t], atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(analysed[t + 1].to_previous.flow, flow.backward[t], atol=1e-2, rtol=1e-3)
    output = tmp_path / "out.mp4"
    assert convert(clip, output, ConvertConfig(flow="raft_small")) == 3
    assert len(decode(output)) == 3


def test_pairs_in_several_threads_have_the_flow_of_one(clip, monkeypatch):
    from spatialdreamer_core.pipeline import analysis
    from spatialdreamer_core.pipeline.prefetch import StageThreads

    clock, flow = StageClock(), open_flow("dis_fast")
    alone = list(analysis.analyse(read_frames(clip), flow=flow, clock=clock))
    monkeypatch.setattr(analysis, "flow_workers", lambda: 3)
    with StageThreads() as threads:
        frames = list(analysis.analyse(read_frames(clip), flow=flow, clock=clock, threads=threads))
    for frame, expected in zip(frames, alone, strict=True):
        assert frame.frame.pts == expected.frame.pts
        assert frame.starts_scene == expected.starts_scene
        for motion, wanted in zip(
            (frame.to_previous, frame.to_next), (expected.to_previous, expected.to_next), strict=True
        ):
            assert (motion is None) == (wanted is None)
            assert motion is None or torch.equal(motion.flow, wanted.flow)
            assert motion is None or torch.equal(motion.confidence, wanted.confidence)
    assert clock.busy("flow") == clock.seconds["flow"] / 3


@pytest.mark.parametrize("guided", [False, True])
def test_films_shape_depth_as_the_functions_do(clip, guided):
    from spatialdreamer_core.pipeline.stages import analyse, estimate, place

    clock = StageClock()
    config = ConvertConfig(
        depth="builtin",
        foreground_scale=1.5,
        depth_gamma=0.8,
        depth_near=0.9,
        depth_far=0.1,
        edge_width=2,
        edge_dilation=1,
    )
    analysed = analyse(read_frames(clip), flow=open_flow("dis_fast"), clock=clock)
    placed = list(
        place(
            estimate(analysed, estimator=BuiltinStream(), clock=clock),
            eyes=1,
            divergence=4.0,
            convergence=0.5,
            device=torch.device("cpu"),
            clock=clock,
            shaping=config.shaping(builtin=True),
            guided=guided,
        )
    )
    frames = torch.stack([item.image for item in placed])
    depth = estimate_depth(frames, estimator="builtin")
    shaped = shape_depth(
        guide_depth(depth, frames) if guided else depth, DepthShaping(1.5, 0.8, 0.9, 0.1, 2, 1)
    )
    assert torch.allclose(torch.stack([item.depth for item in placed]), shaped, atol=1e-3)


def test_edges_are_snapped_for_models_alone():
    model = ConvertConfig(depth="depth_anything_v2_small", depth_gamma=2).shaping(builtin=False)
    assert model == DepthShaping(gamma=2, edge_width=EDGE_WIDTH)
    assert ConvertConfig(depth="builtin").shaping(builtin=True) == DepthShaping()
    assert ConvertConfig(depth="builtin", edge_width=2).shaping(builtin=True) == DepthShaping(edge_width=2)


def test_start_and_end(clip, tmp_path):
    output = tmp_path / "part.mp4"
    assert convert(clip, output, ConvertConfig(start=0.08, end=0.28)) == 5
    assert len(decode(output)) == 5
    assert 0 < len(packets(output)) < len(packets(clip))


def test_a_scene_knows_nothing_of_the_one_before(make_video, tmp_path):
    def cut_after_the_first(index):
        return (
            av.VideoFrame.from_ndarray(255 - moving_square(7).to_ndarray())
            if not index
            else moving_square(index)
        )

    film = make_video(frames=8, picture=cut_after_the_first, size=(160, 96), codec="ffv1", name="film.mkv")
    whole, rest = tmp_path / "whole.mkv", tmp_path / "rest.mkv"
    lossless = ConvertConfig(crf=0, preset="ultrafast")
    assert convert(film, whole, lossless) == 8
    assert convert(film, rest, replace(lossless, start=0.04)) == 7
    assert np.array_equal(decode(whole)[1:], decode(rest))


def test_a_film_that_has_been_looked_at_is_not_looked_at_again(clip, tmp_path, monkeypatch):
    info = probe(clip)
    monkeypatch.setattr(sys.modules["spatialdreamer_core.pipeline.before_work"], "probe", None)
    assert convert(clip, tmp_path / "out.mp4", ConvertConfig(depth="builtin", end=0.1), info=info) == 3


def test_variable_frame_rate_is_kept(make_video, tmp_path):
    times = [0, 40, 130, 150, 400, 440]
    source = make_video(
        "vfr.mkv",
        frames=6,
        size=(64, 48),
        pts=times,
        time_base=Fraction(1, 1000),
        picture=lambda i: moving_square(i, (64, 48)),
    )
    output = tmp_path / "out.mkv"
    convert(source, output)
    with av.open(str(output)) as container:
        assert [round(frame.time * 1000) for frame in container.decode(video=0)] == times


def test_a_video_without_sound_and_one_of_a_single_odd_frame(make_video, tmp_path):
    source = make_video("odd.mkv", frames=1, size=(175, 143), codec="ffv1", pixel_format="bgr0")
    output = tmp_path / "out.mp4"
    assert convert(source, output) == 1
    assert decode(output)[0].shape == (144, 350, 3)  # 4:2:0 needs even sizes: the last row is repeated
    assert probe(output).audio_codecs == ()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_photos(tmp_path, mode):
    from PIL import Image

    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (60, 81, 3), np.uint8)).convert(mode)
    source = tmp_path / "photo.png"
    picture.save(source)
    output = output_path_for(source, format="full_sbs", folder=tmp_path)
    assert convert(source, output) == 1
    assert output.name == "photo_LRF_Full_SBS.png"
    packed = np.asarray(Image.open(output))
    assert packed.shape == (60, 162, 3)
    assert np.array_equal(packed[:, :81], np.asarray(picture.convert("RGB")))


def test_a_photo_needs_no_flow_method(tmp_path, own_models):
    from PIL import Image

    Image.fromarray(np.full((60, 81, 3), 99, np.uint8)).save(tmp_path / "photo.png")
    config = ConvertConfig(depth="builtin", flow="raft_small")
    assert convert(tmp_path / "photo.png", tmp_path / "out.png", config) == 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_an_animated_picture_is_a_film_unless_a_photo_is_asked_for(tmp_path, kind):
    from PIL import Image

    pictures = [Image.fromarray(np.full((64, 96, 3), 60 + 60 * i, np.uint8)) for i in range(3)]
    source = tmp_path / "animated.png"
    pictures[0].save(source, kind, save_all=True, append_images=pictures[1:], duration=[100, 200, 100])
    output = output_path_for(source, format="full_sbs", folder=tmp_path)
    assert output.suffix == ".mp4"
    assert convert(source, output) == 3
    with av.open(str(output)) as container:
        assert [round(frame.time, 2) for frame in container.decode(video=0)] == [0, 0.1, 0.3]
    assert convert(source, tmp_path / "out.png") == 1


def test_a_photo_under_a_films_name_is_a_photo(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((64, 96, 3), 99, np.uint8)).save(tmp_path / "photo.mp4", "PNG")
    output = output_path_for(tmp_path / "photo.mp4", format="full_sbs", folder=tmp_path)
    assert output.suffix == ".png"
    assert convert(tmp_path / "photo.mp4", output) == 1


def test_contact_sheet(clip, tmp_path):
    sheet = tmp_path / "preview.png"
    convert(clip, tmp_path / "out.mp4", preview_path=sheet)
    assert cv2.imread(str(sheet)).shape == (3 * (384 + 28), 1280, 3)


def test_progress_may_interrupt_and_nothing_stays(clip, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    def interrupt(done, total, packed):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(clip, folder / "out.mp4", on_progress=interrupt)
    assert os.listdir(folder) == []
    assert not [thread for thread in threading.enumerate() if "prefetch" in thread.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"divergence": 35.0}, r"divergence must be between 0 and 20 \(% of width\), got 35"),
        ({"convergence": -0.1}, "convergence must be between 0 and 1, got -0.1"),
        ({"format": "vr360"}, "format must be one of full_sbs"),
        ({"eye": "middle"}, "eye must be one of right, left, both, got 'middle'"),
        ({"depth": "telepathy"}, "depth must be one of builtin"),
        ({"depth_stability": 1.0}, "depth_stability must be between 0 and 0.95, got 1"),
        ({"crf": 60}, "crf must be between 0 and 51, got 60"),
        ({"start": 2.0, "end": 1.0}, r"end must be later than start \(2 s\), got 1 s"),
        ({"end": 0.0}, r"end must be later than start \(0 s\), got 0 s"),
        ({"start": 100.0}, r"start must be less than the video's duration \(0.48 s\), got 100 s"),
        ({"device": "cuda:99"}, "device must be"),
        ({"foreground_scale": 4.0}, "foreground_scale must be between -3 and 3, got 4"),
        ({"depth_gamma": 0.0}, "depth_gamma must be between 0.1 and 10, got 0"),
        ({"depth_near": 0.2, "depth_far": 0.5}, r"depth_near must be at least 0.01 above depth_far \(0.5\)"),
        ({"edge_width": 21}, r"edge_width must be between 0 and 20 \(px\), got 21"),
        ({"edge_dilation": -2}, r"edge_dilation must be between 0 and 10 \(px\), got -2"),
    ],
)
def test_settings_out_of_range(clip, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        convert(clip, tmp_path / "out.mp4", ConvertConfig(**change))
    assert not (tmp_path / "out.mp4").exists()


def test_prefetch_keeps_order_and_bounds():
    started = []

    def source():
        for index in range(50):
            started.append(index)
            yield index

    items = prefetch(source(), ahead=2)
    assert next(items) == 0
    time.sleep(0.2)
    assert len(started) <= 5, "runs only a few items ahead"
    assert list(items) == list(range(1, 50))


def test_prefetch_raises_the_error_of_its_thread():
    def source():
        yield 1
        raise InputError("broken")

    items = prefetch(source())
    assert next(items) == 1
    with pytest.raises(InputError, match="broken"):
        next(items)


def test_prefetch_closes_its_source_when_the_consumer_stops():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    items = prefetch(source())
    next(items)
    items.close()
    assert closed.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_no_partial_file(make_video, tmp_path):
    source = make_video(
        frames=300, size=(640, 360), picture=lambda index: moving_square(index % 60, (640, 360))
    )
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "spatialdreamer_core.cli",
            "convert",
            str(source),
            "-o",
            str(folder),
            "--quiet",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not leftovers(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers(folder), "the temporary file is there while it runs"
    process.send_signal(2)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_any_tag_can_be_written(clip, tmp_path, name):
    convert(clip, tmp_path / name, metadata={"workflow": '{"nodes": []}'})
    with av.open(str(tmp_path / name)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert tags["workflow"] == '{"nodes": []}'


@pytest.mark.parametrize("name", ["input", "output", "preview"])
def test_a_name_with_a_nul_is_refused(tmp_path, name):
    paths = {"input": "in.mp4", "output": "out.mp4", "preview": "sheet.png"}
    paths[name] = "a\0" + paths[name]
    with pytest.raises(InputError, match=f"{name} must be a file name"):
        convert(
            tmp_path / paths["input"], tmp_path / paths["output"], preview_path=tmp_path / paths["preview"]
        )
