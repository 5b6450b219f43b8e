import pytest
import torch

from spatialdreamer_core.dvg.reference import splat_rows_reference
from spatialdreamer_core.dvg.splat import splat_rows


def scene(height, width, *, channels=3, seed=0, scale=6.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(channels, height, width, generator=generator, dtype=dtype)
    disparity = (torch.rand(1, height, width, generator=generator, dtype=dtype) - 0.5) * 2 * scale
    return values, disparity


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 17), (16, 64), (7, 175)])
@pytest.mark.parametrize("scale", [0.0, 0.4, 6.0, 70.0])
def test_equals_the_twin(sign, size, scale):
    values, disparity = scene(*size, scale=scale)
    expected, expected_coverage = splat_rows_reference(values[None], disparity[None], sign=sign)
    result, coverage = splat_rows(values, disparity, sign=sign)
    assert torch.allclose(result, expected[0], atol=1e-5)
    assert torch.allclose(coverage, expected_coverage[0], atol=1e-5)


def test_by_hand():
    values = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    disparity = torch.tensor([[[0.0, 0.0, 1.5, 0.0]]])
    result, coverage = splat_rows(values, disparity, sign=-1)
    # Pixel 2 lands half on column 0 and half on column 1, each shared with the pixel already there.
    near = 0.5 * torch.exp(torch.tensor(1.5))
    expected = [(1 + near * 3) / (1 + near), (2 + near * 3) / (1 + near), 0, 4]
    assert result[0, 0].tolist() == pytest.approx([float(v) for v in expected])
    assert coverage[0, 0].tolist() == [1.5, 1.5, 0, 1]


def test_large_disparities_do_not_overflow_and_keep_their_order():
    values = torch.tensor([[[0.0, 0.0, 0.0, 1.0]]]).repeat(1, 1, 1).expand(1, 1, 4)
    wide = torch.cat([values, torch.zeros(1, 1, 300)], dim=-1)
    disparity = torch.zeros_like(wide)
    wide, disparity = wide.clone(), disparity.clone()
    wide[0, 0, 203], disparity[0, 0, 203] = 0.75, 200.0  # lands on column 3, far in front of 1.0
    result, _ = splat_rows(wide, disparity, sign=-1)
    assert result.isfinite().all()
    assert float(result[0, 0, 3]) == pytest.approx(0.75)
    wide[0, 0, 299], disparity[0, 0, 299] = 0.25, 296.0  # lands there too, in front of both
    assert float(splat_rows(wide, disparity, sign=-1)[0][0, 0, 3]) == pytest.approx(0.25)


def test_the_reference_of_the_exponent_does_not_matter():
    values, disparity = scene(4, 40, scale=3)
    far_pixel = torch.zeros(1, 4, 1)
    near, _ = splat_rows(values, disparity, sign=-1)
    # One disparity beyond the float range switches the whole strip to the nearest-per-column reference.
    disparity = torch.cat([disparity, far_pixel + 500], dim=-1)
    values = torch.cat([values, torch.zeros(3, 4, 1)], dim=-1)
    result, _ = splat_rows(values, disparity, sign=-1)
    assert torch.allclose(result[..., :36], near[..., :36], atol=1e-5)


@pytest.mark.parametrize("scale", [3.0, 200.0])
def test_gradients(scale):
    values, disparity = scene(2, 9, channels=2, scale=3, dtype=torch.float64)
    disparity[0, 0, 0] = scale
    values.requires_grad_()
    disparity.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, d: splat_rows(v, d, sign=-1)[0], (values, disparity), atol=1e-5, check_undefined_grad=False
    )
