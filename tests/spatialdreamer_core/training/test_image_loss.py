"""The loss on pictures: by hand, its gradient, where it looks and when it does not."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import VaeCodec
from spatialdreamer_core.training import image_loss as module
from spatialdreamer_core.training.image_loss import image_loss


def decode(latents):
    return F.pixel_shuffle(latents, 2)  # 12 channels, 2 px of a latent


def distance(result, truth):
    return (result - truth).square().mean((1, 2, 3))


@pytest.fixture
def clips():
    """Estimate, truth and holes of two clips of two frames; each clip has one hole."""
    generator = torch.Generator().manual_seed(0)
    estimate, target = torch.randn(2, 2, 2, 12, 20, 24, generator=generator)
    mask = torch.zeros(2, 2, 1, 20, 24)
    mask[0, 1, :, 10, 12] = 1
    mask[1, :, :, 0, 23] = 1
    return estimate, target, mask


def measure(clips, **changes):
    options = {"decode": decode, "draws": torch.zeros(2), "crop": 4, "sigma": torch.tensor([0.5, 1.0])}
    return image_loss(*clips, **{**options, **changes})


def test_it_is_the_difference_of_decoded_crops(clips):
    estimate, target, _ = clips
    crops = ((slice(8, 12), slice(10, 14)), (slice(0, 4), slice(20, 24)))
    expected = torch.stack(
        [(estimate[i, :, :, y, x] - target[i, :, :, y, x]).abs().mean() for i, (y, x) in enumerate(crops)]
    )
    torch.testing.assert_close(measure(clips), expected)
    wide = measure(clips, crop=100)
    torch.testing.assert_close(wide, (estimate - target).abs().mean((1, 2, 3, 4)))


def test_lpips_is_added_where_it_is_given(clips):
    estimate, target, _ = clips
    with_lpips = measure(clips, crop=16, lpips=distance)
    crops = ((slice(2, 18), slice(4, 20)), (slice(0, 16), slice(8, 24)))
    added = torch.stack(
        [(estimate[i, :, :, y, x] - target[i, :, :, y, x]).square().mean() for i, (y, x) in enumerate(crops)]
    )
    torch.testing.assert_close(with_lpips - measure(clips, crop=16), added)
    with pytest.raises(InputError, match="crops must be at least 32 px for LPIPS, got 8x8"):
        measure(clips, lpips=distance)


def test_the_gradient_is_that_of_finite_differences_and_stays_in_the_crop(clips):
    estimate, target, mask = (part.double() for part in clips)
    estimate.requires_grad_(True)
    smooth = lambda latents: decode(latents).double().sin()  # noqa: E731
    measure((estimate, target, mask), decode=smooth).sum().backward()
    assert estimate.grad[0, :, :, 8:12, 10:14].ne(0).any()
    outside = estimate.grad.clone()
    outside[0, :, :, 8:12, 10:14] = 0
    outside[1, :, :, 0:4, 20:24] = 0
    assert outside.eq(0).all()
    step = torch.zeros_like(estimate)
    step[0, 1, 3, 9, 11] = 1e-2
    with torch.no_grad():
        ahead, behind = (
            measure((estimate + side * step, target, mask), decode=smooth).sum() for side in (1, -1)
        )
    numeric = float(ahead - behind) / 2e-2
    assert float(estimate.grad[0, 1, 3, 9, 11]) == pytest.approx(numeric, rel=0.05, abs=1e-4)


def test_much_noise_or_no_hole_gives_nothing(clips):
    estimate, target, mask = clips
    assert measure(clips, sigma=torch.tensor([1.1, 0.9]))[0] == 0
    assert measure(clips, sigma=torch.tensor([1.1, 0.9]))[1] > 0
    assert (measure(clips, sigma=torch.tensor([700.0, 0.9]), max_sigma=1000) > 0).all()
    assert measure((estimate, target, torch.zeros_like(mask))).tolist() == [0, 0]


def test_the_draw_chooses_among_all_hole_positions():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2, 1] = mask[..., 5, 6] = 1
    first, last = (module._place_crop(mask, draw, 2) for draw in (0.49, 0.5))
    assert first == (slice(1, 3), slice(0, 2))
    assert last == (slice(4, 6), slice(5, 7))
    assert module._place_crop(mask, 1.0, 2) == last


def test_a_crop_has_a_size(clips):
    with pytest.raises(InputError, match="crop must be between 1 and 4096"):
        measure(clips, crop=0)


def test_svds_autoencoder_passes_the_gradient_on(tiny_svd):
    estimate, target = torch.randn(2, 1, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 2, 1, 8, 8)
    mask[..., 2, 2] = 1
    estimate.requires_grad_(True)
    options = {"sigma": torch.ones(1), "draws": torch.zeros(1), "crop": 4}
    decode = VaeCodec(tiny_svd.make_vae().requires_grad_(False)).decode_with_gradient
    loss = image_loss(estimate, target, mask, decode=decode, lpips=distance, **options)
    loss.sum().backward()
    assert loss[0] > 0
    assert estimate.grad[..., :4, :4].ne(0).all()
    assert estimate.grad[..., 4:, :].eq(0).all()
