"""The small world learns from nothing what SpatialDreamer is to learn: trained for real, in minutes.

The clips are those of the demo film, or of the videos that SPATIALDREAMER_TRAINING_VIDEOS names. The film has
one scene, so it is cut into parts, of which one is held out. That is too little to learn how any hole is
filled: the tests of quality ask for more videos.
"""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

from spatialdreamer_core.cli import main
from spatialdreamer_core.spatialdreamer import SamplerConfig, encode_reference, load_spatialdreamer, sample
from spatialdreamer_core.svd import load_svd
from spatialdreamer_core.training.clips import fit_clip
from spatialdreamer_core.training.dataset import open_dataset
from spatialdreamer_core.training.validation import HOLE_PSNR, MEAN_PSNR, MisledReference

from .dataset.conftest import scenes_of, write_film
from .small_run import build_dataset, losses, train_small_world, validations

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[3] / "assets" / "bigbuckbunny.mp4"
PARTS = 4
VIDEOS = os.environ.get("SPATIALDREAMER_TRAINING_VIDEOS")
needs_videos = pytest.mark.skipif(not VIDEOS, reason="SPATIALDREAMER_TRAINING_VIDEOS names no videos")
ONE_STEP = SamplerConfig(steps=1, window=8, overlap=0)


def demo_parts(folder):
    """Cut the demo film into parts, at half its size."""
    with av.open(str(DEMO)) as film:
        frames = [
            frame.reformat(width=640, height=360).to_ndarray(format="rgb24") for frame in film.decode(video=0)
        ]
    length = len(frames) // PARTS
    return [
        write_film(folder / f"part{part}.mp4", frames[part * length : (part + 1) * length])
        for part in range(PARTS)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    videos = VIDEOS.split(os.pathsep) if VIDEOS else map(str, demo_parts(folder))
    return build_dataset(videos, folder / "made")


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """The folder of a run of both stages."""
    return train_small_world(dataset, tmp_path_factory.mktemp("run") / "run")


def test_the_loss_falls_by_half(run):
    found = losses(run / "stage1")
    assert sum(found[-50:]) / 50 < sum(found[:5]) / 5 / 2


@needs_videos
def test_holes_are_filled_better_than_by_their_surroundings(run):
    for stage in ("stage1", "stage2"):
        found = validations(run / stage)[-1]
        assert found[HOLE_PSNR] > found[MEAN_PSNR] + 1


@needs_videos
def test_another_films_reference_costs_quality(run, dataset):
    model = load_spatialdreamer(load_svd(run / "base"), run / "stage2" / "last")
    clips = open_dataset(dataset)
    other = torch.from_numpy(np.stack(scenes_of(8))).permute(0, 3, 1, 2) / 255
    other = encode_reference(model, other, max_side=96)
    errors = {"own": [], "other": []}
    for index, record in enumerate(clips.records):
        if record.held_out:
            clip = fit_clip(clips.read(index, range(8)), height=64, width=96)
            own = encode_reference(model, clip.reference, max_side=96)
            for name, reference in (("own", own), ("other", MisledReference(own, other))):
                filled = sample(model, reference, clip.warped, clip.hole, ONE_STEP)
                inside = (clip.hole > 0.5).expand_as(filled)
                errors[name].append((filled - clip.target)[inside].square())
    psnr = {name: -10 * torch.cat(parts).mean().log10() for name, parts in errors.items()}
    assert psnr["other"] < psnr["own"] - 0.3


def test_stage_2_begins_where_stage_1_ended(run):
    last, first = validations(run / "stage1")[-1], validations(run / "stage2")[0]
    assert first == pytest.approx(last, rel=0, abs=1e-6)


def test_the_export_is_loaded_and_fills_holes(run, dataset, tmp_path):
    weights = tmp_path / "weights.safetensors"
    precision = ["--precision", "float32", "--weights", "last"]
    assert main(["export", str(run), "-o", str(weights), *precision, "--quiet"]) == 0
    model = load_spatialdreamer(load_svd(run / "base"), weights)
    assert model.config.stage == "stage2"
    clips = open_dataset(dataset)
    clip = fit_clip(clips.read(0, range(8)), height=64, width=96)
    reference = encode_reference(model, clip.reference, max_side=96)
    filled = sample(model, reference, clip.warped, clip.hole, ONE_STEP)
    assert filled.shape == clip.target.shape
    assert bool(filled.isfinite().all())
