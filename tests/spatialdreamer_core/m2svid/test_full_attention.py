"""Full attention against a plain rendering of its rule, its chunks against each other."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.m2svid import full_attention as module
from spatialdreamer_core.m2svid.full_attention import full_attention, masked_tokens
from spatialdreamer_core.m2svid.predict import predict

FRAMES, HEIGHT, WIDTH, CHANNELS = 3, 8, 16, 64


@pytest.fixture
def inputs():
    """Return two regions of three frames as the UNet gets them; one has holes in two frames alone."""
    generator = torch.Generator().manual_seed(1)
    left, warped = torch.randn(2, 2, FRAMES, 4, HEIGHT, WIDTH, generator=generator)
    mask = torch.full((2, FRAMES, 1, HEIGHT, WIDTH), -1.0)
    mask[0, :, :, 2:5, 3:6], mask[1, 1:, :, :, 9] = 1, 1
    return left, warped, mask, torch.randn(2, FRAMES, 1, 32, generator=generator)


def first_block(model):
    return model.svd.unet.down_blocks[0].attentions[0].transformer_blocks[0]


def attention_by_hand(attention, queries, context):
    """Attend head by head, with a matrix of scores."""
    q, k, v = attention.to_q(queries), attention.to_k(context), attention.to_v(context)
    heads = zip(*(part.chunk(attention.heads, dim=-1) for part in (q, k, v)), strict=True)
    mixed = [torch.softmax(a @ b.T / a.shape[-1] ** 0.5, dim=-1) @ c for a, b, c in heads]
    return attention.to_out[0](torch.cat(mixed, dim=-1))


def test_masked_tokens_go_through_the_block_once_more_with_the_keys_of_all_frames(model, inputs):
    block = first_block(model)
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randn(2 * FRAMES, HEIGHT * WIDTH, CHANNELS, generator=generator)
    own = torch.randn(2 * FRAMES, 1, 32, generator=generator)
    with torch.no_grad():
        plain = block(tokens, encoder_hidden_states=own)
        with full_attention(model.svd.unet, inputs[2], query_chunk=7):
            result = block(tokens, encoder_hidden_states=own)
        expected = plain.clone()
        for region in range(2):
            frames = slice(region * FRAMES, (region + 1) * FRAMES)
            everything, embeddings = tokens[frames].flatten(0, 1), own[frames, 0]
            at = (inputs[2][region] > 0).flatten()
            x = everything[at]
            x = x + attention_by_hand(block.attn1, block.norm1(x), everything)  # not norm1'd
            x = x + attention_by_hand(block.attn2, block.norm2(x), embeddings)
            x = x + block.ff(block.norm3(x))
            expected[frames].view(-1, CHANNELS)[at] = x
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(result, plain, atol=1e-2)


@pytest.mark.parametrize("chunk", [1, 7, 64, 100_000])
def test_chunks_of_any_size_give_the_same(model, inputs, chunk):
    whole = predict(model, *inputs)
    torch.testing.assert_close(predict(model, *inputs, query_chunk=chunk), whole, rtol=0, atol=1e-5)


def test_regions_of_a_batch_are_kept_apart(model, inputs):
    both = predict(model, *inputs)
    for region in range(2):
        alone = predict(model, *(tensor[region : region + 1] for tensor in inputs))
        torch.testing.assert_close(both[region : region + 1], alone, rtol=0, atol=1e-5)


def test_without_holes_there_is_no_second_pass(model, inputs, tiny_m2svid):
    left, warped, mask, embeddings = inputs
    empty = torch.full_like(mask, -1)
    plain = tiny_m2svid.make_model(full_attention=False)
    assert torch.equal(
        predict(model, left, warped, empty, embeddings), predict(plain, left, warped, empty, embeddings)
    )
    with_holes, without = predict(model, *inputs), predict(plain, *inputs)
    assert not torch.allclose(with_holes, without, atol=1e-3)


def test_a_hole_sees_other_frames(model, inputs):
    """In one block: a change of another frame reaches a masked token, and no other one."""
    block, mask = first_block(model), inputs[2][:1]
    tokens = torch.randn(FRAMES, HEIGHT * WIDTH, CHANNELS, generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[2] += torch.randn(HEIGHT * WIDTH, CHANNELS, generator=torch.Generator().manual_seed(3))
    own = torch.zeros(FRAMES, 1, 32)
    with torch.no_grad(), full_attention(model.svd.unet, mask, query_chunk=64):
        before, after = (block(each, encoder_hidden_states=own)[0] for each in (tokens, changed))
    moved = (before - after).abs().amax(-1) > 1e-6
    assert torch.equal(moved, (mask[0, 0] > 0).flatten())


def test_tokens_are_listed_level_by_level():
    mask = torch.full((2, 2, 1, 16, 16), -1.0)
    mask[0, 1, 0, 4:6, 8:10] = 1
    mask[1, 0, 0, 0, 0] = 1
    found = masked_tokens(mask)
    assert sorted(found) == [4, 16, 64, 256]
    assert found[256][0].tolist() == [256 + 4 * 16 + 8, 256 + 4 * 16 + 9, 256 + 5 * 16 + 8, 256 + 5 * 16 + 9]
    assert found[64][0].tolist() == [64 + 2 * 8 + 4]  # the mean of its four
    assert found[64][1].tolist() == []  # one of four is -.5
    assert found[256][1].tolist() == [0]
    assert found[16][0].tolist() == []  # of 4x4 latents the middle 2x2 count, which are known


def test_levels_of_the_mask_are_interpolated_as_the_authors_do():
    mask = torch.where(torch.rand(1, 2, 1, 16, 32, generator=torch.Generator().manual_seed(4)) < 0.4, 1.0, -1)
    for size, (tokens,) in masked_tokens(mask).items():
        scale = (16 * 32 // size) ** 0.5
        shape = (int(16 / scale), int(32 / scale))
        expected = F.interpolate(mask[0], size=shape, mode="bilinear", align_corners=False) > 0
        assert torch.equal(tokens, expected.flatten().nonzero()[:, 0])


class Card:
    """Attention on a device that has no room for more than a number of queries."""

    def __init__(self, room):
        self.room, self.sizes = room, []

    def __call__(self, attention, tokens, key, value):
        self.sizes.append(len(tokens))
        if len(tokens) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.attend(attention, tokens, key, value)


def test_a_chunk_that_does_not_fit_is_halved_for_good(model, inputs, monkeypatch, caplog):
    monkeypatch.setattr(module, "LEAST_CHUNK", 8)
    card = Card(room=10)
    card.attend = module._attend
    whole = predict(model, *inputs)
    monkeypatch.setattr(module, "_attend", card)
    result = predict(model, *inputs)
    torch.testing.assert_close(result, whole, rtol=0, atol=1e-5)
    assert card.sizes[:2] == [27, 13]  # the tokens of the first region, half of them
    assert max(card.sizes[2:]) == 8
    assert "full attention ran out of memory with 27 tokens at once: trying 13 tokens at once" in caplog.text


def test_what_does_not_fit_at_all_is_the_callers(model, inputs, monkeypatch):
    card = Card(room=0)
    monkeypatch.setattr(module, "_attend", card)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        predict(model, *inputs)
    assert not any(each._forward_hooks for each in model.svd.unet.modules())


def test_the_device_is_not_waited_for_in_the_blocks(model, inputs, monkeypatch):
    """Once the UNet runs, nothing asks for values, sizes that depend on them, or whether there are any."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class NoWaits(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "equal"), func
            return func(*args, **(kwargs or {}))

    forward = model.svd.unet.forward

    def watched(*args, **kwargs):
        with NoWaits():
            return forward(*args, **kwargs)

    monkeypatch.setattr(model.svd.unet, "forward", watched)
    predict(model, *inputs)


def test_a_chunk_of_nothing_is_refused(model, inputs):
    with pytest.raises(InputError, match=r"query_chunk must be between 1 and .* \(tokens\), got 0"):
        predict(model, *inputs, query_chunk=0)


def test_it_runs_in_inference_mode_as_comfyui_does(model, inputs):
    expected = predict(model, *inputs)
    with torch.inference_mode():
        assert torch.equal(predict(model, *(tensor.clone() for tensor in inputs)), expected)


def test_no_plan_is_made_for_the_number_of_masked_tokens(model, inputs, monkeypatch):
    """The frames themselves have one size in every window: there cuDNN's plans are worth it."""
    frames, lengths = {HEIGHT * WIDTH >> 2 * level for level in range(4)}, {}
    attend = F.scaled_dot_product_attention

    def note(query, *rest, **options):
        lengths.setdefault(torch.backends.cuda.cudnn_sdp_enabled(), set()).add(query.shape[2])
        return attend(query, *rest, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", note)
    predict(model, *inputs)
    assert lengths[True] == frames | {FRAMES}
    masked = {len(region) for level in masked_tokens(inputs[2]).values() for region in level}
    assert lengths[False] == masked - {0}
    assert torch.backends.cuda.cudnn_sdp_enabled()
