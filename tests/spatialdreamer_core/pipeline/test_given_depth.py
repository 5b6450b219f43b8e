"""Films and photos with a depth file: frames belong together by number, and mistakes leave no output."""

import os

import av
import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.depth import DepthFile
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert
from spatialdreamer_core.pipeline.given_depth import measure_given_depth
from spatialdreamer_core.video import read_frames

SIZE = (96, 64)
FRAMES = 10


def textured(index):
    """A fixed texture, so that a view depends on the depth of its frame alone."""
    pixels = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    return av.VideoFrame.from_ndarray(pixels)


def moving_step(frames=FRAMES, size=SIZE):
    """Depth in [0, 1]: a near half that grows, over a slope."""
    width, height = size
    depth = np.tile(np.linspace(0, 0.4, width, dtype=np.float32), (frames, height, 1))
    for index in range(frames):
        depth[index, :, : width // 4 + width // 20 * index] = 1
    return depth


@pytest.fixture
def clip(make_video):
    return make_video(frames=FRAMES, size=SIZE, picture=textured)


@pytest.fixture
def converted(clip, tmp_path):
    """Return a function that converts the clip and returns the frames of the result."""

    def run(depth_file, name="out.mkv", source=clip, **settings):
        config = ConvertConfig(depth_file=str(depth_file), crf=4, divergence=8, **settings)
        output = tmp_path / "out" / name
        convert(source, output, config)
        with av.open(str(output)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    return run


@pytest.fixture
def depth_npz(tmp_path):
    np.savez_compressed(tmp_path / "depth.npz", depth=moving_step())
    return tmp_path / "depth.npz"


@pytest.fixture
def depth_video(make_video):
    """The same depth in 8 bits, full range."""
    pixels = np.rint(moving_step() * 255).astype(np.uint8)
    return make_video(
        "depth.mkv",
        frames=FRAMES,
        size=SIZE,
        codec="ffv1",
        pixel_format="gray",
        picture=lambda index: av.VideoFrame.from_ndarray(pixels[index], format="gray"),
    )


@pytest.mark.parametrize("kind", ["inverse", "normalised"])
def test_video_and_array_give_the_same_film(converted, depth_npz, depth_video, kind):
    from_array = converted(depth_npz, depth_kind=kind).astype(int)
    from_video = converted(depth_video, "video.mkv", depth_kind=kind).astype(int)
    assert from_array.shape == (FRAMES, 64, 192, 3)
    assert np.abs(from_array - from_video).mean() < 1
    assert np.abs(from_array[:, :, :96] - from_array[:, :, 96:]).mean() > 10, "there is depth"


def test_depth_is_the_opposite_of_inverse_depth(converted, depth_npz, tmp_path):
    np.save(tmp_path / "depth.npy", 7 - 3 * moving_step())
    inverse = converted(depth_npz).astype(int)
    depth = converted(tmp_path / "depth.npy", "depth.mkv", depth_kind="depth").astype(int)
    assert np.abs(inverse - depth).mean() < 1


def test_frames_belong_together_by_number(converted, tmp_path):
    """What lies before the start does not matter; a frame's neighbour would give another film."""
    depth, other, shifted = moving_step(), moving_step(), moving_step()
    other[:3] = other[:3, :, ::-1]
    shifted[3:] = shifted[2:-1]
    films = []
    for index, values in enumerate((depth, other, shifted)):
        np.savez(tmp_path / f"{index}.npz", values)
        films.append(converted(tmp_path / f"{index}.npz", f"{index}.mkv", start=0.12).astype(int))
    assert len(films[0]) == FRAMES - 3
    assert np.array_equal(films[0], films[1])
    assert np.abs(films[0] - films[2]).mean() > 1


def test_depth_may_end_with_the_part_that_is_converted(converted, tmp_path):
    np.savez(tmp_path / "part.npz", moving_step()[:5])
    assert len(converted(tmp_path / "part.npz", start=0.08, end=0.2)) == 3


def test_each_scene_is_normalised_by_its_own_range(make_video, tmp_path):
    clip = make_video(
        frames=6,
        size=SIZE,
        picture=lambda index: av.VideoFrame.from_ndarray(
            np.full((SIZE[1], SIZE[0], 3), (200, 30, 30) if index < 3 else (20, 60, 220), np.uint8)
        ),
    )
    depth = moving_step(6)
    depth[3:] = 50 + 10 * depth[3:]
    np.save(tmp_path / "depth.npy", depth)
    given = measure_given_depth(
        read_frames(clip), DepthFile(tmp_path / "depth.npy"), total=6, on_progress=None, clock=StageClock()
    )
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for index in range(6):
        if index in (0, 3):
            given.reset()
        found = given.step(frame)
        assert found.min() < 0.03
        assert found.max() > 0.97
    given.close()


def test_depth_of_another_size_is_used_as_fine_as_the_film(converted, depth_npz, tmp_path):
    double = np.repeat(np.repeat(moving_step(), 2, 1), 2, 2)
    np.savez(tmp_path / "double.npz", double)
    np.savez(tmp_path / "half.npz", moving_step()[:, ::2, ::2])
    film = converted(depth_npz).astype(int)
    assert np.abs(film - converted(tmp_path / "double.npz", "double.mkv")).mean() < 1
    assert np.abs(film - converted(tmp_path / "half.npz", "half.mkv")).mean() < 10


def test_fine_depth_is_not_reduced_to_working_size(make_video, tmp_path):
    """A line of one pixel, in a film wider than the working size, keeps its depth."""
    from spatialdreamer_core.flow import open_flow
    from spatialdreamer_core.pipeline.stages import analyse, estimate, place

    size = (1280, 72)
    clip = make_video(frames=1, size=size, pixel_format="yuv444p", picture=lambda _: black(size))
    depth = np.zeros((1, 72, 1280), np.float32)
    depth[:, :, 601] = 1
    np.save(tmp_path / "depth.npy", depth)
    clock = StageClock()
    file = DepthFile(tmp_path / "depth.npy", kind="normalised")
    given = measure_given_depth(read_frames(clip), file, total=1, on_progress=None, clock=clock)
    analysed = analyse(read_frames(clip), flow=open_flow("dis_fast"), clock=clock)
    estimated = estimate(analysed, estimator=given, clock=clock)
    settings = {"eyes": 1, "divergence": 2.0, "convergence": 0.0, "device": torch.device("cpu")}
    (placed,) = place(estimated, clock=clock, **settings)
    assert torch.equal(placed.depth[0], torch.from_numpy(depth[0]))
    assert placed.disparity.max() == pytest.approx(25.6)
    assert placed.small_disparity.shape[-2:] == (36, 640)
    given.close()


def black(size):
    return av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8))


def test_a_photo(tmp_path):
    Image.fromarray(textured(0).to_ndarray(format="rgb24")).save(tmp_path / "photo.png")
    Image.fromarray(np.rint(moving_step(1)[0] * 65535).astype(np.uint16)).save(tmp_path / "depth.png")
    output = tmp_path / "out.png"
    assert convert(tmp_path / "photo.png", output, ConvertConfig(depth_file=str(tmp_path / "depth.png"))) == 1
    packed = np.asarray(Image.open(output)).astype(int)
    assert np.abs(packed[:, :96] - packed[:, 96:]).mean() > 10


def test_progress_of_the_first_pass_may_interrupt(clip, depth_npz, tmp_path):
    seen = []

    def interrupt(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "out"
    config = ConvertConfig(depth_file=str(depth_npz))
    with pytest.raises(KeyboardInterrupt):
        convert(clip, folder / "out.mp4", config, on_first_pass=interrupt)
    assert seen == [(1, FRAMES), (2, FRAMES)]
    assert os.listdir(folder) == []


def with_nan(depth):
    depth[FRAMES - 1, 3, 3] = np.nan
    return depth


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda depth: depth[:7], {}, r"as many frames as the input \(10\), got 7 in .*depth\.npz"),
        (lambda depth: depth[:7], {"start": 0.32}, r"as many frames as the input \(10\), got no more than 8"),
        (lambda depth: depth[:2], {"end": 0.2}, "at least 5 frames, got 2"),
        (lambda depth: np.repeat(depth, 9, 0), {}, r"as many frames as the input \(10\), got 90"),
        (lambda depth: np.repeat(depth, 2, 0), {}, r"as many frames as the input \(10\), got 20"),
        (lambda depth: depth[:, :, :60], {}, r"aspect ratio of the input \(96x64\), got 60x64"),
        (with_nan, {}, "got 1 NaN or infinite values in frame 9 of"),
        (lambda depth: depth * 3, {"depth_kind": "normalised"}, "between 0 and 1, got 0.3.* to 3 in frame 0"),
        (lambda depth: depth, {"depth_kind": "yards"}, "depth_kind must be one of inverse, depth, metres"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(converted, tmp_path, change, settings, message):
    np.savez(tmp_path / "depth.npz", change(moving_step()))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=message):
        converted(tmp_path / "depth.npz", **settings)
    assert os.listdir(tmp_path / "out") == []


def test_a_depth_video_far_longer_than_its_film_is_not_decoded_to_its_end(clip, make_video, tmp_path):
    black = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    path = make_video(
        "long.mkv",
        frames=5 * FRAMES,
        size=SIZE,
        codec="ffv1",
        pixel_format="gray",
        picture=lambda _: av.VideoFrame.from_ndarray(black, format="gray"),
    )
    with pytest.raises(InputError, match=r"as many frames as the input \(10\), got more than 20 in"):
        convert(clip, tmp_path / "out.mp4", ConvertConfig(depth_file=str(path)))


def test_depth_of_depthcrafter_for_a_film_whose_shape_it_stretched(make_video, converted, tmp_path):
    size = (120, 50)
    clip = make_video("scope.mp4", frames=2, size=size, picture=lambda _: black(size))
    np.savez(tmp_path / "crafted.npz", depth=moving_step(2, (256, 128)))
    assert converted(tmp_path / "crafted.npz", source=clip).shape == (2, 50, 240, 3)


def test_the_command_takes_a_path_for_depth(clip, depth_npz, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    arguments = ["convert", str(clip), "-o", str(output), "--quiet", "--depth", str(depth_npz)]
    assert main([*arguments, "--depth-kind", "metres"]) == 0
    assert output.exists()
    assert main([*arguments[:-1], str(tmp_path / "absent.npz")]) == 2
    error = capsys.readouterr().err
    assert "depth must be one of builtin, auto" in error
    assert "or an existing file or folder" in error
    assert "absent.npz" in error
    assert main([*arguments[:-1], "x" * 5000]) == 2


def test_the_name_of_an_estimator_wins_over_a_file(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "builtin").write_text("no depth")
    assert main(["convert", str(clip), "-o", "out.mp4", "--quiet", "--depth", "builtin"]) == 0
