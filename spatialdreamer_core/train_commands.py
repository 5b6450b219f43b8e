"""The commands `train` and `export`: their arguments, and what they do."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_common, add_options, given_options
from .checks import InputError
from .options import options_of
from .process import Signals
from .progress_bar import ProgressBar
from .training.config import PRESETS, STAGES, TrainConfig, from_preset

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from .metrics import PerceptualDistance
    from .spatialdreamer import SpatialDreamer
    from .svd import SVDModel
    from .training.batches import Augment, Batch, Draw
    from .training.latents import LatentCache
    from .training.train import Outcome

_LOGGER = logging.getLogger(__name__)

_SMALL = "small"  # in place of a base model: random weights for small pictures
_BOTH = "both"
_BASE = "base"  # the folder of a run with that model
_TRIAL = ".dry-run"  # the folder of a dry run


def add_train_commands(subparsers: Any) -> None:
    """Describe the commands to the command line's parser.

    Args:
        subparsers: What `add_subparsers` returned.
    """
    train = subparsers.add_parser(
        "train",
        help="train SpatialDreamer on a dataset, or go on with it",
        description="Train SpatialDreamer on a dataset of `dataset build`. The same command goes on where a "
        "run was ended. On several GPUs: accelerate launch -m spatialdreamer_core.cli train …",
    )
    train.add_argument("dataset", type=Path, metavar="DATASET", help="Folder of the dataset.")
    train.add_argument("-o", "--output", type=Path, metavar="RUN", required=True, help="Folder of the run.")
    train.add_argument(
        "--base",
        metavar=f"PATH|{_SMALL}",
        required=True,
        help="Stable Video Diffusion, a safetensors file or a folder in diffusers' layout. "
        f"{_SMALL}: a few million random weights, to try things out.",
    )
    train.add_argument(
        "--stage",
        choices=(*STAGES, _BOTH),
        default=_BOTH,
        help="1: single frames. 2: clips, from what stage 1 trained. (default: %(default)s)",
    )
    train.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="paper",
        help="Settings that differ from the defaults below. paper: only in stage 2, 10000 steps of 2 clips. "
        "24gb: 512x512 and LoRA, for one card of 24 GB. distil: trained weights become such that "
        "sample in 4 steps. test: a CPU and the small base model, in minutes. "
        "(default: %(default)s)",
    )
    train.add_argument(
        "--start",
        type=Path,
        metavar="PATH",
        help="Weights to start from: a run, or what `export` wrote. Without it stage 1 starts from the base "
        "model, and stage 2 from stage 1 of this run.",
    )
    train.add_argument(
        "--refiner",
        type=Path,
        metavar="PATH",
        help="Stable Diffusion 2.1, for RefinerNet to start from; without it, the base model.",
    )
    train.add_argument(
        "--latents",
        type=Path,
        metavar="DIR",
        help="Folder of the encoded clips, made there if there are none (default: beside the dataset).",
    )
    train.add_argument(
        "--lpips",
        type=Path,
        metavar="FILE",
        help="AlexNet's weights as torchvision publishes them, to measure LPIPS in validations and choose "
        "the best weights by it; without it by PSNR in holes.",
    )
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="Do everything once, one step, validation and checkpoint of each stage, say what it takes, and "
        "keep nothing but the encoded clips.",
    )
    options = options_of(TrainConfig)
    del options["stage"]  # `--stage` has both, too
    add_options(train, options.values())
    add_common(train, run_train)

    export = subparsers.add_parser(
        "export",
        help="export trained weights for the loader node",
        description="Export the weights of a run, as the node SpatialDreamer Model Loader and "
        "`load_spatialdreamer` read them.",
    )
    export.add_argument(
        "trained", type=Path, metavar="RUN", help="Folder of the run, or of one of its stages."
    )
    export.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        required=True,
        help="A .safetensors file, or a folder. ComfyUI looks in models/spatialdreamer.",
    )
    export.add_argument(
        "--weights",
        choices=("best", "last"),
        default="best",
        help="The best by validation, or the last ones. (default: %(default)s)",
    )
    export.add_argument(
        "--precision",
        choices=("float16", "bfloat16", "float32"),
        default="float16",
        help="Of the exported weights. (default: %(default)s)",
    )
    export.add_argument("--overwrite", action="store_true", help="Replace an output that exists.")
    add_common(export, run_export)


def run_train(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer train`; returns the exit code."""
    given = given_options(options, TrainConfig)
    del given["stage"]
    stages = STAGES if options.stage == _BOTH else (options.stage,)
    configs = {}
    for stage in stages:
        left_out = {"whole_unet"} if stage == "1" and options.stage == _BOTH else set()
        own = {name: value for name, value in given.items() if name not in left_out}
        configs[stage] = from_preset(options.preset, stage, **own)
    if options.stage == _BOTH and any(config.distil for config in configs.values()):
        raise InputError(
            "distil must be of one stage, got both: stage 2 would learn from stage 1's student; give "
            "--stage 2, or --stage 1 for weights of stage 1 alone"
        )
    output = options.output
    if options.dry_run:
        output = options.output / _TRIAL
        configs = {stage: replace(config, steps=1, keep=1) for stage, config in configs.items()}
    try:
        for stage, config in configs.items():
            accelerator = _train_stage(options, signals, stage, config, output)
            if signals.received:
                break
        accelerator.end_training()
        signals.check()
    finally:
        if options.dry_run:
            shutil.rmtree(output, ignore_errors=True)
    return 0


def _train_stage(
    options: argparse.Namespace, signals: Signals, stage: str, config: TrainConfig, output: Path
) -> Accelerator:
    """Train one stage, or go on with it; returns what holds its processes together."""
    from .metrics import load_lpips
    from .spatialdreamer import load_spatialdreamer
    from .svd import save_folder
    from .training.dataset import open_dataset
    from .training.latents import build_latents
    from .training.record import write_run
    from .training.train import on_device, start_accelerator, train

    folder = output / f"stage{stage}"
    dataset = open_dataset(options.dataset)
    accelerator = start_accelerator(config, folder)
    is_main = accelerator.is_main_process
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    if not is_main:
        logging.getLogger(__package__).setLevel(logging.WARNING)
    start = find_start(options.start if stage == "1" or options.stage != _BOTH else None, stage, output)
    svd = _load_base(options.base, config)
    network = load_spatialdreamer(svd, start, refiner=None if start is not None else options.refiner)
    sources = {"dataset": dataset.digest, "base": options.base, "start": str(start or options.refiner or "")}
    latents = options.latents or _latents_folder(options.dataset, config)
    with ProgressBar(quiet=options.quiet or not is_main) as bar, accelerator.main_process_first():
        if is_main:
            folder.mkdir(parents=True, exist_ok=True)
            write_run(folder, config, sources)
            if options.base == _SMALL and not (output / _BASE).exists():
                save_folder(svd, output / _BASE)  # whoever uses the weights needs the model that they are of

        def on_encoded(done: int, total: int) -> None:
            signals.check()
            bar.show("encoding", done, total)

        with on_device(svd, accelerator.device):
            cache = build_latents(
                dataset,
                network,
                latents,
                height=config.height,
                width=config.width,
                on_progress=on_encoded,
            )
    lpips = None
    if options.lpips is not None:
        lpips = load_lpips(options.lpips, device=accelerator.device)
    if config.noise_augmentation or config.image_weight:
        svd.vae.to(accelerator.device)
    with (
        ProgressBar(quiet=options.quiet or not is_main, unit=" steps") as bar,
        signals.postponed(),
    ):
        outcome = train(
            config,
            cache,
            network,
            folder,
            accelerator,
            validate=_validation(dataset, config, lpips),
            augment=_augmentation(dataset, network, cache, config),
            prepare=_distillation(network, config, start),
            picture_loss=_picture_loss(svd, config, lpips),
            should_stop=lambda: signals.received,
            on_progress=lambda done, total, loss: bar.show(f"stage {stage}", done, total),
        )
    if is_main and not signals.received:
        _report(outcome, folder, config, dry_run=options.dry_run)
    return accelerator


def find_start(given: Path | None, stage: str, output: Path) -> Path | None:
    """Find the weights that a stage starts from.

    Args:
        given: A run, one of its stages, or exported weights; None: for stage 2 those of stage 1.
        stage: The stage.
        output: Folder of the run that is to be trained.

    Returns:
        A folder or file that `load_spatialdreamer` reads; None for the base model.

    Raises:
        InputError: If there are none.
    """
    if given is None:
        if stage == "1":
            return None
        last = output / "stage1" / "last"
        if not last.is_dir():
            raise InputError(
                f"stage 2 must start from weights of stage 1, but {output} has none; train stage 1 first, or "
                "give others by --start"
            )
        return last
    inside = (given / "stage2" / "last", given / "stage1" / "last", given / "last")
    return next((path for path in inside if path.is_dir()), given)


def _load_base(base: str, config: TrainConfig) -> SVDModel:
    """Load the base model, on the CPU and in float32."""
    import torch

    if base == _SMALL:
        from .training.small_world import make_small_world

        return make_small_world(seed=config.seed, height=config.height, width=config.width)
    from .svd import load_svd

    return load_svd(base, dtype=torch.float32)


def _latents_folder(dataset: Path, config: TrainConfig) -> Path:
    """Return where the encoded clips of a dataset lie unless the user says so."""
    return dataset.with_name(f"{dataset.name}-latents-{config.width}x{config.height}")


def _augmentation(
    dataset: Any, network: SpatialDreamer, cache: LatentCache, config: TrainConfig
) -> Augment | None:
    """Return what encodes a sample's rendered view under noise, if it is to be."""
    if not config.noise_augmentation:
        return None
    import torch

    from .training.clips import encode_condition, fit_clip

    def augment(drawn: Draw) -> torch.Tensor:
        clip = dataset.read(cache.clips[drawn.clip].index, drawn.frames)
        fitted = fit_clip(clip, height=config.height, width=config.width)
        generator = torch.Generator().manual_seed(drawn.noise_seed + 1)
        noise = torch.randn(fitted.warped.shape, generator=generator)
        return encode_condition(network, fitted, noise=drawn.augmentation * noise)

    return augment


def _distillation(
    network: SpatialDreamer, config: TrainConfig, start: Path | None
) -> Callable[[Batch], Batch] | None:
    """Return what lets the weights that training starts from teach, if they are to be distilled."""
    if not config.distil:
        return None
    if start is None:
        raise InputError(
            f"distil {config.distil} must start from trained weights, which teach, got none; give them by "
            "--start"
        )
    from .training.loss import make_teacher
    from .training.trained import start_network

    return make_teacher(start_network(network, config), config)


def _picture_loss(svd: SVDModel, config: TrainConfig, lpips: PerceptualDistance | None) -> Any:
    """Return the loss on decoded crops around holes, if it has a weight."""
    if not config.image_weight:
        return None
    from .training.image_loss import CROP, image_loss

    codec = svd.codec
    if lpips is None:
        _LOGGER.info("the loss on pictures is L1 alone: --lpips is not given")

    def picture_loss(estimate: Tensor, batch: Batch) -> Tensor:
        return image_loss(
            estimate,
            batch.target,
            batch.mask,
            batch.sigma,
            decode=codec.decode_with_gradient,
            draws=batch.crop,
            crop=CROP // codec.factor,
            lpips=lpips,
        )

    return picture_loss


def _validation(dataset: Any, config: TrainConfig, lpips: PerceptualDistance | None) -> Any:
    """Return what validates networks; None for no validation."""
    from .training.validation import validate

    if not config.validation_clips:
        return None
    if lpips is None:
        _LOGGER.info("the best weights are chosen by PSNR in holes: --lpips is not given")
    return partial(
        validate,
        dataset=dataset,
        height=config.height,
        width=config.width,
        clips=config.validation_clips,
        frames=config.validation_frames,
        steps=config.distil or config.validation_steps,  # as few as it is to be used with
        seed=config.seed,
        lpips=lpips,
    )


def _report(outcome: Outcome, folder: Path, config: TrainConfig, *, dry_run: bool) -> None:
    """Print what came out."""
    if not dry_run:
        print(f"{folder} ({outcome.step} steps)")
        return
    from .training.record import read_log

    (seconds,) = (line["seconds"] for line in read_log(folder) if "seconds" in line)
    size = sum(path.stat().st_size for path in (folder / "checkpoints").rglob("*") if path.is_file())
    memory = f", {outcome.peak_memory / 2**30:.1f} GiB of the GPU" if outcome.peak_memory else ""
    print(
        f"stage {config.stage}: a first step of {seconds:.1f} s{memory}, checkpoints of {size / 2**30:.2f} "
        "GiB each: everything fits"
    )


def run_export(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer export`; returns the exit code."""
    from .training.export import export

    stages = [options.trained / f"stage{stage}" for stage in reversed(STAGES)]
    run = next((path for path in stages if (path / options.weights).is_dir()), options.trained)
    config = export(
        run,
        options.output,
        weights=options.weights,
        precision=options.precision,
        overwrite=options.overwrite,
    )
    print(f"{options.output} ({config.stage})")
    return 0
