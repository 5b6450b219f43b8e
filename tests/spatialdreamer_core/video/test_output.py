from __future__ import annotations

import sys

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import check_output_path, partial_path_for

SUFFIXES = (".mp4", ".mkv")


def check(path, **options):
    return check_output_path(path, suffixes=SUFFIXES, **options)


def test_a_missing_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "out.MP4"
    assert check(path) == path
    assert list(path.parent.iterdir()) == []


def test_the_temporary_file_is_hidden_and_in_the_same_folder(tmp_path):
    partial = partial_path_for(tmp_path / "out.mp4")
    assert partial.parent == tmp_path
    assert partial.name.startswith(".out.partial-")
    assert partial.suffix == ".mp4"
    assert len(partial_path_for(tmp_path / ("立" * 80 + ".mp4")).name.encode()) < 255


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in one of \.mp4, \.mkv, got 'out\.flv'"):
        check(tmp_path / "out.flv")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(InputError, match="got the folder"):
        check(tmp_path / "out.mp4")


def test_the_input_is_refused_by_any_of_its_names(tmp_path):
    path = tmp_path / "in.mp4"
    path.write_bytes(b"film")
    other = tmp_path / "sub" / ".." / "in.mp4"
    (tmp_path / "sub").mkdir()
    for name in (path, other):
        with pytest.raises(InputError, match="must not be the input file itself"):
            check(name, input_path=path)
    assert path.read_bytes() == b"film"


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"must be writable, got .* choose another folder"):
        check(tmp_path / "file" / "out.mp4")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_folder_where_nothing_can_be_written_is_refused():
    with pytest.raises(InputError, match=r"must be writable, got .* choose another folder"):
        check("/proc/out.mp4")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must be writable, got .*too long"):
        check(tmp_path / ("x" * 300 + ".mp4"))
