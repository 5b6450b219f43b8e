import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import dilate_hole, soft_hole_mask


def random_hole(size=(23, 31), seed=0, share=0.02):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(3, 1, *size, generator=generator) < share).float()


def distance_to_hole(hole):
    """The slow obvious way: every pixel against every hole, [F, 1, H, W]."""
    height, width = hole.shape[-2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([row, column], -1).reshape(-1, 2).float()
    distances = [torch.cdist(pixels, mask[0].nonzero().float()).amin(1) for mask in hole]
    return torch.stack(distances).view_as(hole)


def test_dilation_by_hand():
    hole = torch.zeros(1, 1, 5, 7)
    hole[0, 0, 2, 3] = 0.6
    grown = dilate_hole(hole, 1)
    assert grown.sum() == 9
    assert grown[0, 0, 1:4, 2:5].all()
    assert torch.equal(dilate_hole(hole, 0), (hole > 0.5).float())
    assert dilate_hole(hole, 64).all(), "wider than the frame"


def test_a_slope_by_hand():
    hole = torch.zeros(1, 1, 1, 8)
    hole[..., :2] = 1
    soft = soft_hole_mask(hole, feather=3)[0, 0, 0]
    assert soft.tolist() == [1, 1, 0.84375, 0.5, 0.15625, 0, 0, 0]  # u = 3/4, 1/2, 1/4


@pytest.mark.parametrize("feather", [0, 1, 4, 40])
def test_equals_the_distance_to_each_hole(feather):
    hole = random_hole()
    u = (1 - distance_to_hole(hole) / (feather + 1)).clamp(min=0)
    assert torch.allclose(soft_hole_mask(hole, feather=feather), u * u * (3 - 2 * u), atol=1e-6)


def test_holes_stay_whole_and_what_is_far_stays_known():
    hole = random_hole(share=0.003)
    soft = soft_hole_mask(hole, feather=4)
    assert (soft[hole > 0] == 1).all()
    assert (soft[dilate_hole(hole, 5) == 0] == 0).all()
    assert ((soft > 0) & (soft < 1)).any()
    assert torch.equal(soft_hole_mask(hole.flip(-1), feather=4), soft.flip(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types(dtype):
    hole = random_hole(share=0.003)
    soft = soft_hole_mask(hole.to(dtype), feather=64)
    assert soft.dtype == dtype
    assert torch.allclose(soft.float(), soft_hole_mask(hole, feather=64), atol=1e-3)


def test_no_hole_and_nothing_else():
    for value in (0.0, 1.0):
        hole = torch.full((1, 1, 3, 1), value)
        assert torch.equal(soft_hole_mask(hole, feather=9), hole)


def test_errors():
    hole = torch.zeros(1, 1, 4, 4)
    with pytest.raises(InputError, match=r"dilate must be between 0 and 64 \(px\), got 65"):
        dilate_hole(hole, 65)
    with pytest.raises(InputError, match=r"feather must be between 0 and 64 \(px\), got -1"):
        soft_hole_mask(hole, feather=-1)
    with pytest.raises(InputError, match=r"`hole` must be a video tensor"):
        soft_hole_mask(hole[0], feather=1)
