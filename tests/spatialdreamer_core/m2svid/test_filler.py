"""M2SVid as a filler: the stream is `refine`, scene by scene, in the memory of a window."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.fill import CheckedStream, RenderedFrame, fill_holes
from spatialdreamer_core.m2svid import M2SVidFiller, RefinerConfig, refine

from . import fitted

CONFIG = RefinerConfig(window=4, overlap=1)
KEEP = replace(CONFIG, keep_known=True)


@pytest.fixture(scope="module")
def small_model():
    return fitted.make_random_model()


def scene(count, *, start=0):
    left, warped, hole, _ = fitted.make_clip(count, start=start)
    return [RenderedFrame(*parts) for parts in zip(left, warped, hole, strict=True)]


def run(filler, *scenes):
    """Push scenes through a film's stream; returns each scene's frames and how many each push gave."""
    stream = CheckedStream(filler, eye="right", size=fitted.SIZE)
    results, counts = [], []
    for frames in scenes:
        given = [stream.push(frame) for frame in frames]
        rest = stream.finish()
        counts.append([len(done) for done in (*given, rest)])
        results.append(torch.stack([frame for done in (*given, rest) for frame in done]))
    stream.close()
    return results, counts


@pytest.mark.parametrize("config", [CONFIG, KEEP])
def test_a_clip_through_the_filler_is_refine(small_model, config):
    left, warped, hole, _ = fitted.make_clip(6)
    filled = fill_holes(M2SVidFiller(small_model, config), left=left, warped=warped, hole=hole, shift=3.0)
    assert torch.equal(filled, refine(small_model, left, warped, hole, config, shift=3.0).filled)
    assert not torch.equal(filled, refine(small_model, left, warped, hole, config).filled)


def test_frames_come_by_windows_and_the_last_one_is_full(small_model):
    sizes = []
    with small_model.svd.unet.register_forward_hook(lambda _, given, __: sizes.append(given[0].shape[1])):
        _, (counts,) = run(M2SVidFiller(small_model, CONFIG), scene(8))
    assert counts == [0, 0, 0, 4, 0, 0, 3, 0, 1]
    assert sizes == [4, 4, 4]


def test_windows_never_cross_a_cut(small_model):
    filler = M2SVidFiller(small_model, CONFIG)
    (first, second), _ = run(filler, scene(3), scene(2, start=20))
    (again, changed), _ = run(filler, scene(3), scene(2, start=70))
    assert torch.equal(first, again), "another scene after it changes nothing"
    assert not torch.equal(second, changed)
    (_, once_more), _ = run(filler, scene(3, start=50), scene(2, start=20))
    assert torch.equal(second, once_more), "nor does another one before it, of the same length"


def test_what_it_may_change_is_what_it_says(small_model):
    assert M2SVidFiller(small_model, CONFIG).reach is None
    assert M2SVidFiller(small_model, replace(KEEP, dilate=3, feather=5)).reach == 8


def test_the_share_is_logged_once_a_film(small_model, caplog):
    quiet = [frame._replace(hole=0 * frame.hole) for frame in scene(3)]
    with caplog.at_level(logging.INFO):
        run(M2SVidFiller(small_model, CONFIG), scene(1), quiet)
    assert [record.getMessage() for record in caplog.records] == ["M2SVid ran on 25 % of the film's area"]


def test_options_are_checked_when_it_is_made(small_model):
    with pytest.raises(InputError, match=r"fps must be between 1 and 240 \(frames/s\), got 0"):
        M2SVidFiller(small_model, RefinerConfig(fps=0))


def test_waits_can_interrupt(small_model):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(M2SVidFiller(small_model, CONFIG, on_wait=stop), scene(1))
