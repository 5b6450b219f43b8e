"""A clip that is converted part by part comes out as all at once, bit for bit."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import spatialdreamer_core as sd
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.pipeline import ClipConversion, ConvertConfig

from ..red_is_near import RedIsNear

SIZE = (48, 64)
BUILTIN = ConvertConfig(depth="builtin")


class Redraws(sd.FastFill):
    """A filler that gets refined masks."""

    refines_holes = True


@pytest.fixture(scope="module")
def frames():
    """Two scenes of 9 and 5 frames, within black bars."""
    first = make_clip("translate_right", size=SIZE, frames=9).frames
    second = 1 - make_clip("zoom", size=SIZE, frames=5).frames
    return torch.nn.functional.pad(torch.cat([first, second]), (0, 0, 8, 8))


def in_parts(frames, cuts, config, *, depth=None, **options):
    clip = ClipConversion(config, **options)
    pairs = []
    for start, end in pairwise((0, *cuts, len(frames))):
        part = None if depth is None else depth[start:end]
        pairs += clip.take(frames[start:end], depth=part, more_follows=end < len(frames))
    assert clip.parts == len(cuts) + 1
    return pairs


def assert_same(pairs, others):
    assert len(pairs) == len(others)
    for pair, other in zip(pairs, others, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(pair, other, strict=True))


@pytest.mark.parametrize(
    "changes",
    [{}, {"eye": "both", "border": "floating_window"}, {"comfort": True, "auto_convergence": True}],
    ids=["plain", "borders", "placed"],
)
def test_parts_are_the_whole(frames, changes):
    config = replace(BUILTIN, **changes)
    # What each scene's place needs is seen in its first frames where frames are read once.
    whole = list(sd.convert_frames(iter(frames) if "comfort" in changes else frames, config))
    for cuts in ((9,), (1, 2, 8, 12)):
        assert_same(in_parts(frames, cuts, config), whole)


def test_parts_of_given_depth_and_of_a_filler_with_refined_masks_are_the_whole(frames):
    depth = torch.rand(len(frames), 1, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = list(sd.convert_frames(frames, BUILTIN, depth=depth, filler=Redraws()))
    assert_same(in_parts(frames, (7, 11), BUILTIN, depth=depth, filler=Redraws()), whole)


def test_a_depth_model_is_as_with_frames_that_are_read_once(frames):
    config = ConvertConfig()
    whole = list(sd.convert_frames(iter(frames), config, depth_model=RedIsNear()))
    assert_same(in_parts(frames, (3, 12), config, depth_model=RedIsNear()), whole)


def test_frames_that_wait_for_others_come_with_the_next_part(frames):
    clip = ClipConversion(BUILTIN)
    first = list(clip.take(frames[:6], more_follows=True))
    assert 0 < len(first) < 6
    threads = [thread for thread in threading.enumerate() if "prefetch" in thread.name]
    assert threads == []  # nothing goes on between two parts
    assert len(first) + len(list(clip.take(frames[6:], more_follows=False))) == len(frames)


def test_what_is_given_is_checked(frames):
    clip = ClipConversion(BUILTIN)
    list(clip.take(frames[:4], more_follows=True))
    with pytest.raises(InputError, match="given for all parts of a clip or for none, got some in part 2"):
        list(clip.take(frames[4:6], depth=torch.rand(2, 1, 48, 64), more_follows=False))
    with pytest.raises(InputError, match=r"as many maps as there are frames \(2\), got 3"):
        list(clip.take(frames[4:6], depth=torch.rand(3, 1, 48, 64), more_follows=False))
    list(clip.take(frames[4:], more_follows=False))
    with pytest.raises(InputError, match="no part after its last one, got one after 2"):
        list(clip.take(frames, more_follows=False))


def test_settings_that_cannot_be_end_the_clip_at_its_first_part(frames):
    clip = ClipConversion(replace(BUILTIN, start=1.0))
    with pytest.raises(InputError, match="start must be left out for frames in memory"):
        list(clip.take(frames, more_follows=True))
    with pytest.raises(InputError, match="no part after its last one, got one after 0"):
        list(clip.take(frames, more_follows=True))


def test_an_error_in_the_work_ends_the_clip(frames):
    clip = ClipConversion(BUILTIN)
    list(clip.take(frames[:4], more_follows=True))
    with pytest.raises(InputError, match="`frames` must have one size"):
        list(clip.take(frames[4:, :, :40], more_follows=True))
    with pytest.raises(InputError, match="no part after its last one"):
        list(clip.take(frames[4:], more_follows=True))


def test_a_clip_that_is_left_ends_its_thread(frames):
    def alive():
        return [thread for thread in threading.enumerate() if thread.name == "spatialdreamer-clip"]

    before = len(alive())
    for leave in (lambda clip: clip.close(), lambda clip: None):
        clip = ClipConversion(BUILTIN)
        list(clip.take(frames[:4], more_follows=True))
        assert len(alive()) == before + 1
        leave(clip)
        del clip
        gc.collect()
        for thread in alive():
            thread.join(5)
        assert len(alive()) == before
