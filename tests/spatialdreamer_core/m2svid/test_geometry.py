"""The training geometry: shifts undone, left eyes mirrored, and all of it taken back."""

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.m2svid.geometry import Geometry, check_shift


def make(shifts, *, eye="right", size=(64, 96), max_side=1024):
    return Geometry.of_window(*size, shifts=shifts, eye=eye, max_side=max_side, multiple=64, factor=8)


@pytest.fixture
def frames():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_the_left_view_lies_further_right_by_the_shift_and_nothing_is_lost(frames):
    geometry = make([5.4, 2.0])
    left, warped = geometry.fit_left(frames), geometry.fit_warped(frames)
    assert left.shape == warped.shape == (2, 3, 64, 128), "101 px in whole squares"
    assert torch.equal(left[0, :, :, 5:101], frames[0])
    assert torch.equal(left[1, :, :, 2:98], frames[1])
    assert torch.equal(left[0, :, :, :5], frames[0, :, :, :1].expand(-1, -1, 5))
    assert torch.equal(warped[..., :96], frames)
    assert torch.equal(warped[..., 96:], frames[..., -1:].expand(-1, -1, -1, 32))


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("shift", [0, 7])
def test_a_picture_comes_back_as_it_was(frames, eye, shift):
    geometry = make([shift] * 2, eye=eye)
    assert torch.equal(geometry.restore(geometry.fit_warped(frames), width=96), frames)


def test_disparities_are_positive_again(frames):
    """What convergence has put 3 px to the right of where it is in the left view lies 4 px left of it."""
    warped = frames.roll(3, -1)  # disparity -3
    for eye, view in (("right", warped), ("left", warped.flip(-1))):
        geometry = make([7, 7], eye=eye)
        left = geometry.fit_left(frames if eye == "right" else frames.flip(-1))
        canvas = geometry.fit_warped(view)
        assert torch.equal(canvas[..., 10:60], left[..., 14:64])


def test_holes_are_mirrored_with_the_view_and_there_are_none_beside_it():
    hole = torch.zeros(1, 1, 64, 96)
    hole[..., :4] = 1
    mask = make([6.0], eye="left").fit_hole(hole)
    assert mask.shape == (1, 1, 64, 128)
    assert mask[0, 0, 0].nonzero().flatten().tolist() == [92, 93, 94, 95]
    hole[..., -4:] = 1
    assert make([6.0]).fit_hole(hole)[..., 96:].sum() == 0


def test_large_views_are_scaled_without_the_shift_s_share():
    geometry = make([10.0], size=(128, 256), max_side=128)
    canvas = geometry.canvas
    assert (canvas.fitted_height, canvas.fitted_width) == (64, 133)
    assert geometry.is_scaled
    assert not make([10.0], size=(128, 256), max_side=256).is_scaled


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        (-1.0, r"shift must be between 0 and 95 \(px\), got -1"),
        (96.0, r"shift must be between 0 and 95 \(px\), got 96"),
        (float("nan"), "shift must be between 0 and 95"),
    ],
)
def test_shifts_that_cannot_be(shift, message):
    with pytest.raises(InputError, match=message):
        check_shift(shift, 96)
