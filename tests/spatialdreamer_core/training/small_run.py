"""Datasets and runs of the small world that are trained for real, for tests of what it learns."""

from spatialdreamer_core.cli import main
from spatialdreamer_core.training.record import read_log


def build_dataset(videos, folder, *options):
    """Build a dataset for the small world's pictures, of strong disparity, a third of it held out."""
    look = ["--size", "192", "--clips-per-scene", "12", "--divergence-low", "2", "--divergence-high", "8"]
    rules = ["--held-out", "0.3", "--least-motion", "0", "--depth", "builtin", "--quiet"]
    assert main(["dataset", "build", *videos, "-o", str(folder), *look, *options, *rules]) == 0
    return folder


def train_small_world(dataset, folder):
    """Train both stages by the preset; return the folder of the run."""
    options = ["--base", "small", "--preset", "test", "--tracker", "none", "--quiet"]
    assert main(["train", str(dataset), "-o", str(folder), *options]) == 0
    return folder


def losses(folder):
    """Return the loss of each step of a stage."""
    return [line["loss"] for line in read_log(folder) if "loss" in line]


def validations(folder):
    """Return the figures of each validation of a stage."""
    return [line["validation"] for line in read_log(folder) if "validation" in line]
