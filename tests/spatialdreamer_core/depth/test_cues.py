from __future__ import annotations

import numpy as np
import pytest

from spatialdreamer_core.depth.cues import (
    CueWeights,
    combine_cues,
    fill_enclosed,
    position_cue,
    support_cue,
)

HEIGHT, WIDTH = 180, 320
SKY, GROUND, COAT = (190, 200, 210), (120, 130, 90), (40, 30, 30)


@pytest.fixture
def street():
    """Give a sky over a ground, and someone upright who stands on it."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:90], frame[90:] = SKY, GROUND
    frame[40:150, 140:180] = COAT
    return frame


def test_what_stands_upright_is_as_near_as_its_foot(street):
    rise = support_cue(street)
    foot = position_cue(HEIGHT, WIDTH)[147, 160]
    raised = position_cue(HEIGHT, WIDTH) + rise
    np.testing.assert_allclose(raised[60:140, 150:170], foot, atol=0.03)


def test_ground_and_sky_stay_where_they_are(street):
    rise = support_cue(street)
    assert rise[:, :130].max() < 0.02
    assert rise[:, 190:].max() < 0.02


def test_cues_stay_in_range_at_any_size():
    generator = np.random.default_rng(0)
    for height, width in ((1, 1), (2, 7), (90, 31), (41, 320)):
        frame = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        prior = combine_cues(frame, CueWeights())
        assert prior.shape == (height, width)
        assert 0 <= prior.min() <= prior.max() <= 1


def test_a_mouth_is_no_hole_in_a_face_and_a_gap_stays_open():
    depth = np.full((HEIGHT, WIDTH), 0.3, np.float32)
    depth[40:150, 60:140] = depth[40:150, 170:250] = 0.8  # two faces, a gap between them
    depth[100:112, 85:115] = 0.5  # a mouth
    filled = fill_enclosed(depth)
    assert filled[102:110, 88:112].min() > 0.78
    assert filled[60:140, 148:162].max() < 0.32
    assert filled[:30].max() < 0.32
    slope = np.tile(np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    np.testing.assert_allclose(fill_enclosed(slope), slope, atol=0.01)
