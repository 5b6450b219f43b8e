"""Safetensors that are written tensor by tensor."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from spatialdreamer_core.weights.files import read_header
from spatialdreamer_core.weights.streaming import file_size, write_tensors


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_file_is_what_safetensors_reads(tmp_path, dtype):
    file = tmp_path / "a.safetensors"
    tensors = {
        "b.weight": torch.randn(3, 5).T.to(dtype),  # not contiguous
        "a": torch.randn(()).to(dtype),
        "one": torch.ones(1, dtype=dtype).as_strided((1,), (0,)),
        "none": torch.zeros(0, 4, dtype=dtype),
        "ü": torch.randn(7).to(dtype),
    }
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    metadata = {"note": "ours"}
    write_tensors(file, iter(tensors.items()), shapes=shapes, dtype=dtype, metadata=metadata)
    assert file.stat().st_size == file_size(shapes, dtype, metadata)
    torch.testing.assert_close(load_file(file), tensors, rtol=0, atol=0)
    with safe_open(file, "pt") as content:
        assert content.metadata() == metadata
    assert read_header(file).shapes == shapes
    length = int.from_bytes(file.read_bytes()[:8], "little")
    assert length % 8 == 0
    assert list(json.loads(file.read_bytes()[8 : 8 + length])) == ["__metadata__", *shapes]


def test_tensors_that_differ_from_what_was_announced_stop_the_writing(tmp_path):
    tensor = torch.zeros(2)
    for announced in ({"b": (2,)}, {"a": (3,)}):
        with pytest.raises(AssertionError):
            write_tensors(tmp_path / "a", [("a", tensor)], shapes=announced, dtype=torch.float32, metadata={})
    with pytest.raises(ValueError, match="longer than argument 1"):
        write_tensors(tmp_path / "a", [], shapes={"a": (2,)}, dtype=torch.float32, metadata={})
