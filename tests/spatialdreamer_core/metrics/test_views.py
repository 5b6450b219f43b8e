import pytest
import torch

from spatialdreamer_core.metrics.views import (
    gradient_ratio,
    hole_regions,
    masked_psnr,
    sharpness,
    view_regions,
)


def test_psnr_by_hand():
    truth = torch.zeros(1, 3, 2, 2)
    result = truth.clone()
    result[..., 0] = 0.1
    assert masked_psnr(result, truth) == pytest.approx(23.0103, abs=1e-3)
    mask = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    mask[..., 0] = True
    assert masked_psnr(result, truth, mask) == pytest.approx(20.0, abs=1e-3)


def test_sharpness_is_one_for_the_truth_and_less_when_blurred():
    truth = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    assert sharpness(truth, truth, mask) == 1
    blurred = torch.nn.functional.avg_pool2d(truth, 3, stride=1, padding=1)
    assert sharpness(blurred, truth, mask) < 0.6


@pytest.mark.parametrize("eye", ["right", "left"])
def test_regions_partition_the_view(eye):
    disparity = torch.full((1, 1, 4, 40), 3.0)
    disparity[..., 15:25] = 8
    regions = view_regions(disparity, eye=eye)
    assert (sum(region.int() for region in regions) == 1).all()
    border = regions.border[0, 0, 0].nonzero().flatten().tolist()
    assert border == ([37, 38, 39] if eye == "right" else [0, 1, 2])
    assert int(regions.inner_hole[0, 0, 0].sum()) == 5


def test_a_hole_mask_gives_the_same_regions():
    disparity = torch.full((1, 1, 4, 40), 3.0)
    disparity[..., 15:25] = 8
    regions = view_regions(disparity)
    for one, other in zip(hole_regions(1 - regions.visible.float()), regions, strict=True):
        assert torch.equal(one, other)


def test_the_gradient_ratio_by_hand():
    truth = torch.zeros(1, 3, 4, 8)
    truth[..., ::2] = 1  # each step along x is 1, along y 0
    mask = torch.zeros(1, 1, 4, 8, dtype=torch.bool)
    mask[..., 2:6] = True
    assert gradient_ratio(truth, truth, mask) == 1
    assert gradient_ratio(truth / 4, truth, mask) == pytest.approx(0.25)
    edge = truth.clone()
    edge[..., :2] = 5  # beside the mask
    assert gradient_ratio(edge, truth, mask) == 1
