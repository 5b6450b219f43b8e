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
from spatialdreamer_core.pipeline import FILLERS, ConvertConfig, FillerConfig, convert

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
        (["--texture", "2"], "texture must be between 0 and 1, got 2"),
        (
            ["--filler", "stable_diffusion", "--texture", "0"],
            "texture must go with the filler fast, got it with stable_diffusion",
        ),
        (["--filler", "stable_diffusion", "--guidance", "60"], "guidance must be between 1 and 50, got 60"),
        (["--filler", "spatialdreamer", "--checkpoint", "x", "--fps", "nan"], "fps must be between 1 and"),
        (
            ["--filler", "spatialdreamer", "--checkpoint", "x", "--window", "3"],
            "overlap must be between 0 and window - 1",
        ),
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


def guide_code() -> dict:
    """Run the code of the guide's section about fillers as it stands."""
    guide = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = guide.partition("## A filler")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict = {}
    exec(code, names)  # noqa: S102 (it is our own)
    return names


@pytest.fixture
def guide(monkeypatch):
    monkeypatch.setitem(FILLERS, "mean", None)  # leaves again after the test
    return guide_code()


def test_the_filler_of_the_contributors_guide_runs_on_a_film(guide, make_film, tmp_path):
    film, config = make_film("film.mkv", (0, 3), (1, 2)), guide["MeanConfig"]()
    filler = guide["MeanFiller"](config)
    assert convert(film, tmp_path / "out.mp4", ConvertConfig(divergence=8), filler=filler) == 5
    warped, hole = torch.rand(2, 3, 4, 6), torch.zeros(2, 1, 4, 6)
    hole[..., 1:3] = 1
    filled = fill_holes(filler, left=warped, warped=warped, hole=hole)
    mean = warped[0][:, :, [0, 3, 4, 5]].mean((1, 2))
    assert torch.allclose(filled[0, :, 2, 1], mean)
    assert torch.equal(filled[..., 3:], warped[..., 3:])


def test_the_filler_of_the_contributors_guide_is_offered_by_the_command(guide, make_film, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "mean: the mean colour of what is known" in shown
    assert (
        "--brightness NUMBER mean: How bright the filling is, as a share of the mean. Range: 0 to 1." in shown
    )
    film, results = make_film("film.mkv", (0, 3), (1, 2)), []
    for brightness in ("0", "1"):
        output = tmp_path / f"{brightness}.mkv"
        arguments = ["convert", str(film), "-o", str(output), "--depth", "builtin", "--divergence", "8"]
        arguments += ["--crf", "0", "--quiet", "--filler", "mean", "--brightness", brightness]
        assert main(arguments) == 0
        results.append(decode(output).astype(int))
    black, mean = results
    assert black.shape == mean.shape == (5, SIZE[1], 2 * SIZE[0], 3)
    holes = (mean - black).max(-1) > 24
    assert 0.005 < holes[:, :, SIZE[0] :].mean() < 0.2
    assert not holes[:, :, : SIZE[0]].any()
    capsys.readouterr()
    assert main(["convert", str(film), "--filler", "mean", "--brightness", "2"]) == 2
    assert "brightness must be between 0 and 1, got 2" in capsys.readouterr().err
    assert main(["convert", str(film), "--brightness", "1"]) == 2
    assert "brightness must go with the filler mean, got it with fast" in capsys.readouterr().err
