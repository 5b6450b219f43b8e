import numpy as np
import pytest
import torch

from spatialdreamer_core import remapping
from spatialdreamer_core.dvg.cubic import read_columns
from spatialdreamer_core.remapping import _remaps_exactly, can_remap, can_remap_pixels


def keys_kernel(x):
    """The kernel as Keys has it, with a = -1/2."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def read_slowly(colour, position):
    """Sum all columns, weighted by the kernel; the first and last one go on beyond the ends."""
    width = colour.shape[-1]
    column = np.arange(-2, width + 2)
    weight = keys_kernel(position[0].double().numpy()[..., None] - column)  # [H, W, columns]
    extended = colour.double().numpy()[:, :, column.clip(0, width - 1)]
    return torch.from_numpy(np.einsum("hwn,chn->chw", weight, extended))


@pytest.fixture(params=["opencv", "torch"])
def way(request, monkeypatch):
    """Both ways of reading; this OpenCV must be one that does not round."""
    if request.param == "torch":
        monkeypatch.setattr(remapping, "_remaps_exactly", lambda: False)
    elif not remapping._remaps_exactly():
        pytest.skip("OpenCV up to version 4 rounds positions")
    return request.param


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 5), (17, 40), (4, 333)])
@pytest.mark.parametrize("given_out", [False, True])
def test_both_ways_are_the_kernel(way, size, given_out):
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand(3, *size, generator=generator)
    position = torch.rand(1, *size, generator=generator) * (size[1] - 1)
    position[..., 0], position[..., -1] = 0, size[1] - 1
    out = torch.full_like(colour, torch.nan) if given_out else None
    read = read_columns(colour, position, out=out)
    assert read is out or not given_out
    torch.testing.assert_close(read.double(), read_slowly(colour, position), atol=2e-6, rtol=0)


def test_rows_of_a_larger_picture_are_read_where_they_lie(way):
    generator = torch.Generator().manual_seed(0)
    picture, whole = torch.rand(3, 30, 50, generator=generator), torch.zeros(3, 30, 50)
    position = torch.rand(1, 30, 50, generator=generator) * 49
    for rows in (slice(0, 13), slice(13, 30)):
        read_columns(picture[:, rows], position[:, rows], out=whole[:, rows])
    torch.testing.assert_close(whole, read_columns(picture, position), atol=0, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (17, 40)])
def test_interleaved_channels_are_read_alike_and_stay_so(way, size):
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand(*size, 4, generator=generator).permute(2, 0, 1)
    position = torch.rand(1, *size, generator=generator) * (size[1] - 1)
    read = read_columns(colour, position)
    torch.testing.assert_close(read.double(), read_slowly(colour, position), atol=2e-6, rtol=0)
    assert read.permute(1, 2, 0).is_contiguous()


@pytest.mark.parametrize(
    ("height", "width", "fits"), [(2, 8200, True), (2, 32_001, False), (32_001, 1, False)]
)
def test_a_picture_may_be_as_large_interleaved_as_by_planes(height, width, fits):
    picture = torch.zeros(height, width, 4).permute(2, 0, 1)
    assert can_remap_pixels(picture) == can_remap(picture.contiguous()) == (fits and _remaps_exactly())
    assert not can_remap_pixels(picture.contiguous())


def test_columns_of_a_picture_and_doubles_are_read_too(way):
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(3, 6, 50, generator=generator)[..., 5:30]
    position = torch.rand(1, 6, 25, generator=generator) * 24
    expected = read_slowly(picture, position)
    torch.testing.assert_close(read_columns(picture, position).double(), expected, atol=2e-6, rtol=0)
    exact = read_columns(picture.double(), position.double())
    torch.testing.assert_close(exact, expected, atol=1e-12, rtol=0)


def test_gradients_reach_colours_and_positions():
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand(2, 3, 9, dtype=torch.float64, generator=generator, requires_grad=True)
    between = torch.randint(0, 8, (1, 3, 9), generator=generator) + 0.25 + torch.rand(1, 3, 9) / 2
    position = between.double().requires_grad_()
    assert torch.autograd.gradcheck(read_columns, (colour, position))
