"""The command line as users meet it: exit codes and messages, in processes of their own where it matters."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from spatialdreamer_core.arguments import seconds as read_seconds
from spatialdreamer_core.cli import main

DEMO = Path(__file__).resolve().parents[2] / "assets" / "bigbuckbunny.mp4"


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "spatialdreamer_core.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_info_lists_devices_and_estimators(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert "torch" in printed
    assert "cpu" in printed
    assert "builtin" in printed
    assert "depth_anything_v2_small: Depth Anything V2 Small [Apache-2.0]" in printed
    assert "depth_anything_v2_large: Depth Anything V2 Large [CC-BY-NC-4.0, no commercial use]" in printed
    assert "https://huggingface.co/apple/DepthPro-hf" in printed
    assert "dis_fast: DIS fast [Apache-2.0] available" in printed
    assert "raft_small: RAFT small (C+T V2) [code BSD-3-Clause, weights trained on" in printed
    assert "  libx264 available\n  libx265 available\n  h264_nvenc " in printed


def test_missing_weights_give_one_line_before_anything_is_written(own_models, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = tmp_path / "out.mp4"
    arguments = ["convert", str(DEMO), "-o", str(output), "--depth", "midas", "--quiet"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "depth estimator midas (MiDaS 3 (DPT-Large)) needs its weights" in error
    assert "--download" in error
    assert main([*arguments, "--download"]) == 2
    assert "downloads are switched off by HF_HUB_OFFLINE" in capsys.readouterr().err
    assert main(["convert", str(DEMO), "-o", str(output), "--flow", "raft_small", "--quiet"]) == 2
    assert "flow method raft_small (RAFT small (C+T V2)) needs its weights" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("depth", "how"), [("auto", "add --download"), ("builtin", "use --depth auto --download")]
)
def test_a_builtin_run_ends_with_how_to_get_better_depth(own_models, tmp_path, capsys, depth, how):
    photo, depth_map = tmp_path / "photo.png", tmp_path / "depth.png"
    for path in (photo, depth_map):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    arguments = ["convert", str(photo), "--overwrite", "-o", str(tmp_path / "out.png"), "--depth"]
    assert main([*arguments, depth]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == (
        f"depth: builtin, preview grade. For better depth {how} (Depth Anything V2 Small, 99 MB, "
        "Apache-2.0), or put https://huggingface.co/depth-anything/Depth-Anything-V2-Small-hf into "
        f"{own_models / 'depth_estimation'}."
    )
    assert said.out.count("\n") == 1
    assert main([*arguments, depth, "--quiet"]) == 0
    assert "For better depth" not in capsys.readouterr().err
    assert main([*arguments, str(depth_map)]) == 0
    assert "For better depth" not in capsys.readouterr().err


def test_download_covers_the_flow_method(published_raft, tmp_path, capsys):
    server, spec, content = published_raft
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photo.png")
    arguments = ["convert", tmp_path / "photo.png", "-o", tmp_path / "out.png", "--depth", "builtin"]
    arguments = [*map(str, arguments), "--flow", "raft_small", "--download", "--quiet"]
    server.cut_at = 1000
    assert main(arguments) == 2
    assert "was cut" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()
    server.cut_at = None
    assert main(arguments) == 0
    assert spec.find().read_bytes() == content
    assert (tmp_path / "out.png").exists()


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["convert", "--help"])
    assert stop.value.code == 0
    assert "default: 2.5" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("0", 0)])
def test_moments(text, seconds):
    assert read_seconds(text) == seconds


def test_a_wrong_moment_is_explained():
    process = run("convert", "clip.mp4", "--start", "soon")
    assert process.returncode == 2
    assert "must be seconds, m:s or h:m:s, got 'soon'" in process.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "missing.mp4"), (b"", "missing.mp4"), (b"not a video at all" * 50, "missing.mp4")],
)
def test_bad_files_give_one_line_and_exit_code_2(tmp_path, content, message):
    path = tmp_path / "missing.mp4"
    if content is not None:
        path.write_bytes(content)
    process = run("convert", path, "-o", tmp_path / "out", "--quiet")
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    lines = [line for line in process.stderr.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("spatialdreamer: ")
    assert message in lines[0]


def test_bad_numbers_give_one_line_and_exit_code_2(tmp_path):
    process = run("convert", tmp_path / "clip.mp4", "--divergence", "35")
    assert process.returncode == 2
    assert (
        process.stderr.strip() == "spatialdreamer: divergence must be between 0 and 20 (% of width), got 35"
    )


def test_unwritable_output(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "file").write_text("in the way")
    process = run("convert", tmp_path / "photo.png", "-o", tmp_path / "file" / "out.png")
    assert process.returncode == 2
    assert "output must be writable" in process.stderr


def write_photo(path):
    Image.fromarray(np.full((16, 24, 3), 90, np.uint8)).save(path)
    return path


def test_a_folder_is_told_by_its_separator_even_with_a_dot(tmp_path, monkeypatch, capsys):
    write_photo(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "photo.png", "-o", f"out.v2{os.sep}", "--depth", "builtin", "--quiet"]) == 0
    assert (tmp_path / "out.v2" / "photo_LRF_Full_SBS.png").exists()
    printed = Path("out.v2", "photo_LRF_Full_SBS.png")
    assert capsys.readouterr().out == f"{printed} (1 frame)\n"


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        (("--format", "quilt", "--pad", "16:9"), "photo_qs2x1a1.78.png", (2 * 57, 32)),
        (("--format", "wiggle"), "photo_wiggle.gif", (48, 32)),
        (
            ("--format", "vr180", "--field-of-view", "60", "--output-height", "80"),
            "photo_180x180_LR.png",
            (160, 80),
        ),
        (
            ("--anaglyph", "half-color", "--format", "anaglyph", "--ipd-offset", "2"),
            "photo_redcyan.png",
            (48, 32),
        ),
        (("--swap-eyes", "--output-height", "16", "--format", "full_tb"), "photo_TBF_fulltb.png", (24, 32)),
    ],
)
def test_formats_and_what_comes_before_packing(tmp_path, capsys, options, name, size):
    Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    given = ("convert", str(tmp_path / "photo.png"), "--depth", "builtin", "--quiet", *options)
    assert main([*given, "-o", str(tmp_path / "out") + os.sep]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / name} (1 frame)\n"
    with Image.open(tmp_path / "out" / name) as photo:
        assert photo.size == size


def test_a_quilt_of_a_film_is_named_by_the_shape_that_is_shown(make_video, tmp_path):
    film = make_video("film.mkv", frames=1, size=(72, 64), aspect=2)
    given = ("convert", str(film), "--depth", "builtin", "--quiet", "--format", "quilt")
    assert main([*given, "-o", str(tmp_path / "out") + os.sep]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["film_qs2x1a2.25.mp4"]


def test_in_a_folder_the_kind_of_file_follows_codec_and_container(make_video, tmp_path, capsys):
    arguments = ["convert", str(make_video(frames=1)), "--depth", "builtin", "--quiet"]
    given = {".mkv": ["--codec", "ffv1"], ".mov": ["--container", "mov"], ".webm": ["--container", "webm"]}
    for suffix, options in given.items():
        assert main([*arguments, *options, "-o", str(tmp_path / "out")]) == 0
        assert (tmp_path / "out" / f"clip_LRF_Full_SBS{suffix}").exists()
    assert main([*arguments, "--container", "webm", "-o", str(tmp_path / "out.mkv")]) == 2
    error = capsys.readouterr().err
    assert "--container must be that of the output's name, got webm for" in error
    assert "leave it out or name the output *.webm" in error
    assert main([*arguments, "--codec", "vp9", "--container", "mov", "-o", str(tmp_path / "out")]) == 2
    assert "codec must be one that goes into .mov (H.264, HEVC or ProRes), got VP9" in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


def test_an_output_that_exists_needs_overwrite(tmp_path, capsys):
    photo, out = write_photo(tmp_path / "photo.png"), tmp_path / "out.png"
    arguments = ["convert", str(photo), "-o", str(out), "--depth", "builtin", "--quiet"]
    out.write_bytes(b"old")
    assert main(arguments) == 2
    assert "must be a new file" in capsys.readouterr().err
    assert out.read_bytes() == b"old"
    assert main([*arguments, "--overwrite"]) == 0
    assert Image.open(out).size == (48, 16)


def test_an_output_that_exists_is_refused_before_anything_is_downloaded(tmp_path, own_models, capsys):
    photo, out = write_photo(tmp_path / "photo.png"), tmp_path / "out.png"
    out.write_bytes(b"old")
    arguments = ["convert", str(photo), "-o", str(out), "--depth", "midas", "--download", "--quiet"]
    assert main(arguments) == 2
    assert "must be a new file" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["mps", "foo", "cuda:99", "cpu:", "meta", ""])
def test_an_unknown_device_gives_one_line(tmp_path, capsys, device):
    photo = write_photo(tmp_path / "photo.png")
    assert main(["convert", str(photo), "-o", str(tmp_path / "out.png"), "--device", device]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "spatialdreamer: device must be auto or one that is supported and in this machine"
    )
    assert error.count("\n") == 1


def test_a_wrong_option_gives_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["convert", "clip.mp4", "--format", "vr360"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("spatialdreamer convert: argument --format: invalid choice: 'vr360'")
    assert error.count("\n") == 1


def test_a_bar_that_fails_costs_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no terminal")

    monkeypatch.setattr("tqdm.tqdm", fail)
    photo = write_photo(tmp_path / "photo.png")
    assert main(["convert", str(photo), "-o", str(tmp_path / "out.png"), "--depth", "builtin"]) == 0


@pytest.mark.parametrize(
    ("redirection", "exit_code"),
    [
        (">&- 2>&- <&-", 0),
        pytest.param(">/dev/full 2>/dev/full", 0, marks=pytest.mark.slow),
        pytest.param("2>&1 | :", 0, marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's redirections")
def test_closed_full_and_broken_streams_lose_no_film(tmp_path, redirection, exit_code):
    out = tmp_path / "out.mp4"
    command = f"{sys.executable} -m spatialdreamer_core.cli convert {DEMO} -o {out} --end 0.2 --depth builtin"
    script = f"set -o pipefail; {command} {redirection}"
    process = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (exit_code, "", "")
    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) > 1
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_letters_that_a_stream_cannot_print_are_escaped(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    photo = write_photo(tmp_path / "photo.png")
    assert (
        main(["convert", str(photo), "-o", str(tmp_path / "立体.png"), "--depth", "builtin", "--quiet"]) == 0
    )
    stream.flush()
    assert b"\\u7acb\\u4f53.png (1 frame)" in stream.buffer.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_in_the_first_second_gives_one_line(tmp_path, number, exit_code):
    command = [sys.executable, "-X", "importtime", "-m", "spatialdreamer_core.cli", "convert", str(DEMO)]
    with subprocess.Popen(
        [*command, "-o", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        for line in process.stderr:  # wait until the import of torch has begun
            if "torch._" in line:
                break
        process.send_signal(getattr(signal, number))
        rest = [line for line in process.stderr if not line.startswith("import time:")]
    assert rest == [f"spatialdreamer: interrupted by {number}; no partial file was left\n"]
    assert process.returncode == exit_code
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no limit on addresses there")
@pytest.mark.parametrize(
    "kilobytes",
    [300_000, 1_000_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (1_600_000, 1_800_000))],
)
def test_too_little_memory_is_one_sentence(tmp_path, kilobytes):
    command = f"{sys.executable} -m spatialdreamer_core.cli convert {DEMO} -o {tmp_path} --end 1 --quiet"
    process = subprocess.run(
        ["bash", "-c", f"ulimit -v {kilobytes}; exec {command}"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 2, process.stderr
    line = process.stderr.splitlines()[-1]
    asked_before = "GB of memory, got" in line  # by the film's size
    assert asked_before or line.startswith(
        ("spatialdreamer: the limit on memory (ulimit -v)", "spatialdreamer: memory must")
    )
    assert "Traceback" not in process.stderr
    assert os.listdir(tmp_path) == []
