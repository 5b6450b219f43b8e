import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import (
    NO_SOURCE,
    forward_warp,
    gather_columns,
    refine_hole_mask,
    refine_one_mask,
    source_columns,
)
from spatialdreamer_core.dvg.nonzero_pixels import nonzero_pixels
from spatialdreamer_core.flow import Flow, Motion


def resting(frames, size):
    """The flow of a clip in which nothing moves."""
    none = torch.zeros(frames - 1, 2, *size)
    return Flow.between(none, none)


def test_source_columns_by_hand():
    disparity = torch.tensor([0.0, 0.0, 0.0, 2.0, 0.0, 0.0]).view(1, 1, 1, 6)
    # Pixel 3 stands in front on column 1; where it came from, nothing lands.
    assert source_columns(disparity, eye="right")[0, 0, 0].tolist() == [0, 3, 2, NO_SOURCE, 4, 5]
    assert source_columns(disparity, eye="left")[0, 0, 0].tolist() == [0, 1, 2, NO_SOURCE, 4, 3]
    half = torch.tensor([0.0, 0.0, 0.0, 1.5, 0.0, 0.0]).view(1, 1, 1, 6)
    assert source_columns(half, eye="right")[0, 0, 0].tolist() == [0, 3, 3, NO_SOURCE, 4, 5]


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (0, 4)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_nonzero_pixels_are_those_of_nonzero(size, share):
    mask = torch.rand(size, generator=torch.Generator().manual_seed(0)) < share
    for given in (mask, torch.zeros(2, *size, 2, dtype=torch.bool)[1, ..., 0] | mask):
        for found, expected in zip(nonzero_pixels(given), given.nonzero(as_tuple=True), strict=True):
            assert torch.equal(found, expected)


def test_source_columns_mirror():
    disparity = (torch.rand(2, 1, 5, 40) * 9 * 64).round() / 64  # exact, so that both eyes round alike
    right = source_columns(disparity + 0.25, eye="right")
    left = source_columns(disparity.flip(-1) + 0.25, eye="left").flip(-1)
    assert torch.equal(right == NO_SOURCE, left == NO_SOURCE)
    assert torch.equal(right[right != NO_SOURCE], 39 - left[left != NO_SOURCE])


def test_no_source_where_nothing_lands():
    columns = source_columns(torch.full((1, 1, 1, 6), 2.0), eye="right")
    assert columns[0, 0, 0].tolist() == [2, 3, 4, 5, NO_SOURCE, NO_SOURCE]
    assert gather_columns(torch.ones(1, 2, 1, 6), columns)[0, 0, 0].tolist() == [1, 1, 1, 1, 0, 0]


def reference(hole, flow_forward, flow_backward, confidence_forward, confidence_backward):
    """Eq. 2 as it is printed, pixel by pixel, for a view without disparity."""
    refined = hole.clone()
    frames, _, height, width = hole.shape
    for t in range(frames):
        for y in range(height):
            for x in range(width):
                total = 0.0
                for k, flow, confidence in (
                    (t - 1, flow_backward[t - 1] if t else None, confidence_backward[t - 1] if t else None),
                    (t + 1, *((flow_forward[t], confidence_forward[t]) if t < frames - 1 else (None, None))),
                ):
                    if flow is None:
                        continue
                    u, v = round(float(flow[0, y, x])), round(float(flow[1, y, x]))
                    if 0 <= x + u < width and 0 <= y + v < height:
                        total += float(hole[k, 0, y + v, x + u] * confidence[0, y, x])
                if total >= 1:
                    refined[t, 0, y, x] = 1
    return refined


def test_equals_the_printed_equation():
    from spatialdreamer_core.flow import flow_confidence

    generator = torch.Generator().manual_seed(3)
    hole = (torch.rand(3, 1, 12, 15, generator=generator) > 0.9).float()
    forward = torch.randint(-2, 3, (2, 2, 1, 1), generator=generator).float().expand(2, 2, 12, 15).clone()
    backward = -forward
    backward[:, :, 4:7, 5:9] += 3  # some flow is not to be trusted
    expected = reference(
        hole, forward, backward, flow_confidence(forward, backward), flow_confidence(backward, forward)
    )
    flow = Flow.between(forward, backward)
    result = refine_hole_mask(hole, flow, disparity=torch.zeros_like(hole), neighbours="eq2")
    assert torch.equal(result, expected)
    assert result.sum() > hole.sum()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (6, 11)])
def test_columns_are_taken_as_torch_gathers_them(channels, size):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, channels, *size, generator=generator)
    columns = torch.randint(-1, size[1], (2, 1, *size), generator=generator)
    padded = torch.nn.functional.pad(values, (1, 0))
    expected = padded.gather(-1, (columns + 1).expand(-1, channels, -1, -1))
    for dtype in (torch.float32, torch.float64, torch.float16):
        assert torch.equal(gather_columns(values.to(dtype), columns), expected.to(dtype))


def test_previous_leaves_the_next_frame_out():
    hole = torch.zeros(3, 1, 4, 6)
    hole[1, 0, 2, 3] = 1
    still = resting(3, (4, 6))
    refined = refine_hole_mask(hole, still, disparity=hole * 0)
    assert refined[:, 0, 2, 3].tolist() == [0, 1, 1]
    previous = refine_hole_mask(hole, still, disparity=hole * 0, neighbours="previous")
    assert torch.equal(refined, previous), "the default"
    for name in ("eq2", "both"):  # the latter is the older name
        refined = refine_hole_mask(hole, still, disparity=hole * 0, neighbours=name)
        assert refined[:, 0, 2, 3].tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="neighbours must be one of previous, eq2, got 'next'"):
        refine_hole_mask(hole, still, disparity=hole * 0, neighbours="next")


def test_result_contains_the_given_mask_and_is_binary():
    hole = (torch.rand(3, 1, 20, 30) > 0.8).float()
    flow = torch.randn(2, 2, 20, 30)
    refined = refine_hole_mask(hole, Flow.between(flow, -flow), disparity=torch.rand(3, 1, 20, 30) * 5)
    assert (refined >= hole).all()
    assert set(refined.unique().tolist()) <= {0.0, 1.0}


def test_flow_is_carried_into_the_rendered_view():
    # A box of disparity 8 moves 3 px a frame before a still wall; its flow must act where it is rendered.
    frames, height, width = 2, 16, 80
    disparity = torch.zeros(frames, 1, height, width)
    flow = torch.zeros(1, 2, height, width)
    disparity[0, ..., 40:56] = 8
    disparity[1, ..., 43:59] = 8
    flow[0, 0, :, 40:56] = 3
    back = torch.zeros_like(flow)
    back[0, 0, :, 43:59] = -3
    hole = torch.zeros(frames, 1, height, width)
    hole[1, ..., 37] = 1  # on the rendered box of frame 1, which covers columns 35 to 50
    flow = Flow.between(flow, back)
    refined = refine_hole_mask(hole, flow, disparity=disparity, eye="right", neighbours="eq2")
    assert refined[0, 0, 5].nonzero().flatten().tolist() == [34]


def test_flow_may_be_smaller_than_the_mask():
    hole = torch.zeros(1, 1, 32, 64)
    neighbour = hole.clone()
    neighbour[0, 0, 10:14, 20:28] = 1
    flow = torch.zeros(2, 16, 32)
    flow[0] = 2  # 4 px of the mask
    refined = refine_one_mask(hole, [(neighbour, Motion(flow, torch.ones(1, 16, 32)))])
    assert torch.equal(refined[..., 10:14, 16:24], torch.ones(1, 1, 4, 8))
    assert int(refined.sum()) == 32


def test_one_frame_is_unchanged():
    hole = (torch.rand(1, 1, 5, 6) > 0.5).float()
    none = resting(1, (5, 6))
    assert torch.equal(refine_hole_mask(hole, none, disparity=torch.zeros_like(hole)), hole)


def test_a_mask_that_drops_out_for_one_frame_is_bridged():
    image = torch.rand(3, 3, 10, 60)
    disparity = torch.zeros(3, 1, 10, 60)
    disparity[0::2, ..., 20:35] = 6  # the depth of frame 1 misses the box
    _, hole = forward_warp(image, disparity)
    assert not hole[1].any()
    still = resting(3, (10, 60))
    refined = refine_hole_mask(hole, still, disparity=disparity)
    assert torch.equal(refined[1], hole[0])
    assert torch.equal(refined[0], hole[0])


def test_wrong_flow_length():
    hole = torch.zeros(3, 1, 5, 6)
    with pytest.raises(InputError, match=r"`flow.forward` must hold one flow for each pair .*\[2, 2, 5, 6\]"):
        refine_hole_mask(hole, resting(4, (5, 6)), disparity=hole)
    with pytest.raises(InputError, match="`flow` must be a Flow, got Tensor; make one by estimate_flow"):
        refine_hole_mask(hole, torch.zeros(2, 2, 5, 6), disparity=hole)
    with pytest.raises(InputError, match="`flow` must be a Flow, got NoneType"):
        refine_hole_mask(hole, None, disparity=hole)
