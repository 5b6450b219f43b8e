"""Estimates against the tensors that live while the UNet runs, and the chunk that free memory allows."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.m2svid import M2SVid, full_attention, memory
from spatialdreamer_core.m2svid.memory import estimate_memory, fitting_chunk
from spatialdreamer_core.m2svid.predict import predict
from spatialdreamer_core.svd import SVDModel, build_unet

from ..live_tensors import EfficientAttention

REAL = {"in_channels": 13, "num_attention_heads": (5, 10, 20, 20)}


SIZE = {"height": 256, "width": 448, "dtype": torch.float16}
TOKENS = 8 * 32 * 56  # of eight frames of that size


def peak(unet, live_tensors, monkeypatch, *, chunk, share=1.0, regions=1, frames=8):
    """Return the peak of a pass in which a share of each region's tokens is masked."""
    h, w = SIZE["height"] // 8, SIZE["width"] // 8
    tokens = {
        size: [torch.zeros(int(share * size * frames), dtype=torch.int64)] * regions
        for size in ((h >> level) * (w >> level) for level in range(4))
    }
    monkeypatch.setattr(full_attention, "masked_tokens", lambda mask, levels: tokens)
    inputs = [torch.empty(regions, frames, channels, h, w) for channels in (4, 4, 1)]
    embeddings = torch.empty(regions, frames, 1, unet.config.cross_attention_dim)
    model = M2SVid(SVDModel(unet.eval(), None, None), full_attention=True)
    with live_tensors, EfficientAttention():
        predict(model, *inputs, embeddings, query_chunk=chunk)
    return live_tensors.peak


def test_a_pass_with_everything_masked(fake_half, live_tensors, monkeypatch):
    unet = build_unet(**REAL)
    measured = peak(unet, live_tensors, monkeypatch, chunk=TOKENS)
    estimate = estimate_memory(unet.config, frames=8, **SIZE, query_chunk=TOKENS)
    assert estimate == pytest.approx(measured, rel=0.01)
    assert estimate > 1.02 * estimate_memory(unet.config, frames=8, **SIZE)


@pytest.mark.slow
def test_half_of_the_tokens_at_once_take_no_more_than_the_plain_pass(fake_half, live_tensors, monkeypatch):
    unet = build_unet(**REAL)
    measured = peak(unet, live_tensors, monkeypatch, chunk=TOKENS // 2)
    for chunk in (None, TOKENS // 2):
        estimate = estimate_memory(unet.config, frames=8, **SIZE, query_chunk=chunk)
        assert estimate == pytest.approx(measured, rel=0.01)


@pytest.mark.slow
def test_two_regions_take_as_much_as_twice_the_frames(fake_half, live_tensors, monkeypatch):
    unet = build_unet(**REAL)
    measured = peak(unet, live_tensors, monkeypatch, chunk=1000, share=0.3, regions=2, frames=4)
    estimate = estimate_memory(unet.config, frames=8, **SIZE, query_chunk=1000)
    assert estimate == pytest.approx(measured, rel=0.1)


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


@pytest.mark.gpu
@pytest.mark.parametrize(("height", "width"), [(512, 512), (576, 1024)])
def test_the_estimate_of_a_pass_on_cuda(height, width):
    """25 frames at full size in half precision, a tenth of them holes: within 20 %."""
    model, inputs = make_on_cuda(height, width)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    predict(model, *inputs)  # which also compiles and chooses kernels
    started.record()
    predict(model, *inputs)
    ended.record()
    torch.cuda.synchronize()
    measured = torch.cuda.max_memory_allocated() - before
    size = {"frames": 25, "height": height, "width": width, "dtype": torch.float16}
    print(
        f"25 frames of {width}x{height}: {started.elapsed_time(ended) / 1e3:.2f} s, {measured / 2**30:.2f} GB"
    )
    assert estimate_memory(model.svd.unet.config, **size) == pytest.approx(measured, rel=0.2)


@pytest.mark.gpu
def test_a_card_of_8_gb_suffices_for_25_frames():
    """With all of it a hole, so that full attention has to make its chunks smaller."""
    model, (left, warped, mask, embeddings) = make_on_cuda(512, 512)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 8 * 2**30 / total))
    try:
        result = predict(model, left, warped, torch.ones_like(mask), embeddings)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.isfinite().all()


def make_on_cuda(height, width):
    """Make a model of full width in half precision, and a window of 25 frames."""
    with torch.device("meta"):
        unet = build_unet(**REAL)
    unet = unet.half().to_empty(device="cuda").eval().requires_grad_(False)
    for parameter in unet.parameters():
        parameter.uniform_(-0.02, 0.02)
    left, warped = torch.randn(2, 1, 25, 4, height // 8, width // 8)
    mask = torch.full_like(left[:, :, :1], -1)
    mask[..., : width // 80] = 1
    model = M2SVid(SVDModel(unet, None, None), full_attention=True)
    return model, (left, warped, mask, torch.randn(1, 25, 1, 1024))
