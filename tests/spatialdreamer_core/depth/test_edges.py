import cv2
import numpy as np
import pytest

from spatialdreamer_core.depth.edges import (
    _medians_at,
    clean_edges,
    contrast_of,
    dilate_foreground,
    snap_edges,
    steepen_edges,
)


def test_steps_are_made_and_slopes_kept():
    ramp = np.tile(np.clip((np.arange(40, dtype=np.float32) - 17) / 6, 0, 1), (10, 1))
    steep = steepen_edges(ramp, radius=3)
    assert np.abs(np.diff(steep, axis=1)).max() > 1.7 * np.abs(np.diff(ramp, axis=1)).max()
    assert np.array_equal(steep[:, :14], ramp[:, :14])
    slope = np.tile(np.linspace(0, 0.4, 100, dtype=np.float32), (10, 1))
    assert np.array_equal(steepen_edges(slope, radius=3), slope)


def test_specks_and_gaps_go_and_things_stay():
    depth = np.full((60, 80), 0.2, np.float32)
    depth[20:50, 30:60] = 0.8
    depth[30:33, 40:43] = 0.2  # a shadow inside the near thing
    depth[5:7, 5:7] = 0.8  # a speck on the far one
    cleaned = clean_edges(depth)
    assert (cleaned[21:49, 31:59] > 0.79).all()
    assert (cleaned[:15, :20] < 0.21).all()
    assert set(np.unique(cleaned)) <= set(np.unique(depth)), "rank filters make no new values"


def test_the_foreground_covers_one_pixel_more():
    depth = np.full((60, 80), 0.2, np.float32)
    depth[20:50, 30:60] = 0.8
    cleaned = clean_edges(depth)
    assert (cleaned[34, 29:61] > 0.79).all()
    assert cleaned[34, 28] < 0.21
    assert cleaned[34, 61] < 0.21


def test_a_noisy_ramp_becomes_a_step_without_specks():
    ramp = np.tile(np.clip((np.arange(60, dtype=np.float32) - 27) / 6, 0, 1), (40, 1))
    noisy = ramp + 0.03 * np.random.default_rng(0).standard_normal(ramp.shape).astype(np.float32)
    outlines = [
        np.abs(np.diff((snapped(noisy, radius=4) > 0.5).astype(int), axis=0)).sum()
        for snapped in (steepen_edges, snap_edges)
    ]
    assert outlines[1] < 0.6 * outlines[0]


def test_thin_things_that_are_steep_stay():
    depth = np.full((30, 30), 0.2, np.float32)
    depth[:, 12] = 0.9
    assert np.array_equal(snap_edges(depth, radius=3), depth)


def test_weak_edges_are_dilated_in_part():
    for step, grown_by in ((0.07, 0.0), (0.12, 0.06), (0.5, 0.5)):
        depth = np.zeros((9, 20), np.float32)
        depth[:, 10:] = step
        grown = dilate_foreground(depth, radius=2)
        assert np.allclose(grown[:, 8:10], grown_by, atol=1e-5)
        assert not grown[:, :8].any()


def test_colours_edges_are_found_and_a_sensors_noise_is_none():
    image = np.full((40, 60, 3), 100, np.uint8)
    image += np.random.default_rng(0).integers(0, 4, image.shape, dtype=np.uint8)
    image[:, 30:, 1] += 40  # in one channel
    strength = contrast_of(image, radius=2)
    assert (strength[:, 28:32] == 1).all()
    assert strength[:, :27].max() == 0
    assert strength[:, 33:].max() == 0


def test_ramps_become_steps_only_where_they_may():
    ramp = np.tile(np.clip((np.arange(40, dtype=np.float32) - 17) / 6, 0, 1), (20, 1))
    strength = np.zeros_like(ramp)
    strength[10:] = 1
    steep = steepen_edges(ramp, radius=3, strength=strength)
    assert np.array_equal(steep[:10], ramp[:10])
    assert np.array_equal(steep[10:], steepen_edges(ramp, radius=3)[10:])
    snapped = snap_edges(ramp, radius=2, strength=strength)
    assert np.array_equal(snapped[:7], ramp[:7])
    assert np.array_equal(snapped[13:], snap_edges(ramp, radius=2)[13:])


@pytest.mark.parametrize("count", [0, 1, 20, 500])
@pytest.mark.parametrize("size", [(1, 30), (4, 5), (40, 50)])
def test_medians_at_pixels_are_those_of_the_whole_plane(size, count):
    random = np.random.default_rng(0)
    plane = random.random(size, np.float32)
    index = np.sort(random.choice(plane.size, min(count, plane.size), replace=False))
    assert np.array_equal(_medians_at(plane, index), cv2.medianBlur(plane, 5).ravel()[index])
