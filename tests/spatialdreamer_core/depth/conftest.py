"""Tiny depth models; no test sees those of the machine it runs on, or the network."""

import importlib.util
import sys
from pathlib import Path

import pytest

from spatialdreamer_core.depth.models import MODEL_KIND, find_model


@pytest.fixture(autouse=True)
def models_folder(own_models, monkeypatch) -> Path:
    """Give each test an empty folder of depth models."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return own_models / MODEL_KIND


@pytest.fixture(scope="session")
def tiny_models(tiny_diffusion):
    """Load the module that makes tiny models, as no folder of tests is a package."""
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("tiny_models", Path(__file__).with_name("tiny_models.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_models"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(tiny_models, models_folder):
    """Return a function that puts a tiny model in an estimator's place and returns its folder."""

    def install_one(name: str, **changes) -> Path:
        model = find_model(name)
        if model.family == "marigold":
            pytest.importorskip("diffusers")
        folder = models_folder / model.repository.split("/")[-1]
        folder.mkdir(parents=True)
        tiny_models.save_model(folder, model.family, **changes)
        return folder

    return install_one
