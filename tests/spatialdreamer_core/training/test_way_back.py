"""Clips whose views lie elsewhere than on the truth teach what the stereo deviation strength asks for.

The small world is trained by its preset for real, both stages, in minutes, on the videos that
SPATIALDREAMER_TRAINING_VIDEOS names. It is measured as it is used, by the sampler, on held-out clips, whose
views do lie on the truth: there the slider at 1 asks for the true view.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

from spatialdreamer_core.cli import main
from spatialdreamer_core.flow import estimate_flow
from spatialdreamer_core.spatialdreamer import (
    SamplerConfig,
    encode_reference,
    load_spatialdreamer,
    sample_views,
)
from spatialdreamer_core.svd import load_svd
from spatialdreamer_core.training.clips import fit_clip
from spatialdreamer_core.training.dataset import open_dataset
from spatialdreamer_core.training.validation import HOLE_PSNR, MEAN_PSNR, OTHER_PSNR

from .small_run import build_dataset, losses, train_small_world, validations

VIDEOS = os.environ.get("SPATIALDREAMER_TRAINING_VIDEOS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEOS, reason="SPATIALDREAMER_TRAINING_VIDEOS names no videos"),
]
STRENGTHS = (0.5, 1.0, 2.0)
FRAMES = 2  # of each held-out clip
ONE_STEP = SamplerConfig(steps=1, window=FRAMES, overlap=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    ways = ["--way-back-low", "0.4", "--way-back-high", "2.5"]
    return build_dataset(VIDEOS.split(os.pathsep), tmp_path_factory.mktemp("dataset") / "made", *ways)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """The folder of a run of both stages."""
    return train_small_world(dataset, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def weights(run, tmp_path_factory):
    """What is exported of stage 2."""
    file = tmp_path_factory.mktemp("exported") / "weights.safetensors"
    assert main(["export", str(run), "-o", str(file), "--weights", "last", "--quiet"]) == 0
    return file


def test_it_learns_all_else_as_well(run):
    found = losses(run / "stage1")
    assert sum(found[-50:]) / 50 < sum(found[:5]) / 5 / 2
    for stage in ("stage1", "stage2"):
        found = validations(run / stage)[-1]
        assert found[HOLE_PSNR] > found[MEAN_PSNR] + 1
        assert found[OTHER_PSNR] < found[HOLE_PSNR] - 0.3, "another clip before RefinerNet"
    last, first = validations(run / "stage1")[-1], validations(run / "stage2")[0]
    assert first == pytest.approx(last, rel=0, abs=1e-6)


def shifts(view, left):  # [F, 1, H, W], px at four times the size
    """Find by optical flow how far to the right each pixel of a view lies in the left one."""
    views, lefts = (F.interpolate(each, scale_factor=4, mode="bicubic").clamp(0, 1) for each in (view, left))
    flows = [estimate_flow(torch.stack(pair)).forward[:, :1] for pair in zip(views, lefts, strict=True)]
    return F.interpolate(torch.cat(flows), view.shape[-2:], mode="area")


@pytest.mark.parametrize("side", ["left", "right"])
def test_more_strength_moves_the_whole_view_farther_the_true_way(run, weights, dataset, side):
    """Of known pixels, measured by two regressions: of the picture and of its optical flow.

    That of the difference from the left view on the true difference is one which a mixture of the two
    pictures would pass, that of the flow on the true flow is not.
    """
    model = load_spatialdreamer(load_svd(run / "base"), weights)
    clips = open_dataset(dataset)
    shares = []
    for index, record in enumerate(clips.records):
        if not record.held_out or record.side != side:
            continue
        clip = fit_clip(clips.read(index, range(FRAMES)), height=64, width=96)
        if not bool((clip.hole > 0.5).any()):
            continue  # nothing is diffused
        known = (clip.hole < 0.5).float()
        true = (clip.target - clip.reference) * known
        true_shifts = shifts(clip.target, clip.reference) * known
        reference = encode_reference(model, clip.reference, max_side=96)
        configs = [replace(ONE_STEP, deviation=strength) for strength in STRENGTHS]
        wholes = [sample_views(model, reference, clip.warped, clip.hole, each).whole for each in configs]
        pictures = [((whole - clip.reference) * true).sum() / true.square().sum() for whole in wholes]
        flows = [
            (shifts(whole, clip.reference) * true_shifts).sum() / true_shifts.square().sum()
            for whole in wholes
        ]
        shares.append((pictures, flows))
    assert shares, "clips with holes"
    for name, (half, usual, double) in zip(("picture", "flow"), np.mean(shares, axis=0), strict=True):
        print(f"x2 on the {side}, by {name}: {half:.2f}, {usual:.2f}, {double:.2f} of the displacement")
        assert half < usual - 0.05
        assert usual < double - 0.05
        assert 0.6 < usual < 1.2
