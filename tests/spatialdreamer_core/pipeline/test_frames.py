"""Frames in memory to stereo pairs: the same chain as films, for tensors and streams."""

from __future__ import annotations

import itertools
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

import spatialdreamer_core as sd
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import BuiltinStream
from spatialdreamer_core.flow import open_flow
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.pipeline import StageClock
from spatialdreamer_core.pipeline.job import Job
from spatialdreamer_core.pipeline.packed import packed_frames
from spatialdreamer_core.pipeline.preview import MiddleSheet
from spatialdreamer_core.stereo import pack
from spatialdreamer_core.video.reader import VideoFrame

from ..red_is_near import RedIsNear

SIZE = (60, 96)
BUILTIN = sd.ConvertConfig(depth="builtin", divergence=5.0)


def clip_of(frames, name="translate_right"):
    """Frames of 8 bits, as floats."""
    return (make_clip(name, size=SIZE, frames=frames).frames * 255).round() / 255


class Grey:
    """A filler of someone else."""

    refines_holes = False

    def open(self, *, eye, size):
        return self

    def push(self, frame):
        return [torch.where(frame.hole > 0.5, 0.5, frame.warped)]

    def finish(self):
        return []


def assert_same(pairs, others):
    for pair, other in zip(pairs, others, strict=True):
        for part, wanted in zip(pair, other, strict=True):
            assert torch.equal(part, wanted)


@pytest.mark.parametrize("eye", ["right", "left", "both"])
def test_a_film_and_its_frames_give_the_same_pictures(eye):
    config = sd.ConvertConfig(depth="builtin", eye=eye, border="floating_window", convergence=0.3)
    frames = clip_of(6)
    images = (frames * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    film = (VideoFrame(image, t, Fraction(1, 25)) for t, image in enumerate(images))
    flow, filler = open_flow(config.flow), sd.FastFill()
    job = Job(config, torch.device("cpu"), BuiltinStream(), flow, filler, StageClock())
    packed = packed_frames(film, job, sheet=MiddleSheet(None, index=0))
    pairs = sd.convert_frames(frames, config)
    for (_, picture, _), pair in zip(packed, pairs, strict=True):
        expected = pack(pair.left[None], pair.right[None], format="full_sbs")[0]
        expected = expected.mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        hole = (pair.hole > 0.5).any(0).numpy()
        holes = np.hstack([hole if eye != "right" else hole & False, hole if eye != "left" else hole & False])
        difference = np.abs(picture.astype(int) - expected).max(-1)
        assert difference[holes].max() <= 1, "of bytes, colours were rounded once before they were mixed"
        assert difference[~holes].max() <= 1
        assert (difference[~holes] > 0).mean() < 0.01, "halves of a level, which either way may round"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("eye", ["right", "left"])
def test_the_sources_eye_is_the_frame_itself(eye, dtype):
    frames = make_clip("translate_right", size=SIZE, frames=2).frames.to(dtype)
    pairs = sd.convert_frames(frames, sd.ConvertConfig(depth="builtin", eye=eye))
    for frame, pair in zip(frames, pairs, strict=True):
        source, rendered = (pair.left, pair.right) if eye == "right" else (pair.right, pair.left)
        assert torch.equal(source, frame)
        assert rendered.dtype == pair.depth.dtype == pair.hole.dtype == dtype
        assert not torch.equal(rendered, frame)
        assert pair.depth.shape == pair.hole.shape == (1, *SIZE)


def test_one_frame_needs_no_flow_method(own_models):
    """Nothing moves in a photo, so RAFT's weights may be missing."""
    config = sd.ConvertConfig(depth="builtin", flow="raft_small")
    for frames in (clip_of(1), iter(clip_of(1))):
        assert len(list(sd.convert_frames(frames, config))) == 1
    with pytest.raises(InputError, match="raft_small"):
        list(sd.convert_frames(clip_of(2), config))


def test_frames_are_left_as_they_are():
    frames = clip_of(5)
    before = frames.clone()
    pairs = list(sd.convert_frames(frames, BUILTIN))
    assert torch.equal(frames, before)
    assert len(pairs) == 5


def test_a_generator_gives_what_a_tensor_gives():
    frames = clip_of(7)
    expected = list(sd.convert_frames(frames, BUILTIN))
    assert_same(sd.convert_frames((frame for frame in frames), BUILTIN), expected)
    assert_same(sd.convert_frames(list(frames), BUILTIN), expected)


def test_a_stream_without_end_is_read_a_few_frames_ahead():
    frames, read = clip_of(4), 0

    def endless():
        nonlocal read
        for frame in itertools.cycle(frames):
            read += 1
            yield frame

    pairs = sd.convert_frames(endless(), BUILTIN)
    ahead = [read - index for index, _ in enumerate(itertools.islice(pairs, 30))]
    pairs.close()
    assert max(ahead) < 22, "one or two frames a stage, and the filler's next ones"


def test_closing_ends_the_threads():
    before = threading.active_count()
    pairs = sd.convert_frames(itertools.cycle(clip_of(2)), BUILTIN)
    next(pairs)
    assert threading.active_count() > before
    pairs.close()
    assert threading.active_count() == before


def test_the_first_pass_can_be_interrupted():
    class Stopped(Exception):
        pass

    def stop(done, total):
        assert total is None, "nobody knows how many there are"
        if done == 3:
            raise Stopped

    class Again:
        """Frames that can be read twice, but not counted."""

        def __iter__(self):
            return iter(clip_of(5))

    before, model = threading.active_count(), RedIsNear()
    with pytest.raises(Stopped):
        next(sd.convert_frames(Again(), depth_model=model, on_first_pass=stop))
    assert model.pictures == 3
    assert threading.active_count() == before
    assert len(list(sd.convert_frames(Again(), depth_model=model))) == 5


def test_both_eyes_share_the_disparity():
    frames = clip_of(2)
    both = next(sd.convert_frames(frames, sd.ConvertConfig(depth="builtin", eye="both")))
    assert both.hole.shape == (2, *SIZE)
    assert not torch.equal(both.left, frames[0])
    assert not torch.equal(both.right, frames[0])


@pytest.mark.parametrize("kind", ["tensor", "iterator", "small", "one for all"])
def test_depth_that_is_given_is_taken(kind):
    clip = make_clip("translate_right", size=SIZE, frames=3)
    depth = clip.inverse_depth.clamp(0, 1)
    given = {
        "tensor": depth,
        "iterator": iter(depth),
        "small": torch.nn.functional.avg_pool2d(depth, 2),
        "one for all": itertools.repeat(depth[0]),
    }[kind]
    pairs = list(sd.convert_frames(clip.frames, sd.ConvertConfig(edge_width=0), depth=given))
    assert len(pairs) == 3
    for t, pair in enumerate(pairs):
        error = (pair.depth - depth[0 if kind == "one for all" else t]).abs().mean()
        assert error < (0.03 if kind == "small" else 1e-6)


def test_a_model_measures_each_scene_first_where_that_can_be():
    """Red, which is inverse depth here, rises over the scene: its range is that of all of its frames."""
    frames = torch.linspace(0, 1, SIZE[1]).expand(40, 3, *SIZE).clone()
    frames *= torch.linspace(0.4, 0.9, 40).view(-1, 1, 1, 1)
    config = sd.ConvertConfig(depth_stability=0.0, edge_width=0)
    seen = []
    whole, once = (
        list(
            sd.convert_frames(
                given, config, depth_model=RedIsNear(), on_first_pass=lambda *now: seen.append(now)
            )
        )
        for given in (frames, iter(frames))
    )
    assert seen == [(done, 40) for done in range(1, 41)], "a first pass over the tensor alone"
    assert whole[0].depth.max() < 0.6
    assert whole[39].depth.max() == 1
    assert 0.7 < once[0].depth.max() <= 1, "the first eight frames are all that is known of the stream"
    assert once[39].depth.max() == 1


def test_a_stream_with_a_model_begins_anew_at_each_cut():
    near, far = torch.rand(3, *SIZE), 0.2 * torch.rand(3, *SIZE)
    frames = torch.stack([near] * 10 + [far] * 3 + [near] * 2)
    model = RedIsNear()
    pairs = list(sd.convert_frames(iter(frames), sd.ConvertConfig(), depth_model=model))
    assert len(pairs) == 15
    assert model.pictures == 15 + 8 + 3 + 2, "each frame, and the starts of the scenes before"
    for t in (0, 9, 10, 12, 13, 14):
        assert pairs[t].depth.max() > 0.95, "each scene has its own range"


def test_scenes_do_not_know_each_other():
    first, second = clip_of(5), 1 - clip_of(5, "walker_two_layers")
    other = list(sd.convert_frames(torch.cat([first, second.flip(-1)]), BUILTIN))
    pairs = list(sd.convert_frames(torch.cat([first, second]), BUILTIN))
    assert_same(pairs[:5], other[:5])
    assert_same(pairs[5:], list(sd.convert_frames(second, BUILTIN)))


def test_bars_stay_and_the_picture_is_converted_alone():
    frames = clip_of(4)
    barred = torch.nn.functional.pad(frames, (0, 0, 12, 12))
    pairs = list(sd.convert_frames(barred, BUILTIN))
    for pair, alone in zip(pairs, sd.convert_frames(frames, BUILTIN), strict=True):
        assert not any(part[:, :12].any() or part[:, -12:].any() for part in pair)
        assert_same([[part[:, 12:-12] for part in pair]], [alone])
    given = torch.nn.functional.pad(torch.rand(4, 1, *SIZE), (0, 0, 12, 12))
    with_depth = list(sd.convert_frames(barred, sd.ConvertConfig(edge_width=0), depth=given))
    assert torch.allclose(with_depth[2].depth, given[2], atol=1e-6)


@pytest.mark.parametrize("eye", ["right", "both"])
def test_any_filler_fills(eye):
    config = sd.ConvertConfig(depth="builtin", eye=eye, divergence=8)
    for pair in sd.convert_frames(clip_of(3), config, filler=Grey()):
        assert (pair.right[:, pair.hole[-1] > 0.5] == 0.5).all()
        assert pair.hole.any()


def test_errors_of_what_is_read_and_of_fillers_come_out():
    class Broken(Grey):
        def push(self, frame):
            raise RuntimeError("the filler broke")

    def breaks_off():
        yield from clip_of(3)
        raise OSError("the stream broke")

    with pytest.raises(RuntimeError, match="the filler broke"):
        list(sd.convert_frames(clip_of(3), BUILTIN, filler=Broken()))
    with pytest.raises(OSError, match="the stream broke"):
        list(sd.convert_frames(breaks_off(), BUILTIN))


RIGHT = torch.rand(2, 3, 8, 12)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (3, "`frames` must be a tensor or an iterable of tensors, one for each frame, got int"),
        (None, "`frames` must be a tensor or an iterable of tensors, one for each frame, got NoneType"),
        ([], "`frames` must hold at least one frame, got none"),
        (RIGHT[:0], "`frames` must hold at least one frame, got none"),
        (RIGHT.numpy(), "`frame` must be a tensor, got ndarray"),
        ("film.mp4", "`frame` must be a tensor, got str"),
        (RIGHT[0], r"`frame` must be a tensor \[3, H, W\] with pixels, got shape \[8, 12\]"),
        (RIGHT.permute(0, 2, 3, 1), r"`frame` must have 3 channel\(s\), got 8"),
        (RIGHT * 255, r"`frame` must be in \[0, 1\], got values .*; divide 8-bit values by 255"),
        ((RIGHT * 255).byte(), "`frame` must hold float"),
        (RIGHT * torch.nan, "`frame` must be finite"),
        (
            [RIGHT[0], RIGHT[1, :, :, 1:]],
            "`frames` must have one size, 12x8, got 11x8 in frame 1; resize them",
        ),
    ],
)
def test_wrong_frames_are_named(frames, message):
    with pytest.raises(InputError, match=message):
        list(sd.convert_frames(frames, BUILTIN))


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (3, "`depth` must be a tensor or an iterable of tensors, one for each frame, got int"),
        (torch.rand(3, 1, 8, 12), r"`depth` must have as many maps as there are frames \(2\), got 3"),
        (iter(torch.rand(1, 1, 8, 12)), "`depth` must have a map for each frame, got 1 for more frames"),
        (torch.rand(2, 3, 8, 12), r"`depth` must have 1 channel\(s\), got 3"),
        (torch.rand(2, 1, 8, 8), r"`depth` must have the aspect ratio of the frames \(12x8\), got 8x8"),
        (5 + torch.rand(2, 1, 8, 12), r"`depth` must be inverse depth in \[0, 1\], got values from 5"),
        ([None, None], "`depth` must be a tensor, got NoneType"),
    ],
)
def test_wrong_depth_is_named(depth, message):
    with pytest.raises(InputError, match=message):
        list(sd.convert_frames(RIGHT, BUILTIN, depth=depth))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divergence": 99.0}, "divergence must be between"),
        ({"depth_file": "depth.npy"}, "depth_file must be left out for frames in memory, got 'depth.npy'"),
        ({"start": 1.0}, "start must be left out for frames in memory, got 1.0; use convert"),
        ({"device": "abacus"}, "device must be auto or one that is supported"),
    ],
)
def test_wrong_settings_are_named_at_once(settings, message):
    with pytest.raises(InputError, match=message):
        sd.convert_frames(RIGHT, sd.ConvertConfig(**settings))


def test_what_is_no_filler_is_named_at_once():
    with pytest.raises(InputError, match=r"`filler` must be a filler, .* got str; make one"):
        sd.convert_frames(RIGHT, BUILTIN, filler="fast")
    with pytest.raises(InputError, match=r"`filler` must be a filler, .* got str; make one"):
        sd.convert("film.mp4", "out.mp4", BUILTIN, filler="fast")
