import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import depth_to_disparity, looks_inverted


def test_by_hand():
    depth = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4).repeat(1, 1, 1, 50)
    disparity = depth_to_disparity(depth, divergence=5, convergence=0.5)
    assert disparity[0, 0, 0, :4].tolist() == [-5, -2.5, 0, 5]  # 5 % of 200 px is 10 px from end to end


def test_range_is_the_divergence_wherever_the_screen_is():
    depth = torch.rand(2, 1, 10, 400)
    for convergence in (0, 0.3, 1):
        disparity = depth_to_disparity(depth, divergence=2.5, convergence=convergence)
        assert float(disparity.max() - disparity.min()) <= 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"divergence": 35}, r"divergence must be between 0 and 20 \(% of width\), got 35"),
        ({"divergence": -1}, "divergence must be between 0 and 20"),
        ({"convergence": 1.5}, "convergence must be between 0 and 1, got 1.5"),
    ],
)
def test_numbers_out_of_range(change, message):
    with pytest.raises(InputError, match=message):
        depth_to_disparity(torch.rand(1, 1, 4, 4), **change)


def test_depth_must_be_finite_and_normalised():
    depth = torch.rand(1, 1, 4, 4)
    depth[0, 0, 1, 1] = float("nan")
    with pytest.raises(InputError, match="`depth` must be finite, got 1 NaN"):
        depth_to_disparity(depth)
    with pytest.raises(InputError, match=r"must be inverse depth in \[0, 1\], got values from 0 to 40"):
        depth_to_disparity(torch.tensor([0.0, 40.0]).view(1, 1, 1, 2))


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_depth_is_refused_with_a_remedy(value):
    depth = torch.full((1, 1, 2, 3), value)
    message = "`depth` must be finite, got 6 NaN or infinite values; repair the depth map or use another"
    with pytest.raises(InputError, match=message):
        depth_to_disparity(depth)


def test_resampling_overshoot_is_clamped():
    depth = torch.tensor([-0.0005, 1.0005]).view(1, 1, 1, 2)
    assert torch.equal(depth_to_disparity(depth), depth_to_disparity(depth.clamp(0, 1)))


def test_inverted_depth_is_noticed():
    ground = torch.linspace(0, 1, 40).view(1, 1, 40, 1).expand(2, 1, 40, 30)
    assert looks_inverted(1 - ground)
    assert not looks_inverted(ground)
    assert not looks_inverted(torch.full((1, 1, 40, 30), 0.5))
    assert not looks_inverted(torch.zeros(1, 1, 1, 1))
