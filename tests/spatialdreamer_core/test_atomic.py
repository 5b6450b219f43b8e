"""Files and folders that are whole or absent, for all who write weights, results and films."""

import os

import pytest

from spatialdreamer_core.atomic import AtomicPath, discard_open_paths, partial_path_for, replacing
from spatialdreamer_core.checks import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(path, content, *, folder):
    if folder:
        path.mkdir()
        path = path / "weights.safetensors"
    path.write_bytes(content)


def read(path):
    return (path / "weights.safetensors" if path.is_dir() else path).read_bytes()


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_whole_takes_the_place_of_what_was_there(tmp_path, folder):
    path = tmp_path / "deep" / "model"
    for content in (b"first", b"second"):
        with replacing(path) as partial:
            make(partial, content, folder=folder)
            assert names(path.parent)[0].startswith(".model.")
        assert read(path) == content
        assert names(path.parent) == ["model"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, folder):
    path = tmp_path / "model"
    make(path, b"first", folder=folder)

    def fail():
        with replacing(path) as partial:
            make(partial, b"half", folder=folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert read(path) == b"first"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_name_that_cannot_be_given_leaves_what_was_there(tmp_path, monkeypatch, folder):
    path, replace = tmp_path / "model", os.replace
    make(path, b"first", folder=folder)

    def refuse(source, target):
        if ".partial-" in str(source):
            raise PermissionError("in use")
        replace(source, target)

    def write():
        with replacing(path) as partial:
            make(partial, b"second", folder=folder)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write()
    assert read(path) == b"first"
    assert names(tmp_path) == ["model"]


def test_what_a_killed_run_left_is_removed_but_for_what_it_replaced(tmp_path):
    path = tmp_path / "model"
    left = [partial_path_for(path) for _ in range(3)]
    make(left[0], b"half", folder=True)
    make(left[1], b"half", folder=False)
    before = tmp_path / left[2].name.replace(".partial-", ".before-")
    make(before, b"whole", folder=True)
    other = partial_path_for(tmp_path / "other")
    make(other, b"of another", folder=False)
    with replacing(path) as partial:
        make(partial, b"second", folder=True)
    assert names(tmp_path) == sorted([before.name, other.name, "model"])
    with replacing(path) as partial:
        assert before.name not in names(tmp_path), "it is there again"
        make(partial, b"third", folder=True)


def test_one_run_at_a_time_writes_a_path(tmp_path):
    path = tmp_path / "model.safetensors"
    with replacing(path) as partial:
        partial.write_bytes(b"first")
        with pytest.raises(InputError, match="by one run at a time"), replacing(path):
            pass
    assert names(tmp_path) == ["model.safetensors"]


def test_a_process_that_ends_removes_what_is_open(tmp_path):
    with AtomicPath(tmp_path / "model") as written:
        make(written.partial, b"half", folder=True)
        discard_open_paths()
        assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
@pytest.mark.parametrize("folder", [False, True])
def test_what_a_library_made_private_is_read_by_those_who_may_read_new_files(tmp_path, folder):
    usual = tmp_path / "usual"
    usual.touch()
    with replacing(tmp_path / "weights") as partial:
        if folder:
            partial.mkdir()
        file = partial / "a" if folder else partial
        file.touch(mode=0o600)
    written = tmp_path / "weights" / "a" if folder else tmp_path / "weights"
    assert written.stat().st_mode == usual.stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir() if "partial" in path.name) == []
