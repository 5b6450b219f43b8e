import pytest
import torch
from torch import nn

from spatialdreamer_core.spatialdreamer.attention import spatial_sites
from spatialdreamer_core.spatialdreamer.config import SVD_CLEAN_TIMESTEP, SpatialDreamerConfig
from spatialdreamer_core.spatialdreamer.refiner import build_bank, make_refiner
from spatialdreamer_core.spatialdreamer.til import (
    SiteInteraction,
    TemporalInteraction,
    mix_frames_reference,
    pair_weights,
)

SITE = "site"


def make_til(*, neighbours=8, weight=0.6, channels=16, heads=2, seed=0):
    """Make a TIL of one small site."""
    torch.manual_seed(seed)
    til = TemporalInteraction(
        nn.Module(), SpatialDreamerConfig(til_neighbours=neighbours, til_weight=weight)
    ).double()
    til.sites[SITE] = SiteInteraction(channels, heads).double()
    return til


def mix_slowly(til, features):
    """Run the readable twin."""
    return mix_frames_reference(til.sites[SITE], features, neighbours=til.neighbours, weight=til.weight)


@pytest.mark.parametrize("frames", [1, 3, 10])
@pytest.mark.parametrize("neighbours", [2, 8])
@pytest.mark.parametrize("chunk", [1, 4, 16])
def test_fast_equals_slow_in_values_and_gradients(frames, neighbours, chunk):
    til = make_til(neighbours=neighbours)
    features = torch.randn(frames, 6, 16, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(frames, 6, 16, dtype=torch.float64)
    wanted = [features, *til.parameters()]
    fast, slow = til(SITE, features, chunk=chunk), mix_slowly(til, features)
    torch.testing.assert_close(fast, slow)
    of_fast = torch.autograd.grad((fast * probe).sum(), wanted)
    of_slow = torch.autograd.grad((slow * probe).sum(), wanted)
    torch.testing.assert_close(of_fast, of_slow)


def test_gradients_are_right():
    til = make_til(neighbours=2, channels=4, heads=2)
    features = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: til(SITE, value, chunk=2), features)


def test_a_weight_of_one_leaves_the_self_attention_alone():
    til = make_til(weight=1.0)
    features = torch.randn(5, 6, 16, dtype=torch.float64)
    site = til.sites[SITE]
    query, key, value = site.project(features)
    alone = nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(til(SITE, features), site.output(alone))


def test_a_frame_alone_has_itself_for_neighbours():
    features = torch.randn(1, 6, 16, dtype=torch.float64)
    outputs = [make_til(weight=weight)(SITE, features) for weight in (0.0, 0.6, 1.0)]
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[1], outputs[2])


def test_frames_out_of_reach_do_not_matter():
    til = make_til(neighbours=2)
    features = torch.randn(6, 4, 16, dtype=torch.float64)
    changed = features.clone()
    changed[5] += 1
    differs = (til(SITE, changed) - til(SITE, features)).abs().flatten(1).amax(dim=1) > 1e-9
    assert differs.tolist() == [False, False, False, False, True, True]


def test_weights_of_pairs_by_hand():
    expected = torch.tensor(
        [
            [0.6 + 0.2, 0.1, 0.1, 0.0],  # both earlier neighbours are frame 0
            [0.1 + 0.1, 0.6, 0.1, 0.1],
            [0.1, 0.1, 0.6, 0.1 + 0.1],
            [0.0, 0.1, 0.1, 0.6 + 0.2],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(pair_weights(4, neighbours=4, weight=0.6), expected)


def test_no_pair_is_attended_to_twice(monkeypatch):
    pairs = []
    attend = nn.functional.scaled_dot_product_attention

    def count(query, key, value):
        pairs.append(query.shape[0])
        return attend(query, key, value)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", count)
    make_til()(SITE, torch.randn(4, 3, 16, dtype=torch.float64))
    assert sum(pairs) == 4 * 4


@pytest.mark.parametrize("own", [range(3), range(4, 9), range(7, 12)])
def test_only_a_window_s_own_frames_are_mixed(monkeypatch, own):
    til, features = make_til(), torch.randn(12, 6, 16, dtype=torch.float64)
    whole, asked, projected = til(SITE, features), [], []
    attend = nn.functional.scaled_dot_product_attention

    def count(query, key, value):
        asked.append(query.shape[0])
        return attend(query, key, value)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", count)
    for layer in (til.sites[SITE].to_q, til.sites[SITE].to_k, til.sites[SITE].to_v):
        layer.register_forward_hook(lambda _, args, output: projected.append(len(args[0])))
    weights = til.pair_weights(12, like=features)
    torch.testing.assert_close(
        til(SITE, features, own=own, chunk=25, weights=weights), whole[own.start : own.stop]
    )
    assert len(asked) <= 9, "one attention an offset"
    assert sum(asked) == sum(min(frame + 4, 11) - max(frame - 4, 0) + 1 for frame in own)
    assert projected == [len(own), 12, 12], "once a frame, not once a neighbour"


def test_the_projections_start_as_those_of_the_refiner(tiny_svd):
    refiner = make_refiner(tiny_svd.make_unet())
    til = TemporalInteraction.from_refiner(refiner, SpatialDreamerConfig(til_weight=1.0))
    assert len(til.sites) == 16
    latents, embeddings = torch.randn(2, 4, 8, 8), torch.randn(2, 1, tiny_svd.CONTEXT)
    plain = build_bank(refiner, latents, embeddings, timestep=SVD_CLEAN_TIMESTEP)
    mixed = build_bank(refiner, latents, embeddings, timestep=SVD_CLEAN_TIMESTEP, til=til)
    for site in spatial_sites(refiner)[:-1]:  # the last one's attention is left out in RefinerNet
        expected = refiner.get_submodule(site)(plain[site])
        torch.testing.assert_close(mixed[site], expected, atol=1e-5, rtol=1e-4)
    taken = {value.data_ptr() for value in refiner.parameters()}
    assert not taken & {value.data_ptr() for value in til.parameters()}
