"""The count of a clip's steps."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.frame_matrix.progress import Progress

CELLS = torch.zeros(1)


def test_parts_of_parts_add_up_to_the_total():
    told = []
    clip = Progress.of_clip(lambda done, total, clean: told.append((done, total)), 12)
    for window in (clip.part(0, 0.5), clip.part(0.5, 1)):
        for region, steps in zip(window.divide([2.0, 0.0, 4.0]), (2, 0, 4), strict=True):
            for done in range(1, steps + 1):
                region.step(done, steps, CELLS)
    assert told == [(done, 12) for done in range(1, 13)]


def test_what_begins_anew_does_not_count_back_and_many_small_steps_stay_whole_numbers():
    told = []
    clip = Progress.of_clip(lambda done, total, clean: told.append(done), 3)
    for count in (40, 10, 100):
        for done in range(1, count + 1):
            clip.part(0, 1).step(done, 100, CELLS)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (1, 3)


def test_what_is_finished_early_comes_to_its_end_and_nothing_is_told_before_the_first_step():
    told = []
    clip = Progress.of_clip(lambda done, total, clean: told.append((done, clean)), 8)
    clip.part(0, 0.25).finish()
    assert told == []
    clip.part(0.25, 0.5).step(1, 2, CELLS)
    clip.part(0.25, 0.5).finish()
    clip.part(0.25, 0.5).finish()
    assert told == [(3, CELLS), (4, CELLS)]


def test_whoever_is_told_may_interrupt():
    def stop(done, total, clean):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Progress.of_clip(stop, 5).step(1, 5, CELLS)
    Progress.of_clip(None, 5).step(1, 5, CELLS)
