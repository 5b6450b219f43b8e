"""The settings of a training run: every hyper-parameter once, with its meaning, range and unit.

The defaults are the paper's for stage 1 where it states them (section 4.1): 1024x1024, batch 8, 100,000
steps, AdamW at 1e-5, λ = .001 (Eq. 7), TIL's λ = .6 and N_r = 8 (Eq. 3). Where it is silent they are SVD's.
`PRESETS` holds what differs in stage 2, on one card of 24 GB and in tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..checks import InputError, check_choice
from ..options import OptionConflict, check_options, option, option_of
from ..spatialdreamer.config import SpatialDreamerConfig
from ..spatialdreamer.deviation import STEREO_LOSS_WEIGHT

STAGES = ("1", "2")
TRACKERS = ("auto", "none", "tensorboard", "wandb", "trackio", "comet_ml", "aim", "mlflow", "clearml")
_NETWORK = {name: option_of(SpatialDreamerConfig, name) for name in ("til_neighbours", "til_weight")}


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained."""

    # What is trained
    stage: Literal["1", "2"] = option(
        "1",
        help="1: single frames, the spatial UNet and RefinerNet. 2: clips, the temporal layers and TIL, from "
        "what stage 1 trained.",
    )
    whole_unet: bool = option(
        False, help="In stage 2 train the spatial layers of the UNet, too. Needs memory as stage 1 does."
    )
    til: bool = option(
        True, help="Train TIL in stage 2. Off trains the temporal layers alone, to see what TIL is worth."
    )
    til_weight: float = _NETWORK["til_weight"].as_field()
    til_neighbours: int = _NETWORK["til_neighbours"].as_field()
    deviation_map: bool = option(
        False,
        help="Show the UNet the stereo deviation strength as a map, too: where, and how, the true view "
        "differs more or less from the left one than the rendered view does (our own addition). By it the "
        "strength is learned from views that lie elsewhere (dataset build --way-back-low, --way-back-high). "
        "Weights to start from that have it keep it.",
    )
    lora: int = option(
        0,
        0,
        1024,
        "channels; 0 trains the weights themselves",
        help="Rank of LoRA: the attentions' and feed-forwards' weights stay, small factors beside them are "
        "trained. What is new (the layers of the mask and of the deviation strength, TIL) is trained whole. "
        "Needs peft.",
    )

    distil: int = option(
        0,
        0,
        4,
        "steps; 0 trains on true pictures",
        help="Train networks to sample in so few steps: they learn to reach in one where the weights that "
        "training starts from arrive in several.",
    )
    teacher_steps: int = option(
        24, 1, 200, "steps", help="Steps of the weights that are distilled, from noise to picture."
    )

    # What it is trained on
    height: int = option(1024, 16, 4096, "px", help="Height that frames are resized and cropped to.")
    width: int = option(1024, 16, 4096, "px", help="Width that frames are resized and cropped to.")
    frames: int = option(8, 2, 64, "frames", help="Length of stage 2's clips; stage 1 takes single frames.")
    batch: int = option(
        8, 1, 4096, "clips", help="Clips a step learns from, over all processes and accumulated parts."
    )
    drop_condition: float = option(
        0.1, 0.0, 1.0, help="Share of clips that are trained without the rendered view's latents."
    )
    drop_embedding: float = option(
        0.1, 0.0, 1.0, help="Share of clips that are trained without the image embedding."
    )
    drop_reference: float = option(
        0.1, 0.0, 1.0, help="Share of clips that are trained without RefinerNet's features."
    )
    noise_augmentation: bool = option(
        False,
        help="Put noise on each clip's rendered view, of a sigma whose logarithm is normal (mean -3, "
        "deviation .5), as SVD was trained. It is encoded anew at each step, which takes the autoencoder's "
        "memory and time.",
    )
    sigma_mean: float = option(0.7, -10.0, 10.0, help="Mean of the noise levels' logarithm; SVD's is .7.")
    sigma_deviation: float = option(
        1.6, 0.0, 10.0, help="Standard deviation of the noise levels' logarithm; SVD's is 1.6."
    )

    # What it minimises
    stereo_weight: float = option(
        STEREO_LOSS_WEIGHT, 0.0, 1000.0, help="Weight of the stereo-aware loss; λ of Eq. 7."
    )
    image_weight: float = option(
        0.0,
        0.0,
        1000.0,
        help="Weight of the loss on decoded crops around holes (LPIPS and L1); 0 leaves it out.",
    )

    # How it is optimised
    steps: int = option(100_000, 1, 100_000_000, "steps", help="Steps of the optimiser in all.")
    learning_rate: float = option(1e-5, 1e-9, 0.1, help="Learning rate of AdamW.")
    warmup: int = option(
        0, 0, 1_000_000, "steps", help="Steps in which the learning rate rises to its value from 0."
    )
    beta1: float = option(0.9, 0.0, 0.9999, help="AdamW's memory of gradients.", advanced=True)
    beta2: float = option(0.999, 0.0, 0.999999, help="AdamW's memory of their squares.", advanced=True)
    epsilon: float = option(1e-8, 1e-12, 1.0, help="AdamW's guard against division by 0.", advanced=True)
    weight_decay: float = option(0.01, 0.0, 1.0, help="AdamW's weight decay.")
    clip: float = option(
        1.0, 0.0, 1e6, "; 0 is no clipping", help="Largest norm of the gradients; larger ones are scaled."
    )
    optimizer: Literal["adamw", "adamw8bit"] = option(
        "adamw",
        help="adamw8bit keeps its state in 8 bits, 2 bytes a weight in place of 8; needs bitsandbytes and a "
        "GPU.",
    )
    ema: float = option(
        0.0,
        0.0,
        0.999999,
        "; 0 is none",
        help="Decay of the moving average of the weights, which is validated and exported in their place.",
    )

    # How it fits the machine
    precision: Literal["bf16", "fp32"] = option(
        "bf16",
        help="bf16: the networks compute in bfloat16, weights that are trained stay in float32, others are "
        "kept in bfloat16.",
    )
    gradient_checkpointing: bool = option(
        True, help="Compute parts of the networks twice rather than keep all that the gradient needs."
    )
    accumulation: int = option(
        1, 1, 4096, "parts", help="Parts in which each process works off its share of a step's clips."
    )
    cpu: bool = option(False, help="Train on the CPU even where there is a GPU.")

    # What is watched and kept
    seed: int = option(0, 0, 2**31 - 1, help="Seed of everything that is drawn.")
    validate_every: int = option(1000, 1, 100_000_000, "steps", help="Steps from one validation to the next.")
    validation_clips: int = option(
        8, 0, 1000, "clips; 0 is no validation", help="Held-out clips that a validation samples."
    )
    validation_frames: int = option(
        8, 1, 64, "frames", help="Frames of each of them; the same in both stages, so that figures compare."
    )
    validation_steps: int = option(8, 1, 200, "steps", help="Sampling steps of a validation.")
    checkpoint_every: int = option(
        1000, 1, 100_000_000, "steps", help="Steps from one checkpoint to the next."
    )
    keep: int = option(2, 1, 1000, "checkpoints", help="Checkpoints that are kept, the newest ones.")
    tracker: str = option(
        "auto",
        choices=TRACKERS,
        help="Who draws curves, through accelerate; auto is TensorBoard if it is installed. log.jsonl is "
        "written in any case.",
    )

    def check(self) -> None:
        """Check every setting, and those that must fit each other.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.batch % self.accumulation:
            raise OptionConflict(
                f"batch must be a multiple of accumulation, the parts it is worked off in, got {self.batch} "
                f"and {self.accumulation}; change one of them",
                *("batch", "accumulation"),
            )
        if self.distil and self.teacher_steps < self.distil:
            raise OptionConflict(
                f"teacher_steps must be at least distil ({self.distil}), got {self.teacher_steps}; a teacher "
                "takes more steps than who learns from it",
                *("distil", "teacher_steps"),
            )
        if self.stage == "1" and self.whole_unet:
            raise OptionConflict(
                "whole_unet belongs to stage 2: stage 1 trains the spatial layers in any case; leave it out",
                *("stage", "whole_unet"),
            )

    @property
    def clip_frames(self) -> int:
        """How many frames a clip of training has: 1 in stage 1."""
        return 1 if self.stage == "1" else self.frames

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / (self.warmup + 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as what JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """Make settings from what `to_dict` returned.

        Raises:
            InputError: If one is unknown, missing or breaks its rule.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if set(settings) != known:
            strange = sorted(set(settings) ^ known)
            raise InputError(
                f"settings of a training run must be those of this version, got others: "
                f"{', '.join(strange)}; go on with the version that began the run, or begin a new one"
            )
        config = cls(**settings)
        config.check()
        return config


# What may change when a run goes on: how long and how fast it goes, what is watched, how it fits the machine.
FREE_TO_CHANGE = (
    *("learning_rate", "clip", "steps", "checkpoint_every", "keep", "tracker", "cpu"),
    *("validate_every", "validation_clips", "validation_frames", "validation_steps"),
)

_STAGE_2 = {"steps": 10_000, "batch": 2, "frames": 8}  # section 4.1 of the paper
_SMALL = {
    "height": 64,
    "width": 96,
    "learning_rate": 1e-3,
    "warmup": 20,
    "ema": 0.99,
    "precision": "fp32",
    "gradient_checkpointing": False,
    "cpu": True,
    "drop_condition": 0.2,  # what a copy of the rendered view would do, RefinerNet's features must
    "validation_clips": 4,
    "validation_steps": 1,  # gives the mean of what may be there; more need a better model
}
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    # The paper's, for GPUs of 80 GB: stage 1 keeps 16 bytes for each of 1.7 billion weights.
    "paper": {"1": {}, "2": _STAGE_2},
    # One card of 24 GB: LoRA, as weights that are trained in bfloat16 would lose steps of 1e-5 to rounding.
    "24gb": {
        "1": {
            "height": 512,
            "width": 512,
            "lora": 64,
            "accumulation": 8,
            "learning_rate": 1e-4,
            "deviation_map": True,
        },
        "2": {**_STAGE_2, "height": 512, "width": 512, "lora": 64, "accumulation": 2, "learning_rate": 1e-4},
    },
    # Trained weights (--start) become such that sample in 4 steps.
    "distil": {
        "1": {"distil": 4, "steps": 10_000, "batch": 8},
        "2": {**_STAGE_2, "distil": 4, "whole_unet": True},
    },
    # Two cores of a CPU and the small world, in minutes.
    "test": {
        "1": {
            **_SMALL,
            "batch": 8,
            "steps": 500,
            "validate_every": 250,
            "checkpoint_every": 250,
            "deviation_map": True,
        },
        "2": {**_SMALL, "batch": 2, "steps": 100, "validate_every": 50, "checkpoint_every": 50},
    },
}


def from_preset(preset: str, stage: str, **given: Any) -> TrainConfig:
    """Make the settings of a stage from a preset and from what was given beside it.

    Raises:
        InputError: If the preset or the stage is unknown, or a setting breaks its rule.
    """
    check_choice("preset", preset, tuple(PRESETS))
    check_choice("stage", stage, STAGES)
    config = TrainConfig(**{**PRESETS[preset][stage], **given, "stage": stage})
    config.check()
    return config


def check_resumable(before: TrainConfig, now: TrainConfig, *, where: object) -> None:
    """Check that a run may go on with the settings of now.

    Args:
        before: Those that it began with.
        now: Those that it is to go on with.
        where: The run, for the message.

    Raises:
        InputError: If a setting differs that decides what the run computes.
    """
    changed = [
        f"{name} {getattr(before, name)} (now {getattr(now, name)})"
        for name in before.to_dict()
        if name not in FREE_TO_CHANGE and getattr(before, name) != getattr(now, name)
    ]
    if changed:
        raise InputError(
            f"a run must go on with the settings it began with, got other ones for {where}: "
            f"{', '.join(changed)}; give these again, or choose another output folder"
        )
