import logging

import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import (
    BuiltinDepth,
    catalogue,
    estimate_depth,
    list_estimators,
    upsample_depth,
    working_frame,
    working_size,
)
from spatialdreamer_core.flow import Flow, dis_flow, estimate_flow
from spatialdreamer_core.metrics import make_clip


def test_builtin_is_listed_and_says_what_it_is():
    (builtin,) = (info for info in list_estimators() if info.name == "builtin")
    assert builtin.available
    assert "Preview grade" in builtin.note


def test_the_preview_grade_is_logged_once(caplog):
    catalogue._warn_preview_grade.cache_clear()
    with caplog.at_level(logging.WARNING):
        estimate_depth(torch.rand(1, 3, 8, 8))
        estimate_depth(torch.rand(1, 3, 8, 8))
    assert [record.message for record in caplog.records if "preview grade" in record.message]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [((720, 1280), (360, 640)), ((1920, 1080), (640, 360)), ((272, 640), (272, 640)), ((1, 9000), (1, 640))],
)
def test_working_size_keeps_the_shape_and_only_shrinks(size, expected):
    assert working_size(*size) == expected


@pytest.mark.parametrize(
    "size", [(1080, 1920), (1920, 1080), (804, 1920), (720, 1280), (1078, 1920), (3, 1920)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_working_frame_is_made_of_means(size, dtype):
    """Also where a filter makes them, for a third."""
    highest = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, highest + 1, (*size, 3)).astype(dtype)
    height, width = working_size(*size)
    means = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    expected = means if dtype == np.uint8 else np.rint(means / 257)
    assert np.array_equal(working_frame(image), expected)
    bars = np.pad(image, ((5, 3), (0, 0), (0, 0)))[5:-3]
    assert np.array_equal(working_frame(bars), expected)


@pytest.mark.parametrize("size", [(90, 160), (400, 720)])
def test_a_clip_equals_its_frames_one_by_one(size):
    frames = make_clip("walker", frames=4, size=size).frames
    images = [np.ascontiguousarray((f * 255).round().byte().permute(1, 2, 0).numpy()) for f in frames]
    height, width = working_size(*size)
    smalls = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
    greys = [cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) for small in smalls]
    builtin = BuiltinDepth()
    expected = []
    for t, small in enumerate(smalls):
        to_next = dis_flow(greys[t], greys[t + 1], preset="fast") if t < 3 else None
        to_previous = dis_flow(greys[t], greys[t - 1], preset="fast") if t else None
        expected.append(upsample_depth(builtin.step(small, to_next, to_previous), images[t].shape[:2]))
    assert np.array_equal(estimate_depth(frames)[:, 0].numpy(), np.stack(expected))


def test_flow_from_outside_is_used():
    frames = make_clip("walker", frames=3, size=(90, 160)).frames
    flow = estimate_flow(frames, method="dis_fast")
    given = estimate_depth(frames, flow=flow)
    assert torch.equal(given, estimate_depth(frames))
    resting = estimate_depth(frames, flow=Flow.between(0 * flow.forward, 0 * flow.backward))
    assert not torch.equal(given, resting)


def test_progress_is_reported_and_may_interrupt():
    seen = []
    estimate_depth(torch.rand(3, 3, 16, 16), on_frame=seen.append)
    assert seen == [1, 2, 3]

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_depth(torch.rand(3, 3, 16, 16), on_frame=stop)


def test_wrong_input_is_named():
    frames = torch.rand(3, 3, 16, 16)
    short = torch.zeros(1, 2, 16, 16)
    with pytest.raises(InputError, match="estimator must be one of builtin"):
        estimate_depth(frames, estimator="magic")
    with pytest.raises(InputError, match=r"`flow` must be a Flow, got tuple; make one by estimate_flow"):
        estimate_depth(frames, flow=(short, short))
    with pytest.raises(InputError, match=r"`flow.forward` must hold .* \[F-1, 2, H, W\] = \[2, 2, 16, 16\]"):
        estimate_depth(frames, flow=Flow.between(short, short))
    with pytest.raises(InputError, match="video tensor"):
        estimate_depth(frames[0])


def test_upsampling_keeps_edges_steep_and_makes_no_new_values():
    truth = np.full((360, 640), 0.2, np.float32)
    cv2.circle(truth, (321, 181), 101, 0.8, -1)
    small = cv2.resize(truth, (320, 180), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(small, (640, 360), interpolation=cv2.INTER_LINEAR)
    ours = upsample_depth(small, (360, 640))
    assert ours.shape == (360, 640)
    assert small.min() - 1e-6 < ours.min() < ours.max() < small.max() + 1e-6
    assert np.abs(ours - truth).mean() < 0.6 * np.abs(plain - truth).mean()


def test_depth_of_the_right_size_is_left_alone():
    depth = np.random.default_rng(0).random((40, 64), np.float32)
    assert upsample_depth(depth, (40, 64)) is depth
