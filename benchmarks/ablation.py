"""The paper's Table 3 in small: `python -m benchmarks.ablation [FILM ...] [--cuda] [--steps N1 N2]`.

A small world (`training.small_world`) is trained from nothing on DVG pairs: of the demo clip and of films
given, with built-in depth, and of synthetic scenes with true depth. One part is switched off at a time:

    image level, stage 1: the UNet alone; with RefinerNet; with the stereo deviation strength, too
    video level, stage 2: all; without TIL; on pairs whose masks are not refined by flow (Eq. 2)

All have the same steps, seeds and held-out clips: a fourth of the synthetic scenes, and the last fourth of
each film's scenes. What is measured is what the library's own validation measures: the deployed sampler on
the held-out clips, with refined masks for all. Means and standard deviations are over seeds, each of which
has weights and an order of clips of its own.

--steps sets the steps of both stages. Without it a rehearsal measures what a step of each stage and a
validation take, and as many steps are made, three of stage 1 to one of stage 2, as end within --minutes: 7
on a GPU, 10 on the CPU with a single seed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks.ablation_pairs import FRAMES, HEIGHT, WIDTH, make_pairs
from benchmarks.demo import CLIP
from benchmarks.report import format_table, write_result
from spatialdreamer_core.metrics import load_lpips
from spatialdreamer_core.spatialdreamer import SpatialDreamer, load_spatialdreamer
from spatialdreamer_core.training import (
    LatentCache,
    TrainConfig,
    build_latents,
    make_small_world,
    validate,
)
from spatialdreamer_core.training.config import from_preset
from spatialdreamer_core.training.record import LAST, read_log, write_run
from spatialdreamer_core.training.train import start_accelerator, train

RATIO = 3  # steps of stage 1 for each one of stage 2
WARM_UP, REHEARSED = 3, 8  # steps of a rehearsal: not timed, timed
RESERVE = 0.9  # share of the minutes that is planned for: steps are not equally fast all the time
FIGURES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "hole_psnr": "hole PSNR",
    "hole_lpips": "hole LPIPS",
    "warping_error": "E_warp, 1e-3",
}


@dataclass(frozen=True)
class Variant:
    """A row of the table: which stage it ends with, and which parts it has."""

    stage: str
    label: str
    refiner: bool = True
    deviation: bool = True
    til: bool = True
    refined: bool = True

    @property
    def first(self) -> Variant:
        """The stage 1 that it starts from."""
        return replace(self, stage="1", label="", til=True)


VARIANTS = {
    "unet": Variant("1", "U-Net alone", refiner=False, deviation=False),
    "refiner": Variant("1", "+ RefinerNet", deviation=False),
    "deviation": Variant("1", "+ deviation strength"),
    "no_til": Variant("2", "full without TIL", til=False),
    "no_refined_masks": Variant("2", "full without refined masks", refined=False),
    "full": Variant("2", "full"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, print the table and write the result."""
    started = time.perf_counter()
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        bench = Ablation(options, Path(name))
        metrics = bench.rehearse(started) if options.steps is None else {}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
        for seed in range(options.seeds):
            for variant, figures in bench.run(seed).items():
                found[variant].append(figures)
            print(f"seed {seed} done after {time.perf_counter() - started:.0f} s", flush=True)
    print(make_table(found))
    mean_fill = found["full"][0]["mean_fill_psnr"]
    print(f"hole PSNR of filling holes with the mean of their surroundings: {mean_fill:.3f}")
    held_out = [record.name for record in bench.refined.records if record.held_out]
    metrics |= bench.describe() | summarise(found) | {"seconds": time.perf_counter() - started}
    notes = (
        f"paper's Table 3 in small; {WIDTH}x{HEIGHT}, clips of {FRAMES} frames, small world from nothing, "
        f"seeds 0 to {options.seeds - 1}; the same steps, held-out clips and sampling noise for all; "
        "spread: standard deviation over seeds; without deviation strength there is no loss of "
        "it either; held-out clips have refined masks for all variants; mean_fill_psnr: hole_psnr of filling "
        f"holes with the mean of their surroundings; held out: {', '.join(held_out)}"
    )
    print(write_result("ablation-cuda" if options.cuda else "ablation", metrics, notes))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", nargs="*", type=Path, metavar="FILM", help="beside the demo clip")
    parser.add_argument("--cuda", action="store_true", help="train on a GPU")
    parser.add_argument("--steps", nargs=2, type=int, metavar=("N1", "N2"), help="of stage 1 and of stage 2")
    parser.add_argument("--minutes", type=float, help="that the whole may take, without --steps")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--clips", type=int, default=8, help="held-out clips that are sampled")
    parser.add_argument("--sampling-steps", type=int, default=1, help="more need a better model")
    parser.add_argument("--lpips", type=Path, metavar="FILE", help="AlexNet's weights, to measure LPIPS")
    options = parser.parse_args(arguments)
    options.minutes = options.minutes or (7 if options.cuda else 10)
    options.seeds = options.seeds or (3 if options.cuda else 1)
    return options


class Ablation:
    """The pairs, what the networks see of them, and the runs.

    Args:
        options: As of the command line.
        folder: For all that is written on the way.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.device = torch.device("cuda" if options.cuda else "cpu")
        self.steps = tuple(options.steps or (WARM_UP + REHEARSED,) * 2)
        self.step_seconds = (0.0, 0.0)
        self.lpips = None if options.lpips is None else load_lpips(options.lpips, device=self.device)
        self.tower = make_small_world(height=HEIGHT, width=WIDTH).image_encoder  # for all seeds the same
        films = [CLIP, *options.films]
        self.refined, unrefined = (make_pairs(films, folder, refined=refined) for refined in (True, False))
        assert self.refined.records == unrefined.records, "they differ in their masks alone"
        self.caches: dict[bool, LatentCache] = {
            refined: build_latents(
                pairs, self._start(0), folder / f"latents_{refined}", height=HEIGHT, width=WIDTH
            )
            for refined, pairs in ((True, self.refined), (False, unrefined))
        }

    def rehearse(self, started: float) -> dict[str, float]:
        """Choose the steps by what a few of each stage, and a validation, take.

        Args:
            started: When the benchmark began, for what preparing took.
        """
        prepared = time.perf_counter() - started
        variant = VARIANTS["full"]
        run = self.folder / "rehearsal"
        seconds, others = [], []
        model = self._start(0)
        for stage in ("1", "2"):
            begun = time.perf_counter()
            model = self._train(model, replace(variant, stage=stage), 0, run / stage)
            steps = [line["seconds"] for line in read_log(run / stage) if "seconds" in line]
            seconds.append(fmean(steps[WARM_UP:]))
            others.append(time.perf_counter() - begun - sum(steps))
        begun = time.perf_counter()
        self._validate(model)
        validation = time.perf_counter() - begun
        seeds = self.options.seeds
        runs = (
            seeds * len({variant.first for variant in VARIANTS.values()}),
            seeds * sum(variant.stage == "2" for variant in VARIANTS.values()),
        )
        left = RESERVE * 60 * self.options.minutes - (time.perf_counter() - started)
        left -= runs[0] * others[0] + runs[1] * others[1] + len(VARIANTS) * seeds * validation
        self.steps = choose_steps(left, runs, seconds)
        plan = {
            "budget_minutes": self.options.minutes,
            "rehearsal_step_1_seconds": seconds[0],
            "rehearsal_step_2_seconds": seconds[1],
            "rehearsal_validation_seconds": validation,
            "prepared_seconds": prepared,
        }
        print(
            f"{runs[0]} runs of {self.steps[0]} steps of stage 1 ({seconds[0]:.3f} s each) and {runs[1]} of "
            f"{self.steps[1]} of stage 2 ({seconds[1]:.3f} s each), {len(VARIANTS) * seeds} validations "
            f"({validation:.1f} s each)",
            flush=True,
        )
        return plan

    def run(self, seed: int) -> dict[str, dict[str, float]]:
        """Train and measure all variants with a seed."""
        found = {}
        firsts: dict[Variant, Path] = {}
        for name, variant in VARIANTS.items():
            if variant.first not in firsts:
                folder = firsts[variant.first] = self.folder / f"{seed}_{len(firsts)}"
                self._train(self._start(seed), variant.first, seed, folder)
            model = self._load(firsts[variant.first], seed)
            if variant.stage == "2":
                model = self._train(model, variant, seed, self.folder / f"{seed}_{name}")
            if not variant.refiner:
                model.config = replace(model.config, reads_reference=False)
            found[name] = self._validate(model)
        return found

    def describe(self) -> dict[str, float]:
        """Return how the runs were made."""
        held_out = sum(record.held_out for record in self.refined.records)
        return {
            "seeds": self.options.seeds,
            "stage_1_steps": self.steps[0],
            "stage_2_steps": self.steps[1],
            "stage_1_step_seconds": self.step_seconds[0],
            "stage_2_step_seconds": self.step_seconds[1],
            "training_clips": len(self.refined.records) - held_out,
            "held_out_clips": held_out,
            "sampled_clips": min(self.options.clips, held_out),
            "sampling_steps": self.options.sampling_steps,
        }

    def _start(self, seed: int) -> SpatialDreamer:
        """Make an untrained network."""
        world = make_small_world(seed=seed, height=HEIGHT, width=WIDTH)
        return SpatialDreamer.from_svd(replace(world, image_encoder=self.tower))

    def _config(self, variant: Variant, seed: int) -> TrainConfig:
        """Return how a variant's stage is trained."""
        steps = self.steps[int(variant.stage) - 1]
        changes: dict[str, Any] = {} if variant.refiner else {"drop_reference": 1.0}
        if not variant.deviation:
            changes["stereo_weight"] = 0.0
        return from_preset(
            "test",
            variant.stage,
            **changes,
            steps=steps,
            frames=FRAMES,
            height=HEIGHT,
            width=WIDTH,
            til=variant.til,
            deviation_map=False,  # which the paper does not have
            seed=seed,
            cpu=not self.options.cuda,
            validation_clips=0,
            validate_every=steps,
            checkpoint_every=steps,
            keep=1,
            tracker="none",
        )

    def _train(self, model: SpatialDreamer, variant: Variant, seed: int, folder: Path) -> SpatialDreamer:
        """Train one stage of a variant."""
        config = self._config(variant, seed)
        scale = model.config.deviation_scale if variant.deviation else 0.0  # of its time id
        model.config = replace(model.config, deviation_scale=scale)
        folder.mkdir(parents=True)
        write_run(folder, config, {})
        train(config, self.caches[variant.refined], model, folder, start_accelerator(config, folder))
        seconds = [line["seconds"] for line in read_log(folder) if "seconds" in line]
        timed = fmean(seconds[min(WARM_UP, len(seconds) - 1) :])
        first, second = self.step_seconds
        self.step_seconds = (timed, second) if variant.stage == "1" else (first, timed)
        return self._load(folder, seed)

    def _load(self, folder: Path, seed: int) -> SpatialDreamer:
        """Load what a run trained, as a user does."""
        return load_spatialdreamer(self._start(seed).svd, folder / LAST)

    def _validate(self, model: SpatialDreamer) -> dict[str, float]:
        """Measure a model on the held-out clips."""
        for module in model.modules:
            module.to(self.device)
        found = validate(
            model,
            self.refined,
            height=HEIGHT,
            width=WIDTH,
            clips=self.options.clips,
            frames=FRAMES,
            steps=self.options.sampling_steps,
            lpips=self.lpips,
            other_reference=False,
        )
        self.tower.cpu()  # which the next model has, too
        return found.metrics


def choose_steps(
    left: float,  # s
    runs: tuple[int, int],  # of each stage
    seconds: Sequence[float],  # that a step of each takes
) -> tuple[int, int]:
    """Return the steps of both stages that fit into the time left, but no fewer than were rehearsed."""
    count = left / (runs[0] * RATIO * seconds[0] + runs[1] * seconds[1])
    count = max(REHEARSED, int(count))
    return RATIO * count, count


def make_table(found: dict[str, list[dict[str, float]]]) -> str:
    """Lay out the figures of all variants, mean ± spread."""
    columns = [name for name in FIGURES if name in found["full"][0]]
    header = ["stage", "variant", *(FIGURES[name] for name in columns)]
    rows = []
    for variant, runs in found.items():
        row: list[object] = [VARIANTS[variant].stage, VARIANTS[variant].label]
        for name in columns:
            mean, spread = mean_and_spread([run[name] for run in runs])
            row.append(f"{mean:.3f} ± {spread:.3f}")
        rows.append(row)
    return format_table(header, rows)


def summarise(found: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Return mean and spread of each variant's figures, and how well filling with a mean does."""
    result = {"mean_fill_psnr": found["full"][0]["mean_fill_psnr"]}
    for variant, runs in found.items():
        for name in (*FIGURES, "sharpness"):
            if name in runs[0]:
                mean, spread = mean_and_spread([run[name] for run in runs])
                result |= {f"{variant}_{name}": mean, f"{variant}_{name}_spread": spread}
    return result


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and the standard deviation, which is 0 for a single value."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
