"""Interleaved pictures hold and give the same as planes do."""

import numpy as np
import pytest
import torch

from spatialdreamer_core.dvg.interleaved import (
    Pixels,
    empty_interleaved,
    planes_of,
    rgba_of,
    weigh_pixels,
    zero_interleaved,
)

SIZES = [(1, 1), (1, 9), (9, 1), (12, 17)]


def both(size, dtype=torch.uint8):
    """A picture as planes, and the same interleaved."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.randint(-100, 256, (3, *size), generator=generator).to(dtype)
    interleaved = empty_interleaved(*size) if dtype == torch.uint8 else zero_interleaved(*size)
    return planes, interleaved.copy_(planes)


def some_pixels(size, count):
    generator = torch.Generator().manual_seed(1)
    return torch.randperm(size[0] * size[1], generator=generator)[:count]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_pixels_are_those_of_the_planes(size, dtype, count):
    planes, interleaved = both(size, dtype)
    assert rgba_of(planes) is None
    assert rgba_of(interleaved).shape == (*size, 4)
    assert interleaved.shape == (3, *size)
    index = some_pixels(size, count)
    found = Pixels(interleaved).colours_at(index)
    assert found.dtype == torch.float32
    assert torch.equal(found, planes.flatten(1)[:, index].float())
    assert torch.equal(found, Pixels(planes).colours_at(index))
    source = index.flip(0)
    colours = (100 - found).clamp(0, 100).to(dtype)
    for picture in (planes, interleaved):
        Pixels(picture).copy(index, source)
        Pixels(picture).write(index[: count // 2], colours[:, : count // 2])
    assert torch.equal(planes, interleaved)


@pytest.mark.parametrize("size", SIZES)
def test_parts_are_those_of_the_planes(size):
    planes, interleaved = both(size)
    for rows, columns in [(slice(1, None, 2), slice(None, None, 2)), (slice(3, None, 8), slice(None))]:
        found = planes_of(interleaved, rows=rows, columns=columns)
        assert torch.equal(found, planes[:, rows, columns])
        assert torch.equal(found, planes_of(planes, rows=rows, columns=columns))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_weighed_pixels_are_those_of_the_planes(size, dtype):
    planes, interleaved = both(size, dtype)
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand((size[0] + 1) // 2, (size[1] + 1) // 2, generator=generator) > 0.4
    expected = torch.cat([planes[:, ::2, ::2] * weight, weight[None]]).float()
    for picture in (planes, interleaved, planes.float()):
        found = weigh_pixels(picture, weight)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


def test_floats_and_parts_of_a_picture_are_no_interleaved_ones():
    _, picture = both((8, 10))
    for other in (picture / 255, picture[:, 2:], picture[:, :, 1:], picture[:2], picture.clone()):
        assert rgba_of(other) is None or other.shape[0] != 3
    lone = torch.rand(3, 8, 10, dtype=torch.float64)
    index = some_pixels((8, 10), 5)
    Pixels(lone).write(index, torch.ones(3, 5, dtype=torch.float64))
    assert torch.equal(Pixels(lone).colours_at(index), torch.ones(3, 5, dtype=torch.float64))


def test_a_picture_shows_what_its_memory_holds():
    picture = zero_interleaved(4, 6)
    assert not picture.any()
    rgba_of(picture)[2, 3] = (1, 2, 3, 4)
    assert picture[:, 2, 3].tolist() == [1, 2, 3]
    assert np.shares_memory(rgba_of(picture), picture.permute(1, 2, 0).numpy())
