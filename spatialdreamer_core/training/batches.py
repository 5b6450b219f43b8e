"""What each step learns from: which clips, under which noise, with what left out.

All of it follows from the seed and the number of the sample in the run alone, neither from generators that
go on from step to step nor from the number of processes. So a run that is taken up again, or is spread over
other processes, sees the same. All windows of `clip_frames` frames are gone through in a random order, then
again in another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..spatialdreamer.inputs import window_deviation
from .clips import ClipRecord, EncodedSample, way_back
from .config import TrainConfig
from .distil import choose_steps, teacher_levels

_ORDER, _SAMPLE = 0, 1  # independent streams of one seed
_AUGMENTATION = (-3.0, 0.5)  # mean and deviation of its sigma's logarithm, SVD's


class Cache(Protocol):
    """The encoded clips (`latents.LatentCache`)."""

    @property
    def clips(self) -> Sequence[ClipRecord]:
        """All of them, those held out as well."""

    def read(self, index: int, frames: range) -> EncodedSample:
        """Read some frames of one."""


class Draw(NamedTuple):
    """What was drawn for a sample."""

    clip: int
    frames: range
    sigma: float
    augmentation: float  # sigma of the noise on the rendered view; 0: none
    keeps_condition: bool
    keeps_embedding: bool
    keeps_reference: bool
    noise_seed: int
    crop: float  # in [0, 1): which of its holes the loss on pictures looks at


Augment = Callable[[Draw], Tensor]  # encodes a sample's rendered view anew: [F, C, h, w] unscaled


@dataclass(frozen=True)
class Batch:
    """Samples of B clips of F frames, in float32; `keeps_…` are False where something is left out."""

    target: Tensor  # [B, F, C, h, w] scaled
    condition: Tensor  # [B, F, C, h, w] unscaled
    mask: Tensor  # [B, F, 1, h, w], 1 = hole
    reference: Tensor  # [B, F, C, h, w] scaled
    embeddings: Tensor  # [B, F, 1, D]
    noisy: Tensor  # [B, F, C, h, w], the target under noise of sigma
    sigma: Tensor  # [B]
    augmentation: Tensor  # [B]
    deviation: Tensor  # [B], Eq. 4, that of the true view
    factor: Tensor  # [B], what the sampler's slider would be: the deviation over the rendered view's own
    keeps_condition: Tensor  # [B] bool
    keeps_embedding: Tensor  # [B] bool
    keeps_reference: Tensor  # [B] bool
    crop: Tensor  # [B] in [0, 1)

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.target)

    def to(self, device: torch.device) -> Batch:
        """Bring all to a device."""
        return replace(self, **{entry.name: getattr(self, entry.name).to(device) for entry in fields(self)})


class Batches:
    """Reads the batches of a run.

    Args:
        cache: The encoded clips.
        config: How they are drawn.
        scaling: Of the codec: scaled latents are this times unscaled ones.
        augment: Encodes a rendered view under noise; None where the cache's is taken as it is.

    Raises:
        InputError: If there are too few clips of the length that is needed.
    """

    def __init__(
        self, cache: Cache, config: TrainConfig, *, scaling: float, augment: Augment | None = None
    ) -> None:
        self._cache, self._config, self._scaling, self._augment = cache, config, scaling, augment
        steps = config.distil, config.teacher_steps
        self._levels = teacher_levels(*steps)[:, 0] if config.distil else None
        length = config.clip_frames
        clips = [(index, clip) for index, clip in enumerate(cache.clips) if not clip.held_out]
        self._windows = [(index, first) for index, clip in clips for first in range(clip.frames - length + 1)]
        if not self._windows:
            longest = max((clip.frames for _, clip in clips), default=0)
            raise InputError(
                f"the dataset must hold clips of at least {length} frames to train on, got {len(clips)} "
                f"clips that are not held out, the longest of {longest} frames; build it from more "
                "or longer videos" + (", or lower frames" if length > 1 else "")
            )
        if len(self._windows) < config.batch:
            raise InputError(
                f"the dataset must hold at least batch ({config.batch}) windows of {length} frame(s) to "
                f"train on, got {len(self._windows)}; build it from more videos or lower batch"
            )
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._windows)

    def draw(self, number: int) -> Draw:
        """Draw the sample of a number, which counts all samples since the first step."""
        config = self._config
        clip, first = self._windows[self._window(number)]
        generator = np.random.default_rng(np.random.SeedSequence((config.seed, _SAMPLE, number)))
        level, augmentation = generator.standard_normal(2)
        dropped = (config.drop_condition, config.drop_embedding, config.drop_reference)
        condition, embedding, reference = (generator.random(3) >= dropped).tolist()
        mean, deviation = _AUGMENTATION
        return Draw(
            clip,
            range(first, first + config.clip_frames),
            self._sigma(level, float(generator.random())),
            math.exp(mean + deviation * augmentation) if config.noise_augmentation else 0.0,
            condition,
            embedding,
            reference,
            int(generator.integers(2**32)),
            float(generator.random()),
        )

    def describe(self, number: int) -> str:
        """Name a sample in a message."""
        drawn = self.draw(number)
        name, frames = self._cache.clips[drawn.clip].name, drawn.frames
        return f"frames {frames.start} to {frames.stop - 1} of {name} (sigma {drawn.sigma:.3g})"

    def numbers(self, step: int, *, process: int = 0, processes: int = 1) -> Iterator[list[int]]:
        """List the samples of a process at a step, one list for each part of the accumulation."""
        config = self._config
        share = config.batch // (config.accumulation * processes)
        for part in range(config.accumulation):
            first = step * config.batch + (part * processes + process) * share
            yield list(range(first, first + share))

    def read(self, numbers: Sequence[int]) -> Batch:
        """Read some samples as a batch.

        The stereo deviation strength is, as in sampling, what the rendered view has, times a factor: how many
        times as far from the reference the true view lies.
        """
        draws = [self.draw(number) for number in numbers]
        samples = [self._cache.read(drawn.clip, drawn.frames) for drawn in draws]
        clean = [sample.condition.float() for sample in samples]
        factor = torch.tensor([1 / way_back(self._cache.clips[drawn.clip]) for drawn in draws])
        own = [
            window_deviation(condition, sample.reference.float(), sample.mask.float(), scaling=self._scaling)
            for condition, sample in zip(clean, samples, strict=True)
        ]
        conditions = clean if self._augment is None else [self._augment(drawn) for drawn in draws]
        noisy = [
            sample.target.float() + drawn.sigma * self._noise(drawn, sample)
            for drawn, sample in zip(draws, samples, strict=True)
        ]
        return Batch(
            target=torch.stack([sample.target.float() for sample in samples]),
            condition=torch.stack(conditions),
            mask=torch.stack([sample.mask.float() for sample in samples]),
            reference=torch.stack([sample.reference.float() for sample in samples]),
            embeddings=torch.stack([sample.embeddings.float() for sample in samples]),
            noisy=torch.stack(noisy),
            sigma=torch.tensor([drawn.sigma for drawn in draws]),
            augmentation=torch.tensor([drawn.augmentation for drawn in draws]),
            deviation=torch.stack(own) * factor,
            factor=factor,
            keeps_condition=torch.tensor([drawn.keeps_condition for drawn in draws]),
            keeps_embedding=torch.tensor([drawn.keeps_embedding for drawn in draws]),
            keeps_reference=torch.tensor([drawn.keeps_reference for drawn in draws]),
            crop=torch.tensor([drawn.crop for drawn in draws]),
        )

    def _sigma(self, level: float, share: float) -> float:
        """Return a noise level: lognormal, or in distillation one of the student's, each equally often.

        Args:
            level: Normal.
            share: Uniform in [0, 1).
        """
        config = self._config
        if self._levels is not None:
            return float(self._levels[int(choose_steps([share], config.distil))])
        return math.exp(config.sigma_mean + config.sigma_deviation * level)

    @staticmethod
    def _noise(drawn: Draw, sample: EncodedSample) -> Tensor:  # [F, C, h, w]
        """Draw the noise of a sample, on the CPU."""
        return torch.randn(sample.target.shape, generator=torch.Generator().manual_seed(drawn.noise_seed))

    def _window(self, number: int) -> int:
        """Return the window of a sample: each comes once before any comes again."""
        epoch, place = divmod(number, len(self._windows))
        if epoch != self._epoch:
            seeds = np.random.SeedSequence((self._config.seed, _ORDER, epoch))
            self._order = np.random.default_rng(seeds).permutation(len(self._windows))
            self._epoch = epoch
        return int(self._order[place])
