"""The filler contract: what a film and a clip hold any filler to."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.fill import CheckedStream, FastFill, RenderedFrame, fast_fill, fill_holes
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
            r"finite floats .*, but Gives returned values that are not",
        ),
        (
            Gives(torch.zeros(3, *SIZE, dtype=torch.uint8)),
            r"finite floats .*, but Gives returned torch.uint8",
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


@pytest.mark.parametrize("wrong", [3, "fast", FastFill, lambda warped, hole: warped], ids=repr)
def test_what_is_no_filler_is_named(clip, wrong):
    with pytest.raises(InputError, match=r"`filler` must be a filler, an object with .* got .*; make one"):
        fill_holes(wrong, **clip)


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
