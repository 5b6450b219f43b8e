"""Regions that are normed by the statistics of their whole picture."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spatialdreamer_core.svd.picture_statistics import PictureStatistics
from spatialdreamer_core.svd.windows import Region

SIZE = (64, 96)
WHOLE = Region(range(2), range(64), range(96))
CORNER = Region(range(2), range(32), range(48))
MIDDLE = Region(range(2), range(16, 48), range(32, 80))


@pytest.fixture(scope="module")
def network():
    """Norms and mixes channels pixel by pixel: nothing but the norms sees the picture."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 16, 1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 1), nn.GroupNorm(8, 16)
        )
        for norm in (network[1], network[4]):
            nn.init.normal_(norm.weight, 1, 0.3)
            nn.init.normal_(norm.bias, 0, 0.3)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def picture():
    """A smooth picture that is bright on one side and full of contrast at the bottom."""
    rows, columns = torch.linspace(0, 1, 64)[:, None], torch.linspace(0, 1, 96)
    waves = torch.stack([torch.sin(9 * columns + phase) * rows for phase in (0, 1, 2)])
    return torch.stack([waves + columns, waves - columns])  # two frames


def error(network, picture, regions, statistics=None):
    """Return by how much regions differ from the same parts of the whole picture, of its deviation."""
    whole, worst = network(picture), 0.0
    for region in regions:
        part = region.cut_frame(picture)
        if statistics is None:
            result = network(part)
        else:
            with statistics.give([region]):
                result = network(part)
        worst = max(worst, float((result - region.cut_frame(whole)).std() / whole.std()))
    return worst


def test_a_region_comes_out_as_in_its_picture(network, picture):
    statistics = PictureStatistics(network, SIZE)
    with statistics.take([CORNER, MIDDLE]):
        network(F.avg_pool2d(picture, 2))
    assert error(network, picture, [CORNER, MIDDLE]) > 0.3, "normed by itself"
    assert error(network, picture, [CORNER, MIDDLE], statistics) < 0.03


def test_a_batch_of_regions_is_as_each_alone(network, picture):
    statistics = PictureStatistics(network, SIZE)
    with statistics.take([CORNER, MIDDLE]):
        network(picture)
    parts = [region.cut_frame(picture) for region in (CORNER, MIDDLE)]
    with statistics.give([CORNER, MIDDLE]):
        together = network(torch.cat(parts))
    for region, part, result in zip((CORNER, MIDDLE), parts, together.split(2), strict=True):
        with statistics.give([region]):
            torch.testing.assert_close(network(part), result)


def test_the_whole_picture_as_a_region_is_as_without(network, picture):
    statistics = PictureStatistics(network, SIZE)
    with statistics.take([WHOLE]):
        network(F.avg_pool2d(picture, 4))
    with statistics.give([WHOLE]):
        result = network(picture)
    torch.testing.assert_close(result, network(picture), atol=1e-5, rtol=1e-5)
    assert not network[1]._forward_hooks


def test_a_flat_part_stays_finite(network, picture):
    flat = picture.clone()
    flat[..., :40, :60] = 0.5
    statistics = PictureStatistics(network, SIZE)
    with statistics.take([CORNER]):
        network(F.avg_pool2d(flat, 2))
    with statistics.give([CORNER]):
        assert bool(network(CORNER.cut_frame(flat)).isfinite().all())


def test_half_precision(network, picture):
    statistics = PictureStatistics(network, SIZE)
    half = network.to(torch.bfloat16)
    try:
        with statistics.take([CORNER]):
            half(picture.bfloat16())
        with statistics.give([CORNER]):
            result = half(CORNER.cut_frame(picture).bfloat16())
        assert result.dtype == torch.bfloat16
        assert bool(result.isfinite().all())
    finally:
        network.float()


def test_hooks_are_gone_after_an_interruption(network, picture):
    statistics = PictureStatistics(network, SIZE)
    with pytest.raises(KeyboardInterrupt), statistics.take([CORNER]):
        raise KeyboardInterrupt
    assert not network[1]._forward_hooks
