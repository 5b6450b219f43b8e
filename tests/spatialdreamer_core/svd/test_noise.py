"""Noise drawn ahead by threads is the noise of its frames."""

from __future__ import annotations

import threading

import pytest
import torch

from spatialdreamer_core.svd import noise as module
from spatialdreamer_core.svd.noise import FrameNoise
from spatialdreamer_core.svd.schedule import frame_noise

from ..no_waits import no_waits

CPU = torch.device("cpu")
SIZE = {"height": 4, "width": 6, "channels": 3, "stream": 1}


@pytest.mark.parametrize("ahead", [[], [3, 4, 5], [4, 5], [7, 8]])
def test_it_is_that_of_each_frame_whether_drawn_ahead_or_not(ahead):
    noise = FrameNoise(9, **SIZE)
    noise.draw_ahead(ahead)
    assert torch.equal(noise.take([3, 4, 5], CPU), frame_noise(9, [3, 4, 5], **SIZE))
    assert torch.equal(noise.take(iter([5, 3]), CPU), frame_noise(9, [5, 3], **SIZE))


def test_a_frame_is_drawn_once_and_by_another_thread(monkeypatch):
    drawn = []

    def draw(seed, frames, **size):
        drawn.append((*frames, threading.current_thread() is threading.main_thread()))
        return frame_noise(seed, frames, **size)

    monkeypatch.setattr(module, "frame_noise", draw)
    noise = FrameNoise(0, **SIZE)
    noise.draw_ahead([0, 1])
    noise.draw_ahead([1, 2])
    noise.take([1, 2], CPU)
    assert sorted(drawn) == [(0, False), (1, False), (2, False)]


@pytest.mark.gpu
def test_a_device_gets_the_same_numbers_and_need_not_wait():
    noise = FrameNoise(1, **SIZE)
    noise.draw_ahead(range(3))
    with no_waits():
        sent = noise.take(range(3), torch.device("cuda"))
    assert torch.equal(sent.cpu(), frame_noise(1, range(3), **SIZE))
