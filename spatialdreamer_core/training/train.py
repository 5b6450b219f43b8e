"""The training loop of both stages, thin over accelerate: devices, processes, precision and trackers are its.

    accelerate launch -m spatialdreamer_core.cli train …

trains on several GPUs or machines, by DDP, FSDP or DeepSpeed, as `accelerate config` says. A step learns from
`batch` clips, however many processes share them: losses are means over all of them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..locking import FileLock
from ..spatialdreamer import SpatialDreamer, save_spatialdreamer
from ..svd import SVDModel
from .batches import Augment, Batch, Batches, Cache
from .checkpoint import (
    check_room,
    checkpoint_bytes,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from .clips import way_back
from .config import TrainConfig
from .loss import LOSSES, PictureLoss, Trainee, total_loss
from .record import BEST, CHECKPOINTS, LAST, PICTURES, Record, choose_tracker
from .trained import choose_trained, deploy, make_optimizer, start_network, trained_parameters
from .writing import writing

if TYPE_CHECKING:
    from accelerate import Accelerator

_LOGGER = logging.getLogger(__name__)

_PATIENCE = timedelta(hours=2)  # that processes wait for the one that encodes, validates or saves


class Validation(Protocol):
    """What a validation found (`validation.Validation`)."""

    @property
    def metrics(self) -> dict[str, float]:
        """Figures by name; `hole_lpips` or `hole_psnr`, and `sharpness`, decide which weights are best."""

    def save_pictures(self, file: Path) -> None:
        """Save what was sampled, beside the truth."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    step: int  # that are done
    finished: bool  # False: it was told to stop
    peak_memory: int  # bytes of the GPU; 0 without one


def train(
    config: TrainConfig,
    cache: Cache,
    network: SpatialDreamer,
    folder: Path,
    accelerator: Accelerator,
    *,
    validate: Callable[[SpatialDreamer], Validation] | None = None,
    augment: Augment | None = None,
    prepare: Callable[[Batch], Batch] | None = None,
    picture_loss: PictureLoss | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> Outcome:
    """Train one stage in a folder, or go on from that folder's newest checkpoint.

    The other processes stay, for a next stage; after the last one call `accelerator.end_training()`.

    Args:
        config: How.
        cache: The encoded clips.
        network: What training starts from; its weights are changed.
        folder: Of the run, to which `record.write_run` wrote its settings.
        accelerator: What `start_accelerator` returned for them.
        validate: Measures networks by sampling held-out clips, before the first step, now and then, and after
            the last; None: no validation, and no best weights.
        augment: Encodes rendered views under noise, where the configuration asks for it.
        prepare: Changes each batch before it is learned from, as distillation does (`loss.make_teacher`).
        picture_loss: The loss on pictures, where the configuration gives it a weight.
        should_stop: Asked after each step; if it says so, a checkpoint is saved and the call returns.
        on_progress: Called after each step with the steps done, those in all and the loss.

    Raises:
        InputError: If an option does not suit the data or the machine, something cannot be written, or a loss
            is not finite.
    """
    # 1. Data, networks, optimiser, moving average.
    batches = Batches(cache, config, scaling=network.svd.codec.scaling, augment=augment)
    network = start_network(network, config)
    trainee = Trainee(network, picture_loss=picture_loss)
    choose_trained(trainee, config)
    if config.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    module, optimizer = accelerator.prepare(trainee.train(), make_optimizer(trainee, config))
    trained = trained_parameters(trainee)
    average = _start_average(trained, config)
    here = {"process": accelerator.process_index, "processes": accelerator.num_processes}

    with _locked(folder, accelerator), contextlib.closing(Record(folder, accelerator)) as record:
        # 2. Where the run stands.
        done = list_checkpoints(folder / CHECKPOINTS)
        step = load_checkpoint(done[-1][1], accelerator, trainee, average) if done else 0
        record.begin(step, config)
        _check_drive(folder, trainee, config, present=len(done))
        _LOGGER.info(
            "stage %s: %s weights are trained on %d windows of %d frame(s), from step %d to %d",
            *(config.stage, f"{sum(value.numel() for value in trained.values()):,}", len(batches)),
            *(config.clip_frames, step, config.steps),
        )
        _tell_of_deviation(cache, network)

        def save() -> None:
            """Save a checkpoint, from which an equal run goes on."""
            save_checkpoint(folder / CHECKPOINTS, step, accelerator, trainee, average, keep=config.keep)

        def publish() -> None:
            """Validate what is to be used of the weights of now, and save it as last and, if so, as best."""
            state = accelerator.get_state_dict(module)
            if average is not None:
                state = {**state, **dict(zip(trained, average.shadow_params, strict=True))}
            if accelerator.is_main_process:
                deployed = deploy(state, network)
                if validate is not None:
                    with on_device(network.svd, accelerator.device), accelerator.autocast():
                        found = validate(deployed)
                    found.save_pictures(folder / PICTURES / f"step-{step:08d}.png")
                    if record.write_validation(step, found.metrics):
                        with writing(folder / BEST, name="best weights"):
                            save_spatialdreamer(deployed, folder / BEST)
                        record.write_best(step, found.metrics)
                with writing(folder / LAST, name="last weights"):
                    save_spatialdreamer(deployed, folder / LAST)
            accelerator.wait_for_everyone()

        if step == 0 and validate is not None:
            publish()

        # 3. The loop.
        stopped = False
        while step < config.steps and not stopped:
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = config.rate_at(step)
            rows = []
            for numbers in batches.numbers(step, **here):
                with accelerator.accumulate(module):
                    batch = batches.read(numbers).to(accelerator.device)
                    if prepare is not None:
                        with accelerator.autocast():
                            batch = prepare(batch)
                    losses = module(batch)
                    total = total_loss(losses, config)
                    accelerator.backward(total.mean())
                    places = total.new_tensor(numbers) - step * config.batch
                    rows.append(torch.cat([places[:, None], total[:, None], losses], dim=1).detach())
                    if accelerator.sync_gradients:  # at the last part
                        norm = accelerator.clip_grad_norm_(trained.values(), config.clip or math.inf)
                        stop = total.new_full((len(rows[0]) * len(rows), 1), float(should_stop()))
                        told = accelerator.gather(torch.cat([torch.cat(rows), stop], dim=1)).cpu()
                        stopped = bool(told[:, -1].any())
                        _check_finite(told[:, :2], norm, step, batches, config)
                    optimizer.step()
                    optimizer.zero_grad()
            trainee.bank.clear()
            if average is not None:
                average.step(trained.values())
            step += 1
            means = told[:, 1:-1].double().mean(0).tolist()
            figures = dict(zip(("loss", *LOSSES), means, strict=True))
            figures |= {"gradient_norm": float(norm), "learning_rate": config.rate_at(step - 1)}
            record.write(step, {**figures, "seconds": time.perf_counter() - began})
            if on_progress is not None:
                on_progress(step, config.steps, figures["loss"])
            finished = step == config.steps
            if finished or step % config.validate_every == 0:
                publish()
            if finished or stopped or step % config.checkpoint_every == 0:
                save()
    if stopped and step < config.steps:
        _LOGGER.info("stopped after step %d; the same command goes on from there", step)
    peak = torch.cuda.max_memory_allocated() if accelerator.device.type == "cuda" else 0
    return Outcome(step, step >= config.steps, peak)


def start_accelerator(config: TrainConfig, folder: Path) -> Accelerator:
    """Start accelerate: find the device and the other processes.

    Raises:
        InputError: If the machine has not what the settings ask for, or the processes cannot share the batch.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration, is_bf16_available

    if config.precision == "bf16" and not (config.cpu or is_bf16_available()):
        raise InputError(
            "precision bf16 must have a device that computes in bfloat16, got one that does not; choose fp32"
        )
    accelerator = Accelerator(
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        gradient_accumulation_steps=config.accumulation,
        cpu=config.cpu,
        log_with=choose_tracker(config.tracker),
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "curves")),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    processes = accelerator.num_processes
    if config.batch % (processes * config.accumulation):
        raise InputError(
            f"batch must be a multiple of the processes times accumulation ({processes} x "
            f"{config.accumulation}), got {config.batch}; change batch or accumulation"
        )
    sharded = accelerator.distributed_type.value in ("FSDP", "DEEPSPEED")
    if sharded and config.ema:
        raise InputError(
            f"ema must be 0 where {accelerator.distributed_type.value} spreads the weights over processes, "
            f"got {config.ema:g}; set it to 0, or train by DDP"
        )
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:  # which else asks a data loader
        share = config.batch // (processes * config.accumulation)
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = share
    return accelerator


def _tell_of_deviation(cache: Cache, network: SpatialDreamer) -> None:
    """Tell where the stereo deviation strength cannot be learned, for want of views or of the map."""
    elsewhere = any(way_back(clip) != 1 for clip in cache.clips if not clip.held_out)
    if network.config.deviation_map and not elsewhere:
        _LOGGER.info(
            "the dataset teaches no stereo deviation strength, as all its views lie on the true ones: build "
            "it with --way-back-low 0.4 --way-back-high 2.5 if the sampler's slider is to be used"
        )
    elif elsewhere and not network.config.deviation_map:
        _LOGGER.warning(
            "the dataset has views that lie elsewhere than on the true ones, to teach the stereo deviation "
            "strength, but without a deviation map it is hardly learned: train stage 1 with --deviation-map"
        )


def _start_average(trained: dict[str, nn.Parameter], config: TrainConfig) -> Any:
    """Begin the moving average of the trained weights, if there is to be one."""
    if not config.ema:
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(trained.values(), decay=config.ema, foreach=True)  # else three kernels a weight


def _check_drive(folder: Path, trainee: Trainee, config: TrainConfig, *, present: int) -> None:
    """Check that the drive has room for what is not there yet, before hours of work."""
    state_bytes = 8 if config.optimizer == "adamw" else 2
    checkpoint = checkpoint_bytes(trainee, averaged=config.ema > 0, state_bytes=state_bytes)
    missing = max(config.keep + 1 - present, 1)  # one more, until the oldest goes
    weights = sum(value.nbytes for value in trainee.parameters())
    exports = sum(not (folder / name).exists() for name in (BEST, LAST)) + 1
    check_room(
        folder,
        missing * checkpoint + exports * weights,
        what=f"{missing} checkpoints and {exports} copies of the weights",
    )


def _check_finite(
    told: Tensor,  # [batch, 2]: place in the step, loss
    norm: Tensor | float,
    step: int,
    batches: Batches,
    config: TrainConfig,
) -> None:
    """Stop before a loss or gradient that is not finite reaches the weights.

    Raises:
        InputError: If one is not; it names the sample.
    """
    remedy = (
        f"lower learning_rate ({config.learning_rate:g}) and start again, which goes on from the newest "
        "checkpoint"
    )
    for place, loss in told.tolist():
        if not math.isfinite(loss):
            sample = batches.describe(step * config.batch + int(place))
            raise InputError(f"losses must be finite, got {loss} in step {step + 1} for {sample}; {remedy}")
    if not math.isfinite(float(norm)):
        raise InputError(
            f"gradients must be finite, got a norm of {float(norm)} in step {step + 1}; {remedy}"
        )


@contextlib.contextmanager
def _locked(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Keep other commands from the same run.

    Raises:
        InputError: If another one is at it.
    """
    lock = FileLock(folder / ".lock")
    if accelerator.is_main_process and not lock.acquire():
        raise InputError(
            f"a run must be trained by one command at a time, got {folder}, which another one is training; "
            "wait for it or choose another folder"
        )
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def on_device(svd: SVDModel, device: torch.device) -> Iterator[None]:
    """Bring autoencoder and image tower, which only encoding and sampling need, to a device and back."""
    others = (svd.vae, svd.image_encoder)
    homes = [module.device for module in others]
    for module in others:
        module.to(device)
    try:
        yield
    finally:
        for module, home in zip(others, homes, strict=True):
            module.to(home)
