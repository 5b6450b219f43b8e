"""Validation: its figures by hand, the baseline, another clip's reference, and no lasting change."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.metrics import masked_psnr
from spatialdreamer_core.spatialdreamer import SamplerConfig, encode_reference, sample_views
from spatialdreamer_core.training import validation
from spatialdreamer_core.training.validation import fill_with_mean, validate

SIZE = {"height": 64, "width": 64}


@pytest.fixture(scope="module")
def dataset():
    from .conftest import Clips

    return Clips(3, 2, 3, 2, held_out={1, 2, 3}, size=SIZE.values())


@pytest.fixture(scope="module")
def validated(small_model, dataset):
    """A validation of two clips of two frames, and what it reported."""
    reported = []
    outcome = validate(
        *(small_model, dataset),
        **SIZE,
        clips=2,
        frames=2,
        steps=1,
        on_clip=lambda *done: reported.append(done),
    )
    return outcome, reported


def test_it_measures_what_the_deployed_sampler_gives(validated, small_model, dataset):
    outcome, reported = validated
    assert list(outcome.pictures) == ["clip1", "clip3"]
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]
    clip = dataset.read(1, range(2))
    reference = encode_reference(small_model, clip.reference, max_side=64)
    views = sample_views(
        small_model, reference, clip.warped, clip.hole, SamplerConfig(steps=1, window=2, overlap=0)
    )
    shown = outcome.pictures["clip1"].split(64, dim=-1)
    for picture, view in zip(shown, (clip.target, clip.warped, *views), strict=True):
        assert torch.equal(picture, view[1])
    single = validate(small_model, dataset, **SIZE, clips=1, frames=2, steps=1).metrics
    hole = clip.hole > 0.5
    assert single["hole_psnr"] == pytest.approx(masked_psnr(views.filled, clip.target, hole), abs=1e-4)
    assert single["whole_view_psnr"] == pytest.approx(masked_psnr(views.whole, clip.target), abs=1e-4)
    mean = fill_with_mean(clip.warped, clip.hole)
    assert single["mean_fill_psnr"] == pytest.approx(masked_psnr(mean, clip.target, hole), abs=1e-4)
    assert single["psnr"] == pytest.approx(masked_psnr(views.filled, clip.target), abs=1e-4)
    assert "other_reference_psnr" not in single


def test_two_validations_agree_and_leave_nothing_changed(validated, small_model, dataset):
    before = {name: value.clone() for name, value in small_model.svd.unet.state_dict().items()}
    small_model.svd.unet.train()
    small_model.refiner.mid_block.train()
    small_model.svd.unet.conv_in.weight.requires_grad_(True).grad = torch.ones(1)[0].expand(
        small_model.svd.unet.conv_in.weight.shape
    )
    try:
        modes = [module.training for network in small_model.modules for module in network.modules()]
        torch.manual_seed(3)
        state = torch.get_rng_state()
        again = validate(small_model, dataset, **SIZE, clips=2, frames=2, steps=1)
        assert torch.equal(torch.get_rng_state(), state)
        assert modes == [module.training for network in small_model.modules for module in network.modules()]
        assert small_model.svd.unet.conv_in.weight.requires_grad
        assert small_model.svd.unet.conv_in.weight.grad.eq(1).all()
    finally:
        small_model.svd.unet.eval()
        small_model.refiner.eval()
        small_model.svd.unet.conv_in.weight.requires_grad_(False).grad = None
    assert again.metrics == pytest.approx(validated[0].metrics, abs=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in small_model.svd.unet.state_dict().items())


def test_another_clips_reference_changes_only_what_refinernet_sees(
    validated, small_model, dataset, monkeypatch
):
    assert validated[0].metrics["other_reference_psnr"] != validated[0].metrics["hole_psnr"]
    seen = []
    sample = validation.sample_views

    def watch(small_model, reference, *rest):
        seen.append(reference)
        return sample(small_model, reference, *rest)

    monkeypatch.setattr(validation, "sample_views", watch)
    validate(small_model, dataset, **SIZE, clips=2, frames=2, steps=1)
    own, misled, stranger, _ = seen
    assert torch.equal(own.latents, misled.latents)
    whole = validation.Region(range(2), range(16), range(16))
    features, others = misled.features(whole), stranger.features(whole)
    assert all(torch.equal(features[site], others[site]) for site in features)


def test_every_hole_pixel_counts_alike_and_the_ideal_is_ideal(dataset):
    scores = validation._Scores(None)
    for index in (1, 2):
        clip = dataset.read(index, range(2))
        scores.add(clip, clip.target, clip.target)
        scores.add_other(clip, clip.target + 0.1)
    figures = scores.result()
    assert figures["hole_psnr"] == figures["whole_view_psnr"] == 100
    assert figures["sharpness"] == 1
    assert figures["other_reference_psnr"] == pytest.approx(20, abs=0.1)  # where the sum is below 1
    assert figures["temporal_error"] == 0


def test_blurred_holes_have_less_sharpness(dataset):
    scores = validation._Scores(None)
    clip = dataset.read(1, range(2))
    clip = clip._replace(target=torch.rand(clip.target.shape, generator=torch.Generator().manual_seed(0)))
    blurred = torch.nn.functional.avg_pool2d(clip.target, 3, 1, 1, count_include_pad=False)
    scores.add(clip, blurred, blurred)
    assert scores.result()["sharpness"] < 0.95


def test_lpips_is_measured_where_its_network_is_given(small_model, dataset):
    def distance(result, truth):
        return (result - truth).abs().mean((1, 2, 3))

    figures = validate(small_model, dataset, **SIZE, clips=1, frames=1, steps=1, lpips=distance).metrics
    assert 0 < figures["hole_lpips"] < figures["lpips"]


def test_within_the_autocast_of_a_training_measures_are_taken_in_float32(small_model, dataset):
    computed = []

    def distance(result, truth):
        difference = (result - truth).flatten(1)
        computed.append((difference @ difference.T).dtype)
        return difference.abs().mean(1)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        validate(small_model, dataset, **SIZE, clips=1, frames=1, steps=1, lpips=distance)
    assert set(computed) == {torch.float32}


def test_each_hole_gets_the_mean_of_what_surrounds_it():
    warped = torch.zeros(1, 3, 20, 40)
    warped[..., 20:] = 1
    hole = torch.zeros(1, 1, 20, 40)
    hole[..., 8:10, 2:5] = 1  # black around it
    hole[..., 8:10, 30:33] = 1  # white around it
    hole[..., 2:4, 18:22] = 1  # half of each
    filled = fill_with_mean(warped.masked_fill(hole.bool(), 0.3), hole)
    assert filled[..., 8:10, 2:5].eq(0).all()
    assert filled[..., 8:10, 30:33].eq(1).all()
    torch.testing.assert_close(filled[..., 2:4, 18:22], torch.full((1, 3, 2, 4), 0.5))
    assert torch.equal(filled.masked_fill(hole.bool(), 0), warped.masked_fill(hole.bool(), 0))
    everywhere = fill_with_mean(warped, torch.ones_like(hole))
    assert everywhere.eq(0.5).all()


def test_pictures_are_saved_one_above_the_other(validated, tmp_path):
    file = tmp_path / "pictures" / "step.png"
    validated[0].save_pictures(file)
    picture = np.asarray(Image.open(file))
    assert picture.shape == (128, 256, 3)
    first = validated[0].pictures["clip1"].permute(1, 2, 0).numpy()
    assert np.abs(picture[:64] / 255 - first).max() <= 0.5 / 255 + 1e-6
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="pictures must be writable"):
        validated[0].save_pictures(tmp_path / "file" / "step.png")


def test_what_cannot_be_validated_is_said(small_model, make_clips, caplog):
    with pytest.raises(InputError, match="must hold out clips for the validation, got none of 2"):
        validate(small_model, make_clips(1, 1), **SIZE)
    dataset = make_clips(1, 1, held_out={0, 1}, size=(64, 64))
    dataset.broken = {0}
    with caplog.at_level(logging.WARNING, logger="spatialdreamer_core"):
        outcome = validate(small_model, dataset, **SIZE, steps=1)
    assert list(outcome.pictures) == ["clip1"]
    assert "clip0 is left out of the validation: clip0 is damaged" in caplog.text
    dataset.broken = {0, 1}
    with pytest.raises(
        InputError, match=r"with holes for the validation, got none at 64x64 \(2 are damaged\)"
    ):
        validate(small_model, dataset, **SIZE)


def test_the_clips_are_spread_over_all_held_out(make_clips):
    dataset = make_clips(*[1] * 10, held_out=set(range(1, 10)))
    assert validation._order(dataset, 3)[:3] == [1, 5, 9]
    assert validation._order(dataset, 1)[0] == 1
    assert sorted(validation._order(dataset, 4)) == list(range(1, 10))
    assert validation._order(dataset, 100) == list(range(1, 10))


def test_clips_without_holes_give_way_to_others(make_clips):
    dataset = make_clips(*[1] * 4, held_out={0, 1, 2, 3}, size=(64, 64))
    read = dataset.read

    def without_holes(index, frames):
        clip = read(index, frames)
        return clip._replace(hole=clip.hole * (index != 3))

    dataset.read = without_holes
    chosen = validation._read(dataset, 2, 1, **SIZE)
    assert [name for name, _ in chosen] == ["clip0", "clip1"]
