"""The flow of a clip as one value, and one frame's motion towards a neighbour."""

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.flow import Flow, Motion, estimate_flow, flow_confidence, open_flow
from spatialdreamer_core.flow.motion import check_flow, check_motion

FRAMES, SIZE = 4, (12, 20)


@pytest.fixture
def flow():
    generator = torch.Generator().manual_seed(0)
    forward = torch.randn(FRAMES - 1, 2, *SIZE, generator=generator)
    return Flow.between(forward, -forward)


def test_confidence_is_that_of_each_direction_against_the_other(flow):
    assert torch.equal(flow.forward_confidence, flow_confidence(flow.forward, flow.backward))
    assert torch.equal(flow.backward_confidence, flow_confidence(flow.backward, flow.forward))
    assert 0 < flow.forward_confidence.mean() < 1


def test_a_frame_has_the_motion_towards_each_of_its_neighbours(flow):
    for t in range(FRAMES - 1):
        motion, back = flow.to_next(t), flow.to_previous(t + 1)
        assert torch.equal(motion.flow, flow.forward[t])
        assert torch.equal(motion.confidence, flow.forward_confidence[t])
        assert torch.equal(back.flow, flow.backward[t])
        assert torch.equal(back.confidence, flow.backward_confidence[t])
    assert flow.to_previous(0) is flow.to_next(FRAMES - 1) is None
    for t in (-1, FRAMES, 0.5):
        with pytest.raises(InputError, match=r"t must be"):
            flow.to_next(t)


def test_an_estimator_gives_the_flow_of_two_frames():
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(3, 3, 40, 48, generator=generator)
    whole, estimator = estimate_flow(frames, method="dis_fast"), open_flow("dis_fast")
    prepared = [estimator.prepare(frame) for frame in frames]
    for t in range(2):
        pair = estimator.between(prepared[t], prepared[t + 1])
        for one, other in (
            (pair.to_next(0), whole.to_next(t)),
            (pair.to_previous(1), whole.to_previous(t + 1)),
        ):
            assert torch.equal(one.flow, other.flow)
            assert torch.equal(one.confidence, other.confidence)


def test_a_part_has_the_flow_of_its_frames_and_pixels(flow):
    part = flow.cut(1, 3, slice(2, 10), slice(4, 20))
    assert torch.equal(part.forward, flow.forward[1:2, :, 2:10, 4:20])
    expected = flow_confidence(part.forward, part.backward)
    assert torch.equal(part.forward_confidence, expected), "what leaves the part is not trusted"
    assert flow.cut(0, FRAMES, slice(None), slice(None)) is flow


def test_another_size_has_its_own_pixels(flow):
    resized = flow.resized((24, 60))
    assert resized.forward.shape == (FRAMES - 1, 2, 24, 60)
    assert resized.backward_confidence.shape == (FRAMES - 1, 1, 24, 60)
    assert float(resized.forward[:, 0].abs().mean()) == pytest.approx(
        3 * float(flow.forward[:, 0].abs().mean()), rel=0.4
    )


def wrong_flows():
    """Give each wrong argument for `flow`, and what is said about it."""
    right = torch.zeros(FRAMES - 1, 2, *SIZE)
    one = torch.ones(FRAMES - 1, 1, *SIZE)
    far = right.clone()
    far[1, 0, 2, 3] = torch.nan
    made = r"make one by estimate_flow\(frames\), or of two tensors by Flow.between\(forward, backward\)"
    return [
        (None, f"`flow` must be a Flow, got NoneType; {made}"),
        (right, f"`flow` must be a Flow, got Tensor; {made}"),
        ((right, right), f"`flow` must be a Flow, got tuple; {made}"),
        ([right, right], f"`flow` must be a Flow, got list; {made}"),
        (Flow.between(right[:2], right[:2]), r"`flow.forward` must hold one flow for each pair .*got \[2, 2"),
        (Flow.between(right[..., 1:], right[..., 1:]), r"`flow.forward` must hold .* \[3, 2, 12, 20\], got"),
        (Flow(right, far, one, one), "`flow.backward` must be finite, got 1 NaN"),
        (Flow(right, right.int(), one, one), "`flow.backward` must hold float"),
        (Flow(right, right, one, one[:2]), r"`flow.backward_confidence` must be \[F-1, 1, H, W\]"),
        (Flow(right, right, 2 * one, one), r"`flow.forward_confidence` must be in \[0, 1\]"),
    ]


@pytest.mark.parametrize(("wrong", "message"), wrong_flows())
def test_what_is_no_flow_of_the_clip_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        check_flow(wrong, like=torch.zeros(FRAMES, 1, *SIZE))


@pytest.mark.parametrize("forward", [None, 3, torch.zeros(2, 3, 4, 5), torch.full((2, 2, 4, 5), torch.inf)])
def test_what_cannot_be_joined_is_named(forward):
    with pytest.raises(InputError, match="`forward` must"):
        Flow.between(forward, torch.zeros(2, 2, 4, 5))
    with pytest.raises(InputError, match="`backward` must"):
        Flow.between(torch.zeros(2, 2, 4, 5), forward)


def test_what_is_no_motion_is_named():
    with pytest.raises(InputError, match="`to_next` must be a Motion, got Tensor; take it from a Flow"):
        check_motion("to_next", torch.zeros(2, 4, 5))
    with pytest.raises(InputError, match=r"`motion.flow` must be a tensor \[2, h, w\]"):
        check_motion("to_next", Motion(torch.zeros(1, 2, 4, 5), torch.zeros(1, 4, 5)))
