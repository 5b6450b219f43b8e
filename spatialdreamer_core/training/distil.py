"""Distillation: a trained model becomes one that samples in 1 to 4 steps.

The student learns to go in one step as far as its teacher, the model as it was trained, goes in several
(Salimans and Ho, Progressive Distillation, arXiv 2202.00512, section 3, in one round rather than by halves).
The student's levels are those of a deployed run of as few steps. From a true clip under noise at one of them
the teacher takes small Euler steps down to the next; the student's clean estimate is to be that from which a
single Euler step ends at the same place:

    ẑ0 = (x' - r·x) / (1 - r),   r = σ' / σ

At the last level, or if there is but one, that is the teacher's own sample. Without noise of its own such a
run takes each noise to one picture, so a regression to it does not average over what is possible, and does
not blur.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..checks import check_range
from ..svd.schedule import SIGMA_MIN, karras_sigmas

MAX_STUDENT_STEPS = 4
_RHO = 7.0  # of Karras' spacing

Denoise = Callable[[Tensor, Tensor], Tensor]
"""Takes noisy clips [B, F, C, h, w] and their noise levels [B], and gives their clean estimates."""


def teacher_levels(steps: int, teacher_steps: int) -> Tensor:  # [steps, k + 1] float64, falling
    """List the noise levels that the teacher goes through from each level of the student to the next.

    Args:
        steps: Of the student, 1 to 4; its levels are those of `karras_sigmas`.
        teacher_steps: Of the teacher over all levels, at least as many; rounded up to a multiple.

    Returns:
        For each step of the student its level, those between in Karras' spacing, and its next level. The last
        one's end is 0; before that none is below what the model was trained on. Karras' last level is
        .002, where nothing is left to do: of 2 steps the first does all the work, as in a run of 1.

    Raises:
        InputError: If a number is out of range.
    """
    check_range("steps", steps, 1, MAX_STUDENT_STEPS, whole=True)
    check_range("teacher_steps", teacher_steps, steps, 200, whole=True)
    small = -(-teacher_steps // steps)
    student = karras_sigmas(steps)
    rows = []
    for start, end in zip(student[:-1].tolist(), student[1:].tolist(), strict=True):
        between = small if end > 0 else small - 1  # small steps before the one to 0
        ramp = torch.linspace(0, 1, between + 1, dtype=torch.float64)
        high, low = start ** (1 / _RHO), max(end, SIGMA_MIN) ** (1 / _RHO)
        levels = (high + ramp * (low - high)) ** _RHO
        rows.append(levels if end > 0 else torch.cat([levels, levels.new_zeros(1)]))
    return torch.stack(rows)


@torch.no_grad()
def teach(
    denoise: Denoise,
    noisy: Tensor,  # [B, F, C, h, w], clips under noise
    levels: Tensor,  # [B, k + 1], of `teacher_levels`
) -> Tensor:  # [B, F, C, h, w]
    """Return the clean estimates by which one Euler step goes as far as the teacher does in k.

    Args:
        denoise: The teacher.
        noisy: Clips under the noise of their first level.
        levels: The noise levels that each clip goes through.
    """
    levels = levels.to(noisy.device, torch.float32)
    shape = (-1, *([1] * (noisy.ndim - 1)))
    sample = noisy
    for sigma, following in zip(levels[:, :-1].unbind(1), levels[:, 1:].unbind(1), strict=True):
        clean = denoise(sample, sigma)
        sample = clean + (sample - clean) * (following / sigma).reshape(shape)
    ratio = (levels[:, -1] / levels[:, 0]).reshape(shape)
    return (sample - ratio * noisy) / (1 - ratio)


def choose_steps(draws: Tensor | Sequence[float], steps: int) -> Tensor:  # [B] int64
    """Return the student's step that each clip is for, each equally often.

    Args:
        draws: Random numbers in [0, 1), one a clip.
        steps: Of the student.
    """
    return (torch.as_tensor(draws) * steps).long().clamp(max=steps - 1)
