"""Clips at the size of training: what is cut, where holes stay, and what the networks see."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer import SpatialDreamer
from spatialdreamer_core.svd import SCALING, embed_images, encode_frames
from spatialdreamer_core.training.clips import (
    FittedClip,
    check_training_size,
    encode_condition,
    encode_sample,
    fit_clip,
)


@pytest.fixture(scope="module")
def model(tiny_svd):
    """An untrained SpatialDreamer with an autoencoder."""
    return SpatialDreamer.from_svd(tiny_svd.make_model())


def test_a_clip_of_the_size_stays_as_it_is(make_clips):
    clip = make_clips(2).read(0, range(2))
    for before, after in zip(clip, fit_clip(clip, height=64, width=128), strict=True):
        assert torch.equal(before, after)


def test_what_is_too_wide_is_cut_on_both_sides():
    ramp = torch.arange(12.0).div(12).expand(1, 3, 4, 12) * 1.0
    clip = FittedClip(ramp, ramp, ramp, torch.zeros(1, 1, 4, 12))
    with pytest.raises(InputError, match="height must be between 16 and 4096 \\(px\\), got 4"):
        fit_clip(clip, height=4, width=4)
    clip = FittedClip(*(part.repeat_interleave(8, -1).repeat_interleave(8, -2) for part in clip))
    fitted = fit_clip(clip, height=32, width=32)
    assert fitted.target.shape == (1, 3, 32, 32)
    assert torch.equal(fitted.target, clip.target[..., 32:64])


def test_a_pixel_that_covers_any_hole_is_a_hole(make_clips):
    clip = make_clips(1, size=(96, 256)).read(0, range(1))
    hole = torch.zeros_like(clip.hole)
    hole[..., 40, 131] = 1
    fitted = fit_clip(clip._replace(hole=hole), height=32, width=64)
    assert set(fitted.hole.unique().tolist()) == {0.0, 1.0}
    assert fitted.hole.sum() >= 1
    enlarged = fit_clip(clip._replace(hole=hole), height=192, width=512)
    assert enlarged.hole.sum() >= 4


def test_black_holes_do_not_darken_what_lies_beside_them():
    white = torch.ones(1, 3, 64, 64)
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 20:40] = 1
    fitted = fit_clip(FittedClip(white, white, white * (1 - hole), hole), height=48, width=48)
    known = fitted.hole < 0.5
    assert fitted.warped[known.expand(-1, 3, -1, -1)].min() > 0.9
    assert fitted.warped[~known.expand(-1, 3, -1, -1)].eq(0).all()


def test_a_size_that_needs_padding_is_refused(model):
    check_training_size(model, height=64, width=128)
    with pytest.raises(InputError, match="multiples of 64 px with this model, got 100x64; use 128x64"):
        check_training_size(model, height=64, width=100)


def test_the_networks_see_blanked_holes_and_scaled_latents(model, make_clips):
    clip = make_clips(2).read(0, range(2))
    sample = encode_sample(model, clip)
    blanked = clip.warped.masked_fill(clip.hole.bool(), 0.5)
    assert torch.equal(sample.condition, encode_frames(model.svd.vae, blanked))
    assert torch.equal(sample.target, SCALING * encode_frames(model.svd.vae, clip.target))
    assert torch.equal(sample.reference, SCALING * encode_frames(model.svd.vae, clip.reference))
    assert torch.equal(sample.embeddings, embed_images(model.svd.image_encoder, clip.reference))
    assert sample.mask.shape == (2, 1, 8, 16)
    assert sample.mask[..., -1].all()
    # What lies in the holes does not count.
    other = clip._replace(warped=torch.where(clip.hole > 0.5, 0.9, clip.warped))
    assert torch.equal(encode_sample(model, other).condition, sample.condition)


def test_noise_of_pictures_from_minus_one_to_one_is_added_before_encoding(model, make_clips):
    clip = make_clips(1).read(0, range(1))
    noise = 0.1 * torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    noised = encode_condition(model, clip, noise=noise)
    blanked = clip.warped.masked_fill(clip.hole.bool(), 0.5)
    assert torch.equal(noised, encode_frames(model.svd.vae, blanked + noise / 2))
