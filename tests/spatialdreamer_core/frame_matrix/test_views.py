"""The views between the eyes."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.dvg import forward_warp_with_disparity
from spatialdreamer_core.frame_matrix.views import (
    render_view,
    source_disparity,
    view_motion_bucket,
    view_shares,
)

EYES = pytest.mark.parametrize("eye", ["right", "left"])


def scene():
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(2, 3, 16, 48, generator=generator)
    disparity = torch.full((2, 1, 16, 48), -2.0)
    disparity[..., 4:12, 20:30] = 6.0
    return source, disparity


def test_shares_go_from_the_source_to_the_rendered_view():
    assert view_shares(1) == [1.0]
    assert view_shares(2) == [0.0, 1.0]
    assert view_shares(5) == [0.0, 0.25, 0.5, 0.75, 1.0]


@EYES
def test_a_view_between_the_eyes_is_warped_by_its_share_and_has_no_black_holes(eye):
    source, disparity = scene()
    view, hole = render_view(source, disparity, 0.5, eye=eye, planes=0)
    expected, wanted, _ = forward_warp_with_disparity(source, disparity / 2, eye=eye)
    known = (wanted < 0.5).expand_as(view)
    assert torch.equal(hole, wanted)
    assert torch.equal(view[known], expected[known])
    assert view[~known].mean() > 0.2
    cleaned, fewer = render_view(source, disparity, 0.5, eye=eye, planes=4)
    assert (cleaned - view).abs()[known].mean() < 0.01
    assert (fewer - hole).abs().mean() < 0.02
    same, none = render_view(source, disparity, 0.0, eye=eye, planes=4)
    torch.testing.assert_close(same, source, rtol=0, atol=1e-6)
    assert not none.any()


@EYES
def test_the_source_s_disparity_is_found_in_the_rendered_view(eye):
    source, disparity = scene()
    _, hole, seen = forward_warp_with_disparity(source, disparity, eye=eye)
    assert hole.any()
    found = source_disparity(seen, hole, eye=eye)
    inside = (found - disparity).abs()[..., 3:-3]
    assert (inside > 0.5).float().mean() < 0.03, "but for the foreground's rims"
    nothing = source_disparity(torch.zeros_like(seen), torch.ones_like(hole), eye=eye)
    assert torch.equal(nothing, torch.zeros_like(seen))


def test_the_motion_bucket_of_rows_follows_the_shift_between_views():
    disparity = torch.full((1, 1, 4, 100), 3.0)
    assert view_motion_bucket(disparity, 4) == 127
    assert view_motion_bucket(-disparity, 7) == 64
    assert view_motion_bucket(0 * disparity, 4) == 16
    assert view_motion_bucket(50 * disparity, 2) == 255
