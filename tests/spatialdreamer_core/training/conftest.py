"""Tiny networks to train."""

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")


@pytest.fixture(scope="session")
def tiny_network(tiny_svd):
    """Return a tiny untrained SpatialDreamer, not to be changed."""
    from .tiny_training import make_network

    return make_network(tiny_svd)


@pytest.fixture
def network(tiny_network):
    """Return a tiny SpatialDreamer of a test's own."""
    from .tiny_training import copy_network

    return copy_network(tiny_network)


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Let each test choose precision and accumulation anew, which accelerate keeps for the process."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
