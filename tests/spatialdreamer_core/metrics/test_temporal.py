import math

import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.flow import Flow, estimate_flow
from spatialdreamer_core.metrics import colour_shift, mask_flicker, temporal_error, warping_error


def uniform_flow(frames, dx, size=(48, 80)):
    forward = torch.zeros(frames - 1, 2, *size)
    forward[:, 0] = dx
    return Flow.between(forward, -forward)


def test_a_still_clip_has_no_warping_error():
    clip = torch.rand(1, 3, 48, 80).expand(4, -1, -1, -1)
    assert warping_error(clip, estimate_flow(clip)) == 0


@pytest.mark.parametrize("step", [1, 3])
def test_a_translated_clip_has_none_along_its_flow(step):
    picture = torch.rand(3, 48, 110, generator=torch.Generator().manual_seed(0))
    clip = torch.stack([picture[..., 20 - step * t : 100 - step * t] for t in range(4)])
    assert warping_error(clip, uniform_flow(4, step)) < 1e-6
    assert warping_error(clip, uniform_flow(4, 0)) > 1e-2


@pytest.mark.parametrize("step", [1, 3])
def test_a_translated_clip_has_next_to_none_along_its_estimated_flow(step):
    noise = np.random.default_rng(0).random((64, 130, 3), np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    picture = torch.from_numpy((blurred - blurred.min()) / np.ptp(blurred)).permute(2, 0, 1)
    clip = torch.stack([picture[..., 20 - step * t : 116 - step * t] for t in range(4)])
    assert warping_error(clip, estimate_flow(clip)) < 1e-6


def test_the_warping_error_by_hand():
    clip = torch.zeros(3, 3, 48, 80)
    clip[1] = 0.1
    clip[2] = 0.3
    assert warping_error(clip, uniform_flow(3, 0)) == pytest.approx((0.1**2 + 0.2**2) / 2, rel=1e-5)
    hidden = uniform_flow(3, 0)
    hidden.forward_confidence[1] = 0
    assert warping_error(clip, hidden) == pytest.approx(0.1**2, rel=1e-5)


def test_what_leaves_the_frame_does_not_count():
    clip = torch.rand(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    clip[1, :, :, 5:] = clip[0, :, :, :-5]
    assert warping_error(clip, uniform_flow(2, 5)) < 1e-9


def test_one_frame_has_no_measure_over_time():
    clip = torch.rand(1, 3, 48, 80)
    assert math.isnan(warping_error(clip, uniform_flow(1, 0)))
    assert math.isnan(temporal_error(clip, clip))
    assert math.isnan(colour_shift(clip, clip, chunk=1))


def test_another_clips_flow_is_refused():
    with pytest.raises(InputError, match="flow"):
        warping_error(torch.rand(3, 3, 48, 80), uniform_flow(2, 0))


def test_the_temporal_error_by_hand():
    truth = torch.zeros(3, 3, 4, 4)
    result = truth.clone()
    result[1] = 10 / 255  # a flash: 10 up, then 10 down
    assert temporal_error(result, truth) == pytest.approx(10, rel=1e-5)
    mask = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    mask[:2, ..., 0] = True
    result[2] = 40 / 255
    assert temporal_error(result, truth, mask) == pytest.approx(10, rel=1e-5)
    assert math.isnan(temporal_error(result, truth, mask & False))


def test_a_mask_that_moves_with_its_object_does_not_flicker():
    hole = torch.zeros(3, 1, 48, 80)
    for t in range(3):
        hole[t, ..., 30 + 4 * t : 36 + 4 * t] = 1
    disparity = torch.zeros(3, 1, 48, 80)
    assert mask_flicker(hole, uniform_flow(3, 4), disparity=disparity) == 0
    assert mask_flicker(hole, uniform_flow(3, 0), disparity=disparity) == pytest.approx(8 / 80)


def test_the_flow_is_carried_to_the_rendered_view():
    """What moves has moved 10 px to the left in the right eye's view."""
    disparity, hole = torch.zeros(2, 1, 48, 80), torch.zeros(2, 1, 48, 80)
    hole[0, ..., 30:32] = hole[1, ..., 33:35] = 1
    disparity[...] = 10
    flow = uniform_flow(2, 3)
    flow.backward[..., :40] = 0  # that of the source's left half, which is not seen at the hole
    steady = mask_flicker(hole, flow, disparity=disparity)
    assert steady == 0


def test_the_colour_shift_is_the_largest_jump_between_chunks():
    reference = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    result = reference.clone()
    result[3:6, 1] += 4 / 255
    result[6:, 1] += 10 / 255
    assert colour_shift(result, reference, chunk=3) == pytest.approx(6, abs=1e-3)
    assert math.isnan(colour_shift(result, reference, chunk=9))
    mask = torch.zeros(9, 1, 8, 8, dtype=torch.bool)
    mask[..., :4] = True
    result[..., 4:] = 1
    assert colour_shift(result, reference, mask, chunk=3) == pytest.approx(6, abs=1e-3)
    with pytest.raises(InputError, match="chunk must be between 1 and"):
        colour_shift(result, reference, chunk=0)
