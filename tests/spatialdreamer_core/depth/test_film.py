"""Films converted with depth models: tiny ones of the real classes, and one whose exact depth is known."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.depth import DepthFirstPass, ModelStream, first_pass, load_model, stream
from spatialdreamer_core.depth.inference import Inference
from spatialdreamer_core.depth.models import find_model
from spatialdreamer_core.flow import open_flow
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert, convert_frames
from spatialdreamer_core.pipeline.first_pass import measure_film
from spatialdreamer_core.pipeline.prefetch import StageThreads
from spatialdreamer_core.pipeline.stages import analyse, estimate
from spatialdreamer_core.video import VideoWriter, probe, read_frames

SCENE_FRAMES = 30


class RedIsNear:
    """A depth model for pictures whose red channel is their inverse depth; it may jump in scale and shift."""

    def __init__(self, *, jumps: bool) -> None:
        self.spec = find_model("midas")
        self.modules = (torch.nn.Linear(1, 1),)
        self.pictures = 0
        self._jumps = jumps
        self._generator = torch.Generator().manual_seed(0)

    def inverse_depth(self, frames):
        self.pictures += len(frames)
        scale, shift = torch.rand(2, len(frames), 1, 1, 1, generator=self._generator)
        red = frames[:, :1]
        return (0.7 + 0.7 * scale) * red + 0.4 * shift - 0.2 if self._jumps else red


def write_film(path, pictures):
    height, width = pictures[0].shape[:2]
    size = {"width": width, "height": height}
    with VideoWriter(path, **size, crf=0, frame_rate=Fraction(25), time_base=Fraction(1, 25)) as writer:
        for t, picture in enumerate(pictures):
            writer.write(picture, t)
    return path


@pytest.fixture(scope="session")
def two_scenes(tmp_path_factory):
    """Give a film of two scenes of different depth; red is inverse depth, green and blue are texture."""
    pictures = []
    for name, invert in (("translate_right", False), ("walker_two_layers", True)):
        clip = make_clip(name, frames=SCENE_FRAMES, size=(90, 160))
        texture = 1 - clip.frames if invert else clip.frames
        mixed = torch.cat((clip.inverse_depth, texture[:, 1:]), dim=1)
        pictures += [(frame * 255).round().byte().permute(1, 2, 0).numpy() for frame in mixed]
    return write_film(tmp_path_factory.mktemp("two_scenes") / "film.mp4", pictures)


def film_depth(path, model, strength):
    """Run both passes as `convert` does; return the frames' red channel and their depth, [F, h, w] each."""
    clock = StageClock()
    scenes = measure_film(read_frames(path), model=model, total=None, on_progress=None, clock=clock)
    assert len(scenes) == 2
    analysed = analyse(read_frames(path), flow=open_flow("dis_fast"), clock=clock)
    stream = ModelStream(model, scenes, strength=strength)
    estimated = list(estimate(analysed, estimator=stream, clock=clock))
    red = np.stack([frame.analysed.small[..., 0] for frame in estimated]) / 255
    return red, np.stack([frame.depth for frame in estimated])


def unsteadiness(red, depth):
    """How much a scene's frames differ in scale, relative to their mean scale, and in mean error."""
    x, y = (values.reshape(len(values), -1) for values in (red, depth))
    dx = x - x.mean(1, keepdims=True)
    scale = (dx * y).sum(1) / (dx * dx).sum(1)
    error = (y - scale.mean() * x).mean(1)
    return scale.std() / scale.mean(), error.std()


@pytest.mark.parametrize("scene", [slice(0, SCENE_FRAMES), slice(SCENE_FRAMES, 2 * SCENE_FRAMES)])
def test_jumps_of_scale_and_shift_do_not_reach_a_films_depth(two_scenes, scene):
    loose, steady = (
        unsteadiness(*(video[scene] for video in film_depth(two_scenes, RedIsNear(jumps=True), strength)))
        for strength in (0.0, 0.6)
    )
    assert min(loose) > 0.1
    assert all(after < before / 10 for before, after in zip(loose, steady, strict=True))


def test_a_scenes_range_holds_in_the_second_pass(two_scenes):
    """Near stays white and far stays black, although the model's unit is another in each frame."""
    _, depth = film_depth(two_scenes, RedIsNear(jumps=True), 0.6)
    for scene in (depth[:SCENE_FRAMES], depth[SCENE_FRAMES:]):
        low, high = np.percentile(scene, (2, 98), axis=(1, 2))
        assert low.max() < 0.3
        assert high.min() > 0.7
        assert np.ptp(low) < 0.05
        assert np.ptp(high) < 0.05


def test_a_whole_film_is_as_steady_as_with_a_steady_model(two_scenes, tmp_path):
    pictures = {}
    for name, jumps, stability in (("true", False, 0.6), ("steady", True, 0.6), ("loose", True, 0.0)):
        output = tmp_path / f"{name}.mp4"
        config = ConvertConfig(divergence=8, depth_stability=stability)
        convert(two_scenes, output, config, depth_model=RedIsNear(jumps=jumps))
        pictures[name] = np.stack([frame.image[:, 160:] for frame in read_frames(output)]).astype(int)
    errors = {name: np.abs(video - pictures["true"]).mean((1, 2, 3)) for name, video in pictures.items()}
    for scene in (slice(0, SCENE_FRAMES), slice(SCENE_FRAMES, None)):
        assert errors["steady"][scene].std() < errors["loose"][scene].std() / 5


def test_the_first_pass_looks_at_few_frames_and_shows_where_it_is(two_scenes, tmp_path):
    model, seen = RedIsNear(jumps=False), []
    convert(two_scenes, tmp_path / "out.mp4", depth_model=model, on_first_pass=lambda *now: seen.append(now))
    frames = 2 * SCENE_FRAMES
    assert seen == [(done, frames) for done in range(1, frames + 1)]
    assert model.pictures == frames + 2 * (8 + 1), "of each scene, frames 0 to 7 and 16"


def test_only_the_part_that_is_converted_is_measured(two_scenes, tmp_path):
    model, seen = RedIsNear(jumps=False), []
    part = ConvertConfig(start=0.2, end=0.4)
    output = tmp_path / "out.mp4"
    convert(two_scenes, output, part, depth_model=model, on_first_pass=lambda *now: seen.append(now))
    assert seen == [(done, 5) for done in range(1, 6)]
    assert model.pictures == 10


def test_the_first_pass_can_be_interrupted(two_scenes, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(two_scenes, tmp_path / "out.mp4", depth_model=RedIsNear(jumps=False), on_first_pass=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_command_shows_both_passes(install, film, tmp_path, capsys):
    install("depth_anything_v2_small")
    arguments = ["convert", str(film), "-o", str(tmp_path / "out.mp4"), "--depth", "depth_anything_v2_small"]
    assert main([*arguments, "--depth-stability", "0.3"]) == 0
    shown = capsys.readouterr().err
    assert shown.index("measuring depth range: ") < shown.index("film.mp4: ")
    assert "5/5" in shown
    assert main([*arguments, "--depth-stability", "1"]) == 2
    assert "depth_stability must be between 0 and 0.95, got 1" in capsys.readouterr().err


def test_the_builtin_estimator_needs_no_first_pass(film, tmp_path):
    seen = []
    config = ConvertConfig(depth="builtin")
    convert(film, tmp_path / "out.mp4", config, on_first_pass=lambda *now: seen.append(now))
    assert seen == []


def test_a_photo_is_seen_once(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (60, 81, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    model = RedIsNear(jumps=False)
    assert convert(tmp_path / "photo.png", tmp_path / "out.png", depth_model=model) == 1
    assert model.pictures == 1


def test_a_scene_keeps_its_unit_however_its_first_frames_jump():
    """The mean over the first frames is the unit; a single frame's would be off by up to a third."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
    first_pass = DepthFirstPass(RedIsNear(jumps=True))
    for _ in range(40):
        first_pass.step(picture, starts_scene=False)
    (scene,) = first_pass.finish()
    low, high = np.percentile(picture[..., 0] / 255, (2, 98))
    assert scene.start_range == pytest.approx((1.05 * low, 1.05 * high), abs=0.15)
    assert scene.range.low < scene.start_range[0]
    assert scene.range.high > scene.start_range[1]


@pytest.fixture
def film(tmp_path):
    """Give a film of noise, 5 frames."""
    path = tmp_path / "film.mp4"
    generator = np.random.default_rng(0)
    size = {"width": 96, "height": 64}
    with VideoWriter(path, **size, frame_rate=Fraction(25), time_base=Fraction(1, 25)) as writer:
        for t in range(5):
            writer.write(generator.integers(0, 256, (64, 96, 3), dtype=np.uint8), t)
    return path


def test_a_film_is_converted_with_the_model_that_is_asked_for(install, film, tmp_path):
    install("depth_anything_v2_small")
    pictures = {}
    for name in ("depth_anything_v2_small", "builtin"):
        output = tmp_path / f"{name}.mp4"
        assert convert(film, output, ConvertConfig(depth=name)) == 5
        assert probe(output).width == 192
        pictures[name] = np.stack([frame.image for frame in read_frames(output)])
    assert (pictures["builtin"] != pictures["depth_anything_v2_small"]).any()


def test_a_given_model_is_used_as_the_one_of_its_name(install, film, tmp_path):
    name = "depth_anything_v2_small"
    install(name)
    named, given = tmp_path / "named.mkv", tmp_path / "given.mkv"
    settings = {"crf": 0, "preset": "ultrafast", "divergence": 8.0}
    convert(film, named, ConvertConfig(depth=name, **settings))
    convert(film, given, ConvertConfig(depth="builtin", **settings), depth_model=load_model(name))
    for one, other in zip(read_frames(named), read_frames(given), strict=True):
        assert np.array_equal(one.image, other.image)


def test_missing_weights_end_before_anything_is_written(models_folder, film, tmp_path):
    with pytest.raises(InputError, match="depth_anything_v2_small"):
        convert(film, tmp_path / "out.mp4", ConvertConfig(depth="depth_anything_v2_small"))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".mp4"] == ["film.mp4"]


def measured(path, model):
    return measure_film(read_frames(path), model=model, total=None, on_progress=None, clock=StageClock())


def batched_depth(path, model, strength):
    """Run both passes with batches; return the frames' depth, [F, h, w], and the batches' sizes."""
    sizes, network = [], model.inverse_depth
    model.inverse_depth = lambda frames: (sizes.append(len(frames)), network(frames))[1]
    clock, scenes = StageClock(), measured(path, model)
    with StageThreads() as threads:
        analysed = analyse(read_frames(path), flow=open_flow("dis_fast"), clock=clock)
        depths = ModelStream(model, scenes, strength=strength)
        estimated = list(estimate(analysed, estimator=depths, clock=clock, threads=threads))
    return np.stack([frame.depth for frame in estimated]), sizes


@pytest.fixture
def batches_of_7(monkeypatch):
    """Let models take batches, as on a GPU."""
    for module in (stream, first_pass):
        monkeypatch.setattr(module, "film_inference", lambda model: Inference(model, on_gpu=7, on_cpu=7))


def test_batches_give_a_films_depth_frame_by_frame(two_scenes, request):
    """Also over cuts; in the first pass each scene has its own."""
    model, strength = RedIsNear(jumps=False), 0.6
    scenes, (_, expected) = measured(two_scenes, model), film_depth(two_scenes, model, strength)
    request.getfixturevalue("batches_of_7")
    model = RedIsNear(jumps=False)
    assert measured(two_scenes, model) == scenes
    depth, sizes = batched_depth(two_scenes, model, strength)
    np.testing.assert_array_equal(depth, expected)
    assert sizes[:4] == [7, 2, 7, 2], "of each scene, frames 0 to 7 and 16"
    assert sum(sizes[4:]) == 2 * SCENE_FRAMES
    assert max(sizes) <= 7


def test_a_real_network_sees_batches_as_it_sees_frames(install):
    """Up to the rounding of a batch."""
    install("depth_anything_v2_small")
    model = load_model("depth_anything_v2_small")
    pictures = list((make_clip("translate_right", frames=5, size=(45, 80)).frames * 255).byte())
    pictures = [picture.permute(1, 2, 0).numpy() for picture in pictures]
    alone, together = (Inference(model, on_gpu=n, on_cpu=n).run_pictures(pictures) for n in (1, 4))
    for depth, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(depth, expected, atol=1e-4, rtol=1e-4)


def test_pictures_of_several_sizes_and_too_large_a_batch(caplog):
    """Black bars come and go within a batch."""
    model, pictures = RedIsNear(jumps=False), []
    for t, size in enumerate([(20, 30)] * 3 + [(10, 30)] * 5 + [(20, 30)]):
        pictures.append(np.full((*size, 3), t, np.uint8))
    network = model.inverse_depth

    def small_batches(frames):
        if len(frames) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(frames)

    model.inverse_depth = small_batches
    inference = Inference(model, on_gpu=8, on_cpu=8)
    for t, depth in enumerate(inference.run_pictures(pictures)):
        assert depth.shape == (1, 1, *pictures[t].shape[:2])
        assert torch.equal(depth, torch.full_like(depth, t) / 255)
    assert caplog.text.count("ran out of memory") == 1, "what fitted is remembered"


def test_a_stream_without_end_is_read_a_few_frames_ahead(batches_of_7):
    """What waits for the network is no more than a batch, however long the film is."""
    frames, read = make_clip("translate_right", frames=4, size=(45, 80)).frames, 0

    def endless():
        nonlocal read
        for frame in itertools.cycle(frames):
            read += 1
            yield frame

    pairs = convert_frames(endless(), depth_model=RedIsNear(jumps=False))
    ahead = [read - index for index, _ in enumerate(itertools.islice(pairs, 60))]
    pairs.close()
    assert max(ahead) < 22 + 2 * 7


LONG_FILM = """
import resource, sys
from spatialdreamer_core.pipeline import ConvertConfig, convert
convert(*sys.argv[1:], ConvertConfig(depth="depth_anything_v2_small", crf=40, preset="ultrafast"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell a process's largest memory")
def test_a_film_with_a_model_takes_the_same_memory_however_long_it_is(install, make_video, tmp_path):
    install("depth_anything_v2_small")
    peaks = []
    for count in (100, 300):
        film = make_video(f"film{count}.mp4", frames=count, size=(160, 96))
        command = [sys.executable, "-c", LONG_FILM, str(film), str(tmp_path / f"out{count}.mp4")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.05 * peaks[0]
