"""Sampling with known regions: what is known stays, and holes come to fit it."""

from __future__ import annotations

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd.known_latents import KnownLatents, Resampling, add_noise, reinject, weigh_known
from spatialdreamer_core.svd.sampling import diffuse_in_turn, diffuse_together
from spatialdreamer_core.svd.schedule import frame_noise, karras_sigmas
from spatialdreamer_core.svd.windows import Plan

BOTH = pytest.mark.parametrize("diffuse", [diffuse_in_turn, diffuse_together])
SHAPE = (7, 2, 8, 16)
PLAN = Plan(window=4, overlap=2, tile=8)


def draw(stream, frames=range(SHAPE[0])):
    return frame_noise(3, frames, height=SHAPE[2], width=SHAPE[3], channels=SHAPE[1], stream=stream)


def noise_of(region):
    return region.cut_frame(draw(0, region.frames))


def noise_again(region, count):
    return region.cut_frame(draw(count, region.frames))


def correlation(width, length=4.0):
    distance = (torch.arange(width)[:, None] - torch.arange(width)).abs()
    return torch.exp(-distance / length)


def open_rows(region):
    """The exact denoiser of rows whose neighbours are alike."""
    covariance = correlation(len(region.columns))

    def denoise(noisy, sigma):
        return noisy @ torch.linalg.inv(covariance + sigma**2 * torch.eye(len(covariance))) @ covariance

    return denoise


def run(diffuse, *, plan=PLAN, steps=6, shape=SHAPE, **options):
    return diffuse(open_rows, noise_of, karras_sigmas(steps), shape=shape, plan=plan, **options)


@BOTH
def test_without_known_latents_and_repeats_it_is_the_plain_sampler(diffuse):
    nothing = KnownLatents(draw(9), torch.zeros(SHAPE[0], 1, *SHAPE[2:]))
    assert torch.equal(run(diffuse, known=nothing, resampling=Resampling(1, noise_again)), run(diffuse))


@BOTH
@pytest.mark.parametrize("passes", [1, 3])
def test_what_is_all_known_comes_back_as_it_was(diffuse, passes):
    known = KnownLatents(draw(9), torch.ones(SHAPE[0], 1, *SHAPE[2:]))
    result = run(diffuse, known=known, resampling=Resampling(passes, noise_again))
    assert torch.equal(result, known.latents)


@BOTH
def test_known_latents_stay_beside_holes_and_repeats_are_counted(diffuse):
    weight = torch.ones(SHAPE[0], 1, *SHAPE[2:])
    weight[..., 5:9] = 0
    known, counts = KnownLatents(draw(9), weight), []
    resampling = Resampling(2, noise_again)
    options = {"known": known, "resampling": resampling}
    result = run(diffuse, **options, on_step=lambda done, total, clean: counts.append((done, total)))
    fixed = weight.expand(SHAPE) == 1
    assert torch.equal(result[fixed], known.latents[fixed])
    assert not torch.equal(result[~fixed], known.latents[~fixed])
    total = PLAN.count(SHAPE[0], *SHAPE[2:]) * (5 * 2 + 1)  # the last of 6 levels is not worth a repeat
    assert counts == [(done, total) for done in range(1, total + 1)]
    assert torch.equal(result, run(diffuse, **options)), "seeds reproduce"


def test_repeats_bring_holes_nearer_to_their_true_mean():
    """Rows of 24 values, 8 of them missing; `benchmarks.frame_matrix` has more of it."""
    covariance, width = correlation(24, 8.0), 24
    shape = (1, 1, 64, width)
    whole = frame_noise(1, [0], height=64, width=width, channels=1) @ torch.linalg.cholesky(covariance).T
    weight = torch.ones(1, 1, 64, width)
    weight[..., 8:16] = 0
    hole, known = slice(8, 16), [*range(8), *range(16, 24)]
    means = whole[..., known] @ torch.linalg.inv(covariance[known][:, known]) @ covariance[known][:, hole]

    def draw_rows(stream):
        return frame_noise(0, [0], height=64, width=width, channels=1, stream=stream)

    def open_all(region):
        return lambda noisy, sigma: (
            noisy @ torch.linalg.inv(covariance + sigma**2 * torch.eye(width)) @ covariance
        )

    errors = []
    for passes in (1, 5):
        filled = diffuse_together(
            open_all,
            lambda region: draw_rows(0),
            karras_sigmas(15),
            shape=shape,
            plan=Plan(1, 0),
            known=KnownLatents(whole, weight),
            resampling=Resampling(passes, lambda region, count: draw_rows(count)),
        )
        errors.append(float((filled[..., hole] - means).square().mean().sqrt()))
    assert errors[1] < 0.9 * errors[0]


def test_a_sample_that_goes_back_up_has_the_level_s_noise():
    noise = [frame_noise(0, [0], height=64, width=64, stream=stream) for stream in (0, 1)]
    assert add_noise(0.3 * noise[0], 0.3, 0.5, noise[1]).std() == pytest.approx(0.5, rel=0.02)
    assert torch.equal(add_noise(noise[0], 0.0, 2.0, noise[1]), noise[0] + 2.0 * noise[1])


def test_a_latent_is_known_if_seven_tenths_of_it_are_and_less_beside_holes():
    hole = torch.zeros(1, 1, 64, 96)
    hole[..., 34:48] = 1  # 2 columns of latent 4 are seen, none of latent 5
    weight = weigh_known(hole)
    assert weight.shape == (1, 1, 8, 12)
    row = weight[0, 0, 3]
    assert row[4:6].tolist() == [0, 0]
    assert row[:2].tolist() == [1, 1]
    assert row[8:].tolist() == [1, 1, 1, 1]
    assert 0.5 < row[3] < row[2] < 1
    assert row[6] == pytest.approx(float(row[3]))
    hole[..., 32:34] = 1
    hole[..., 34:38] = 0
    assert weigh_known(hole)[0, 0, 3, 4] == 0  # half of it
    assert weigh_known(torch.zeros(2, 1, 16, 16)).eq(1).all()
    assert weigh_known(torch.ones(2, 1, 16, 16)).eq(0).all()
    with pytest.raises(InputError, match="multiples of 8 px, got 15x16"):
        weigh_known(torch.zeros(1, 1, 16, 15))


def test_reinjection_takes_known_pixels_at_their_full_resolution():
    pytest.importorskip("diffusers")
    from spatialdreamer_core.svd import PixelCodec

    codec = PixelCodec()
    generator = torch.Generator().manual_seed(0)
    pictures, estimate = torch.rand(2, 2, 3, 16, 16, generator=generator)
    hole = torch.zeros(2, 1, 16, 16)
    hole[..., 5:10] = 1
    result = codec.decode(reinject(codec, codec.scaling * codec.encode(estimate), pictures, hole))
    torch.testing.assert_close(result, torch.where(hole > 0, estimate, pictures), rtol=0, atol=1e-5)
