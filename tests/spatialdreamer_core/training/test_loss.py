import dataclasses

import pytest
import torch

from spatialdreamer_core.spatialdreamer.config import SpatialDreamerConfig
from spatialdreamer_core.spatialdreamer.deviation import stereo_aware_loss
from spatialdreamer_core.spatialdreamer.network import assemble
from spatialdreamer_core.spatialdreamer.refiner import make_refiner
from spatialdreamer_core.svd.picture_condition import PictureCondition, PictureDenoiser, picture_time_ids
from spatialdreamer_core.training.batches import Batches
from spatialdreamer_core.training.loss import Trainee, total_loss, v_loss
from spatialdreamer_core.training.small_world import make_small_world
from spatialdreamer_core.training.trained import choose_trained, start_network

from .tiny_training import TinyCache, quick_config


def make_batch(**changes):
    return Batches(TinyCache(), quick_config(**changes), scaling=0.18215).read([0, 1])


def make_trainee(network, **changes):
    config = quick_config(**changes)
    trainee = Trainee(start_network(network, config))
    choose_trained(trainee, config)
    return trainee.train()


def test_the_weighted_error_of_the_estimate_is_the_plain_error_of_v():
    """v = (n - σ·z0) / √(σ²+1) is what the UNet predicts of z0 + σ·n."""
    batch = make_batch(stage="2")
    sigma = batch.sigma.reshape(-1, 1, 1, 1, 1).double()
    root = (sigma**2 + 1).sqrt()
    noise = (batch.noisy.double() - batch.target) / sigma
    v = (noise - sigma * batch.target) / root
    output = v + torch.randn_like(v)  # of a UNet that errs
    clean = batch.noisy / root**2 - output * sigma / root
    expected = (output - v).square().flatten(1).mean(1)
    precise = dataclasses.replace(batch, target=batch.target.double(), sigma=batch.sigma.double())
    weight = (precise.sigma**2 + 1) / precise.sigma**2
    assert torch.allclose((clean - precise.target).square().flatten(1).mean(1) * weight, expected)
    assert torch.allclose(v_loss(clean.float(), batch), expected.float(), rtol=1e-3)


def test_losses_are_those_of_each_clip_by_itself(network):
    trainee = make_trainee(network, stage="2")
    batches = Batches(TinyCache(), quick_config(stage="2"), scaling=0.18215)
    with torch.no_grad():
        together = trainee(batches.read([0, 1]))
        alone = torch.cat([trainee(batches.read([number])) for number in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_stereo_loss_is_eq_5_of_the_estimate(network):
    trainee, batch = make_trainee(network), make_batch()
    with torch.no_grad():
        losses, clean = trainee(batch), trainee.estimate(batch)
    expected = [stereo_aware_loss(*parts) for parts in zip(clean, batch.target, batch.reference, strict=True)]
    assert torch.allclose(losses[:, 1], torch.stack(expected))
    assert torch.allclose(
        total_loss(losses, quick_config(stereo_weight=0.5)), losses[:, 0] + 0.5 * losses[:, 1]
    )


@pytest.mark.parametrize("left_out", ["keeps_condition", "keeps_embedding", "keeps_reference"])
def test_what_is_left_out_counts_no_more(network, left_out):
    changed = {
        "keeps_condition": "condition",
        "keeps_embedding": "embeddings",
        "keeps_reference": "reference",
    }[left_out]
    trainee, batch = make_trainee(network), make_batch()
    with torch.no_grad():
        for name, value in trainee.unet.named_parameters():
            if name.startswith("conv_in"):
                value.normal_(std=0.1)  # what is new begins at zero

    def estimate(batch):
        with torch.no_grad():
            return trainee.estimate(batch)

    other = dataclasses.replace(batch, **{changed: getattr(batch, changed) + 1})
    kept = torch.ones(2, dtype=torch.bool)
    with_it = {"keeps_condition": kept, "keeps_embedding": kept, "keeps_reference": kept}
    full, full_other = (dataclasses.replace(each, **with_it) for each in (batch, other))
    assert not torch.allclose(estimate(full), estimate(full_other), atol=1e-4)
    without = with_it | {left_out: torch.tensor([True, False])}
    if left_out == "keeps_embedding":  # RefinerNet sees it, too
        without["keeps_reference"] = without[left_out]
    first, second = (estimate(dataclasses.replace(each, **without)) for each in (batch, other))
    assert torch.allclose(first[1], second[1], atol=1e-5)
    assert not torch.allclose(first[0], second[0], atol=1e-4)


def test_a_clip_without_one_of_its_views_has_no_deviation_map(network):
    """As guidance's free branch; the others have what their rendered views lack of the true ones."""
    trainee, batch = make_trainee(network, deviation_map=True), make_batch()
    batch = dataclasses.replace(batch, factor=torch.tensor([2.0, 0.5]))
    kept, second = torch.ones(2, dtype=torch.bool), torch.tensor([False, True])
    seen = []
    with trainee.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0])), torch.no_grad():
        for condition, reference in ((kept, kept), (second, kept), (kept, second)):
            trainee.estimate(dataclasses.replace(batch, keeps_condition=condition, keeps_reference=reference))
    channels = batch.target.shape[2]
    maps = [given[:, :, 2 * channels + 1 :] for given in seen]
    deviation = trainee.scaling * batch.condition - batch.reference
    wanted = (batch.factor - 1)[:, None, None, None, None] * deviation * (batch.mask < 0.5)
    torch.testing.assert_close(maps[0], wanted)
    for less in maps[1:]:
        assert not bool(less[0].any())
        assert torch.equal(less[1], maps[0][1])


def test_svds_own_unet_learns_to_make_a_video_of_a_picture_as_it_is_sampled():
    svd = make_small_world(factor=2, widths=(64,), height=16, width=16)
    refiner = make_refiner(svd.unet, scaling=svd.codec.scaling)
    plain = assemble(svd, svd.unet, refiner, None, SpatialDreamerConfig())
    changes = {"til": False, "whole_unet": True, "drop_reference": 1.0, "drop_embedding": 0.0}
    batch = make_batch(stage="2", drop_condition=0.0, **changes)
    batch = dataclasses.replace(batch, condition=batch.condition[:, :1].expand_as(batch.condition))
    trainee = make_trainee(plain, stage="2", **changes)
    with torch.no_grad():
        found = trainee.estimate(batch)
    assert trainee.bank.nbytes == 0, "features that nobody reads are not computed"
    denoiser, ids = PictureDenoiser(svd.unet), picture_time_ids(augmentation=0.0)
    for clip in range(len(batch)):
        picture = PictureCondition(batch.condition[clip, 0], batch.embeddings[clip, 0])
        wanted = denoiser(batch.noisy[clip], float(batch.sigma[clip]), picture, ids)
        assert torch.allclose(found[clip], wanted, atol=1e-5)
