"""Memory of a device that runs out in the middle of a film, and a device that fails: the real exceptions."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter

import pytest
import torch

import spatialdreamer_core as sd
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.depth import ModelStream
from spatialdreamer_core.depth.models import find_model
from spatialdreamer_core.flow.dis import DisFlow
from spatialdreamer_core.memory import DoesNotFit
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert, frames, stages
from spatialdreamer_core.pipeline.flight import Flight
from spatialdreamer_core.pipeline.prefetch import Closed

BUILTIN = ConvertConfig(depth="builtin")
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"
ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported elsewhere"
KINDS = (RuntimeError, *(getattr(torch, name) for name in ("AcceleratorError",) if hasattr(torch, name)))


class Failing(sd.FastFill):
    """Fast fill that fails at some pushes, before it takes the frame."""

    def __init__(self, error, *pushes):
        super().__init__()
        self.error, self.pushes, self.count = error, pushes, -1

    def open(self, *, eye, size):
        stream = super().open(eye=eye, size=size)
        push = stream.push

        def fail_at_times(frame):
            self.count += 1
            if self.count in self.pushes:
                raise self.error
            return push(frame)

        stream.push = fail_at_times
        return stream


class Model:
    """A depth model that fails when it has seen so many frames."""

    def __init__(self, error, after):
        self.spec, self.modules = find_model("midas"), (torch.nn.Linear(1, 1),)
        self.error, self.after = error, after

    def inverse_depth(self, frames):
        self.after -= len(frames)
        if self.after < 0:
            raise self.error
        return frames[:, :1]


def clip_of(count=8):
    return make_clip("translate_right", size=(60, 96), frames=count).frames


def fail(stage, calls, error, monkeypatch):
    """Let a stage fail at some of its calls."""
    count, original = [-1], StageClock.__call__

    def call(self, name):
        if name == stage:
            count[0] += 1
            if count[0] in calls:
                raise error
        return original(self, name)

    monkeypatch.setattr(StageClock, "__call__", call)


@pytest.mark.parametrize("stage", ["disparity", "warp", "refine", "fill"])
def test_a_full_device_makes_room_and_goes_on_with_the_same_result(monkeypatch, caplog, stage):
    """Twice, with one line in the log."""

    class Redraws(sd.FastFill):
        refines_holes = True

    expected = list(sd.convert_frames(clip_of(), BUILTIN, filler=Redraws()))
    fail(stage, (3, 6), torch.OutOfMemoryError(FULL), monkeypatch)
    with caplog.at_level(logging.WARNING):
        pairs = list(sd.convert_frames(clip_of(), BUILTIN, filler=Redraws()))
    for pair, wanted in zip(pairs, expected, strict=True):
        assert all(torch.equal(part, other) for part, other in zip(pair, wanted, strict=True))
    lines = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert len(lines) == 1
    # Disparities and borders are timed alike, in two threads: which frame has the fourth call varies.
    which = "[234]" if stage == "disparity" else "4"
    assert re.search(rf"ran out of memory at frame {which}: from now on one frame at a time is on", lines[0])


def test_a_filler_that_runs_out_of_memory_is_asked_again():
    expected = list(sd.convert_frames(clip_of(), BUILTIN))
    filler = Failing(torch.cuda.OutOfMemoryError(FULL), 2, 7)
    for pair, wanted in zip(sd.convert_frames(clip_of(), BUILTIN, filler=filler), expected, strict=True):
        assert torch.equal(pair.right, wanted.right)


def test_a_frame_that_does_not_fit_alone_is_one_sentence(make_video, tmp_path, capsys, monkeypatch):
    clip = make_video(frames=6, size=(64, 48))
    folder = tmp_path / "out"
    folder.mkdir()
    fail("warp", range(2, 99), torch.OutOfMemoryError(FULL), monkeypatch)
    assert main(["convert", str(clip), "-o", str(folder), "--depth", "builtin", "--quiet"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "a frame must fit into the memory of cpu, but frame 3 does not, alone (CUDA out of memory" in line
    assert "choose device cpu" in line
    assert os.listdir(folder) == []
    assert not [thread for thread in threading.enumerate() if "prefetch" in thread.name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [ASSERT, "CUDA error: unspecified launch failure"])
def test_a_lost_device_names_the_frame(kind, text):
    filler = Failing(kind(text), 4)
    message = r"device must work to the end, but cpu failed at frame 5 \(CUDA error: .*; restart the program"
    with pytest.raises(InputError, match=message):
        list(sd.convert_frames(clip_of(), BUILTIN, filler=filler))


def test_a_part_of_a_film_counts_from_the_films_beginning():
    with pytest.raises(InputError, match=r"cpu failed at frame 1325 "), Flight(first=1320).naming(4):
        raise RuntimeError(ASSERT)


@pytest.mark.parametrize("stage", ["flow", "depth", "disparity", "warp", "fill", "pack"])
def test_a_device_lost_at_any_stage_leaves_no_file(make_video, tmp_path, monkeypatch, stage):
    clip = make_video(frames=5, size=(64, 48))
    fail(stage, (3,), RuntimeError(ASSERT), monkeypatch)
    with pytest.raises(InputError, match=r"failed at frame [1-5] \(CUDA error: device-side assert"):
        convert(clip, tmp_path / "out" / "out.mp4", BUILTIN)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(("after", "frame"), [(5, 6), (12, 5)])
def test_a_device_lost_by_a_depth_model_names_the_frame(after, frame):
    """In the first pass over eight frames, and in the second one."""
    model = Model(RuntimeError(ASSERT), after)
    with pytest.raises(InputError, match=f"failed at frame {frame} "):
        list(sd.convert_frames(clip_of(), ConvertConfig(), depth_model=model))


class Crowded(Model):
    """A depth model for which there is no room the second time that it sees a frame, but then there is."""

    def __init__(self, times):
        super().__init__(None, 10**9)
        self.seen, self.times, self.lacked = Counter(), times, 0

    def inverse_depth(self, frames):
        key = float(frames.double().sum())
        self.seen[key] += 1
        if self.seen[key] > 1 and self.lacked < self.times:
            self.lacked += 1
            raise torch.OutOfMemoryError(FULL)
        return super().inverse_depth(frames)


def test_a_depth_model_waits_for_room_that_other_frames_take(caplog):
    """Its own portions are as small as they get."""
    expected = list(sd.convert_frames(clip_of(), ConvertConfig(), depth_model=Crowded(0)))
    model = Crowded(1)
    with caplog.at_level(logging.WARNING):
        pairs = list(sd.convert_frames(clip_of(), ConvertConfig(), depth_model=model))
    assert model.lacked == 1
    assert "ran out of memory at frame 1: from now on one frame at a time" in caplog.text
    for pair, wanted in zip(pairs, expected, strict=True):
        assert torch.equal(pair.right, wanted.right)
    with pytest.raises(InputError, match=r"midas ran out of it at 96x60; use a smaller model"):
        list(sd.convert_frames(clip_of(), ConvertConfig(), depth_model=Crowded(2)))


@pytest.mark.parametrize("step", ["prepare", "between_pairs"])
def test_a_flow_model_waits_for_room_that_other_frames_take(monkeypatch, step):
    expected = list(sd.convert_frames(clip_of(), BUILTIN))
    original, count = getattr(DisFlow, step), [-1]

    def lack(self, *given):
        count[0] += 1
        if count[0] == 4:
            raise torch.OutOfMemoryError(FULL)
        return original(self, *given)

    monkeypatch.setattr(DisFlow, step, lack)
    for pair, wanted in zip(sd.convert_frames(clip_of(), BUILTIN), expected, strict=True):
        assert torch.equal(pair.right, wanted.right)


def test_a_warp_waits_for_room_that_other_frames_take(monkeypatch):
    """Also where it is its scratch memory that does not fit."""
    expected = list(sd.convert_frames(clip_of(), BUILTIN))
    original, count = stages.warp_frames, [-1]

    def lack(*given, **options):
        count[0] += 1
        if count[0] == 4:
            raise DoesNotFit("cuda must have 0.1 MB free to warp a row")
        return original(*given, **options)

    monkeypatch.setattr(stages, "warp_frames", lack)
    for pair, wanted in zip(sd.convert_frames(clip_of(), BUILTIN), expected, strict=True):
        assert torch.equal(pair.right, wanted.right)


def test_a_kernel_for_which_there_is_no_room_is_launched_again():
    """Triton says so in words of its own, when it loads one."""
    calls = []

    def launch():
        calls.append(0)
        if len(calls) == 1:
            raise RuntimeError("Triton Error [CUDA]: out of memory")
        return "done"

    assert Flight(torch.device("cuda")).run(0, launch) == "done"
    broken = RuntimeError("Triton Error [CUDA]: misaligned address")
    with pytest.raises(InputError, match=r"cuda failed at frame 1 \(Triton Error \[CUDA\]: misaligned"):
        Flight(torch.device("cuda")).run(0, fail_with, broken)


def fail_with(error):
    raise error


def test_a_depth_model_works_on_the_next_frames_while_these_are_steadied(monkeypatch):
    """As on a GPU, where it takes batches."""
    begun, waited = threading.Semaphore(0), []
    look_ahead, step = ModelStream.look_ahead, ModelStream.step

    class OfBatches(ModelStream):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            self.batch = 2

    def look(self, pictures):
        begun.release()
        look_ahead(self, pictures)

    def steady(self, *given):
        if not waited:  # at the first frame: its own batch has begun, the next one does so meanwhile
            waited.append(all(begun.acquire(timeout=20) for _ in range(2)))
        return step(self, *given)

    expected = list(sd.convert_frames(clip_of(), ConvertConfig(), depth_model=Model(None, 99)))
    monkeypatch.setattr(frames, "ModelStream", OfBatches)
    monkeypatch.setattr(ModelStream, "look_ahead", look)
    monkeypatch.setattr(ModelStream, "step", steady)
    pairs = list(sd.convert_frames(clip_of(), ConvertConfig(), depth_model=Model(None, 99)))
    assert waited == [True]
    for pair, wanted in zip(pairs, expected, strict=True):
        assert torch.equal(pair.right, wanted.right)


def test_other_errors_stay_what_they_are(monkeypatch):
    error = RuntimeError("shapes do not match")
    fail("warp", (2,), error, monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        list(sd.convert_frames(clip_of(), BUILTIN))
    assert caught.value is error


def test_the_first_frames_come_to_a_gpu_one_by_one():
    flight = Flight(torch.device("cuda"))
    for _ in range(6):
        flight.enter()
        flight.leave()
    for _ in range(4):
        flight.enter()


@pytest.mark.parametrize(
    "flight", [Flight(narrow=True), Flight(torch.device("cuda"))], ids=["short of memory", "begun on a GPU"]
)
def test_a_narrow_flight_lets_one_frame_at_a_time_on_its_way(flight):
    entered = []

    def enter():
        for index in range(3):
            flight.enter()
            entered.append(index)

    thread = threading.Thread(target=enter)
    thread.start()
    for count in (1, 2, 3):
        deadline = time.monotonic() + 10
        while len(entered) < count and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.01)
        assert len(entered) == count
        flight.leave()
    thread.join()
    flight.enter()
    threading.Timer(0.05, flight.close).start()
    with pytest.raises(Closed):
        flight.enter()
