"""Each stage made to fail at the first, the second, a middle and the last frame: nothing stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert, preview

STAGES = ("decode", "flow", "depth", "disparity", "warp", "fill", "pack", "encode")
FRAMES = 10


@pytest.fixture
def fail_at(monkeypatch):
    """Return a function that lets a stage fail when it works on a frame."""

    def arm(stage: str, frame: int, error: BaseException) -> None:
        count, original = {}, StageClock.__call__

        @contextmanager
        def call(self, name):
            count[name] = count.get(name, -1) + 1
            with original(self, name):
                if name == stage and count[name] == frame:
                    raise error
                yield

        monkeypatch.setattr(StageClock, "__call__", call)

    return arm


@pytest.fixture
def nothing_stays(make_video, tmp_path):
    """Give a clip and a folder, and check afterwards that threads, descriptors and files are as before."""
    clip = make_video(frames=FRAMES, size=(64, 48), audio=("aac",))
    folder = tmp_path / "out"
    folder.mkdir()
    convert(clip, tmp_path / "warm.mp4", ConvertConfig(depth="builtin"))  # what stays open for good
    before = open_things()
    yield clip, folder
    assert open_things() == before
    assert os.listdir(folder) == []


def open_things() -> tuple[object, ...]:
    descriptors = Path("/proc/self/fd")
    return (
        sorted(thread.name for thread in threading.enumerate()),
        len(list(descriptors.iterdir())) if descriptors.is_dir() else 0,
        torch.get_num_threads(),
        cv2.getNumThreads(),
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_fails_gives_one_line_and_exit_code_2(nothing_stays, fail_at, capsys, stage):
    clip, folder = nothing_stays
    arguments = ["convert", str(clip), "-o", str(folder / "out.mp4"), "--depth", "builtin", "--quiet"]
    for frame in (0, 1, 7, FRAMES - 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StageClock, "__call__", StageClock.__call__)  # undone for the next frame
            fail_at(stage, frame, RuntimeError("the stage\nbroke"))
            assert main([*arguments, "--preview", str(folder / "sheet.png")]) == 2
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if "preview grade" not in line]
        assert lines == [
            "spatialdreamer: unexpected RuntimeError: the stage broke; --verbose shows where it comes from"
        ]
        assert said.out == ""
        for file in folder.glob("sheet.png"):  # that of the middle frame is whole before the last one fails
            file.unlink()


@pytest.mark.parametrize("kind", [InputError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("stage", ["decode", "depth", "fill", "encode"])
def test_the_error_itself_comes_out_of_the_library(nothing_stays, fail_at, stage, kind):
    clip, folder = nothing_stays
    error = kind(
        "rule, value, remedy"
    )  # made here: its traceback holds frames, which must not outlive the test
    fail_at(stage, 7, error)
    with pytest.raises(type(error)) as caught:
        convert(clip, folder / "out.mp4", ConvertConfig(depth="builtin"))
    assert caught.value is error


def test_a_first_pass_that_fails_leaves_nothing(nothing_stays, fail_at):
    clip, folder = nothing_stays
    fail_at("first_pass", 7, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        convert(clip, folder / "out.mp4", ConvertConfig(depth_file=str(clip)))


def test_the_traceback_is_shown_when_asked_for(nothing_stays, fail_at, capsys):
    clip, folder = nothing_stays
    fail_at("warp", 0, RuntimeError("broken"))
    arguments = ["convert", str(clip), "-o", str(folder), "--depth", "builtin", "--verbose"]
    assert main(arguments) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (MemoryError, ""),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        (RuntimeError, "can't start new thread"),
    ],
)
def test_running_out_of_memory_is_one_sentence(nothing_stays, fail_at, capsys, kind, text):
    clip, folder = nothing_stays
    fail_at("fill", 1, kind(text))
    assert main(["convert", str(clip), "-o", str(folder), "--depth", "builtin", "--quiet"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("spatialdreamer: memory must suffice for the work, got")
    assert "ulimit -v" in line


@pytest.mark.parametrize("part", ["preview_sheet", "save_photo"])
def test_a_preview_that_fails_costs_only_itself(make_video, tmp_path, monkeypatch, caplog, part):
    clip = make_video(frames=3, size=(64, 48))

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preview, part, fail)
    config = ConvertConfig(depth="builtin")
    assert convert(clip, tmp_path / "out.mp4", config, preview_path=tmp_path / "sheet.png") == 3
    assert caplog.text.count("the preview is left out: [Errno 28] No space left on device") == 1
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.mp4"]


def test_conversions_side_by_side_leave_the_libraries_threads_as_they_were(make_video, tmp_path):
    clip = make_video(frames=4, size=(64, 48))
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(8)
    cv2.setNumThreads(6)
    counts, meanwhile, errors = [], set(), []
    start = threading.Barrier(3)

    def work(index: int) -> None:
        try:
            start.wait()
            convert(
                clip,
                tmp_path / f"{index}.mp4",
                ConvertConfig(depth="builtin"),
                on_progress=lambda *_: meanwhile.add(cv2.getNumThreads()),
            )
            counts.append((torch.get_num_threads(), cv2.getNumThreads()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert counts == [(8, 6)] * 3
        assert 3 in meanwhile, "half of them"
        fresh = []
        thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert fresh == [8]
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


CLOSED_SERVER = """
import sys, threading
from spatialdreamer_core.pipeline import ConvertConfig, convert

begun = threading.Event()
work = lambda: convert(*sys.argv[1:], ConvertConfig(depth="builtin"), on_progress=lambda *_: begun.set())
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


@pytest.mark.slow
def test_a_process_that_ends_during_a_conversion_neither_aborts_nor_leaves_files(make_video, tmp_path):
    clip = make_video(frames=100, size=(160, 96))
    for _ in range(3):
        command = [sys.executable, "-c", CLOSED_SERVER, str(clip), str(tmp_path / "out" / "out.mp4")]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        assert os.listdir(tmp_path / "out") == []
