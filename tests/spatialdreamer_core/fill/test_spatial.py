import pytest
import torch
from torch.nn import functional as F

from spatialdreamer_core.fill.hole_runs import find_runs
from spatialdreamer_core.fill.spatial import _enlarge, fill_from_background, mean_around, sample_at


def test_the_mean_is_the_obvious_one():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 6, 7, generator=generator)
    excluded = torch.rand(6, 7, generator=generator) > 0.7
    row, column = torch.tensor([0, 3, 5]), torch.tensor([0, 4, 6])
    taps = [(0, 0, 1.0), (-2, 1, 0.5), (1, -3, torch.tensor([0.1, 0.2, 0.3]))]
    found = mean_around(image, excluded, row, column, taps)
    for i in range(3):
        total, norm = torch.zeros(3), 0.0
        for down, right, weight in taps:
            y, x = min(max(int(row[i]) + down, 0), 5), min(max(int(column[i]) + right, 0), 6)
            share = float(weight if isinstance(weight, float) else weight[i]) * (not excluded[y, x])
            total, norm = total + share * image[:, y, x], norm + share
        assert torch.allclose(found[:, i], total / norm if norm else total, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (12, 17)])
def test_bytes_are_sampled_and_averaged_as_their_floats_are(size):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
    x = torch.rand(300, generator=generator) * (size[1] + 6) - 3
    y = torch.rand(300, generator=generator) * (size[0] + 6) - 3
    x[:50], y[:25] = x[:50].round(), y[:25].round()
    torch.testing.assert_close(sample_at(image, x, y), sample_at(image.float(), x, y), atol=2e-3, rtol=0)
    excluded = torch.rand(size, generator=generator) > 0.7
    row, column = (torch.randint(0, side, (40,), generator=generator) for side in size)
    taps = [(0, 0, 1.0), (-2, 1, 0.5), (1, -3, torch.rand(40, generator=generator))]
    found, expected = (mean_around(part, excluded, row, column, taps) for part in (image, image.float()))
    assert torch.equal(found, expected)


def test_the_smoothing_widens_with_the_distance():
    # A bright row in the background is smeared over more rows the farther it is continued.
    view = torch.zeros(3, 33, 60)
    view[:, 16] = 1
    hole = torch.zeros(33, 60, dtype=torch.bool)
    hole[:, 10:40] = True
    disparity = torch.zeros(33, 60)
    disparity[:, :10] = 30.0
    runs = find_runs(hole, disparity, eye="right")
    filled = view.clone()
    filled[:, runs.row, runs.column] = view[:, runs.row, runs.source]
    filled[:, runs.row, runs.column] = fill_from_background(filled, hole, runs)
    near, far = filled[0, :, 39], filled[0, :, 12]
    assert near[16] > 1.5 * far[16]
    assert near[10] < far[10]


@pytest.mark.parametrize("size", [(6, 10), (5, 9), (1, 2), (540, 960)])
def test_levels_are_enlarged_as_torch_does(size):
    level = torch.rand(1, 3, (size[0] + 1) // 2, (size[1] + 1) // 2)
    expected = F.interpolate(level, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(_enlarge(level, size), expected, atol=1e-6, rtol=0)
