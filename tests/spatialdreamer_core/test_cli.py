"""The command line as users meet it: exit codes and messages, in processes of their own where it matters."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialdreamer_core.cli import _seconds, main

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
    assert _seconds(text) == seconds


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
