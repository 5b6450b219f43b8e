"""What the tests of the frame matrix share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="package")
def model():
    """Return a tiny model, made once."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from .tiny_matrix import make_model

    return make_model()
