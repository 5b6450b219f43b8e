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
    neighbourhood,
)

SITE = "site"


def make_til(*, neighbours=8, weight=0.6, channels=16, heads=2, seed=0):
    """Make a TIL of one small site, as training would leave it."""
    torch.manual_seed(seed)
    til = TemporalInteraction(
        nn.Module(), SpatialDreamerConfig(til_neighbours=neighbours, til_weight=weight)
    ).double()
    til.sites[SITE] = SiteInteraction(channels, heads).double()
    til.sites[SITE].to_change.reset_parameters()
    return til


def weights_of_pairs(frames, *, neighbours, weight=0.6):
    """Return how much each frame (column) counts in each one (row), as `forward` mixes them."""
    til = make_til(neighbours=neighbours, weight=weight, channels=2, heads=1)
    site = til.sites[SITE]
    nn.init.eye_(site.to_v.weight)
    nn.init.eye_(site.to_change.weight)
    nn.init.zeros_(site.to_change.bias)
    rows = []
    for frame in range(frames):  # one token: an attention's result is the frame's value
        features = torch.zeros(frames, 1, 2, dtype=torch.float64)
        features[frame] = 1
        rows.append((til(SITE, features, chunk=3) - features)[:, 0, 0])
    return torch.stack(rows, dim=1).detach()


def mix_slowly(til, features):
    """Run the readable twin."""
    return mix_frames_reference(til.sites[SITE], features, neighbours=til.neighbours, weight=til.weight)


@pytest.mark.parametrize("frames", [1, 3, 10])
@pytest.mark.parametrize("neighbours", [1, 3, 8])
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


@pytest.mark.parametrize("frames", [1, 3, 10])
def test_checkpointing_changes_neither_values_nor_gradients(frames):
    til = make_til(neighbours=4)
    features = torch.randn(frames, 6, 16, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(frames, 6, 16, dtype=torch.float64)
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            til.enable_gradient_checkpointing()
        mixed = til(SITE, features, chunk=2)
        results.append((mixed, torch.autograd.grad((mixed * probe).sum(), [features, *til.parameters()])))
    torch.testing.assert_close(results[1], results[0])


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
    torch.testing.assert_close(til(SITE, features), features + site.change(alone))


def test_a_frame_alone_attends_to_itself_with_all_the_weight():
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
    changed[5] -= 1
    changed[0] += 1
    differs = (til(SITE, changed) - til(SITE, features)).abs().flatten(1).amax(dim=1) > 1e-9
    assert differs.tolist() == [True, True, False, False, False, False]


def test_weights_of_pairs_by_hand():
    expected = torch.tensor(
        [
            [0.6, 0.2, 0.2, 0.0, 0.0],  # no frames before: the two after it
            [0.2, 0.6, 0.2, 0.0, 0.0],
            [0.0, 0.2, 0.6, 0.2, 0.0],
            [0.0, 0.0, 0.2, 0.6, 0.2],
            [0.0, 0.0, 0.2, 0.2, 0.6],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(weights_of_pairs(5, neighbours=2), expected)


def test_of_two_frames_as_near_the_earlier_is_a_neighbour():
    expected = torch.tensor(
        [[0.4, 0.6, 0.0], [0.6, 0.4, 0.0], [0.0, 0.6, 0.4]],
        dtype=torch.float64,
    )
    torch.testing.assert_close(weights_of_pairs(3, neighbours=1, weight=0.4), expected)


def test_a_clip_of_8_frames_sees_all_of_itself():
    expected = torch.full((8, 8), 0.4 / 7, dtype=torch.float64).fill_diagonal_(0.6)
    torch.testing.assert_close(weights_of_pairs(8, neighbours=8), expected)


@pytest.mark.parametrize("count", [1, 2, 5, 9, 20])
@pytest.mark.parametrize("neighbours", [1, 2, 3, 8, 64])
def test_neighbours_are_the_nearest_frames_that_exist(count, neighbours):
    for frame in range(count):
        others = sorted(set(range(count)) - {frame}, key=lambda other: (abs(other - frame), other))
        assert set(neighbourhood(frame, count, neighbours)) == {frame, *others[:neighbours]}


@pytest.mark.parametrize("neighbours", [1, 3, 4])
def test_a_window_with_the_frames_around_it_agrees_with_the_clip(neighbours):
    til, features = make_til(neighbours=neighbours), torch.randn(11, 4, 16, dtype=torch.float64)
    whole = til(SITE, features)
    for start in range(11):
        for stop in range(start + 1, 12):
            wide = til.span(range(start, stop), 11)
            assert len(wide) <= stop - start + neighbours
            own = range(start - wide.start, stop - wide.start)
            part = til(SITE, features[wide.start : wide.stop], own=own)
            torch.testing.assert_close(part, whole[start:stop])


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
    torch.testing.assert_close(til(SITE, features, own=own, chunk=25), whole[own.start : own.stop])
    offsets = {other - frame for frame in own for other in neighbourhood(frame, 12, 8)}
    assert len(asked) == len(offsets), "one attention an offset"
    assert sum(asked) == 9 * len(own)
    assert projected == [len(own), 12, 12], "once a frame, not once a neighbour"


def test_the_projections_start_as_those_of_the_refiner(tiny_svd):
    refiner = make_refiner(tiny_svd.make_unet())
    til = TemporalInteraction.from_refiner(refiner, SpatialDreamerConfig(til_weight=1.0))
    assert len(til.sites) == 16
    latents, embeddings = torch.randn(2, 4, 8, 8), torch.randn(2, 1, tiny_svd.CONTEXT)
    plain = build_bank(refiner, latents, embeddings, timestep=SVD_CLEAN_TIMESTEP)
    for site in spatial_sites(refiner)[:-1]:  # the last one's attention is left out in RefinerNet
        attention, own = refiner.get_submodule(site), til.sites[site.replace(".", "_")]
        own.to_change.load_state_dict(attention.to_out[0].state_dict())
        expected = plain[site] + attention(plain[site])
        torch.testing.assert_close(til(site, plain[site]), expected, atol=1e-5, rtol=1e-4)
    taken = {value.data_ptr() for value in refiner.parameters()}
    assert not taken & {value.data_ptr() for value in til.parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("frames", [1, 5])
def test_an_untrained_til_changes_nothing_bit_for_bit_and_can_learn(dtype, frames):
    til = make_til()
    til.sites[SITE] = SiteInteraction(16, 2).to(dtype)
    features = (20 * torch.randn(frames, 6, 16)).to(dtype)
    mixed = til(SITE, features)
    assert torch.equal(mixed, features)
    mixed.float().square().sum().backward()
    assert bool(til.sites[SITE].to_change.weight.grad.any())


@torch.no_grad()
def test_an_untrained_til_of_a_refiner_changes_none_of_its_sites(tiny_svd):
    refiner = make_refiner(tiny_svd.make_unet())
    til = TemporalInteraction.from_refiner(refiner, SpatialDreamerConfig())
    left = torch.randn(3, 4, 8, 8), torch.randn(3, 1, tiny_svd.CONTEXT)
    plain, mixed = (build_bank(refiner, *left, timestep=0.0, til=used) for used in (None, til))
    assert all(torch.equal(mixed[site], features) for site, features in plain.items())
