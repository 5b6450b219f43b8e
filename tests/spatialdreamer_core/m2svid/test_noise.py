import pytest
import torch

from spatialdreamer_core.m2svid.noise import NoisyView, ViewNoise


def noise_of(view=0, *, frames=range(2), size=(300, 280), **noise):
    """Return the noise on some frames, scaled to a deviation of 1."""
    noise = ViewNoise(strength=2.0, **noise)
    return NoisyView(view, noise, size).add(torch.zeros(len(frames), 3, *size), frames)


@pytest.mark.parametrize("corner", [(0, 0), (64, 128), (37, 130), (256, 200)])
def test_a_region_has_the_noise_at_its_place(corner):
    top, left = corner
    region = noise_of(size=(40, 64), corner=corner)
    assert torch.equal(region, noise_of()[..., top : top + 40, left : left + 64])


def test_a_frame_has_the_same_noise_in_every_window():
    assert torch.equal(noise_of(first_frame=5)[1], noise_of(first_frame=6)[0])
    assert torch.equal(noise_of(frames=range(2, 4))[0], noise_of(frames=range(3))[2])


def test_it_is_normal_and_no_two_frames_views_squares_or_seeds_are_alike():
    noise = noise_of(size=(256, 256))
    squares = [noise[..., y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128)]
    parts = [part[frame] for part in squares for frame in range(2)]
    parts += [noise_of(1, size=(128, 128))[0], noise_of(size=(128, 128), seed=1)[0]]
    flat = torch.stack([part.flatten() for part in parts])
    assert ((flat @ flat.T) / flat.shape[1] - torch.eye(len(flat))).abs().max() < 0.03
    assert flat.mean().abs() < 0.01


def test_what_is_drawn_ahead_is_what_is_taken():
    view = NoisyView(0, ViewNoise(strength=2.0), (40, 64))
    view.draw_ahead(range(4))
    later = view.add(torch.zeros(2, 3, 40, 64), range(2, 4))
    assert torch.equal(later, noise_of(frames=range(2, 4), size=(40, 64)))


def test_without_strength_pictures_stay_as_they_are():
    pictures = torch.rand(2, 3, 40, 64)
    view = NoisyView(0, ViewNoise(strength=0), (40, 64))
    view.draw_ahead(range(2))
    assert torch.equal(view.add(pictures, range(2)), pictures)
    assert len(view.add(pictures[:0], range(0))) == 0
