from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from spatialdreamer_core import atomic
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import OutputFile, check_output_path, partial_path_for, write_photo

SUFFIXES = (".mp4", ".mkv")
BUILTIN = ConvertConfig(depth="builtin")


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
    assert len(partial_path_for(tmp_path / ("立" * 80 + ".mp4")).name.encode()) < 143  # of eCryptfs
    assert partial_path_for(tmp_path / "out.mp4") != partial


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in one of \.mp4, \.mkv, got 'out\.flv'"):
        check(tmp_path / "out.flv")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(InputError, match="got the folder"):
        check(tmp_path / "out.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_pipe_or_device_is_not_replaced(tmp_path, overwrite):
    os.mkfifo(tmp_path / "out.mp4")
    (tmp_path / "null.mp4").symlink_to(os.devnull)
    for name in ("out.mp4", "null.mp4"):
        with pytest.raises(InputError, match="must be a regular file, got the pipe, socket or device"):
            check(tmp_path / name, overwrite=overwrite)
    assert names(tmp_path) == ["null.mp4", "out.mp4"]


def test_the_input_is_refused_by_any_of_its_names(tmp_path):
    path = tmp_path / "in.mp4"
    path.write_bytes(b"film")
    other = tmp_path / "sub" / ".." / "in.mp4"
    (tmp_path / "sub").mkdir()
    for name in (path, other):
        with pytest.raises(InputError, match="must not be the input file itself"):
            check(name, inputs=[path])
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


def write(path, content=b"new", **options):
    with OutputFile(path, suffixes=SUFFIXES, **options) as file:
        file.partial.write_bytes(content)
        file.commit()
    return file.path


def names(folder):
    return sorted(os.listdir(folder))


def test_a_file_that_exists_is_replaced_only_when_asked_for(tmp_path):
    path = tmp_path / "out.mp4"
    assert write(path, b"old") == path
    with pytest.raises(InputError, match=r"must be a new file, got .*out\.mp4, which exists; .*--overwrite"):
        write(path)
    assert path.read_bytes() == b"old"
    assert write(path, overwrite=True) == path
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_name_taken_during_the_work_is_left_alone_and_the_work_is_kept(
    tmp_path, monkeypatch, caplog, has_links
):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not has_links:  # as on FAT
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "out.mp4"
    saved = []
    for content in (b"first", b"second"):
        with OutputFile(path, suffixes=SUFFIXES) as file:
            file.partial.write_bytes(content)
            path.write_bytes(b"of others")
            file.commit()
            saved.append(file.path)
        path.unlink()
    assert [file.name for file in saved] == ["out-2.mp4", "out-3.mp4"]
    assert [file.read_bytes() for file in saved] == [b"first", b"second"]
    assert "out.mp4 could not be replaced; the result is" in caplog.text
    assert write(path) == path
    assert names(tmp_path) == ["out-2.mp4", "out-3.mp4", "out.mp4"]


def test_the_longest_name_gets_a_number_too(tmp_path):
    path = tmp_path / ("x" * 251 + ".mp4")
    with OutputFile(path, suffixes=SUFFIXES) as file:
        path.write_bytes(b"of others")
        file.commit()
    assert len(file.path.name) == 255
    assert file.path.stem.endswith("x-2")


def test_work_that_cannot_replace_a_folder_is_kept(tmp_path):
    path = tmp_path / "out.mp4"
    with OutputFile(path, suffixes=SUFFIXES, overwrite=True) as file:
        file.partial.write_bytes(b"film")
        path.mkdir()
        file.commit()
    assert file.path.read_bytes() == b"film"
    assert names(tmp_path) == ["out-2.mp4", "out.mp4"]


def test_a_second_run_is_refused_while_the_first_works(tmp_path):
    path = tmp_path / "out.mp4"
    with OutputFile(path, suffixes=SUFFIXES) as file:
        with pytest.raises(InputError, match=r"one run at a time, got .*another run is writing; wait for it"):
            write(path)
        assert write(tmp_path / "out.mkv") == tmp_path / "out.mkv"
        assert write(tmp_path / "out2.mp4") == tmp_path / "out2.mp4"
        assert file.partial.exists()
        file.partial.write_bytes(b"first")
        file.commit()
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["out.mkv", "out.mp4", "out2.mp4"]


def test_many_threads_on_one_output_give_one_file(tmp_path):
    path, wins, refused = tmp_path / "out.mp4", [], []

    def work(index):
        try:
            wins.append((write(path, b"%d" % index * 1000), index))
        except InputError as error:
            refused.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name for name, _ in wins] == [path]
    assert path.read_bytes() == b"%d" % wins[0][1] * 1000
    assert len(refused) == 15
    assert names(tmp_path) == ["out.mp4"]


DYING_RUN = """
import os, sys
from spatialdreamer_core.video import OutputFile
file = OutputFile(sys.argv[1], suffixes=(".mp4",))
file.__enter__()
print(file.partial.name, flush=True)
sys.stdin.readline()
os._exit(9)
"""


def test_a_dead_runs_files_are_removed_and_a_living_ones_are_not(tmp_path):
    path = tmp_path / "out.mp4"
    command = [sys.executable, "-c", DYING_RUN, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        partial = process.stdout.readline().strip()
        with pytest.raises(InputError, match="another run is writing"):
            write(path)
        assert partial in names(tmp_path)
        process.stdin.write("\n")
    assert partial in names(tmp_path)
    others = [
        partial_path_for(tmp_path / "out2.mp4"),
        partial_path_for(tmp_path / "out.mkv"),
        tmp_path / ".out.partial-notes.mp4",
    ]
    for other in others:
        other.write_bytes(b"")
    write(path)
    assert names(tmp_path) == sorted(["out.mp4", *(other.name for other in others)])


def test_files_of_another_machine_are_left_for_a_day(tmp_path, monkeypatch):
    """A network share need not pass on locks."""
    path = tmp_path / "out.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(atomic.socket, "gethostname", lambda: "another")
        fresh, old = partial_path_for(path), partial_path_for(path)
    for file in (fresh, old):
        file.write_bytes(b"")
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    write(path)
    assert names(tmp_path) == sorted([fresh.name, "out.mp4"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")
def test_a_link_in_the_way_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    partial = partial_path_for(tmp_path / "out.mp4")
    partial.symlink_to(victim)
    monkeypatch.setattr(atomic, "partial_path_for", lambda path: partial)
    monkeypatch.setattr(atomic, "_remove_stale", lambda path: None)
    with pytest.raises(InputError, match="must be writable, got 'File exists'"):
        write(tmp_path / "out.mp4")
    assert victim.read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")
@pytest.mark.parametrize("kind", ["same", "symbolic", "hard", "folder", "dots"])
@pytest.mark.parametrize("what", ["output", "preview"])
def test_neither_output_nor_preview_may_be_the_input(tmp_path, kind, what):
    source = tmp_path / "photo.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(source)
    content = source.read_bytes()
    other = tmp_path / "other.png"
    if kind == "same":
        other = source
    elif kind == "symbolic":
        other.symlink_to(source)
    elif kind == "hard":
        os.link(source, other)
    elif kind == "folder":
        (tmp_path / "link").symlink_to(tmp_path)
        other = tmp_path / "link" / "photo.png"
    else:
        (tmp_path / "sub").mkdir()
        other = tmp_path / "sub" / ".." / "photo.png"
    paths = {"output": tmp_path / "out.png", "preview": None, what: other}
    with pytest.raises(InputError, match=f"^{what} must not be the input file itself"):
        convert(source, paths["output"], BUILTIN, preview_path=paths["preview"], overwrite=True)
    assert source.read_bytes() == content
    assert not (tmp_path / "out.png").exists()


def test_a_film_is_safe_with_and_without_sound(make_video):
    for audio in ((), ("aac",)):
        source = make_video(frames=2, audio=audio)
        content = source.read_bytes()
        for keep_sound in (True, False):
            config = ConvertConfig(depth="builtin", audio=keep_sound)
            with pytest.raises(InputError, match="output must not be the input file itself"):
                convert(source, source, config, overwrite=True)
        assert source.read_bytes() == content


def test_a_folder_is_no_input(make_video, tmp_path):
    make_video(frames=2)
    with pytest.raises(InputError, match="input must be a video or photo, got the folder"):
        convert(tmp_path, tmp_path / "out.mp4", BUILTIN)


def test_depth_is_safe(make_video, tmp_path):
    source, depth = make_video(frames=2), make_video("depth.mp4", frames=2)
    content = depth.read_bytes()
    config = ConvertConfig(depth_file=str(depth))
    with pytest.raises(InputError, match="output must not be the depth file itself"):
        convert(source, depth, config, overwrite=True)
    assert depth.read_bytes() == content
    folder = tmp_path / "depth"
    folder.mkdir()
    for index in range(2):
        Image.fromarray(np.full((64, 96), 100 * index, np.uint8)).save(folder / f"{index}.png")
    config = ConvertConfig(depth_file=str(folder))
    for name in ("1.png", "2.png"):
        with pytest.raises(InputError, match="preview must not lie among the depth files in"):
            convert(source, tmp_path / "out.mp4", config, preview_path=folder / name, overwrite=True)
    assert names(folder) == ["0.png", "1.png"]


@pytest.mark.parametrize("preview", ["out.png", "sub/../out.png", "OUT.png"])
def test_the_preview_must_not_be_the_output(tmp_path, preview):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError, match="preview must not be the output file itself"):
        convert(tmp_path / "photo.png", tmp_path / "out.png", BUILTIN, preview_path=tmp_path / preview)


@pytest.mark.parametrize(
    ("preview", "message"),
    [
        ("sheet.bmp", "preview file must end in one of"),
        ("folder.png", "preview must be a file, got the folder"),
        ("file/sheet.png", "preview must be writable"),
        ("there.png", "preview must be a new file"),
    ],
)
def test_a_preview_that_cannot_be_written_is_found_before_the_work(make_video, tmp_path, preview, message):
    source = make_video(frames=2)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "there.png").write_bytes(b"")
    before = names(tmp_path)

    def work(*_):
        pytest.fail("the work must not begin")

    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out.mp4", BUILTIN, preview_path=tmp_path / preview, on_progress=work)
    assert names(tmp_path) == before


def test_a_photo_is_not_written_over_what_it_was_made_from(tmp_path):
    path = tmp_path / "photo.png"
    write_photo(path, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="must be a new file"):
        write_photo(path, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="must not be the input file itself"):
        write_photo(path, np.zeros((4, 4, 3), np.uint8), overwrite=True, inputs=[path])
    write_photo(path, np.full((5, 5, 3), 9, np.uint8), overwrite=True)
    assert Image.open(path).size == (5, 5)


def test_the_sheet_comes_though_the_film_ends_before_its_stated_middle(make_video, tmp_path):
    """At a variable frame rate the number of frames in a part is an estimate."""
    times = [*range(20), 125, 200]
    source = make_video(frames=22, pts=times, time_base=Fraction(1, 250), rate=25)
    config = ConvertConfig(depth="builtin", start=0.1)
    assert convert(source, tmp_path / "out.mp4", config, preview_path=tmp_path / "sheet.png") == 2
    assert Image.open(tmp_path / "sheet.png").width == 1280


def test_a_start_after_a_wrong_stated_end_is_taken(make_video, tmp_path):
    source = make_video(frames=22, pts=[*range(20), 1000, 1100], time_base=Fraction(1, 250), rate=25)
    assert convert(source, tmp_path / "out.mp4", ConvertConfig(depth="builtin", start=4.2)) == 1


def test_an_output_saved_under_another_name_is_reported(make_video, tmp_path):
    source, out, saved = make_video(frames=3), tmp_path / "out.mp4", []

    def take_the_name(done, total, packed):
        out.write_bytes(b"of others")

    convert(source, out, BUILTIN, on_progress=take_the_name, on_saved=saved.append)
    assert saved == [tmp_path / "out-2.mp4"]
    assert out.read_bytes() == b"of others"
    with av.open(str(saved[0])) as container:
        assert len(list(container.decode(video=0))) == 3
