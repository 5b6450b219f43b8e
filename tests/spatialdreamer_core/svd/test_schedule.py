"""Noise levels, clean estimates and Euler steps, beside diffusers' scheduler with SVD's settings."""

from __future__ import annotations

import math

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd.schedule import (
    clean_estimate,
    euler_step,
    frame_noise,
    karras_sigmas,
    noise_time,
    scale_input,
)


def scheduler(steps: int):
    diffusers = pytest.importorskip("diffusers")
    svd = diffusers.EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_type="continuous",
        timestep_spacing="leading",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        steps_offset=1,
    )
    svd.set_timesteps(steps)
    return svd


@pytest.mark.parametrize("steps", [2, 8, 25])
def test_levels_and_times_are_those_of_svd(steps):
    svd, sigmas = scheduler(steps), karras_sigmas(steps)
    torch.testing.assert_close(sigmas.float(), svd.sigmas, rtol=1e-5, atol=0)
    times = torch.tensor([noise_time(float(sigma)) for sigma in sigmas[:-1]])
    torch.testing.assert_close(times, svd.timesteps, rtol=1e-5, atol=1e-6)


def test_a_run_is_that_of_svds_scheduler():
    generator = torch.Generator().manual_seed(0)
    sigmas, svd = karras_sigmas(6), scheduler(6)
    ours = theirs = torch.randn(2, 4, 3, 3, generator=generator) * 700
    for (sigma, following), time in zip(
        zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True), svd.timesteps, strict=True
    ):
        torch.testing.assert_close(scale_input(ours, sigma), svd.scale_model_input(theirs, time))
        output = torch.randn(2, 4, 3, 3, generator=generator)
        clean = clean_estimate(output, ours, sigma)
        ours = euler_step(ours, clean, sigma, following)
        step = svd.step(output, time, theirs)
        torch.testing.assert_close(clean, step.pred_original_sample, rtol=1e-4, atol=1e-4)
        theirs = step.prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_a_perfect_prediction_gives_the_clean_sample():
    clean, noise, sigma = torch.randn(4, 4), torch.randn(4, 4), 3.0
    velocity = (noise - sigma * clean) / math.sqrt(sigma**2 + 1)
    torch.testing.assert_close(clean_estimate(velocity, clean + sigma * noise, sigma), clean)


@pytest.mark.parametrize(
    ("steps", "strength", "count"), [(25, 1.0, 25), (25, 0.4, 10), (8, 0.01, 1), (1, 1.0, 1)]
)
def test_strength_leaves_out_the_first_levels(steps, strength, count):
    whole, part = karras_sigmas(steps), karras_sigmas(steps, strength=strength)
    assert len(part) == count + 1
    assert torch.equal(part, whole[-len(part) :])


@pytest.mark.parametrize("strength", [0.05, 0.2, 0.4, 0.55, 0.77, 1.0])
def test_strength_names_one_noise_level_for_any_number_of_steps(strength):
    starts = {steps: karras_sigmas(steps, strength=strength) for steps in (1, 3, 8, 25, 50, 200)}
    assert len({round(float(levels[0]), 9) for levels in starts.values()}) == 1
    for steps, levels in starts.items():
        assert len(levels) == max(1, round(steps * strength)) + 1
        assert bool((levels.diff() < 0).all())
        if len(levels) > 2:
            assert float(levels[-2]) == pytest.approx(0.002)


def test_the_first_level_rises_with_strength_without_jumps():
    firsts = torch.tensor([float(karras_sigmas(8, strength=i / 200)[0]) for i in range(10, 201)])
    steps = firsts.log().diff()
    assert bool((steps > 0).all())
    assert float(steps.max()) < 0.2  # of the logarithm, for each half percent of strength
    assert firsts[40 * 2 - 10] == pytest.approx(3.9, abs=0.05)


@pytest.mark.parametrize(
    ("steps", "strength", "rule"),
    [(0, 1, "steps must be between 1 and 200, got 0"), (8, 1.5, "strength must be between 0 and 1, got 1.5")],
)
def test_options_out_of_range(steps, strength, rule):
    with pytest.raises(InputError) as caught:
        karras_sigmas(steps, strength=strength)
    assert str(caught.value) == rule


def test_a_frames_noise_depends_on_its_index_alone():
    whole = frame_noise(7, range(6), height=8, width=16)
    assert torch.equal(frame_noise(7, range(2, 5), height=8, width=16), whole[2:5])


def test_seed_stream_and_frame_give_different_noise_of_unit_variance():
    draws = [
        frame_noise(seed, [frame], height=64, width=64, stream=stream)
        for seed, frame, stream in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 0, 0)]
    ]
    for index, draw in enumerate(draws):
        assert abs(draw.std() - 1) < 0.03
        assert abs(draw.mean()) < 0.03
        for other in draws[:index]:
            assert abs((draw * other).mean()) < 0.03
