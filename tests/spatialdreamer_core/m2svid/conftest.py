"""Tiny networks of M2SVid and windows for them."""

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def tiny_m2svid():
    """Return the module that makes tiny models of M2SVid."""
    from .. import tiny_m2svid

    return tiny_m2svid


@pytest.fixture(scope="session")
def model(tiny_m2svid):
    """Return a tiny model with full attention."""
    return tiny_m2svid.make_model()


@pytest.fixture
def window():
    """Return a small window: left view, rendered view, hole mask."""
    generator = torch.Generator().manual_seed(7)
    left, warped = torch.rand(2, 3, 3, 64, 64, generator=generator)
    hole = torch.zeros(3, 1, 64, 64)
    hole[..., 20:36] = 1
    return left, warped, hole
