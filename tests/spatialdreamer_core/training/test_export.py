"""Export: what is exported loads, with the settings it was trained under, and samples as before."""

from __future__ import annotations

import dataclasses
import errno

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer import SpatialDreamer, load_spatialdreamer, save_spatialdreamer
from spatialdreamer_core.training.export import export
from spatialdreamer_core.weights.files import read_header


@pytest.fixture(scope="module")
def trained(tiny_svd):
    """Networks as stage 2 leaves them."""
    network = SpatialDreamer.from_svd(tiny_svd.make_model(), with_til=True)
    config = dataclasses.replace(
        network.config, stage="stage2", blank_holes=True, noise_augmentation=0.0, til_weight=0.5
    )
    return dataclasses.replace(network, config=config)


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run's folder with its last weights."""
    folder = tmp_path_factory.mktemp("run")
    save_spatialdreamer(trained, folder / "last")
    return folder


def test_what_is_exported_loads_as_it_was_trained(run, trained, tiny_svd, tmp_path):
    config = export(run, tmp_path / "mine", weights="last", precision="float32")
    loaded = load_spatialdreamer(tiny_svd.make_model(), tmp_path / "mine")
    assert loaded.config == config == trained.config
    for own, other in zip(
        (trained.svd.unet, trained.refiner, trained.til),
        (loaded.svd.unet, loaded.refiner, loaded.til),
        strict=True,
    ):
        state = other.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in own.state_dict().items())


def test_half_precision_is_the_default(run, trained, tmp_path):
    export(run, tmp_path / "mine.safetensors", weights="last")
    header = read_header(tmp_path / "mine.safetensors")
    assert set(header.types.values()) == {"F16"}
    weights = {"unet": trained.svd.unet, "refiner": trained.refiner, "til": trained.til}
    assert {**header.shapes} == {
        f"{part}.{name}": tuple(value.shape)
        for part, network in weights.items()
        for name, value in network.state_dict().items()
    }


def test_nothing_is_overwritten_unless_asked(run, tmp_path):
    output = tmp_path / "mine.safetensors"
    output.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"output must be a new file or folder, got .*mine\.safetensors"):
        export(run, output, weights="last")
    assert output.read_bytes() == b"precious"
    export(run, output, weights="last", overwrite=True)
    assert output.stat().st_size > 1000


def test_a_run_without_such_weights_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="has no best; choose the folder of a run that has been validated"):
        export(run, tmp_path / "mine")
    with pytest.raises(InputError, match="weights must be one of best, last, got 'first'"):
        export(run, tmp_path / "mine", weights="first")
    with pytest.raises(InputError, match="precision must be one of"):
        export(run, tmp_path / "mine", precision="int8")


def test_damaged_weights_are_named_with_the_remedy(trained, tmp_path):
    run = tmp_path / "run"
    save_spatialdreamer(trained, run / "last")
    file = run / "last" / "til.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"til\.safetensors"):
        export(run, tmp_path / "mine", weights="last")
    file.unlink()
    with pytest.raises(InputError, match=r"has no TIL; choose the run's other weights"):
        export(run, tmp_path / "mine", weights="last")
    (run / "last" / "refiner.safetensors").unlink()
    with pytest.raises(InputError, match="has no refiner"):
        export(run, tmp_path / "mine", weights="last")
    assert not (tmp_path / "mine").exists()


def test_a_full_drive_is_said(run, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("spatialdreamer_core.spatialdreamer.checkpoint.save_file", fail)
    with pytest.raises(InputError, match=r"must have room for mine.*free space"):
        export(run, tmp_path / "mine", weights="last")
    assert list(tmp_path.iterdir()) == []
