import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer.attention import ReaderProcessor, install_readers, spatial_sites
from spatialdreamer_core.spatialdreamer.bank import FeatureBank


@pytest.fixture
def unet(tiny_svd):
    return tiny_svd.make_unet(in_channels=9, time_ids=4)


@pytest.fixture
def bank(unet):
    bank = FeatureBank()
    install_readers(unet, bank)
    return bank


def make_features(unet, *, frames=2, tokens=8 * 16):
    """Make random features of each site, as for latents of that many tokens."""
    generator = torch.Generator().manual_seed(3)
    features = {}
    for site in spatial_sites(unet):
        width = unet.get_submodule(site).to_q.in_features
        block, index = site.split("_")[0], site.split(".")[1]
        level = 3 if block == "mid" else int(index) if block == "down" else 3 - int(index)
        features[site] = torch.randn(frames, tokens // 4**level, width, generator=generator)
    return features


def test_readers_stand_at_the_16_spatial_self_attentions_alone(unet, bank):
    assert len(spatial_sites(unet)) == 16
    readers = [name for name, item in unet.attn_processors.items() if isinstance(item, ReaderProcessor)]
    assert readers == [name for name in unet.attn_processors if ".transformer_blocks.0.attn1." in name]
    others = [item for item in unet.attn_processors.values() if not isinstance(item, ReaderProcessor)]
    assert len(others) == 48
    assert all(type(item) is AttnProcessor2_0 for item in others)


@torch.no_grad()
def test_an_empty_or_disabled_bank_is_plain_svd_bit_for_bit(tiny_svd, call_unet, unet, bank):
    plain = call_unet(tiny_svd.make_unet(in_channels=9, time_ids=4))
    assert torch.equal(call_unet(unet), plain)
    bank.load(make_features(unet))
    assert not torch.allclose(call_unet(unet), plain, atol=1e-3)
    with bank.disabled():
        assert torch.equal(call_unet(unet), plain)
    bank.clear()
    assert torch.equal(call_unet(unet), plain)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_reader_is_concatenate_and_keep_the_first_half(dtype):
    torch.manual_seed(0)
    attention = Attention(128, heads=2, dim_head=64).to(dtype)
    latents, reference = torch.randn(2, 3, 10, 128).to(dtype)
    whole = attention(torch.cat([latents, reference], dim=1))
    bank = FeatureBank()
    bank.load({"site": reference})
    attention.set_processor(ReaderProcessor("site", bank))
    torch.testing.assert_close(
        attention(latents), whole[:, :10], atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=0
    )


@torch.no_grad()
def test_each_clip_of_a_batch_reads_the_same_reference(call_unet, unet, bank):
    bank.load(make_features(unet))
    both = call_unet(unet, batch=2)
    generator = torch.Generator().manual_seed(5)
    samples = torch.randn(2, 2, 9, 8, 16, generator=generator)
    contexts = torch.randn(2, 1, 32, generator=generator)
    ids = torch.tensor([[6, 127, 0.02, 1000.0]])
    for clip in range(2):
        alone = unet(samples[clip : clip + 1], 0.3, contexts[clip : clip + 1], ids).sample
        torch.testing.assert_close(both[clip : clip + 1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_each_clip_of_a_batch_reads_its_own_reference_or_none(call_unet, unet, bank):
    """Rows of the features belong to rows of the batch; what drops them is in guidance's free branch."""
    features = make_features(unet, frames=6)
    generator = torch.Generator().manual_seed(5)
    samples = torch.randn(3, 2, 9, 8, 16, generator=generator)
    contexts = torch.randn(3, 1, 32, generator=generator)
    ids = torch.tensor([[6, 127, 0.02, 1000.0], [24, 127, 0.3, 0.0], [6, 127, 0.02, 500.0]])
    bank.load(features, dropped=torch.tensor([False, True, False]))
    together = unet(samples, torch.tensor([0.3, -0.5, 0.1]), contexts, ids).sample
    for clip, time in enumerate((0.3, -0.5, 0.1)):
        part = slice(clip, clip + 1)
        bank.load({site: value[2 * clip : 2 * clip + 2] for site, value in features.items()})
        if clip == 1:
            bank.clear()
        alone = unet(samples[part], time, contexts[part], ids[part]).sample
        torch.testing.assert_close(together[part], alone, atol=1e-5, rtol=0)


def test_a_dropped_reference_gets_a_gradient_of_zeros(call_unet, unet, bank):
    features = {site: value.requires_grad_() for site, value in make_features(unet, frames=4).items()}
    bank.load(features, dropped=torch.tensor([True, False]))
    call_unet(unet, batch=2).square().sum().backward()
    for value in features.values():
        assert not bool(value.grad[:2].any())
        assert bool(value.grad[2:].any())


@pytest.mark.parametrize(("frames", "tokens"), [(3, 8 * 16), (2, 8 * 8)])
def test_a_reference_of_another_length_or_size_is_refused(call_unet, unet, bank, frames, tokens):
    bank.load(make_features(unet, frames=frames, tokens=tokens))
    with pytest.raises(InputError, match=rf"got features \[{frames}, {tokens}, 64\] .* encode the reference"):
        call_unet(unet)


def test_gradients_reach_the_features_also_with_checkpointing(call_unet, unet, bank):
    gradients = []
    for checkpointing in (False, True):
        features = {site: value.requires_grad_() for site, value in make_features(unet).items()}
        bank.load(features)
        if checkpointing:
            unet.enable_gradient_checkpointing()
            unet.train()
        call_unet(unet).square().sum().backward()
        gradients.append([value.grad for value in features.values()])
    assert all(bool(gradient.any()) for gradient in gradients[0])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, atol=1e-5, rtol=1e-4)
