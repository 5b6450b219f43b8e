"""Estimates against the tensors that live while the UNet runs, and the chunk that free memory allows."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.m2svid import full_attention, memory
from spatialdreamer_core.m2svid.memory import estimate_memory, fitting_chunk
from spatialdreamer_core.m2svid.predict import predict
from spatialdreamer_core.svd import SVDModel, build_unet

from ..live_tensors import EfficientAttention

REAL = {"in_channels": 13, "num_attention_heads": (5, 10, 20, 20)}


def make_real():
    from spatialdreamer_core.m2svid.model import M2SVid

    return M2SVid(SVDModel(build_unet(**REAL).eval(), None, None), full_attention=True)


def peak(model, live_tensors, monkeypatch, *, chunk, share=1.0, batch=1, frames=8, height=256, width=448):
    """Return the peak of a pass in which a share of each region's tokens is masked."""
    h, w = height // 8, width // 8
    sizes = [(h >> level) * (w >> level) for level in range(4)]
    tokens = {size: [torch.zeros(int(share * size * frames), dtype=torch.int64)] * batch for size in sizes}
    monkeypatch.setattr(full_attention, "masked_tokens", lambda mask, levels: tokens)
    inputs = [torch.empty(batch, frames, channels, h, w) for channels in (4, 4, 1)]
    embeddings = torch.empty(batch, frames, 1, 1024)
    with live_tensors, EfficientAttention():
        predict(model, *inputs, embeddings, query_chunk=chunk)
    return live_tensors.peak


@pytest.mark.parametrize("chunk", [1.0, 0.5])
def test_a_pass_at_full_width(fake_half, live_tensors, monkeypatch, chunk):
    """With everything masked; half of the tokens at once take no more than the plain pass."""
    model = make_real()
    queries = int(chunk * 8 * 32 * 56)
    measured = peak(model, live_tensors, monkeypatch, chunk=queries)
    size = {"frames": 8, "height": 256, "width": 448, "dtype": torch.float16}
    assert estimate_memory(model.svd.unet.config, **size, query_chunk=queries) == pytest.approx(
        measured, rel=0.01
    )
    plain = estimate_memory(model.svd.unet.config, **size)
    assert (measured > 1.02 * plain) == (chunk == 1)


def test_two_regions_take_as_much_as_twice_the_frames(fake_half, live_tensors, monkeypatch):
    model = make_real()
    measured = peak(model, live_tensors, monkeypatch, chunk=1000, share=0.3, batch=2)
    estimate = estimate_memory(
        model.svd.unet.config, frames=16, height=256, width=448, dtype=torch.float16, query_chunk=1000
    )
    assert estimate == pytest.approx(measured, rel=0.06)


def test_the_memory_of_full_attention_falls_with_the_chunk(model, live_tensors):
    """Beside keys and values, what a block's second pass takes is in proportion to the chunk."""
    frames, side, channels = 4, 32, 64
    block = model.svd.unet.down_blocks[0].attentions[0].transformer_blocks[0]
    tokens, own = torch.randn(frames, side * side, channels), torch.randn(frames, 1, 32)
    mask = torch.ones(1, frames, 1, side, side)
    count = frames * side * side
    peaks = {}
    for chunk in (count, count // 4, count // 16, count // 64):
        with torch.no_grad(), full_attention.full_attention(model.svd.unet, mask, query_chunk=chunk):
            second_pass = next(iter(block._forward_hooks.values()))
            output = torch.zeros_like(tokens)
            live_tensors.bytes = live_tensors.peak = 0
            with live_tensors, EfficientAttention():
                second_pass(block, (tokens,), {"encoder_hidden_states": own}, output)
        peaks[chunk] = live_tensors.peak - 2 * count * channels * 4  # without the keys and values
    for chunk, taken in peaks.items():
        assert taken == pytest.approx(18 * chunk * channels * 4, rel=0.02)


def test_the_chunk_follows_free_memory(monkeypatch):
    config = {"block_out_channels": (320, 640), "num_attention_heads": (5, 10)}
    size = {"regions": 1, "tokens": 100_000, "dtype": torch.float16}

    def chunk(free, kind="cuda", **more):
        monkeypatch.setattr(memory, "free_memory", lambda device: free)
        return fitting_chunk(config, **{**size, **more}, device=torch.device(kind))

    waiting, each = 10 * 320 * 2 * 100_000, 18 * 320 * 2
    assert chunk((waiting + 5000 * each) / 0.7) == pytest.approx(5000, abs=1)
    assert chunk((2 * waiting + 5000 * each) / 0.7, regions=2) == pytest.approx(5000, abs=1)
    assert chunk(1e12) == 100_000
    assert chunk(1e6) == 256
    scores = 2 * 5 * 100_000 * 2  # of devices without efficient attention
    assert chunk((waiting + 5000 * (each + scores)) / 0.7, kind="mps") == pytest.approx(5000, abs=1)


def test_a_pass_asks_how_much_is_free(model, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "spatialdreamer_core.m2svid.predict.fitting_chunk", lambda config, **size: asked.append(size) or 256
    )
    left, mask = torch.zeros(2, 3, 4, 8, 16), torch.zeros(2, 3, 1, 8, 16)
    predict(model, left, left, mask, torch.zeros(2, 3, 1, 32))
    assert asked == [{"regions": 2, "tokens": 384, "dtype": torch.float32, "device": torch.device("cpu")}]
