import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import build_unet, time_id_count, widen_unet

from ..tiny_svd import CONTEXT, make_unet


@pytest.fixture(scope="module")
def unet():
    return build_unet(**make_unet().config).eval().requires_grad_(False)


def predict(unet, sample, time_ids):
    torch.manual_seed(1)
    context = torch.randn(len(sample), 1, CONTEXT)
    with torch.inference_mode():
        return unet(sample, torch.tensor(0.7), context, time_ids).sample


def test_every_residual_norm_has_the_trained_epsilon(unet):
    norms = {name: norm.eps for name, norm in unet.named_modules() if isinstance(norm, torch.nn.GroupNorm)}
    transformers = {name for name in norms if ".attentions." in name}
    assert {norms[name] for name in transformers} == {1e-6}
    assert {norms[name] for name in norms.keys() - transformers} == {1e-5}
    plain = {
        name: norm.eps for name, norm in make_unet().named_modules() if isinstance(norm, torch.nn.GroupNorm)
    }
    assert sum(norms[name] != plain[name] for name in norms) == 72


def test_attention_over_time_takes_no_more_sequences_at_once_than_cuda_does(unet, monkeypatch):
    """A grid of CUDA's flash attention has a side of the batch, here the latents, of 65,535 at most."""
    torch.manual_seed(0)
    sample, ids = torch.randn(2, 3, 8, 8, 8), torch.tensor([[6.0, 127.0, 0.02]] * 2)
    expected, longest = predict(unet, sample, ids), []
    attend = torch.nn.functional.scaled_dot_product_attention

    def count(query, *rest, **options):
        longest.append(len(query))
        return attend(query, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", count)
    predict(unet, sample, ids)
    assert max(longest) == 2 * 8 * 8
    monkeypatch.setattr("spatialdreamer_core.svd.unet._MOST_SEQUENCES", 30)
    longest.clear()
    torch.testing.assert_close(predict(unet, sample, ids), expected, atol=1e-6, rtol=0)
    assert max(longest) == 30


def test_a_widened_unet_is_the_old_one(unet):
    wide = widen_unet(unet)
    assert (wide.config.in_channels, time_id_count(wide)) == (9, 4)
    torch.manual_seed(0)
    sample = torch.randn(1, 3, 9, 8, 8)  # [B, F, C, h, w]
    ids = torch.tensor([[6.0, 127.0, 0.02, 500.0]])
    expected = predict(unet, sample[:, :, :8], ids[:, :3])
    torch.testing.assert_close(predict(wide, sample, ids), expected, atol=1e-5, rtol=0)
    with torch.no_grad():
        wide.conv_in.weight[:, 8] += 1
    assert (predict(wide, sample, ids) - expected).abs().max() > 1e-2


def test_a_widened_unet_is_the_old_one_bit_for_bit_where_sums_have_no_order():
    """Kernels add up more inputs in another order; on a coarse grid every order has the same sum."""
    unet = build_unet(**make_unet().config).eval().requires_grad_(False)  # torch folds differently for grads
    with torch.no_grad():
        for parameter in (*unet.conv_in.parameters(), *unet.add_embedding.linear_1.parameters()):
            parameter.copy_((64 * parameter).round() / 64)
    torch.manual_seed(0)
    sample = (8 * torch.randn(1, 3, 9, 8, 8)).round() / 8
    ids = torch.tensor([[0.0, 0.0, 0.0, 500.0]])  # the sinusoids of 0 are 0 and 1
    expected = predict(unet, sample[:, :, :8], ids[:, :3])
    assert torch.equal(predict(widen_unet(unet), sample, ids), expected)


@pytest.mark.parametrize(("in_channels", "time_ids"), [(9, 3), (8, 4), (13, 3)])
def test_widening_by_part(unet, in_channels, time_ids):
    wide = widen_unet(unet, in_channels=in_channels, time_ids=time_ids)
    assert wide.conv_in.weight.shape[1] == in_channels
    assert wide.add_embedding.linear_1.weight.shape[1] == 256 * time_ids
    assert not wide.conv_in.weight[:, 8:].any()
    assert not wide.training
    assert not any(parameter.requires_grad for parameter in wide.parameters())
    assert wide.mid_block.resnets[0].spatial_res_block.norm1.eps == 1e-5


def test_widening_shares_the_weights_and_keeps_their_precision(unet):
    half = build_unet(**unet.config).to(torch.float16)
    wide = widen_unet(half)
    assert wide.dtype == torch.float16
    assert wide.conv_out.weight.data_ptr() == half.conv_out.weight.data_ptr()
    assert widen_unet(wide) is wide


def test_a_unet_cannot_be_narrowed(unet):
    with pytest.raises(InputError, match=r"at least its own 9 input channels and 4 time ids, got 8 and 4"):
        widen_unet(widen_unet(unet), in_channels=8)
