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


def test_the_noise_of_single_frames_is_smoothed(frames):
    """A frame that is 0.1 too bright is corrected by a third of that, and its neighbours by less."""
    drifted = frames.clone()
    drifted[3] += 0.1
    moved = (drifted - match_colours(drifted, frames, everywhere(frames))).mean((1, 2, 3))
    assert moved[3] == pytest.approx(0.1 / 3, abs=1e-4)
    assert moved[2] == pytest.approx(0.1 * 2 / 9, abs=1e-4)
    assert moved[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("contrast", [0.0, 1e-4])
def test_gain_is_bounded(frames, contrast):
    flat = 0.5 + contrast * (frames - 0.5)
    corrected = match_colours(flat, frames, everywhere(frames))
    assert corrected.std() <= 1.26 * flat.std() + frames.mean((2, 3)).std() + 1e-3
    torch.testing.assert_close(corrected.mean((2, 3))[1:-1], frames.mean((2, 3))[1:-1], atol=0.02, rtol=0)
