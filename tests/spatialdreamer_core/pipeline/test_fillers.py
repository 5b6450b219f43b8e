"""Films through other fillers than fast fill: from the command and from Python."""

from __future__ import annotations

import re
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.fill import fill_holes
from spatialdreamer_core.pipeline import ConvertConfig, FillerConfig, convert

SIZE = (96, 64)


def picture(index, *, scene):
    """A near square that moves before a wall; each scene has walls of its own."""
    rng = np.random.default_rng(scene)
    low = np.uint8([20, 90, 160])[scene % 3]
    wall = cv2.resize(rng.integers(low, low + 80, (8, 12, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    left = 20 + 2 * index
    wall[20:60, left : left + 24] = (230, 210, 60)
    return av.VideoFrame.from_ndarray(wall)


@pytest.fixture
def make_film(make_video):
    """Return a function that writes a film of some scenes, each of some frames."""

    def make(name, *scenes):
        frames = [picture(i, scene=scene) for scene, count in scenes for i in range(count)]
        return make_video(name, frames=len(frames), size=SIZE, codec="ffv1", picture=lambda i: frames[i])

    return make


@pytest.fixture(scope="module")
def checkpoint(tiny_svd, tmp_path_factory):
    file = tmp_path_factory.mktemp("svd") / "tiny.safetensors"
    tiny_svd.save_checkpoint(file)
    return file


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


class Inverted:
    """A filler of someone else, which inverts what it fills and notes what it is given."""

    refines_holes = False

    def __init__(self, *, fail_at=None):
        self.scenes, self.fail_at = [0], fail_at

    def open(self, *, eye, size):
        return self

    def push(self, frame):
        self.scenes[-1] += 1
        if sum(self.scenes) == self.fail_at:
            raise RuntimeError("the filler broke")
        return [torch.where(frame.hole > 0.5, 1 - frame.left, frame.warped)]

    def finish(self):
        self.scenes.append(0)
        return []


def test_a_film_takes_any_filler_scene_by_scene(make_film, tmp_path):
    film = make_film("film.mkv", (0, 5), (1, 4))
    config = ConvertConfig(divergence=10, crf=0)
    filler = Inverted()
    assert convert(film, tmp_path / "other.mkv", config, filler=filler) == 9
    assert filler.scenes == [5, 4, 0]
    convert(film, tmp_path / "fast.mkv", config)
    other, fast = decode(tmp_path / "other.mkv"), decode(tmp_path / "fast.mkv")
    assert np.array_equal(other[:, :, : SIZE[0]], fast[:, :, : SIZE[0]])
    differs = np.abs(other.astype(int) - fast).max(-1) > 24
    assert 0.005 < differs.mean() < 0.2, "the holes alone"


def test_a_filler_that_fails_leaves_nothing(make_film, tmp_path):
    film, output = make_film("film.mkv", (0, 5)), tmp_path / "out"
    output.mkdir()
    with pytest.raises(RuntimeError, match="the filler broke"):
        convert(film, output / "film.mp4", filler=Inverted(fail_at=3))
    assert list(output.iterdir()) == []


class Spoiled(Inverted):
    """One that spoils its third frame."""

    def __init__(self, deed):
        super().__init__()
        self.deed = deed

    def push(self, frame):
        (filled,) = super().push(frame)
        return self.deed(filled) if sum(self.scenes) == 3 else [filled]


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (lambda frame: [frame, frame], "Spoiled returned 1 more"),
        (lambda frame: [frame[:, 1:]], r"view's size, \(3, 64, 96\), but Spoiled returned \(3, 63, 96\)"),
        (lambda frame: [1 - frame], "leave known pixels as they are .*, but Spoiled changed"),
        (lambda frame: [frame * float("nan")], r"values in \[0, 1\], but Spoiled returned nan"),
        (lambda frame: [frame.double()], "returned torch.float64"),
        (lambda frame: [frame / 0 if frame.sum() < 0 else 1 / 0], "failed at its frame 3: ZeroDivisionError"),
    ],
)
def test_a_filler_that_breaks_the_contract_amid_a_film_leaves_nothing(make_film, tmp_path, deed, message):
    film, output = make_film("film.mkv", (0, 5)), tmp_path / "out"
    output.mkdir()
    with pytest.raises(InputError, match=message) as caught:
        convert(film, output / "film.mp4", filler=Spoiled(deed))
    assert str(caught.value).endswith("mend it or use another filler")
    assert list(output.iterdir()) == []


def test_a_filler_that_lets_parameters_learn_runs_on_a_film(make_film, tmp_path):
    """Nothing is learned in a film, and no frame keeps what it was made from."""
    grey = torch.nn.Parameter(torch.full((1,), 0.5))

    class Learned(Inverted):
        def push(self, frame):
            return [torch.where(frame.hole > 0.5, grey, frame.warped)]

    assert convert(make_film("film.mkv", (0, 5)), tmp_path / "film.mp4", filler=Learned()) == 5


@pytest.mark.parametrize(
    ("filler", "message"),
    [
        (Inverted, r"got the class Inverted; write Inverted\(...\)"),
        ("spatialdreamer", r"got 'spatialdreamer'; load one by its name with FillerConfig\(name\).load"),
        (fill_holes, r"must have a method open\(\*, eye, size\), got function"),
        (False, "got bool"),
        (FillerConfig(), "got FillerConfig"),
    ],
)
def test_what_is_no_filler_is_refused_before_the_work(tmp_path, filler, message):
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "there_is_none.mp4", tmp_path / "out" / "film.mp4", filler=filler)
    assert list(tmp_path.iterdir()) == []


def test_spatialdreamer_from_the_command_with_windows_inside_scenes(make_film, checkpoint, tmp_path):
    results = []
    for number, scenes in enumerate((((0, 4), (1, 2)), ((0, 4), (2, 2)))):
        output = tmp_path / f"out{number}.mkv"
        arguments = ["convert", str(make_film(f"film{number}.mkv", *scenes)), "-o", str(output), "--quiet"]
        arguments += ["--depth", "builtin", "--divergence", "8", "--crf", "0", "--filler", "spatialdreamer"]
        arguments += [
            "--checkpoint",
            str(checkpoint),
            "--steps",
            "1",
            "--window",
            "3",
            "--overlap",
            "1",
            "--max-side",
            "96",
        ]
        assert main(arguments) == 0
        results.append(decode(output))
    assert results[0].shape == (6, SIZE[1], 2 * SIZE[0], 3)
    assert np.array_equal(results[0][:4], results[1][:4]), "another scene after it changes nothing"
    assert not np.array_equal(results[0][4:], results[1][4:])


@pytest.mark.slow
def test_a_long_film_takes_the_memory_of_a_window(make_film, checkpoint, tmp_path):
    filler = FillerConfig(
        "spatialdreamer", checkpoint=checkpoint, steps=1, window=5, overlap=2, max_side=96
    ).load(device=torch.device("cpu"))
    process, memory = psutil.Process(), []
    film = make_film("film.mkv", (0, 40), (1, 40), (2, 20))
    count = convert(
        film,
        tmp_path / "out.mp4",
        filler=filler,
        on_progress=lambda done, total, packed: memory.append(process.memory_info().rss),
    )
    assert count == 100
    assert max(memory[60:]) - max(memory[:30]) < 100 << 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strength", ".4"], "strength must go with the filler spatialdreamer, got it with fast"),
        (
            ["--filler", "stable_diffusion", "--window", "8"],
            "window must go with the filler spatialdreamer, got it with stable_diffusion",
        ),
        (
            ["--filler", "spatialdreamer", "--checkpoint", "x", "--prompt", "a wall"],
            "prompt must go with the filler stable_diffusion, got it with spatialdreamer",
        ),
        (["--steps", "9"], "steps must go with the filler stable_diffusion or spatialdreamer"),
        (["--filler", "spatialdreamer"], "checkpoint must be given for the filler spatialdreamer"),
        (["--filler", "spatialdreamer", "--checkpoint", "x", "--steps", "0"], "steps must be between 1"),
        (["--filler", "spatialdreamer", "--checkpoint", "x", "--max-side", "9"], "max_side must be between"),
        (["--filler", "spatialdreamer", "--checkpoint", "no_such.safetensors"], "no_such.safetensors"),
    ],
)
def test_what_a_filler_cannot_take_or_lacks_is_told_before_the_work(
    make_film, tmp_path, capsys, options, message
):
    film, output = make_film("film.mkv", (0, 3)), tmp_path / "out"
    assert main(["convert", str(film), "-o", str(output / "film.mp4"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not output.exists() or list(output.iterdir()) == []


def test_an_unknown_filler_is_refused_with_the_choices(make_film, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["convert", "film.mp4", "--filler", "magic"])
    assert "choose from 'fast', 'stable_diffusion', 'spatialdreamer'" in capsys.readouterr().err.replace(
        "choose from fast, stable_diffusion, spatialdreamer",
        "choose from 'fast', 'stable_diffusion', 'spatialdreamer'",
    )
    with pytest.raises(InputError, match="filler must be one of fast, stable_diffusion, spatialdreamer"):
        FillerConfig("magic").check()


def test_the_filler_of_the_contributors_guide_runs_on_a_film(make_film, tmp_path):
    guide = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "Filler" in block)
    names: dict = {}
    exec(code, names)  # noqa: S102 (it is our own)
    film = make_film("film.mkv", (0, 3), (1, 2))
    assert convert(film, tmp_path / "out.mp4", ConvertConfig(divergence=8), filler=names["MeanFiller"]()) == 5
    warped, hole = torch.rand(2, 3, 4, 6), torch.zeros(2, 1, 4, 6)
    hole[..., 1:3] = 1
    filled = fill_holes(names["MeanFiller"](), left=warped, warped=warped, hole=hole)
    mean = warped[0][:, :, [0, 3, 4, 5]].mean((1, 2))
    assert torch.allclose(filled[0, :, 2, 1], mean)
    assert torch.equal(filled[..., 3:], warped[..., 3:])
