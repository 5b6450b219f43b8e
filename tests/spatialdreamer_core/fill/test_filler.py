"""The filler contract: what a film and a clip hold any filler to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.fill import (
    CheckedStream,
    FastFill,
    FillerError,
    RenderedFrame,
    fast_fill,
    fill_holes,
)
from spatialdreamer_core.fill.known_pixels import KnownPixels
from spatialdreamer_core.flow import Flow

SIZE = (12, 20)


class Grey:
    """A filler of someone else: holes become grey; keeps `late` frames back until the scene ends."""

    refines_holes = False

    def __init__(self, *, late: int = 0, extra: int = 0, lose: int = 0, cut: int = 0):
        self.late, self.extra, self.lose, self.cut = late, extra, lose, cut

    def open(self, *, eye, size):
        self.opened = (eye, size)
        self.waiting = []
        return self

    def push(self, frame):
        self.waiting.append(torch.where(frame.hole > 0.5, 0.5, frame.warped)[..., self.cut :])
        done = len(self.waiting) - self.late
        finished, self.waiting = self.waiting[: max(0, done)], self.waiting[max(0, done) :]
        return finished + finished[:1] * self.extra

    def finish(self):
        finished, self.waiting = self.waiting[self.lose :], []
        return finished


class Gives(Grey):
    """A filler that returns something else than it should."""

    def __init__(self, result, *, listed=True):
        self.result = [result] if listed else result

    def push(self, frame):
        return self.result


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(7, 3, *SIZE, generator=generator)
    disparity = torch.zeros(7, 1, *SIZE)
    disparity[..., 8:12] = 3
    warped, hole = forward_warp(image, disparity)
    return {"left": image, "warped": warped, "hole": hole, "disparity": disparity}


@pytest.mark.parametrize("late", [0, 3, 100])
def test_a_clip_is_a_loop_over_the_stream(clip, late):
    done = []
    filler = Grey(late=late)
    filled = fill_holes(filler, **clip, eye="right", on_frame=done.append)
    assert torch.equal(filled, torch.where(clip["hole"] > 0.5, 0.5, clip["warped"]))
    assert done == [1, 2, 3, 4, 5, 6, 7]
    assert filler.opened == ("right", SIZE)


def test_fast_fill_is_one_of_them(clip):
    flow = Flow.between(torch.zeros(6, 2, *SIZE), torch.zeros(6, 2, *SIZE))
    expected = fast_fill(clip["warped"], clip["hole"], disparity=clip["disparity"], flow=flow)
    before = {name: value.clone() for name, value in clip.items()}
    assert torch.equal(fill_holes(FastFill(), **clip, flow=flow), expected)
    assert all(torch.equal(clip[name], value) for name, value in before.items()), "arguments stay"


@pytest.mark.parametrize(
    ("filler", "message"),
    [
        (Grey(extra=1), "one frame for each that it takes, but Grey returned 1 more"),
        (Grey(late=3, lose=2), "must return every frame, but Grey kept 2 at the end of a scene"),
        (Grey(cut=4), r"of the view's size, \(3, 12, 20\), but Grey returned \(3, 12, 16\)"),
        (
            Gives(torch.full((3, *SIZE), torch.nan)),
            r"return values in .*, but Gives returned nan",
        ),
        (
            Gives(torch.zeros(3, *SIZE, dtype=torch.uint8)),
            r"returned torch.uint8",
        ),
        (Gives(None), r"of the view's size, \(3, 12, 20\), but Gives returned NoneType"),
        (
            Gives(torch.zeros(3, *SIZE), listed=False),
            r"a list of the frames .*, but Gives returned Tensor",
        ),
    ],
)
def test_a_filler_that_breaks_the_contract_is_named(clip, filler, message):
    with pytest.raises(InputError, match=message):
        fill_holes(filler, **clip)


class Deed:
    """A filler of someone else, which fills holes with grey and then does something to the frame."""

    def __init__(self, deed, **says):
        self.deed = deed
        vars(self).update(says)

    def open(self, *, eye, size):
        return self

    def push(self, frame):
        return self.deed(torch.where(frame.hole > 0.5, 0.5, frame.warped), frame)

    def finish(self):
        return []


def changed(frame, value, *, row=0, column=0):
    """Change one pixel of a frame; in column 4 it is 4 px left of the clip's holes."""
    frame[:, row, column] = value
    return frame


def overwrite(frame):
    frame.warped[:] = 0.5
    return frame.warped


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (lambda frame, _: [changed(frame, 0.9)], "leave known pixels as they are .*Deed changed 1 of them"),
        (lambda frame, _: [1 - frame], "leave known pixels"),
        (lambda frame, given: [overwrite(given)], "leave known pixels"),
        (lambda frame, _: [frame + 1e-6], "leave known pixels"),
        (
            lambda frame, _: [changed(frame, float("nan"))],
            r"return values in \[0, 1\], but Deed returned nan",
        ),
        (lambda frame, _: [changed(frame, float("inf"))], "returned inf"),
        (lambda frame, _: [frame * 255], r"return values in \[0, 1\]"),
        (lambda frame, _: [frame * 2 - 1], r"return values in \[0, 1\]"),
        (
            lambda frame, _: [frame.half()],
            "view's type, torch.float32 on cpu, but Deed returned torch.float16",
        ),
        (lambda frame, _: [(frame * 255).to(torch.uint8)], "returned torch.uint8"),
        (lambda frame, _: [frame.to("meta")], "on meta"),
        (lambda frame, _: [frame[None]], r"returned \(1, 3, 12, 20\)"),
        (lambda frame, _: [frame.numpy()], "returned ndarray"),
        (lambda frame, _: frame, "return a list of the frames that are finished, but Deed returned Tensor"),
        (lambda frame, _: None, "return a list of the frames that are finished, but Deed returned NoneType"),
        (lambda frame, _: [], "return every frame, but Deed kept 7"),
        (lambda frame, _: fail(KeyError("colour")), "failed at its frame 1: KeyError: 'colour'"),
        (
            lambda frame, _: fail(RuntimeError("it broke")),
            "Deed failed at its frame 1: RuntimeError: it broke",
        ),
    ],
)
def test_a_filler_that_does_what_it_must_not_is_named(clip, deed, message):
    with pytest.raises(FillerError, match=message):
        fill_holes(Deed(deed), **clip)


def test_its_reach_says_how_far_a_filler_may_go(clip):
    edge = int(clip["hole"][0, 0, 0].nonzero()[0])  # the hole's first column
    for reach, distance in ((3, 3), (130, edge), (None, edge)):
        filler = Deed(lambda f, _, at=edge - distance: [changed(f, 0.9, column=at)], reach=reach)
        assert bool((fill_holes(filler, **clip)[:, :, 0, edge - distance] == 0.9).all())
    filler = Deed(lambda frame, _: [changed(frame, 0.9, column=edge - 4)], reach=3)
    with pytest.raises(FillerError, match="known pixels more than 3 px from holes"):
        fill_holes(filler, **clip)


def test_frames_of_bytes_are_held_to_the_contract_too(clip):
    warped, hole = (clip["warped"][0] * 255).round().to(torch.uint8), clip["hole"][0] > 0.5
    frame = RenderedFrame(warped, warped, hole)
    deeds = {
        "leave known pixels": lambda frame: torch.where(frame.hole, 0, frame.warped + 1),
        "of the view's type": lambda frame: frame.warped / 255,
    }
    for message, deed in deeds.items():
        stream = CheckedStream(Deed(lambda _, frame, deed=deed: [deed(frame)]), eye="right", size=SIZE)
        with pytest.raises(FillerError, match=message):
            stream.push(frame)
    stream = CheckedStream(
        Deed(lambda _, frame: [torch.where(frame.hole, 255, frame.warped)]), eye="right", size=SIZE
    )
    (filled,) = stream.push(frame)
    assert filled.dtype == torch.uint8


def test_each_row_of_a_film_is_looked_at_in_turn(clip):
    stream = CheckedStream(
        Deed(lambda frame, _: [changed(frame, 0.9, row=5)]), eye="right", size=SIZE, rows_apart=8
    )
    frame = RenderedFrame(*(clip[name][0] for name in ("left", "warped", "hole")))
    for _ in range(5):
        stream.push(frame)
    with pytest.raises(FillerError, match="known pixels"):
        stream.push(frame)


def test_no_frame_is_pushed_twice_when_memory_runs_out_in_its_check(clip, monkeypatch):
    judge, calls = KnownPixels.judge, []

    def judge_at_the_second_try(known, filled):
        calls.append(None)
        if len(calls) % 2:
            raise MemoryError
        return judge(known, filled)

    monkeypatch.setattr(KnownPixels, "judge", judge_at_the_second_try)
    filler = Grey(late=2)
    assert torch.equal(fill_holes(filler, **clip), torch.where(clip["hole"] > 0.5, 0.5, clip["warped"]))
    assert len(calls) == 14


class OfAnotherPackage(Exception):
    """An interrupt, as ComfyUI 0.3.75 raises it."""


@pytest.mark.parametrize("error", [OfAnotherPackage("stop"), InputError("a sentence"), MemoryError()])
def test_what_is_reported_elsewhere_passes_through(clip, error):
    with pytest.raises(type(error)) as caught:
        fill_holes(Deed(lambda *_: fail(error)), **clip)
    assert caught.value is error


class Opens:
    """Something with a method `open`."""

    def __init__(self, opens, **says):
        self.open = opens
        vars(self).update(says)


@pytest.mark.parametrize(
    ("filler", "message"),
    [
        (Grey, r"must be a filler, .*, got the class Grey; make one, such as Grey\(...\)"),
        ("fast", r"got str; make one, such as FillerConfig\('fast'\)\.load"),
        (fast_fill, r"an object with a method open\(\*, eye, size\), got function; make one"),
        (None, "got NoneType"),
        (Path("fast"), "must be a filler, an object with a method open"),
        (Opens(lambda size: None), "must be a filler, .*, got Opens; make one, such as FastFill"),
        (Opens("open"), "must be a filler"),
        (Opens(lambda eye, size: None), "open a stream with push and finish, but Opens opened NoneType"),
        (Opens(lambda **_: None, reach=-1), "filler.reach must be between 0 and"),
        (Opens(lambda **_: None, reach="far"), "filler.reach must be a number"),
        (Opens(lambda **_: None, refines_holes="no"), "`filler.refines_holes` must be True or False"),
        (Opens(lambda **_: None, takes_bytes="no"), "`filler.takes_bytes` must be True or False"),
    ],
)
def test_what_is_no_filler_is_refused(clip, filler, message):
    with pytest.raises(InputError, match=message):
        fill_holes(filler, **clip)


def test_the_own_fillers_say_how_far_they_reach(clip):
    for filler in (FastFill(), FastFill(texture=0), FastFill(overwrite=True)):
        assert filler.reach == 0
        given = {name: value.clone() for name, value in clip.items()}
        filled = fill_holes(filler, **given)
        assert torch.equal(
            torch.where(clip["hole"] > 0.5, 0, filled), torch.where(clip["hole"] > 0.5, 0, clip["warped"])
        )


def test_a_stream_takes_scene_after_scene(clip):
    stream = CheckedStream(Grey(late=2), eye="left", size=SIZE)
    frames = [RenderedFrame(*(clip[name][t] for name in ("left", "warped", "hole"))) for t in range(3)]
    for _ in range(2):
        counts = [len(stream.push(frame)) for frame in frames]
        assert counts == [0, 0, 1]
        assert len(stream.finish()) == 2


def test_a_wrong_eye_and_flow_are_named(clip):
    with pytest.raises(InputError, match="eye"):
        fill_holes(FastFill(), **clip, eye="middle")
    with pytest.raises(InputError, match="`flow` must be a Flow, got Tensor; make one by estimate_flow"):
        fill_holes(FastFill(), **clip, flow=torch.zeros(6, 2, *SIZE))
