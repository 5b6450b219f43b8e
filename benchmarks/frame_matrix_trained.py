"""S2VG's ablation in small: what the frame matrix gains with a video model that has learnt something.

    python -m benchmarks.frame_matrix --trained [--seeds 3] [--steps N] [--folder FOLDER]

A small video diffusion model (`training.make_small_world`) is trained from nothing by the training part's
code on synthetic videos without masks, conditioned as SVD is: the first picture repeated, its embedding, time
ids. It learns clips over time and cameras that move sideways (`benchmarks.frame_matrix_clips`). Then holes of
held-out clips, whose right views are known, are filled without any further training, in each way of
`METHODS`. Measured are, inside the holes alone: PSNR, of all their pixels together; SSIM, of windows centred
on them; E_warp along the truth's flow; and texture, the share of the truth's gradients. Figures are means and
standard deviations over seeds, each of which has weights, an order of clips and sampling noise of its own.

A sample of the truth's own distribution has twice the squared error of its mean, 3 dB less: that is what
texture costs a diffusion model in PSNR, beside a fill that is smooth.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.frame_matrix_clips import FRAMES, HEIGHT, WIDTH, StereoClip, Videos, render_held_out
from benchmarks.report import format_table, write_result
from spatialdreamer_core.fill import FastFill, fill_holes
from spatialdreamer_core.flow import estimate_flow
from spatialdreamer_core.frame_matrix import FrameMatrixConfig, FrameMatrixModel, fill_matrix
from spatialdreamer_core.metrics import ssim
from spatialdreamer_core.metrics.temporal import pair_warping_error
from spatialdreamer_core.metrics.views import gradient_within
from spatialdreamer_core.spatialdreamer import (
    SamplerConfig,
    SpatialDreamer,
    encode_reference,
    load_spatialdreamer,
    sample,
)
from spatialdreamer_core.spatialdreamer.config import SpatialDreamerConfig
from spatialdreamer_core.spatialdreamer.network import assemble
from spatialdreamer_core.spatialdreamer.refiner import make_refiner
from spatialdreamer_core.svd import SVDModel
from spatialdreamer_core.svd.known_latents import run_levels
from spatialdreamer_core.svd.picture_condition import PictureDenoiser, encode_pictures, picture_time_ids
from spatialdreamer_core.svd.schedule import frame_noise, karras_sigmas
from spatialdreamer_core.training.config import TrainConfig, from_preset
from spatialdreamer_core.training.record import LAST, write_run
from spatialdreamer_core.training.small_world import make_small_world
from spatialdreamer_core.training.train import start_accelerator, train
from spatialdreamer_core.training.validation import fill_with_mean

_STEPS = 25  # of the samples that are saved
_RIM = 3  # px, of SSIM's windows of 7x7
_MAX_SIDE = 64  # px, no less can be asked for
_MOTION = 127  # the only bucket that is trained
_FIGURES = {"psnr": "PSNR", "ssim": "SSIM", "warping_error": "E_warp", "texture": "texture"}

Method = Callable[[SVDModel, StereoClip, int], Tensor]  # (model, clip, seed) -> [F, 3, H, W]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the table and write the result."""
    options = parse(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if options.folder is None else options.folder
        videos = Videos(make_world(0), options.videos)
        clips = [render_held_out(number) for number in range(options.clips)]
        found: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
        for seed in range(options.seeds):
            svd = train_model(videos, seed, options.steps, folder / f"seed_{seed}")
            save_samples(svd, clips, folder / f"samples_{seed}.png")
            for name, method in METHODS.items():
                filled = [method(svd, clip, seed) for clip in clips]
                found[name].append(measure(clips, filled))
                print(f"seed {seed}, {name}: {found[name][-1]}", flush=True)
    print(make_table(found))
    metrics = summarise(found) | {"steps": options.steps, "videos": options.videos, "clips": options.clips}
    metrics |= {"seeds": options.seeds, "seconds": time.perf_counter() - started}
    notes = (
        f"{WIDTH}x{HEIGHT}, clips of {FRAMES} frames, small world from nothing, seeds 0 to "
        f"{options.seeds - 1}; inside the holes of held-out clips; E_warp is printed times 1000; spread: "
        "standard deviation over seeds"
    )
    print(write_result("frame_matrix_trained", metrics, notes))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="frame_matrix --trained",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=700, help="of training")
    parser.add_argument("--videos", type=int, default=320, help="clips that are learnt from")
    parser.add_argument("--clips", type=int, default=4, help="held-out clips")
    parser.add_argument("--folder", type=Path, help="keeps what was trained, from which a later call goes on")
    return parser.parse_args(arguments)


def train_model(videos: Videos, seed: int, steps: int, folder: Path) -> SVDModel:
    """Train a small SVD from nothing, or go on in a folder."""
    world = replace(make_world(seed), image_encoder=make_world(0).image_encoder)
    refiner = make_refiner(world.unet, scaling=world.codec.scaling)  # which nothing reads
    config = train_config(seed, steps)
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, config, {})
    train(
        config,
        videos,
        assemble(world, world.unet, refiner, None, SpatialDreamerConfig()),
        folder,
        start_accelerator(config, folder),
        augment=videos.augment,
    )
    return load_spatialdreamer(world, folder / LAST).svd


def make_world(seed: int) -> SVDModel:
    """Make a small SVD whose latents hold so few pixels each that it soon learns to take noise off them."""
    return make_small_world(seed=seed, factor=2, height=HEIGHT, width=WIDTH)


def train_config(seed: int, steps: int) -> TrainConfig:
    """Return how a plain SVD is trained: the whole UNet, with no reference and no loss of stereo."""
    return from_preset(
        "test",
        "2",
        whole_unet=True,
        til=False,
        drop_reference=1.0,
        stereo_weight=0.0,
        noise_augmentation=True,
        drop_condition=0.1,
        batch=4,
        steps=steps,
        frames=FRAMES,
        height=HEIGHT,
        width=WIDTH,
        precision="bf16",
        seed=seed,
        validation_clips=0,
        validate_every=steps,
        checkpoint_every=steps,
        keep=1,
        tracker="none",
    )


def fill_fast(svd: SVDModel, clip: StereoClip, seed: int) -> Tensor:
    """Fill by fast fill, which sees the flow and the frames before and after."""
    parts = clip._asdict()
    flow = estimate_flow(clip.left)
    return fill_holes(
        FastFill(), **{name: parts[name] for name in ("left", "warped", "hole", "disparity")}, flow=flow
    )


def fill_by_spatialdreamer(
    svd: SVDModel, clip: StereoClip, seed: int, *, now: bool, **changes: Any
) -> Tensor:
    """Fill by an untrained SpatialDreamer with its template's options, of today or of commit 50ee415.

    Both begin with fast fill under noise of strength .4. Then the condition was each frame's own view, filled
    by fast fill; known latents were not held; RefinerNet's features were read: as a trained one does it.
    """
    config = SamplerConfig(
        seed=seed, steps=10 if now else 25, strength=0.4, window=FRAMES, overlap=1, dilate=0, feather=0
    )
    network = replace(SpatialDreamer.from_svd(svd), fills_holes=not now)
    filled = fill_fast(svd, clip, seed)
    reference = encode_reference(network, clip.left, max_side=_MAX_SIDE)
    return sample(network, reference, filled, clip.hole, replace(config, **changes))


def fill_by_matrix(svd: SVDModel, clip: StereoClip, seed: int, **changes: Any) -> Tensor:
    """Fill by the frame matrix, with the preset `fast` but for some options."""
    config = FrameMatrixConfig(
        seed=seed,
        regions="whole",
        dilate=0,
        feather=0,
        max_side=_MAX_SIDE,
        window=FRAMES,
        overlap=1,
        motion_bucket=_MOTION,
        view_motion_bucket=_MOTION,
    )
    views = (clip.left, clip.warped, clip.hole, clip.disparity)
    return fill_matrix(FrameMatrixModel(svd), *views, replace(config, **changes)).filled


METHODS: dict[str, Method] = {
    "mean of the surroundings": lambda svd, clip, seed: fill_with_mean(clip.warped, clip.hole),
    "fast fill": fill_fast,
    "SpatialDreamer at 50ee415": partial(fill_by_spatialdreamer, now=False),
    "SpatialDreamer": partial(fill_by_spatialdreamer, now=True),
    "SpatialDreamer, from noise": partial(fill_by_spatialdreamer, now=True, strength=1.0),
    "columns": partial(fill_by_matrix, order="columns"),
    "rows": partial(fill_by_matrix, order="rows"),
    "matrix": fill_by_matrix,
    "matrix, no re-injection": partial(fill_by_matrix, reinjections=0),
    "matrix, 4 passes": partial(fill_by_matrix, passes=4),
}


def measure(clips: Sequence[StereoClip], filled: Sequence[Tensor]) -> dict[str, float]:
    """Measure inside the holes; each of their pixels counts alike."""
    errors, windows, warping, gradients = [], [], [], []
    for clip, view in zip(clips, filled, strict=True):
        hole = clip.hole > 0.5
        count, seen = float(hole.sum()), float(hole[..., _RIM:-_RIM, _RIM:-_RIM].sum())
        errors.append((view - clip.truth).square()[hole.expand_as(view)])
        if seen:
            windows.append((ssim(view, clip.truth, hole, window="uniform"), seen))
        gradients.append([count * float(gradient_within(part, hole)) for part in (view, clip.truth)])
        for t in range(len(view) - 1):
            motion = clip.flow.to_next(t)
            assert motion is not None
            error, trusted = pair_warping_error(view[t], view[t + 1], motion)
            warping.append(error[trusted & hole[t]])
    own, true = (sum(parts) for parts in zip(*gradients, strict=True))
    return {
        "psnr": -10 * float(torch.cat(errors).mean().log10()),
        "ssim": sum(value * count for value, count in windows) / sum(count for _, count in windows),
        "warping_error": 1000 * float(torch.cat(warping).mean()),
        "texture": own / true,
    }


def save_samples(svd: SVDModel, clips: Sequence[StereoClip], file: Path) -> None:
    """Save held-out left views, and beneath each what the model makes of its first picture."""
    rows = []
    denoiser, sigmas = PictureDenoiser(svd.unet), karras_sigmas(_STEPS).tolist()
    for clip in clips:
        condition = encode_pictures(svd, clip.left[:1])[0]
        noise = frame_noise(
            0,
            range(FRAMES),
            height=HEIGHT // svd.codec.factor,
            width=WIDTH // svd.codec.factor,
            channels=svd.codec.channels,
        )
        noisy = sigmas[0] * noise
        clean = run_levels(
            lambda noisy, sigma, done, condition=condition: denoiser(
                noisy, sigma, condition, picture_time_ids()
            ),
            noisy,
            sigmas,
            passes=lambda sigma: 1,
            noise=lambda count, noisy=noisy: noisy,
        )
        rows += [torch.cat(list(part), dim=-1) for part in (clip.left, svd.codec.decode(clean))]
    picture = torch.cat(rows, dim=-2).permute(1, 2, 0)
    Image.fromarray((picture * 255).round().byte().numpy()).save(file)


def make_table(found: dict[str, list[dict[str, float]]]) -> str:
    """Lay out all figures, mean ± spread."""
    rows = []
    for name, runs in found.items():
        values = [[run[figure] for run in runs] for figure in _FIGURES]
        cells = [f"{fmean(each):.3f}" + (f" ± {stdev(each):.3f}" if len(each) > 1 else "") for each in values]
        rows.append([name, *cells])
    return format_table(["method", *_FIGURES.values()], rows)


def summarise(found: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Return each method's figures: means, and spreads where there are several seeds."""
    result = {}
    for name, runs in found.items():
        key = name.replace(",", "").replace(" ", "_").replace("-", "_")
        for figure in _FIGURES:
            values = [run[figure] for run in runs]
            result[f"{key}_{figure}"] = fmean(values)
            if len(values) > 1:
                result[f"{key}_{figure}_spread"] = stdev(values)
    return result


if __name__ == "__main__":
    main()
