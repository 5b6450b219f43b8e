from __future__ import annotations

import numpy as np

from spatialdreamer_core.depth.parallax import agreement_there_and_back, texture_of


def test_texture_is_where_there_is_detail():
    image = np.full((60, 80, 3), 0.5, np.float32)
    image[:, 40:] += np.random.default_rng(0).normal(0, 0.1, (60, 40, 3)).astype(np.float32)
    texture = texture_of(image)
    assert texture[:, :30].max() == 0
    assert texture[:, 50:].min() == 1


def test_a_sensors_noise_is_no_texture():
    noise = np.random.default_rng(0).normal(0.5, 1 / 255, (60, 80, 3)).astype(np.float32)
    assert texture_of(noise).max() < 0.1


def test_flows_that_undo_each_other_agree():
    flow = np.tile(np.float32([5, -2]), (60, 80, 1))
    inside = np.s_[3:, :70]
    assert agreement_there_and_back(flow, -flow)[inside].min() > 0.99
    assert agreement_there_and_back(flow, flow)[inside].max() < 0.05


def test_what_leaves_the_frame_agrees_with_nothing():
    flow = np.tile(np.float32([5, 0]), (60, 80, 1))
    agreement = agreement_there_and_back(flow, -flow)
    assert agreement[:, 76:].max() < 0.01
    assert agreement[:, :70].min() > 0.99
