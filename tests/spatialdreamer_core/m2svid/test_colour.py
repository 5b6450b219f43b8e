"""Colours: what drifted comes back, smoothly, and nothing else changes."""

import pytest
import torch

from spatialdreamer_core.m2svid.colour import match_colours


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(3)
    return 0.3 + 0.4 * torch.rand(7, 3, 24, 32, generator=generator)


def everywhere(frames):
    return torch.ones_like(frames[:, :1])


def test_an_affine_drift_is_taken_back(frames):
    gain, offset = torch.tensor([0.9, 1.1, 1.0]), torch.tensor([0.02, -0.03, 0.05])
    drifted = frames * gain[:, None, None] + offset[:, None, None]
    torch.testing.assert_close(match_colours(drifted, frames, everywhere(frames)), frames, atol=1e-5, rtol=0)


def test_what_has_not_drifted_stays(frames):
    torch.testing.assert_close(match_colours(frames, frames, everywhere(frames)), frames, atol=1e-6, rtol=0)


def test_known_pixels_alone_count_and_holes_are_corrected_with_them(frames):
    known = everywhere(frames)
    known[..., 10:20] = 0
    drifted = frames + 0.1
    drifted[..., 10:20] = 0.5
    corrected = match_colours(drifted, frames, known)
    torch.testing.assert_close(corrected[..., 20:], frames[..., 20:], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        corrected[..., 10:20], torch.full_like(frames[..., 10:20], 0.4), atol=1e-5, rtol=0
    )


def test_without_known_pixels_nothing_changes(frames):
    assert torch.equal(match_colours(frames + 0.1, frames, 0 * everywhere(frames)), frames + 0.1)


def test_a_frame_without_known_pixels_goes_by_those_around_it(frames):
    known = everywhere(frames)
    known[3] = 0
    corrected = match_colours(frames + 0.1, frames, known)
    torch.testing.assert_close(corrected, frames, atol=1e-5, rtol=0)


def test_brightness_follows_each_frame_and_contrast_changes_smoothly(frames):
    """A frame of 1.2 times the contrast changes that of its neighbours, too, but no frame's mean."""
    mean = frames.mean((2, 3), keepdim=True)
    drifted = frames.clone()
    drifted[3] = 1.2 * (frames[3] - mean[3]) + mean[3] + 0.1
    corrected = match_colours(drifted, frames, everywhere(frames))
    torch.testing.assert_close(corrected.mean((2, 3)), mean[..., 0, 0], atol=5e-4, rtol=0)
    gains = corrected.std((1, 2, 3)) / drifted.std((1, 2, 3))
    assert gains[3] < gains[2] < gains[1] < 1
    assert gains[3] == pytest.approx((3 / (2 + 1.2**2)) ** 0.5, abs=0.01)
    assert gains[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("contrast", [0.0, 1e-4])
def test_gain_is_bounded(frames, contrast):
    flat = 0.5 + contrast * (frames - 0.5)
    corrected = match_colours(flat, frames, everywhere(frames))
    assert corrected.std() <= 1.26 * flat.std() + frames.mean((2, 3)).std() + 1e-3
    torch.testing.assert_close(corrected.mean((2, 3))[1:-1], frames.mean((2, 3))[1:-1], atol=0.02, rtol=0)
