"""The VAE over clips: chunks and tiles equal the whole, bounded memory, precision, interrupts, bad input."""

from __future__ import annotations

import copy
import logging
import math
from types import SimpleNamespace

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import SCALING, decode_latents, encode_frames


@pytest.fixture(scope="module")
def vae(tiny_svd):
    return tiny_svd.make_vae()


@pytest.fixture
def half_vae(vae):
    return copy.deepcopy(vae).half()


def make_latents(frames, height, width, *, seed=0):
    """Make scaled latents as varied as the VAE's own of pictures."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, 4, height, width, generator=generator)


def make_frames(frames, height, width, *, seed=0):
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def decode_whole(vae, latents):
    return (vae.decode(latents / SCALING, num_frames=len(latents)).sample / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def encode_whole(vae, frames):
    return vae.encode(frames * 2 - 1).latent_dist.mode()


def overflow(*blocks):
    """Let the residuals of blocks leave half precision's range; the next normalisation brings them back."""
    for block in blocks:
        block.conv2.weight.data *= 5e5


def run_out_of_memory_above(module, limit, shapes):
    """Let a module run out of memory with inputs of more elements; note the shapes it was given."""

    def check(_, args):
        shapes.append(tuple(args[0].shape))
        if args[0].shape.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return module.register_forward_pre_hook(check)


@pytest.mark.parametrize("frames", [1, 3])
def test_one_chunk_is_the_vae_itself(vae, frames):
    latents, pictures = make_latents(frames, 8, 12), make_frames(frames, 64, 96)
    assert torch.equal(decode_latents(vae, latents), decode_whole(vae, latents))
    assert torch.equal(decode_latents(vae, latents, window=3, tile=128), decode_whole(vae, latents))
    assert torch.equal(encode_frames(vae, pictures), encode_whole(vae, pictures))
    assert torch.equal(encode_frames(vae, pictures, tile=128), encode_whole(vae, pictures))


def test_chunks_of_frames_encode_like_the_whole(vae):
    frames = make_frames(5, 64, 72)
    torch.testing.assert_close(encode_frames(vae, frames, chunk=2), encode_whole(vae, frames))


def test_sizes_that_are_no_multiple_of_8_are_padded(vae):
    frames = make_frames(1, 61, 67)
    latents = encode_frames(vae, frames)
    assert latents.shape == (1, 4, 8, 9)
    padded = torch.nn.functional.pad(frames, (0, 5, 0, 3), mode="replicate")
    assert torch.equal(latents, encode_whole(vae, padded))


def test_chunks_of_frames_decode_nearly_like_the_whole_and_borders_do_not_show(vae):
    latents = make_latents(40, 6, 6)  # chunks of 13: 0, 6, 13, 20, 27
    whole, chunked = decode_whole(vae, latents), decode_latents(vae, latents, window=14)
    # Against decoding in chunks of the same number that do not overlap:
    apart = torch.cat([decode_whole(vae, part) for part in latents.split(8)])
    error, error_apart = ((other - whole).abs().mean((1, 2, 3)) for other in (chunked, apart))
    assert error.mean() < 0.05 * whole.std()
    assert error.max() < 2 * error.mean()
    assert error_apart.max() > 4 * error.max()
    # From frame to frame no change is added where chunks change over.
    jump = ((chunked - whole).diff(dim=0)).abs().mean((1, 2, 3))
    assert jump.max() < 2 * jump.mean()


@pytest.mark.parametrize(("fitting", "windows"), [(25, [25]), (14, [13, 13, 13]), (24, [16, 16])])
def test_a_clip_that_fits_is_decoded_whole_and_no_frame_twice(vae, monkeypatch, fitting, windows):
    latents = make_latents(25, 2, 2)
    let_frames_fit(monkeypatch, vae, fitting, height=16, width=16)
    decoded: list = []
    with vae.decoder.register_forward_pre_hook(lambda _, args: decoded.append(len(args[0]))):
        frames = decode_latents(vae, latents)
    assert decoded == windows
    if fitting == 25:
        assert torch.equal(frames, decode_whole(vae, latents))


@pytest.mark.parametrize(("device", "frames"), [("cpu", 28), ("cuda", 28), ("mps", 14)])
def test_no_more_frames_than_indices_can_tell_apart(vae, monkeypatch, device, frames):
    """At 1024x576, 28 frames of the 128 channels in which they are mixed are all that 32 bits index."""
    from spatialdreamer_core.svd import vae as module

    monkeypatch.setattr(module, "free_memory", lambda device: 1 << 50)
    weight = SimpleNamespace(device=torch.device(device))
    big = SimpleNamespace(
        config=SimpleNamespace(block_out_channels=(128, 256, 512, 512)),
        quant_conv=SimpleNamespace(weight=weight),
    )
    portion = module._first_portion(big, lambda **_: 1, (100, 3, 576, 1024), None, 0, most=100)
    assert portion.frames == frames


@pytest.mark.gpu
def test_frames_stay_on_the_device_if_asked(vae):
    own, latents = copy.deepcopy(vae).cuda(), make_latents(5, 4, 6)
    stayed = decode_latents(own, latents, window=3, tile=128, device=torch.device("cuda"))
    assert stayed.is_cuda
    torch.testing.assert_close(stayed.cpu(), decode_latents(own, latents, window=3, tile=128))


def test_tiles_decode_nearly_like_the_whole_and_edges_do_not_show(vae):
    latents = make_latents(2, 24, 24)  # 192 px: two tiles of 112 px each way, which share the middle 32
    whole, tiled = decode_whole(vae, latents), decode_latents(vae, latents, tile=128)
    error = (tiled - whole).abs().mean((0, 1))
    assert 0 < error.mean() < 0.1 * whole.std()
    assert_no_seam(error, tiled - whole, borders=(80, 112))


def test_tiles_encode_nearly_like_the_whole_and_edges_do_not_show(vae):
    frames = make_frames(2, 192, 192)
    whole, tiled = encode_whole(vae, frames), encode_frames(vae, frames, tile=128)
    error = (tiled - whole).abs().mean((0, 1))
    assert 0 < error.mean() < 0.2 * whole.std()
    assert_no_seam(error, tiled - whole, borders=(10, 14))


def assert_no_seam(error, difference, *, borders):
    """Check that at tiles' borders neither the error nor its step to the next row or column stands out."""
    steps = difference.diff(dim=-1).abs().mean((0, 1))
    rises = difference.diff(dim=-2).abs().mean((0, 1))
    for border in borders:
        near = slice(border - 2, border + 2)
        assert error[near].mean() < 2 * error.mean()
        assert error[:, near].mean() < 2 * error.mean()
        assert steps[:, border - 1].mean() < 2 * steps.mean()
        assert rises[border - 1].mean() < 2 * rises.mean()


def let_frames_fit(monkeypatch, vae, frames, *, height, width):
    """Let the free memory be what decoding so many frames takes."""
    from spatialdreamer_core.svd import estimate_decoding_memory
    from spatialdreamer_core.svd import vae as module

    dtype = next(vae.decoder.parameters()).dtype
    needed = estimate_decoding_memory(vae.config, frames=frames, height=height, width=width, dtype=dtype)
    monkeypatch.setattr(module, "free_memory", lambda device: math.ceil(needed / module._FREE_SHARE))


def test_no_more_memory_for_many_frames(vae, live_tensors, monkeypatch):
    let_frames_fit(monkeypatch, vae, 14, height=16, width=16)
    latents, frames = make_latents(200, 2, 2), make_frames(200, 16, 16)
    peaks = []
    for count in (30, 200):
        live_tensors.bytes = live_tensors.peak = 0
        with live_tensors:
            decoded = decode_latents(vae, latents[:count])
        peaks.append(live_tensors.peak - decoded.nbytes)
        live_tensors.bytes = live_tensors.peak = 0
        with live_tensors:
            encoded = encode_frames(vae, frames[:count])
        peaks.append(live_tensors.peak - encoded.nbytes)
        del decoded, encoded
    # A few bytes of each frame's weights and of checks come and go.
    assert peaks[2:] == pytest.approx(peaks[:2], abs=20_000)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_encoding_runs_in_float32_and_leaves_the_vae_as_it_is(vae, dtype):
    own = copy.deepcopy(vae)
    overflow(own.encoder.down_blocks[0].resnets[0])
    own.to(dtype)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    frames = make_frames(2, 32, 32)
    if dtype == torch.float16:
        assert not encode_whole(own, frames.half()).isfinite().all()
    latents = encode_frames(own, frames.to(dtype))
    assert latents.dtype == torch.float32
    assert torch.equal(latents, encode_whole(copy.deepcopy(own).float(), frames.to(dtype).float()))
    for name, value in own.state_dict().items():
        assert value.dtype == dtype, name
        assert torch.equal(value, before[name]), name


def test_the_autocast_of_a_training_changes_nothing(vae):
    """A validation runs within it: latents must be those that were trained on."""
    pictures, latents = make_frames(2, 32, 32), make_latents(2, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded, decoded = encode_frames(vae, pictures), decode_latents(vae, latents)
        assert (pictures.flatten(1) @ pictures.flatten(1).T).dtype == torch.bfloat16, "it goes on afterwards"
    assert torch.equal(encoded, encode_whole(vae, pictures))
    assert torch.equal(decoded, decode_whole(vae, latents))


def test_decoding_runs_in_the_own_precision(half_vae, caplog):
    latents = make_latents(2, 4, 4)
    with torch.no_grad():
        wanted = half_vae.decode((latents / SCALING).half(), num_frames=2).sample.float()
    assert torch.equal(decode_latents(half_vae, latents), (wanted / 2 + 0.5).clamp(0, 1))
    assert not caplog.records


def test_decoding_that_overflows_is_repeated_in_float32(half_vae, caplog):
    overflow(half_vae.decoder.up_blocks[3].resnets[2].spatial_res_block)
    latents = make_latents(2, 4, 4)
    assert not decode_whole(half_vae, latents.half()).isfinite().all()
    with caplog.at_level(logging.WARNING):
        frames = decode_latents(half_vae, latents)
    assert "the VAE overflowed in torch.float16: decoding 2 frames in float32" in caplog.text
    assert torch.equal(frames, decode_whole(copy.deepcopy(half_vae).float(), latents))
    assert {value.dtype for value in half_vae.state_dict().values()} == {torch.float16}


def test_broken_weights_are_an_error(half_vae):
    half_vae.decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(
        InputError, match=r"decoded frames must be finite, but the VAE gave NaN .* use an intact VAE"
    ):
        decode_latents(half_vae, make_latents(1, 4, 4))
    half_vae.quant_conv.bias.data.fill_(float("nan"))
    with pytest.raises(InputError, match="`encoded frames` must be finite, got 64 NaN"):
        encode_frames(half_vae, make_frames(1, 32, 32))


class Interrupted(BaseException):
    pass


def test_interrupts_get_through_and_leave_the_vae_as_it_is(half_vae):
    counts = []

    def on_frame(done):
        counts.append(done)
        if done >= 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        encode_frames(half_vae, make_frames(10, 16, 16), chunk=2, on_frame=on_frame)
    assert counts == [2, 4]
    overflow(half_vae.decoder.up_blocks[3].resnets[2].spatial_res_block)
    with pytest.raises(Interrupted):
        decode_latents(half_vae, make_latents(10, 2, 2), window=4, on_frame=on_frame)
    assert {value.dtype for value in half_vae.state_dict().values()} == {torch.float16}


def test_progress_counts_finished_frames(vae):
    counts = []
    decode_latents(vae, make_latents(7, 2, 2), window=4, on_frame=counts.append)
    assert counts == [4, 5, 7]
    counts.clear()
    decode_latents(vae, make_latents(2, 8, 10), window=2, tile=64, on_frame=counts.append)
    assert counts == [0, 2]


def test_short_memory_takes_smaller_chunks_then_tiles(vae, caplog):
    latents, shapes = make_latents(4, 4, 24), []
    hook = run_out_of_memory_above(vae.decoder, 4 * 4 * 16, shapes)
    with hook, caplog.at_level(logging.WARNING):
        frames = decode_latents(vae, latents, window=4)
    assert shapes[:4] == [(4, 4, 4, 24), (2, 4, 4, 24), (1, 4, 4, 24), (1, 4, 4, 14)]
    assert torch.equal(frames, decode_latents(vae, latents, window=1, tile=128))
    assert [record.message for record in caplog.records] == [
        "decoding ran out of memory with 4 frame(s) at once in whole pictures: "
        "trying 2 frame(s) at once in whole pictures",
        "decoding ran out of memory with 2 frame(s) at once in whole pictures: "
        "trying 1 frame(s) at once in whole pictures",
        "decoding ran out of memory with 1 frame(s) at once in whole pictures: "
        "trying 1 frame(s) at once in tiles of 128 px",
    ]


def test_short_memory_takes_smaller_chunks_then_tiles_for_encoding(vae):
    frames, shapes = make_frames(2, 32, 192), []
    with run_out_of_memory_above(vae.encoder, 3 * 32 * 128, shapes):
        latents = encode_frames(vae, frames)
    assert torch.equal(latents, encode_frames(vae, frames, chunk=1, tile=128))


def test_memory_that_never_suffices_is_an_error(vae):
    with run_out_of_memory_above(vae.decoder, 0, []), pytest.raises(InputError) as raised:
        decode_latents(vae, make_latents(3, 4, 20), window=2)
    assert str(raised.value) == (
        "decoding must fit into memory, but the VAE ran out of it with 1 frame(s) at once in tiles of 128 px"
        "; free memory or use smaller frames"
    )


def test_other_errors_of_the_vae_are_not_taken_for_short_memory(vae):
    with pytest.raises(RuntimeError, match="channels"):
        vae.decoder(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1))

    def fail(_, args):
        raise RuntimeError("cuDNN error")

    with vae.decoder.register_forward_pre_hook(fail), pytest.raises(RuntimeError, match="cuDNN error"):
        decode_latents(vae, make_latents(1, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tile": 100},
            "tile must be a multiple of 64 px, or 0 for whole pictures, got 100; 512 suits most GPUs",
        ),
        ({"tile": -64}, "got -64"),
    ],
)
def test_bad_options_are_errors(vae, options, message):
    with pytest.raises(InputError, match=message):
        decode_latents(vae, make_latents(1, 2, 2), **options)
    with pytest.raises(InputError, match=message):
        encode_frames(vae, make_frames(1, 16, 16), **options)


@pytest.mark.parametrize("count", [0, -3, 1.5])
def test_bad_numbers_of_frames_are_errors(vae, count):
    with pytest.raises(InputError, match=f"window must be at least 1 frame, got {count}; 14 suits most GPUs"):
        decode_latents(vae, make_latents(1, 2, 2), window=count)
    with pytest.raises(InputError, match=f"chunk must be at least 1 frame, got {count}; 8 suits most GPUs"):
        encode_frames(vae, make_frames(1, 16, 16), chunk=count)


def test_bad_tensors_are_errors(vae):
    latents, frames = make_latents(2, 2, 2), make_frames(2, 16, 16)
    latents[0, 1, 0, 0], frames[1, 2, 3, 4] = float("nan"), float("inf")
    with pytest.raises(InputError, match="`latents` must be finite, got 1 NaN or infinite values; sample in"):
        decode_latents(vae, latents)
    with pytest.raises(
        InputError, match="`frames` must be finite, got 1 NaN or infinite values; repair the frames"
    ):
        encode_frames(vae, frames)
    with pytest.raises(InputError, match="`latents` must have 4 channel"):
        decode_latents(vae, frames)
    with pytest.raises(InputError, match="`frames` must have 3 channel"):
        encode_frames(vae, latents)


def test_chunks_are_what_fits_into_free_memory(vae, monkeypatch, caplog):
    """The estimate, not the fallback, keeps a chunk small: some systems swap instead of running out."""
    from spatialdreamer_core.svd import estimate_decoding_memory
    from spatialdreamer_core.svd import vae as module

    latents = torch.randn(10, 4, 8, 8)
    frame = estimate_decoding_memory(vae.config, frames=1, height=64, width=64, dtype=torch.float32)
    batches = []
    handle = vae.decoder.register_forward_hook(lambda module, inputs, output: batches.append(len(inputs[0])))
    for free, most, tile in ((frame * 100, 10, 0), (frame * 100, 10, 4096), (frame * 5, 3, 0), (0, 1, 0)):
        monkeypatch.setattr(module, "free_memory", lambda device, free=free: free)
        batches.clear()
        decode_latents(vae, latents, tile=tile)
        assert max(batches) == most
    handle.remove()
    assert caplog.text == ""
