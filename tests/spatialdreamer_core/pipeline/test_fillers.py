"""Films through other fillers than fast fill: from the command and from Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.fill import FastFill, fill_holes
from spatialdreamer_core.pipeline import FILLERS, ConvertConfig, FillerConfig, convert

ROOT = Path(__file__).parents[3]
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


class Watched(FastFill):
    """Fast fill that notes which types of views and masks it is given."""

    def __init__(self, *, takes_bytes):
        super().__init__()
        self.takes_bytes, self.types = takes_bytes, set()

    def open(self, **view):
        stream = super().open(**view)
        push = stream.push
        stream.push = lambda frame: (self.types.update(part.dtype for part in frame[:3]), push(frame))[1]
        return stream


@pytest.mark.parametrize("border", ["none", "floating_window"])
def test_a_filler_that_takes_bytes_is_given_them(make_film, tmp_path, border):
    film, config = make_film("film.mkv", (0, 5)), ConvertConfig(divergence=10, crf=0, border=border)
    for takes_bytes, expected in ((True, {torch.uint8, torch.bool}), (False, {torch.float32})):
        filler = Watched(takes_bytes=takes_bytes)
        convert(film, tmp_path / f"{takes_bytes}.mkv", config, filler=filler)
        assert filler.types == expected
    bytes_, floats = (decode(tmp_path / f"{takes}.mkv").astype(int) for takes in (True, False))
    difference = np.abs(bytes_ - floats).max(-1)
    assert difference.max() <= 3, "a level of RGB, by way of YUV"
    assert 0 < (difference > 0).mean() < 0.1, "in holes alone"


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
        (Inverted, r"got the class Inverted; make one, such as Inverted\(...\)"),
        ("spatialdreamer", r"got str; make one, such as FillerConfig\('spatialdreamer'\)\.load"),
        (fill_holes, r"with a method open\(\*, eye, size\), got function"),
        (False, "got bool"),
        (FillerConfig(), "got FillerConfig"),
    ],
)
def test_what_is_no_filler_is_refused_before_the_work(tmp_path, filler, message):
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "there_is_none.mp4", tmp_path / "out" / "film.mp4", filler=filler)
    assert list(tmp_path.iterdir()) == []


def film_command(film, output, checkpoint, **options):
    """Return the command's arguments for a film through a tiny SpatialDreamer."""
    given = {"divergence": 8, "crf": 0, "steps": 1, "window": 3, "overlap": 1, "max_side": 96} | options
    arguments = ["convert", str(film), "-o", str(output), "--quiet", "--depth", "builtin"]
    arguments += ["--filler", "spatialdreamer", "--checkpoint", str(checkpoint)]
    for name, value in given.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def start(arguments):
    """Start the command in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "spatialdreamer_core.cli", *arguments], cwd=ROOT)


def test_spatialdreamer_from_the_command_with_windows_inside_scenes(make_film, checkpoint, tmp_path):
    results = []
    for number, scenes in enumerate((((0, 4), (1, 2)), ((0, 4), (2, 2)))):
        output = tmp_path / f"out{number}.mkv"
        film = make_film(f"film{number}.mkv", *scenes)
        assert main(film_command(film, output, checkpoint)) == 0
        results.append(decode(output))
    assert results[0].shape == (6, SIZE[1], 2 * SIZE[0], 3)
    assert np.array_equal(results[0][:4], results[1][:4]), "another scene after it changes nothing"
    assert not np.array_equal(results[0][4:], results[1][4:])


@pytest.fixture(scope="module")
def m2svid_file(tiny_svd, tmp_path_factory):
    from .. import tiny_m2svid

    file = tmp_path_factory.mktemp("m2svid") / "m2svid_no_full_atten_weights.pt"
    tiny_m2svid.save_official(tiny_m2svid.make_model(full_attention=False), file)
    return file


def test_m2svid_from_the_command(make_film, m2svid_file, tmp_path):
    film, output = make_film("film.mkv", (0, 3), (1, 1)), tmp_path / "out.mkv"
    command = ["convert", str(film), "-o", str(output), "--quiet", "--depth", "builtin", "--divergence", "8"]
    command += ["--filler", "m2svid", "--checkpoint", str(m2svid_file), "--window", "2", "--overlap", "1"]
    assert main([*command, "--crf", "0"]) == 0
    refined = decode(output)
    assert refined.shape == (4, SIZE[1], 2 * SIZE[0], 3)
    assert main([*command, "--crf", "0", "--keep-known", "--overwrite"]) == 0
    kept = decode(output)
    left, right = slice(SIZE[0]), slice(SIZE[0], None)
    assert np.array_equal(refined[:, :, left], kept[:, :, left])
    changed = (np.abs(refined[:, :, right].astype(int) - kept[:, :, right]).max(-1) > 1).mean()
    assert changed > 0.5, "the whole view against the holes alone"


def test_fillers_are_told_what_convergence_takes_off(make_film, tmp_path):
    """Half of the divergence at 0.5 with one eye, a quarter with two: no disparity is negative beside it."""
    shifts, lowest = set(), []

    class Told(Inverted):
        def push(self, frame):
            shifts.add(round(frame.shift, 4))
            lowest.append(float((frame.disparity + frame.shift).min()))
            return super().push(frame)

    film = make_film("film.mkv", (0, 2))
    for eye in ("right", "both"):
        config = ConvertConfig(divergence=10, convergence=0.5, eye=eye)
        convert(film, tmp_path / f"{eye}.mkv", config, filler=Told())
    assert shifts == {2.4, 4.8}, "px of 96"
    assert min(lowest) > -1e-3


def test_the_frame_matrix_from_the_command_fills_and_keeps_what_is_known(make_film, checkpoint, tmp_path):
    film, results = make_film("film.mkv", (0, 2)), []
    for name, filler in (("fast", []), ("matrix", ["--filler", "frame_matrix", "--checkpoint"])):
        output = tmp_path / f"{name}.mkv"
        arguments = ["convert", str(film), "-o", str(output), "--quiet", "--depth", "builtin"]
        arguments += ["--divergence", "8", "--crf", "0", *filler]
        if filler:
            arguments += [str(checkpoint), "--views", "2", "--steps", "1", "--passes", "2", "--window", "3"]
            arguments += ["--max-side", "96", "--feather", "0"]
        assert main(arguments) == 0
        results.append(decode(output))
    differs = np.abs(results[0].astype(int) - results[1]).max(-1) > 0
    assert 0 < differs.mean() < 0.2


@pytest.mark.slow
def test_of_100_frames_a_scene_that_changes_leaves_the_others_as_they_are(make_film, checkpoint, tmp_path):
    results = []
    for number, middle in enumerate((1, 4)):
        film = make_film(f"film{number}.mkv", (0, 40), (middle, 33), (2, 27))
        output = tmp_path / f"out{number}.mkv"
        assert start(film_command(film, output, checkpoint, window=5, overlap=2)).wait(600) == 0
        results.append(decode(output))
    first, second = results
    assert first.shape == (100, SIZE[1], 2 * SIZE[0], 3)
    same = [np.array_equal(first[part], second[part]) for part in (slice(40), slice(40, 73), slice(73, None))]
    assert same == [True, False, True]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not tell a process's largest memory")
def test_a_film_of_any_length_takes_the_memory_of_a_window(make_film, checkpoint, tmp_path):
    peaks = []
    for count in (100, 300):
        film = make_film(f"film{count}.mkv", (0, count * 2 // 5), (1, count * 2 // 5), (2, count // 5))
        output = tmp_path / f"out{count}.mkv"
        process = start(film_command(film, output, checkpoint, window=5, overlap=2))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert len(decode(output)) == count
        peaks.append(usage.ru_maxrss)
    print("largest memory in kB at 100 and 300 frames:", peaks)
    assert peaks[1] < 1.05 * peaks[0]


def wait_until_amid(process, folder):
    """Wait until some frames of a film have been filled."""
    deadline = time.monotonic() + 60
    while not list(folder.glob("*partial*")):
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline, "the work has not begun"
        time.sleep(0.1)
    time.sleep(3)
    assert process.poll() is None, "it ended too soon"


@pytest.mark.slow
@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_film_that_is_stopped_leaves_nothing_half_written(
    make_film, checkpoint, tmp_path, signal_name, code
):
    if sys.platform == "win32":
        pytest.skip("Windows has no such signals")
    film, folder = make_film("film.mkv", (0, 40), (1, 40), (2, 20)), tmp_path / "out"
    folder.mkdir()
    arguments = film_command(film, folder / "film.mkv", checkpoint, window=5, overlap=2)
    process = start(arguments)
    wait_until_amid(process, folder)
    process.send_signal(getattr(signal, signal_name))
    assert process.wait(30) == code
    left = [file.name for file in folder.iterdir()]
    assert "film.mkv" not in left
    assert left == [] or signal_name == "SIGKILL"
    short = make_film("short.mkv", (0, 3))
    assert start([arguments[0], str(short), *arguments[2:]]).wait(120) == 0
    assert [file.name for file in folder.iterdir()] == ["film.mkv"], "what the dead run left is gone"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--strength", ".4"],
            "strength must go with the filler spatialdreamer, got it with fast; leave it out or choose that",
        ),
        (
            ["--filler", "stable_diffusion", "--window", "8"],
            "window must go with the filler spatialdreamer, m2svid or frame_matrix, got it with "
            "stable_diffusion; leave it out or choose one of those",
        ),
        (
            ["--filler", "spatialdreamer", "--checkpoint", "x", "--prompt", "a wall"],
            "prompt must go with the filler stable_diffusion, got it with spatialdreamer",
        ),
        (
            ["--steps", "9"],
            "steps must go with the filler stable_diffusion, spatialdreamer or frame_matrix, got it with "
            "fast; leave it out",
        ),
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
        (["--filler", "frame_matrix"], "checkpoint must be given for the filler frame_matrix"),
        (
            ["--filler", "frame_matrix", "--checkpoint", "x", "--views", "99"],
            "views must be between 1 and 32",
        ),
        (["--filler", "spatialdreamer", "--checkpoint", "x", "--steps", "0"], "steps must be between 1"),
        (["--filler", "spatialdreamer", "--checkpoint", "x", "--max-side", "9"], "max_side must be between"),
        (["--filler", "spatialdreamer", "--checkpoint", "no_such.safetensors"], "no_such.safetensors"),
        (["--filler", "m2svid"], "checkpoint must be given for the filler m2svid"),
        (["--filler", "m2svid", "--checkpoint", "no_such.pt"], "no_such.pt"),
        (
            ["--filler", "m2svid", "--checkpoint", "x", "--steps", "9"],
            "steps must go with the filler stable_diffusion, spatialdreamer or frame_matrix, got it with "
            "m2svid; leave it out",
        ),
        (["--filler", "m2svid", "--checkpoint", "x", "--window", "26"], "window must be between 1 and 25"),
        (["--keep-known"], "keep_known must go with the filler m2svid, got it with fast"),
        (["--filler", "stable_diffusion"], "Stable Diffusion 2 inpainting"),
    ],
)
def test_what_a_filler_cannot_take_or_lacks_is_told_before_the_work(
    make_film, own_models, tmp_path, capsys, options, message
):
    film, output = make_film("film.mkv", (0, 3)), tmp_path / "out"
    assert main(["convert", str(film), "-o", str(output / "film.mp4"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not output.exists() or list(output.iterdir()) == []


def test_missing_weights_are_told_before_the_work(make_film, checkpoint, tmp_path, capsys):
    film, output = make_film("film.mkv", (0, 3)), tmp_path / "out"
    command = film_command(film, output / "film.mp4", checkpoint, weights=tmp_path / "none.safetensors")
    assert main(command) == 2
    assert "none.safetensors" in capsys.readouterr().err
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
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
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
