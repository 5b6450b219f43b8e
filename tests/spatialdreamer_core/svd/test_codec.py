"""Codecs: SVD's autoencoder behind one interface, and one that only rearranges pixels."""

import pytest
import torch

pytest.importorskip("diffusers")

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import (
    LATENT_FACTOR,
    SCALING,
    PixelCodec,
    SVDModel,
    VaeCodec,
    decode_latents,
    encode_frames,
)

from ..tiny_svd import make_image_encoder, make_unet, make_vae


@pytest.fixture(scope="module")
def vae():
    return make_vae()


def make_frames(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_autoencoder_as_a_codec_changes_nothing(vae):
    codec = SVDModel(make_unet(), vae, make_image_encoder()).codec
    assert isinstance(codec, VaeCodec)
    assert (codec.factor, codec.channels, codec.scaling) == (LATENT_FACTOR, 4, SCALING)
    frames = make_frames(2, 3, 60, 64)
    done = []
    latents = codec.encode(frames, on_frame=done.append)
    assert torch.equal(latents, encode_frames(vae, frames))
    decoded = codec.decode(codec.scaling * latents, on_frame=done.append)
    assert torch.equal(decoded, decode_latents(vae, codec.scaling * latents))
    assert done == [2, 2]


def test_a_gradient_passes_the_decoder_and_the_picture_is_the_same(vae):
    latents = make_frames(2, 4, 4, 4).requires_grad_()
    frames = VaeCodec(vae).decode_with_gradient(latents)
    torch.testing.assert_close(frames.detach().clamp(0, 1), decode_latents(vae, latents.detach()))
    frames.square().mean().backward()
    assert latents.grad.abs().min() > 0


def test_the_size_that_a_model_takes_follows_from_its_levels_and_its_codec(vae):
    assert SVDModel(make_unet(), vae, make_image_encoder()).size_multiple == 64
    assert SVDModel(make_unet(), PixelCodec(2), make_image_encoder()).size_multiple == 16


@pytest.mark.parametrize(("factor", "size"), [(1, (5, 7)), (2, (6, 8)), (4, (8, 12)), (8, (8, 16))])
def test_pixels_come_back_as_they_were(factor, size):
    codec = PixelCodec(factor)
    frames = make_frames(3, 3, *size)
    latents = codec.encode(frames)
    assert latents.shape == (3, 3 * factor**2, size[0] // factor, size[1] // factor)
    assert latents.shape[1] == codec.channels
    torch.testing.assert_close(codec.decode(codec.scaling * latents), frames, rtol=0, atol=1e-6)


def test_latents_of_pixels_by_hand():
    frames = torch.tensor([0.0, 0.5, 0.75, 1.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    latents = PixelCodec(2).encode(frames)
    assert latents.flatten().tolist() == [-1, 0, 0.5, 1] * 3


def test_odd_sizes_are_padded_by_their_last_pixels():
    codec = PixelCodec(4)
    frames = make_frames(1, 3, 6, 5)
    back = codec.decode(codec.scaling * codec.encode(frames))
    assert back.shape == (1, 3, 8, 8)
    torch.testing.assert_close(back[..., :6, :5], frames)
    torch.testing.assert_close(back[..., 6:, 5:], frames[..., -1:, -1:].expand(1, 3, 2, 3))


def test_a_gradient_passes_the_pixels_unclamped():
    codec = PixelCodec(2)
    latents = (3 * make_frames(1, 12, 2, 2)).requires_grad_()
    frames = codec.decode_with_gradient(latents)
    assert frames.max() > 1
    frames.sum().backward()
    assert latents.grad.unique().tolist() == [0.5 / codec.scaling]


def test_pixels_under_noise_are_encoded_as_they_are():
    frames = make_frames(1, 3, 4, 4) * 4 - 2
    assert torch.equal(PixelCodec(1).encode(frames), frames * 2 - 1)


def test_bad_codecs_and_latents():
    with pytest.raises(InputError, match=r"factor must be between 1 and 8"):
        PixelCodec(0)
    with pytest.raises(InputError, match=r"scaling must be between"):
        PixelCodec(2, scaling=0.0)
    with pytest.raises(InputError, match=r"latents"):
        PixelCodec(2).decode(torch.zeros(1, 4, 2, 2))
    with pytest.raises(InputError, match=r"finite"):
        PixelCodec(1).encode(torch.full((1, 3, 2, 2), torch.nan))
