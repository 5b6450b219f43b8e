import pytest
import torch

from spatialdreamer_core.dvg.nonzero_pixels import above, below, values_at


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bool, torch.int64])
@pytest.mark.parametrize("count", [(), (0,), (9,), (4, 9)])
def test_values_at_pixels_are_those_of_an_index(dtype, count):
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(0, 2, (3, 12, 8), generator=generator).to(dtype)
    row = torch.randint(0, 5, count, generator=generator)
    column = torch.randint(0, 8, count, generator=generator)
    for planes in (whole[:, :5], whole[:, 3:8], whole[1, :5], whole.mT.contiguous().mT[:, 4:9]):
        assert torch.equal(values_at(planes, row, column), planes[..., row, column])


def test_positions_broadcast():
    plane, row, column = torch.rand(5, 8), torch.tensor([[1], [4]]), torch.tensor([0, 7, 2])
    assert torch.equal(values_at(plane, row, column), plane[row, column])


def test_gradients_reach_what_was_looked_up():
    planes = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    row, column = torch.tensor([2, 2, 0]), torch.tensor([1, 1, 3])
    assert torch.autograd.gradcheck(lambda given: values_at(given, row, column), planes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.int32])
def test_masks_are_those_of_a_comparison(dtype):
    values = torch.tensor([[0.1, 0.5, 0.75, torch.nan], [-1, 0.50001, 2, -torch.inf]])
    values = (values if dtype.is_floating_point else values.nan_to_num(0, 0, 0)).to(dtype)
    for given in (values, values[:, 1:], values.t(), values[:0]):
        assert torch.equal(above(given, 0.5), given > 0.5)
        assert torch.equal(below(given, 0.5), given < 0.5)


def test_masks_of_values_with_gradients_are_plain():
    values = torch.tensor([0.0, 1.0], requires_grad=True)
    assert above(values, 0.5).tolist() == [False, True]
    assert below(values, 0.5).tolist() == [True, False]
