import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer.config import SpatialDreamerConfig
from spatialdreamer_core.spatialdreamer.deviation import (
    added_time_ids,
    deviation_strength,
    missing_deviation,
    stereo_aware_loss,
)

CONFIG = SpatialDreamerConfig()


def test_the_strength_is_the_mean_difference_where_the_view_is_known():
    reference = torch.zeros(1, 4, 1, 3)
    latents = torch.tensor([1.0, -3.0, 100.0]).expand(1, 4, 1, 3).clone()
    known = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    assert deviation_strength(latents, reference, known=known).item() == 2.0
    latents[..., 2] = torch.nan  # what is in a hole does not matter
    assert deviation_strength(latents, reference, known=known.bool()).item() == 2.0


def test_nothing_known_means_no_strength():
    latents = torch.ones(2, 4, 3, 3, requires_grad=True)
    strength = deviation_strength(latents, torch.zeros(2, 4, 3, 3), known=torch.zeros(2, 1, 3, 3))
    assert strength.item() == 0
    strength.backward()
    assert not bool(latents.grad.any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_strength_is_measured_in_float32(dtype):
    latents, reference = torch.full((8, 4, 32, 32), 1.5, dtype=dtype), torch.zeros(8, 4, 32, 32, dtype=dtype)
    strength = deviation_strength(latents, reference, known=torch.ones(8, 1, 32, 32, dtype=dtype))
    assert strength.dtype == torch.float32
    assert strength.item() == 1.5


def test_what_is_missing_is_the_map_times_what_is_asked_for_beyond_it():
    """At known places: 2, 1 and a hole; the view that is 3 times as far lacks twice as much again."""
    reference = torch.full((1, 4, 1, 3), 0.5)
    latents = reference + torch.tensor([2.0, -1.0, torch.nan])
    known = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    rows = {3: [4.0, -2.0, 0.0], 0.5: [-1.0, 0.5, 0.0], 0: [-2.0, 1.0, 0.0], 1: [0.0] * 3}
    for factor, row in rows.items():
        missing = missing_deviation(latents, reference, known=known, factor=factor)
        assert torch.equal(missing, torch.tensor(row).expand(1, 4, 1, 3))
        of_a_clip = torch.tensor(float(factor))
        again = missing_deviation(latents, reference, known=known.bool(), factor=of_a_clip)
        assert torch.equal(again, missing)


def test_a_view_gets_as_far_as_is_asked_for_if_what_is_missing_is_added():
    generator = torch.Generator().manual_seed(0)
    latents, reference = (torch.randn(2, 4, 3, 5, generator=generator) for _ in range(2))
    known = torch.ones(2, 1, 3, 5)
    there = latents + missing_deviation(latents, reference, known=known, factor=2.5)
    wanted = 2.5 * deviation_strength(latents, reference, known=known)
    torch.testing.assert_close(deviation_strength(there, reference, known=known), wanted)


def test_a_factor_below_0_is_refused():
    latents, known = torch.zeros(1, 4, 2, 2), torch.ones(1, 1, 2, 2)
    for factor in (-0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"`factor` must be 0 or more, got .* 1 asks for the view"):
            missing_deviation(latents, latents, known=known, factor=factor)


def test_time_ids_are_fps_motion_augmentation_and_scaled_deviation():
    torch.testing.assert_close(added_time_ids(CONFIG, 0.25), torch.tensor([[6.0, 127.0, 0.02, 250.0]]))
    torch.testing.assert_close(added_time_ids(CONFIG, 0.25, time_ids=3), torch.tensor([[6.0, 127.0, 0.02]]))
    of_a_batch = added_time_ids(SpatialDreamerConfig(fps=25, deviation_scale=10.0), torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(
        of_a_batch, torch.tensor([[24.0, 127.0, 0.02, 0.0], [24.0, 127.0, 0.02, 20.0]])
    )


def test_each_clip_of_a_batch_has_its_own_time_ids():
    ids = added_time_ids(
        CONFIG,
        torch.tensor([0.0, 0.5]),
        fps=torch.tensor([24, 30]),
        noise_augmentation=torch.tensor([0.0, 0.3]),
    )
    torch.testing.assert_close(ids, torch.tensor([[23.0, 127.0, 0.0, 0.0], [29.0, 127.0, 0.3, 500.0]]))
    without = added_time_ids(CONFIG, torch.tensor([0.0, 0.5]), time_ids=3)
    torch.testing.assert_close(without, torch.tensor([[6.0, 127.0, 0.02]] * 2))


def test_wrong_time_ids_are_refused():
    with pytest.raises(InputError, match=r"must take 3 time ids, or 4 .* got 5"):
        added_time_ids(CONFIG, 0.0, time_ids=5)
    for strength in (-0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match="stereo deviation strength must be 0 or more"):
            added_time_ids(CONFIG, strength)


@torch.no_grad()
def test_the_deviation_reaches_every_residual_block_and_changes_the_result(tiny_svd, call_unet):
    unet = tiny_svd.make_unet(in_channels=9, time_ids=4)
    seen = {}
    for name, module in unet.named_modules():
        if name.endswith("time_emb_proj"):
            module.register_forward_pre_hook(
                lambda _, args, name=name: seen.setdefault(name, []).append(args[0].flatten(0, -2)[0])
            )
    strengths = [added_time_ids(CONFIG, strength)[0, 3] for strength in (0.0, 1.0, 2.0)]
    results = [call_unet(unet, deviation=strength) for strength in strengths]
    blocks = [name.removesuffix(".time_emb_proj") for name in seen]
    residual = [name for name, module in unet.named_modules() if hasattr(module, "time_emb_proj")]
    assert sorted(blocks) == sorted(residual)
    assert len(blocks) == 44  # 22 residual blocks, each with a spatial and a temporal part
    for embeddings in seen.values():
        for first, second in ((0, 1), (1, 2), (0, 2)):
            assert not torch.allclose(embeddings[first], embeddings[second], atol=1e-3)
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert not torch.allclose(results[first], results[second], atol=1e-4)


@torch.no_grad()
def test_with_weights_of_zero_the_deviation_changes_nothing(tiny_svd, call_unet):
    unet = tiny_svd.make_unet(in_channels=9, time_ids=4)
    unet.add_embedding.linear_1.weight[:, 768:] = 0
    assert torch.equal(call_unet(unet, deviation=0.0), call_unet(unet, deviation=1000.0))


def test_the_loss_compares_deviations_element_by_element():
    reference = torch.tensor([1.0, 1.0, 1.0, 1.0]).reshape(1, 4, 1, 1)
    latents = torch.tensor([3.0, 0.0, 1.0, 2.0]).reshape(1, 4, 1, 1)  # deviations 2, 1, 0, 1
    estimate = torch.tensor([-1.0, 0.0, 4.0, 1.0]).reshape(1, 4, 1, 1)  # deviations 2, 1, 3, 0
    assert stereo_aware_loss(estimate, latents, reference).item() == (0 + 0 + 9 + 1) / 4
    assert stereo_aware_loss(latents, latents, reference).item() == 0


def test_gradients_are_right():
    torch.manual_seed(0)
    latents, reference, estimate = (torch.randn(1, 4, 2, 2) for _ in range(3))
    estimate.requires_grad_()
    stereo_aware_loss(estimate, latents, reference).backward()
    deviations = (estimate - reference).abs().detach(), (latents - reference).abs()
    by_hand = 2 * (deviations[0] - deviations[1]) * (estimate - reference).detach().sign() / 16
    torch.testing.assert_close(estimate.grad, by_hand)
