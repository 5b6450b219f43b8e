"""SVD conditioned on one picture, as it was trained."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.checks import InputError

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.svd.picture_condition import (
    PictureDenoiser,
    check_plain_unet,
    encode_pictures,
    picture_time_ids,
)
from spatialdreamer_core.svd.schedule import clean_estimate, noise_time, scale_input
from spatialdreamer_core.svd.unet import build_unet, widen_unet

from .. import tiny_svd

SIGMA = 1.5


@pytest.fixture(scope="module")
def svd():
    return tiny_svd.make_model()


@pytest.fixture(scope="module")
def given(svd):
    generator = torch.Generator().manual_seed(0)
    pictures, noise = torch.rand(2, 2, 3, 64, 64, generator=generator)
    conditions = encode_pictures(svd, pictures, noise=noise)
    return conditions, torch.randn(3, 4, 8, 8, generator=generator)


def test_a_picture_is_repeated_over_the_frames_with_its_embedding(svd, given):
    conditions, noisy = given
    ids = picture_time_ids(fps=7, motion_bucket=127)
    assert ids[0].tolist() == pytest.approx([6, 127, 0.02])
    result = PictureDenoiser(svd.unet)(noisy, SIGMA, conditions[1], ids)
    repeated = conditions[1].latents.repeat(3, 1, 1, 1)
    sample = torch.cat([scale_input(noisy, SIGMA), repeated], dim=1)[None]
    with torch.no_grad():
        output = svd.unet(sample, noise_time(SIGMA), conditions[1].embedding[None], ids).sample[0]
    torch.testing.assert_close(result, clean_estimate(output, noisy, SIGMA))
    assert not torch.equal(result, PictureDenoiser(svd.unet)(noisy, SIGMA, conditions[0], ids))


def test_noise_is_on_the_picture_and_not_on_what_clip_sees(svd):
    picture = torch.full((1, 3, 64, 64), 0.5)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    (plain,), (under_noise,) = (encode_pictures(svd, picture, noise=part) for part in (None, noise))
    assert torch.equal(plain.embedding, under_noise.embedding)
    wanted = svd.codec.encode(picture + 0.01 * noise)[0]  # 0.02 of pictures in [-1, 1]
    assert torch.equal(under_noise.latents, wanted)
    assert not torch.equal(under_noise.latents, plain.latents)


def test_guidance_grows_linearly_over_the_frames(svd, given):
    conditions, noisy = given
    ids = picture_time_ids()
    plain = PictureDenoiser(svd.unet)(noisy, SIGMA, conditions[0], ids)
    guided = PictureDenoiser(svd.unet, guidance_min=1.0, guidance_max=3.0)(noisy, SIGMA, conditions[0], ids)
    strong = PictureDenoiser(svd.unet, guidance_min=3.0, guidance_max=3.0)(noisy, SIGMA, conditions[0], ids)
    torch.testing.assert_close(guided[0], plain[0])
    torch.testing.assert_close(guided[1] - plain[1], (strong - plain)[1] / 2, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(guided[2], strong[2])


@pytest.mark.parametrize(
    ("channels", "ids", "owner"), [(9, 4, "SpatialDreamer"), (13, 3, "M2SVid"), (8, 4, "another")]
)
def test_another_sampler_s_unet_is_refused_by_name(svd, channels, ids, owner):
    from dataclasses import replace

    check_plain_unet(svd)
    other = replace(svd, unet=tiny_svd.make_unet(in_channels=channels, time_ids=ids))
    with pytest.raises(InputError, match=f"8 input channels and 3 time ids, got one of {channels}.*{owner}"):
        check_plain_unet(other)


def test_a_widened_unet_stays_the_plain_one_until_it_is_trained(svd, given):
    from dataclasses import replace

    conditions, noisy = given
    narrow = build_unet(**svd.unet.config).eval()
    narrow.load_state_dict(svd.unet.state_dict())
    wide = widen_unet(narrow, in_channels=9, time_ids=4)
    check_plain_unet(replace(svd, unet=wide))
    ids = picture_time_ids()
    plain, widened = (
        PictureDenoiser(unet, guidance_max=3.0)(noisy, SIGMA, conditions[0], ids) for unet in (narrow, wide)
    )
    torch.testing.assert_close(plain, widened)
    for name in ("conv_in", "add_embedding.linear_1"):
        trained = widen_unet(svd.unet, in_channels=9, time_ids=4)
        trained.get_submodule(name).weight[:, -1] += 1e-3
        with pytest.raises(InputError, match=r"got one of 9 and 4, .*\(TIL SVD Sampler\)"):
            check_plain_unet(replace(svd, unet=trained))
