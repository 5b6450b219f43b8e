import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import (
    DepthShaping,
    guide_depth,
    shape_depth,
)

DEPTHS = (0.1, 0.25, 0.5, 0.75, 0.9)


def line(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def soft_edge(ramp=6, height=20, width=60):
    """A near right half before a far left one, with a ramp `ramp` px wide about column 30."""
    x = torch.arange(width) - 29.5
    return (0.2 + 0.6 * (x / ramp + 0.5).clamp(0, 1)).expand(2, 1, height, width).contiguous()


def test_the_defaults_return_the_depth_itself():
    depth = torch.rand(2, 1, 5, 7)
    assert shape_depth(depth, DepthShaping()) is depth


# What iw3's own mappers (iw3/mapper.py: mul_1..3, inv_mul_1..3, and their mixtures) give for DEPTHS.
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (3, (0.0002, 0.0013, 0.0266, 0.3019, 0.6961)),
        (2, (0.0008, 0.0066, 0.1040, 0.4941, 0.7950)),
        (1.75, (0.0018, 0.0135, 0.1418, 0.5254, 0.8082)),
        (1, (0.0046, 0.0340, 0.2554, 0.6196, 0.8476)),
        (0.5, (0.0523, 0.1420, 0.3777, 0.6848, 0.8738)),
        (-0.25, (0.1648, 0.3112, 0.5424, 0.7714, 0.9086)),
        (-1, (0.3590, 0.4948, 0.6698, 0.8355, 0.9342)),
        (-2, (0.4898, 0.6069, 0.7469, 0.8746, 0.9499)),
        (-2.5, (0.5563, 0.6675, 0.7907, 0.8975, 0.9593)),
        (-3, (0.6227, 0.7281, 0.8346, 0.9205, 0.9686)),
    ],
)
def test_foreground_scale_is_that_of_iw3(scale, expected):
    shaped = shape_depth(line(*DEPTHS), DepthShaping(foreground_scale=scale))
    assert shaped.flatten().tolist() == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    "shaping",
    [
        *(DepthShaping(foreground_scale=scale) for scale in (-3, -2.4, -1, -0.1, 0.1, 1, 2.4, 3)),
        DepthShaping(gamma=0.1),
        DepthShaping(gamma=10),
        DepthShaping(near=0.8, far=0.3),
    ],
)
def test_curves_keep_the_ends_and_the_order(shaping):
    shaped = shape_depth(torch.linspace(0, 1, 500).view(1, 1, 1, -1), shaping).flatten()
    assert (float(shaped[0]), float(shaped[-1])) == pytest.approx((0, 1), abs=1e-6)
    assert (shaped.diff() >= 0).all()


def test_gamma_and_clipping_by_hand():
    assert shape_depth(line(0.25, 0.5), DepthShaping(gamma=2)).flatten().tolist() == [0.0625, 0.25]
    clipped = shape_depth(line(0.1, 0.25, 0.375, 0.75, 0.9), DepthShaping(near=0.75, far=0.25))
    assert clipped.flatten().tolist() == [0, 0, 0.25, 1, 1]
    both = shape_depth(line(0.5), DepthShaping(near=0.75, far=0.25, gamma=2))
    assert float(both) == 0.25, "clipping comes first"


def test_a_ramp_becomes_a_step_on_its_far_side():
    shaped = shape_depth(soft_edge(), DepthShaping(edge_width=4))
    steps = shaped[0, 0, 0].diff()
    assert int((steps > 0.01).sum()) <= 3, "at most two values between near and far"
    assert int(steps.argmax()) in (27, 28), "the middle of the ramp, 29, is the foreground's"
    assert torch.equal(shaped[..., :22], soft_edge()[..., :22])
    assert torch.equal(shaped[..., 38:], soft_edge()[..., 38:])


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_the_foreground_grows_by_the_dilation(dilation):
    step = soft_edge(ramp=0.5)
    grown = shape_depth(step, DepthShaping(edge_dilation=dilation))
    assert torch.allclose(grown[..., : 30 - dilation], torch.tensor(0.2))
    assert torch.allclose(grown[..., 30 - dilation :], torch.tensor(0.8))


def test_slopes_do_not_grow():
    slope = torch.linspace(0, 1, 200).expand(1, 1, 20, 200).contiguous()
    shaped = shape_depth(slope, DepthShaping(edge_width=4, edge_dilation=4))
    assert torch.equal(shaped, slope)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (3, 8192)])
def test_flat_depth_stays_flat(value, size):
    every = DepthShaping(1.5, gamma=2, near=0.9, far=0.2, edge_width=20, edge_dilation=10)
    shaped = shape_depth(torch.full((2, 1, *size), value), every)
    assert shaped.shape == (2, 1, *size)
    assert shaped.isfinite().all()
    assert float(shaped.max() - shaped.min()) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foreground_scale": 3.5}, "foreground_scale must be between -3 and 3, got 3.5"),
        ({"gamma": 0.0}, "depth_gamma must be between 0.1 and 10, got 0"),
        ({"near": 1.2}, "depth_near must be between 0 and 1, got 1.2"),
        ({"far": float("nan")}, "depth_far must be between 0 and 1, got nan"),
        (
            {"near": 0.4, "far": 0.4},
            r"depth_near must be at least 0.01 above depth_far \(0.4\), got 0.4; 1 and",
        ),
        ({"edge_width": -2}, r"edge_width must be between 0 and 20 \(px\), got -2"),
        ({"edge_dilation": 11}, r"edge_dilation must be between 0 and 10 \(px\), got 11"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(InputError, match=message):
        shape_depth(torch.rand(1, 1, 4, 4), DepthShaping(**change))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_depth_that_is_not_finite_is_refused_with_a_remedy(value):
    with pytest.raises(InputError, match="`depth` must be finite, got 1 NaN or infinite values; repair the"):
        shape_depth(line(0.5, value), DepthShaping(gamma=2))


def test_metres_are_refused():
    with pytest.raises(InputError, match=r"must be inverse depth in \[0, 1\], got values from 0.5 to 12"):
        shape_depth(line(0.5, 12.0), DepthShaping(gamma=2))


def outline(frames):
    """The column at which each row of [F, 1, H, W] crosses 0.5."""
    return (frames > 0.5).int().argmax(-1).float()


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
@pytest.mark.parametrize("factor", [1, 4])
def test_guided_upsampling_moves_edges_to_those_of_the_colours(shift, factor):
    frames = torch.full((2, 3, 48, 640), 0.3)
    frames[..., 300:] = 0.7
    frames += 0.02 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    depth = torch.full((2, 1, 48, 640), 0.2)
    depth[..., 300 + shift :] = 0.8
    small = torch.nn.functional.avg_pool2d(depth, factor)
    guided = guide_depth(small, frames)
    assert guided.shape == depth.shape
    assert float((outline(guided) - 300).abs().mean()) < 0.5 * abs(shift)
    away = (torch.arange(640) - 300).abs() > 20
    assert torch.allclose(guided[..., away], depth[..., away], atol=0.02)


def test_guided_upsampling_needs_a_depth_for_each_frame():
    with pytest.raises(InputError, match=r"`depth` must have as many frames as `frames` \(3\), got 2"):
        guide_depth(torch.rand(2, 1, 8, 8), torch.rand(3, 3, 8, 8))
