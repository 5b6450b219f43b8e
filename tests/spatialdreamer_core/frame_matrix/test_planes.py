"""Cleaning a warped view plane by plane."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.frame_matrix.planes import clean_planes


def make(height=9, width=12):
    """A background at 0 px and a foreground at 6 px, in columns 4 to 8."""
    view = torch.full((3, height, width), 0.2)
    seen = torch.zeros(1, height, width)
    view[..., 4:9], seen[..., 4:9] = 0.8, 6.0
    return view, torch.zeros(1, height, width), seen


@pytest.mark.parametrize("planes", [1, 2, 4])
def test_a_clean_view_stays_as_it_is(planes):
    view, hole, seen = make()
    cleaned, left = clean_planes(view, hole, seen, planes=planes)
    assert torch.equal(cleaned, view)
    assert torch.equal(left, hole)


def test_a_torn_off_pixel_takes_the_colour_of_the_plane_around_it():
    view, hole, seen = make()
    view[:, 4, 1], seen[:, 4, 1] = 0.8, 6.0
    cleaned, left = clean_planes(view, hole, seen, planes=2)
    assert cleaned[0, 4, 1] == pytest.approx(0.2)
    assert not left.any()


def test_cracks_are_closed_by_their_own_plane_and_holes_stay():
    view, hole, seen = make(width=24)
    for gap in (slice(6, 7), slice(12, 20)):  # a crack in the foreground, and a hole in the background
        view[..., gap], hole[..., gap], seen[..., gap] = 0.0, 1.0, 0.0
    cleaned, left = clean_planes(view, hole, seen, planes=2)
    torch.testing.assert_close(cleaned[..., 6], torch.full((3, 9), 0.8))
    assert not left[..., 6].any()
    assert left[..., 12:20].all()
    assert not cleaned[..., 12:20].any()


def test_thin_things_and_empty_views_stay():
    view, hole, seen = make()
    view[..., 1], seen[..., 1] = 0.9, 6.0  # a hair
    assert torch.equal(clean_planes(view, hole, seen, planes=4)[0], view)
    empty = torch.zeros_like(view), torch.ones_like(hole), torch.zeros_like(seen)
    assert all(torch.equal(*pair) for pair in zip(clean_planes(*empty, planes=4), empty[:2], strict=True))
