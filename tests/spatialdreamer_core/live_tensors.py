"""Counts the memory that tensors take, and lets attention take what it does on GPUs."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class EfficientAttention(TorchFunctionMode):
    """Attention as GPUs compute it, without a matrix of scores."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors made while it is entered that live, and their peak."""

    def __init__(self):
        super().__init__()
        self.bytes = self.peak = 0
        self._known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tensors((args, kwargs))}
        for leaf in tensors(result):
            storage = leaf.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._known | given:
                self._known.add(key)
                weakref.finalize(storage, self._forget, key, size)
                self.bytes += size
                self.peak = max(self.peak, self.bytes)
        return result

    def _forget(self, key, size):
        self._known.discard(key)
        self.bytes -= size


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@pytest.fixture
def live_tensors():
    return LiveTensors()


@pytest.fixture
def fake_half():
    """Let tensors have no content, and modules be made in half precision."""
    with FakeTensorMode():
        torch.set_default_dtype(torch.float16)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)
