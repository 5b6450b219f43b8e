"""Distillation: the student's levels, and targets by which its few steps end where the teacher's many do."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd.schedule import euler_step, karras_sigmas
from spatialdreamer_core.training import loss
from spatialdreamer_core.training.batches import Batches
from spatialdreamer_core.training.distil import choose_steps, teach, teacher_levels
from spatialdreamer_core.training.loss import Trainee, make_teacher
from spatialdreamer_core.training.trained import start_network

from .tiny_training import TinyCache, quick_config

VARIANCE = 0.5  # of data that is normal, whose best denoiser is known


def denoise(noisy, sigma):
    level = torch.as_tensor(sigma).reshape(-1, *([1] * (noisy.ndim - 1)))
    return noisy * VARIANCE / (VARIANCE + level**2)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_students_levels_are_those_of_a_deployed_run(steps):
    levels = teacher_levels(steps, 25)
    sigmas = karras_sigmas(steps)
    torch.testing.assert_close(levels[:, 0], sigmas[:-1], rtol=1e-9, atol=0)
    torch.testing.assert_close(levels[:, -1], sigmas[1:], rtol=1e-9, atol=0)
    assert (levels[:, :-1] >= 0.002 * (1 - 1e-9)).all()
    assert (levels.diff(dim=1) <= 1e-9).all()
    assert levels.shape[1] == -(-25 // steps) + 1


def test_one_step_of_as_many_of_the_teacher_is_the_deployed_run():
    torch.testing.assert_close(teacher_levels(1, 25)[0], karras_sigmas(25), rtol=1e-9, atol=1e-12)


def test_one_step_is_the_teachers_sample():
    noisy = 700 * torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    target = teach(denoise, noisy, teacher_levels(1, 8).expand(2, -1))
    sample = noisy
    for sigma, following in pairwise(karras_sigmas(8).tolist()):
        sample = euler_step(sample, denoise(sample, sigma), sigma, following)
    torch.testing.assert_close(target, sample, rtol=1e-4, atol=1e-4)
    # With ever smaller steps it is the exact solution: noise of variance v + σ² shrinks to variance v.
    exact = noisy * (VARIANCE / (VARIANCE + 700**2)) ** 0.5
    fine = teach(denoise, noisy, teacher_levels(1, 200).expand(2, -1))
    torch.testing.assert_close(fine, exact, rtol=0.05, atol=1e-3)
    assert (fine - exact).abs().max() < (target - exact).abs().max() / 5


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_a_student_of_such_estimates_ends_where_its_teacher_does(steps):
    noisy = 700 * torch.randn(1, 1, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    levels = teacher_levels(steps, 12)
    student = teacher = noisy
    for row in levels:
        clean = teach(denoise, student, row[None])
        student = euler_step(student, clean, float(row[0]), float(row[-1]))
        for sigma, following in zip(row[:-1].tolist(), row[1:].tolist(), strict=True):
            teacher = euler_step(teacher, denoise(teacher, sigma), sigma, following)
    torch.testing.assert_close(student, teacher, rtol=1e-3, atol=1e-4)


def test_clips_of_one_batch_may_be_for_different_steps():
    levels = teacher_levels(4, 8)
    noisy = torch.randn(4, 2, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    together = teach(denoise, noisy, levels)
    for clip in range(4):
        alone = teach(denoise, noisy[clip : clip + 1], levels[clip : clip + 1])
        torch.testing.assert_close(together[clip : clip + 1], alone)


def test_each_step_is_chosen_equally_often():
    chosen = choose_steps(torch.arange(8) / 8, 4)
    assert chosen.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert choose_steps([0.9999999999], 1).tolist() == [0]


@pytest.mark.parametrize(
    ("steps", "teacher_steps", "text"),
    [(0, 8, "steps must be between 1 and 4"), (5, 8, "between 1 and 4"), (4, 3, "teacher_steps must be")],
)
def test_numbers_of_steps_have_a_range(steps, teacher_steps, text):
    with pytest.raises(InputError, match=text):
        teacher_levels(steps, teacher_steps)


def test_batches_get_the_teachers_targets_at_the_students_levels(network):
    config = quick_config(batch=4, distil=4, teacher_steps=8)
    network = start_network(network, config)
    batch = Batches(TinyCache(), config, scaling=0.18215).read([0, 1, 2, 3])
    levels = teacher_levels(4, 8)
    assert set(batch.sigma.tolist()) <= set(levels[:, 0].float().tolist())
    assert len(set(batch.sigma.tolist())) > 1
    teacher = make_teacher(network, config)
    prepared = teacher(batch)
    assert torch.equal(prepared.noisy, batch.noisy)
    # One Euler step to the target leads as far as two of the teacher.
    row = levels[(levels[:, 0].float() == batch.sigma[0]).nonzero().item()]
    sample = batch.noisy
    with torch.no_grad():
        trainee = Trainee(network)
        for sigma, following in pairwise(row.tolist()):
            under = dataclasses.replace(batch, noisy=sample, sigma=torch.full((4,), sigma))
            sample = euler_step(sample, trainee.estimate(under), sigma, following)
    end = euler_step(batch.noisy[0], prepared.target[0], float(row[0]), float(row[-1]))
    torch.testing.assert_close(end, sample[0], rtol=1e-3, atol=1e-3)
    # The teacher is a copy: what the student learns does not change it.
    with torch.no_grad():
        network.svd.unet.conv_out.weight.mul_(2)
    assert torch.equal(teacher(batch).target, prepared.target)


def test_a_teacher_in_bfloat16_takes_half_the_memory_and_teaches_the_same(network, monkeypatch):
    """Autocast brings each weight to bfloat16 in any case, of float32 at each use."""
    config = quick_config(batch=2, distil=4, teacher_steps=8, precision="bf16")
    network = start_network(network, config)
    batch = Batches(TinyCache(), config, scaling=0.18215).read([0, 1])
    taken, targets = [], []
    monkeypatch.setattr(loss, "Trainee", lambda *given: taken.append(Trainee(*given)) or taken[-1])
    for precision in ("fp32", "bf16"):
        teacher = make_teacher(network, dataclasses.replace(config, precision=precision))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            targets.append(teacher(batch).target)
    full, half = (sum(value.nbytes for value in each.parameters()) for each in taken)
    assert half < 0.51 * full
    torch.testing.assert_close(targets[1], targets[0], rtol=0, atol=0)
