"""Regions around holes: they hold every hole with its margin, and cost less than the whole picture."""

import numpy as np
import pytest
import torch

from spatialdreamer_core.svd.hole_regions import (
    RegionCost,
    cut_regions,
    fade_in,
    find_regions,
    group_regions,
)
from spatialdreamer_core.svd.windows import Region

COST = RegionCost(attention=40_000)
HEIGHT, WIDTH = 576, 1024


def holes(*boxes, frames=4, height=HEIGHT, width=WIDTH):
    """Make a mask with a hole in each (frame, top, bottom, left, right)."""
    hole = torch.zeros(frames, 1, height, width)
    for frame, top, bottom, left, right in boxes:
        hole[frame, :, top:bottom, left:right] = 1
    return hole


def test_worked_example():
    hole = holes((0, 200, 330, 300, 310), (3, 210, 215, 320, 330))
    (region,) = find_regions(hole, cost=COST, margin=64)
    # Squares of rows 192 to 383 and columns 256 to 383, and one more on each side.
    assert region == Region(range(4), range(128, 448), range(192, 448))


def test_no_hole_no_region():
    assert find_regions(holes(), cost=COST, margin=64) == []


def test_distant_holes_get_regions_of_their_own_and_near_ones_share_one():
    apart = find_regions(holes((0, 10, 20, 10, 20), (1, 500, 510, 900, 910)), cost=COST, margin=64)
    assert sorted(region.picture_size for region in apart) == [(128, 128), (192, 192)]
    (near,) = find_regions(holes((0, 10, 20, 10, 20), (1, 10, 20, 140, 150)), cost=COST, margin=64)
    assert near.picture_size == (128, 256)


def test_what_a_region_costs_in_any_case_joins_distant_ones():
    hole = holes((0, 10, 20, 10, 20), (1, 500, 510, 900, 910))
    dear = RegionCost(attention=40_000, overhead=1e6)
    assert find_regions(hole, cost=dear, margin=64) == [Region(range(4), range(HEIGHT), range(WIDTH))]


@pytest.mark.parametrize("hole", [torch.ones(4, 1, HEIGHT, WIDTH), holes((0, 0, 576, 0, 850))])
def test_the_whole_picture_where_that_is_cheaper(hole):
    assert find_regions(hole, cost=COST, margin=128) == [Region(range(4), range(HEIGHT), range(WIDTH))]


def test_a_ring_is_not_filled_in():
    hole = holes(
        *((0, 0, 576, left, left + 8) for left in (0, 1000)),
        *((0, top, top + 8, 0, 1024) for top in (0, 560)),
    )
    regions = find_regions(hole, cost=COST, margin=64)
    area = sum(np.prod(region.picture_size) for region in regions)
    assert 1 < len(regions) <= 4
    assert area < 0.8 * HEIGHT * WIDTH


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("margin", [64, 128])
def test_every_hole_lies_a_margin_inside_a_region_or_at_the_picture_s_side(seed, margin):
    random = np.random.default_rng(seed)
    boxes = []
    for frame in range(4):
        top, left = random.integers(0, HEIGHT - 40), random.integers(0, WIDTH - 40)
        boxes.append((frame, top, top + random.integers(1, 40), left, left + random.integers(1, 40)))
    hole = holes(*boxes)
    regions = find_regions(hole, cost=COST, margin=margin)
    covered = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for region in regions:
        rows, columns = region.rows, region.columns
        assert region.frames == range(4)
        assert all(side % 64 == 0 for side in (rows.start, rows.stop, columns.start, columns.stop))
        inner = [
            slice(side.start + margin * (side.start > 0), side.stop - margin * (side.stop < length))
            for side, length in ((rows, HEIGHT), (columns, WIDTH))
        ]
        covered[inner[0], inner[1]] = True
    assert bool(covered[(hole > 0.5).any(0)[0]].all())


def test_cost_is_linear_with_quadratic_attention_and_what_holes_add():
    size = {"frames": 2, "latents": np.array(100.0), "holes": np.array(10.0)}
    assert RegionCost(attention=50, overhead=3).estimate(**size) == 2 * 100 * (1 + 100 / 50) + 3
    assert RegionCost(attention=50, full_attention=True).estimate(**size) == 2 * 100 * (1 + 110 / 50)
    assert RegionCost.of_unet({"block_out_channels": (320, 640)}) == COST


def test_full_attention_parts_what_would_be_joined():
    """Each hole's latents see their region's alone: two regions, each with half of them, cost less."""
    hole = holes((0, 0, 576, 250, 330), (0, 0, 576, 450, 530), frames=16)
    joined = find_regions(hole, cost=COST, margin=64)
    apart = find_regions(hole, cost=RegionCost(attention=400, full_attention=True), margin=64)
    assert (len(joined), len(apart)) == (1, 2)


def test_large_regions_are_cut_into_tiles_that_overlap():
    region = Region(range(4), range(64, 256), range(128, 1024))
    tiles = cut_regions([region], tile=384)
    assert {tile.rows for tile in tiles} == {region.rows}
    assert [(tile.columns.start, tile.columns.stop) for tile in tiles] == [
        (128, 512),
        (384, 768),
        (640, 1024),
    ]
    assert cut_regions([region], tile=0) == [region]


def test_regions_of_equal_size_go_together():
    regions = [
        Region(range(4), range(top, top + size), range(64)) for top, size in ((0, 64), (64, 128), (192, 64))
    ]
    assert group_regions(regions) == [[regions[0], regions[2]], [regions[1]]]


def test_a_region_fades_within_the_picture_alone():
    weights = fade_in(Region(range(1), range(128), range(64, 192)), 512, 512, ramp=32)
    assert weights.shape == (128, 128)
    assert bool((weights[:96, 32:96] == 1).all()), "inside, and at the picture's upper side"
    assert weights[0, :3].tolist() == pytest.approx([1 / 64, 3 / 64, 5 / 64])
    assert torch.equal(weights, weights.flip(1))
    assert bool((weights > 0).all())
    assert bool((fade_in(Region(range(1), range(512), range(512)), 512, 512, ramp=32) == 1).all())
