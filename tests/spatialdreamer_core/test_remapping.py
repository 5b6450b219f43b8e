import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spatialdreamer_core import remapping
from spatialdreamer_core.remapping import can_remap, remap


def test_planes_are_read_as_torch_reads_them():
    if not can_remap(torch.rand(2, 2)):
        pytest.skip("OpenCV up to version 4 rounds positions")
    generator = torch.Generator().manual_seed(0)
    plane, out = torch.rand(20, 31, generator=generator), torch.empty(7, 9)
    x, y = (torch.rand(7, 9, generator=generator) * 1.5 * side - side / 4 for side in (31, 20))
    remap(plane, x.numpy(), y.numpy(), out=out)
    grid = torch.stack([(2 * x + 1) / 31 - 1, (2 * y + 1) / 20 - 1], dim=-1)[None].double()
    there = F.grid_sample(plane[None, None].double(), grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(out.double(), there[0, 0], atol=1e-5, rtol=0)


def test_positions_that_are_no_numbers_do_no_harm():
    plane, out = torch.rand(4, 5), torch.empty(1, 3)
    x, y = np.array([[np.nan, np.inf, -np.inf]], np.float32), np.array([[1, np.nan, 1e30]], np.float32)
    remap(plane, x, y, out=out)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(3, 4).double(),
        torch.rand(3, 4).requires_grad_(),
        torch.rand(3, 8)[:, ::2],
        torch.rand(3, 8)[:, :4],
        torch.rand(0, 4),
        torch.zeros(1, 40_000),
        torch.zeros(3, 4, device="meta"),
    ],
    ids=["double", "gradients", "strided", "columns", "empty", "long", "elsewhere"],
)
def test_what_opencv_cannot_read_is_left_to_torch(tensor):
    assert not can_remap(tensor)
    assert not can_remap(torch.rand(3, 4), tensor)


def test_an_opencv_that_rounds_is_found_out(monkeypatch):
    remapping._remaps_exactly.cache_clear()
    monkeypatch.setattr(remapping.cv2, "remap", lambda row, at, *_: np.full_like(at, round(0.51 * 32) / 32))
    assert not can_remap(torch.rand(3, 4))
    remapping._remaps_exactly.cache_clear()
