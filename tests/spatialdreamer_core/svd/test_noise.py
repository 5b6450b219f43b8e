"""Noise by frame index."""

from __future__ import annotations

import torch

from spatialdreamer_core.svd.noise import frame_noise


def test_a_frames_noise_depends_on_its_index_alone():
    whole = frame_noise(7, range(6), height=8, width=16)
    assert torch.equal(frame_noise(7, range(2, 5), height=8, width=16), whole[2:5])


def test_seed_stream_and_frame_give_different_noise_of_unit_variance():
    draws = [
        frame_noise(seed, [frame], height=64, width=64, stream=stream)
        for seed, frame, stream in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 0, 0)]
    ]
    for index, draw in enumerate(draws):
        assert abs(draw.std() - 1) < 0.03
        assert abs(draw.mean()) < 0.03
        for other in draws[:index]:
            assert abs((draw * other).mean()) < 0.03
