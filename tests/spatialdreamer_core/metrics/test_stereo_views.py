import math

import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.metrics import (
    consistency,
    disparity_error,
    make_clip,
    match_rate,
    match_views,
    matchability,
    siou,
    vertical_disparity,
)
from spatialdreamer_core.metrics.stereo_views import Matchability


@pytest.fixture(scope="module")
def textured():
    """A picture whose features SIFT finds, [1, 3, 96, 160]."""
    noise = np.random.default_rng(0).random((96, 160, 3), np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 1.5)
    blurred = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return torch.from_numpy(blurred).permute(2, 0, 1)[None]


def test_siou_of_the_truth_is_one_and_of_the_source_less(textured):
    truth = textured.roll(6, -1)
    assert siou(textured, truth, truth) == 1
    assert siou(textured, textured, truth) < 0.75 * 0.5
    flat = torch.full_like(textured, 0.5)
    assert siou(flat, flat, flat) == 1, "two empty sets are equal"


def test_siou_by_hand():
    """Bars of 8x8: the edges are equal, the changes overlap by a half."""
    source = torch.zeros(1, 3, 40, 40)
    truth, result = source.clone(), source.clone()
    truth[..., 10:30, 10:30] = 1
    result[..., 10:30, 10:30] = 1
    result[..., 10:30, 30:] = 12 / 255  # no edge for Canny, but a change
    changed = np.zeros((40, 40), bool)
    changed[10:30, 10:] = True
    wanted = 20 * 20 / changed.sum()
    assert siou(source, result, truth) == pytest.approx(0.75 + 0.25 * wanted)


@pytest.mark.parametrize("eye", ["right", "left"])
def test_disparity_is_recovered(textured, eye):
    shift = -7 if eye == "right" else 7
    matches = match_views(textured, textured.roll(shift, -1))[0][0]
    intended = torch.full((1, 96, 160), 7.0)
    assert disparity_error(matches, intended, eye=eye) < 0.05
    assert disparity_error(matches, intended + 2, eye=eye) == pytest.approx(2, abs=0.05)
    assert vertical_disparity(matches) < 0.1
    assert match_rate(matches) > 0.7


def test_vertical_disparity_is_found(textured):
    matches = match_views(textured, textured.roll(3, -2))[0][0]
    assert vertical_disparity(matches) == pytest.approx(3, abs=0.05)


def test_large_frames_are_measured_in_their_own_pixels(textured):
    large = torch.nn.functional.interpolate(textured, (960, 1600), mode="bilinear")
    matches = match_views(large, large.roll(-30, -1))[0][0]
    assert disparity_error(matches, torch.full((1, 960, 1600), 30.0)) < 0.5


def test_matchability_counts_what_is_lost_and_made_up(textured):
    truth = textured.roll(-5, -1)
    same = matchability(textured, truth, truth)
    assert same.error == 0
    assert same.only_truth == same.only_result == 0
    blurred = torch.nn.functional.avg_pool2d(truth, 9, stride=1, padding=4)
    lost = matchability(textured, blurred, truth)
    assert lost.only_truth > lost.only_result
    assert lost.error > 0.3
    other_way = matchability(textured, truth, blurred)
    assert (other_way.only_truth, other_way.only_result) == (lost.only_result, lost.only_truth)
    assert Matchability(6, 1, 3).error == pytest.approx(0.4)


def test_pictures_without_features_have_no_measure():
    flat = torch.full((1, 3, 40, 60), 0.5)
    assert math.isnan(matchability(flat, flat, flat).error)
    matches = match_views(flat, flat)[0][0]
    assert math.isnan(match_rate(matches))
    assert math.isnan(vertical_disparity(matches))
    assert math.isnan(disparity_error(matches, torch.zeros(1, 40, 60)))


def test_consistency_counts_known_pixels_alone():
    clip = make_clip("strips_right", size=(48, 80), frames=1, baseline=0.05)
    from spatialdreamer_core.dvg import forward_warp

    warped, hole = forward_warp(clip.frames, clip.disparity)
    filled = torch.where(hole > 0.5, torch.ones_like(warped), warped)
    assert consistency(clip.frames, filled, clip.disparity) == math.inf
    darker = torch.where(hole > 0.5, filled, warped * 0 + 0.5)
    assert consistency(clip.frames, darker, clip.disparity) < 25
