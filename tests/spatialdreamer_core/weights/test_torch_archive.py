"""Archives of torch.save: whole, damaged and hostile ones."""

import os
import zipfile

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights.files import open_tensors, read_tensors
from spatialdreamer_core.weights.torch_archive import is_archive, read_archive

AGAIN = "get it again"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.pt"


def read(file):
    return read_archive(file, again=AGAIN)


@pytest.mark.parametrize("place", ["module", "state_dict", None])
def test_tensors_are_found_where_training_programs_put_them(file, place):
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16), "n": 3}
    torch.save(tensors if place is None else {place: tensors, "epoch": torch.ones(1)}, file)
    assert is_archive(file)
    header = read(file)
    assert header.shapes == {"a": (2, 3), "b": (2,)}
    assert header.types == {"a": "F32", "b": "F16"}
    assert torch.equal(read_tensors(header)["a"], tensors["a"])
    renamed = header.renamed({"c": "a"}).renamed({"d": "c"})
    assert renamed.shapes == {"d": (2, 3)}
    with open_tensors(renamed) as get_tensor:
        assert torch.equal(get_tensor("d"), tensors["a"])


def test_what_training_leaves_beside_the_weights_does_no_harm(file):
    beside = {
        "lr_scheduler": {"base_lrs": [2e-6], "last_epoch": np.int64(3), "best": np.float32(0.5)},
        "callbacks": {"ModelCheckpoint": {"kth_value": torch.tensor(0.1), "dirpath": "outputs"}},
        "sparse_tensor_module_names": {"a"},
        "param_shapes": [{"a": torch.Size([2])}],
        "optimizer": None,
    }
    torch.save({"module": {"a": torch.nn.Parameter(torch.ones(2))}} | beside, file)
    assert read(file).shapes == {"a": (2,)}


class _Malice:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(file, tmp_path):
    torch.save({"module": {"a": torch.ones(2)}, "optimizer": _Malice(tmp_path / "made")}, file)
    with pytest.raises(
        InputError, match=r"asks for (posix|nt)\.mkdir, which could run code, .*; get it again"
    ):
        read(file)
    assert not (tmp_path / "made").exists()


def repacked(file, change):
    """Write the archive again, each record as `change` returns it: content and how it is compressed."""
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            content, compression = change(name, content)
            if content is not None:
                archive.writestr(name, content, compression)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda name, content: (content, zipfile.ZIP_DEFLATED), id="compressed"),
        pytest.param(lambda name, content: (None if "pkl" in name else content, 0), id="no pickle"),
        pytest.param(
            lambda name, content: (None if "/data/0" in name else content, 0), id="a tensor missing"
        ),
        pytest.param(
            lambda name, content: (content[:60] if "pkl" in name else content, 0), id="half a pickle"
        ),
    ],
)
def test_a_damaged_archive_is_refused_in_one_line(file, change):
    torch.save({"module": {"a": torch.ones(1000)}}, file)
    repacked(file, change)
    with pytest.raises(
        InputError, match=r"must be a whole archive of torch\.save, got .*; get it again"
    ) as told:
        read(file)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [[1, 2], {}, {"module": {"a": 1}}, torch.ones(2)])
def test_an_archive_without_named_tensors_is_refused(file, content):
    torch.save(content, file)
    with pytest.raises(InputError, match=r"must be a whole archive of torch\.save, got .*it holds"):
        read(file)


def test_an_archive_cut_short_is_refused(file):
    torch.save({"module": {"a": torch.ones(1000)}}, file)
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(InputError, match=r"must be whole, but the end of .* is missing .*; get it again"):
        read(file)
