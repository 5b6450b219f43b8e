from __future__ import annotations

import numpy as np

from spatialdreamer_core.depth.regions import find_regions


def picture():
    """Draw a coat before a wall."""
    frame = np.full((90, 160, 3), (200, 180, 150), np.uint8)
    frame[20:, 60:90] = (40, 40, 60)
    return frame


def test_regions_are_of_one_colour_and_tell_their_shape():
    regions = find_regions(picture())
    wall, coat = regions.label[5, 5], regions.label[40, 52]
    assert wall != coat
    assert regions.area.sum() == regions.label.size
    upright = regions.upright()
    assert upright[coat] == 1
    assert upright[wall] < 0.8


def test_an_average_is_each_regions_weighted_mean():
    regions = find_regions(picture())
    generator = np.random.default_rng(0)
    values, weight = generator.random((2, *regions.label.shape)).astype(np.float32)
    mean, mean_weight = regions.average((values,), weight)
    for label in range(len(regions.area)):
        here = regions.label == label
        np.testing.assert_allclose(mean[here], (values * weight)[here].sum() / weight[here].sum(), rtol=1e-4)
        np.testing.assert_allclose(mean_weight[here], weight[here].mean(), rtol=1e-4)


def test_without_weight_an_average_is_nought():
    regions = find_regions(picture())
    mean, weight = regions.average((np.ones(regions.label.shape, np.float32),), 0 * regions.label)
    assert not mean.any()
    assert not weight.any()
