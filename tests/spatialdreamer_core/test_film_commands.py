"""The command `scenes`, and films and many files on the command line."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from spatialdreamer_core.cli import main

from .pipeline.film.small_film import SCENES, film, parts, shown  # noqa: F401


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder of three photos and thirty files that are no videos, though their names say so."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        cv2.imwrite(str(folder / f"photo_{number}.png"), np.full((48, 64, 3), 50 * number, np.uint8))
    for number in range(30):
        (folder / f"no_video_{number}.mp4").write_text("This is a text.")
    return folder


def test_scenes_are_listed_for_convert(film, tmp_path, capsys):  # noqa: F811
    sidecar = tmp_path / "scenes.csv"
    command = ["scenes", str(film), "-o", str(sidecar), "--quiet"]
    assert main([*command, "--divergence", "3"]) == 0
    lines = sidecar.read_text().splitlines()
    assert [int(line.split(",")[3]) for line in lines[1:]] == list(SCENES)
    assert all(line.split(",")[4] == "3" for line in lines[1:])
    assert main(command) == 2
    assert "sidecar must be a new file" in capsys.readouterr().err


def test_scenes_are_listed_with_the_values_that_are_chosen_for_them(film, tmp_path, capsys):  # noqa: F811
    """What convert would choose by itself, to be changed by hand; with it the film is the same."""
    sidecar, common = tmp_path / "scenes.csv", ["--depth", "builtin", "--quiet", "--convergence"]
    assert main(["scenes", str(film), "-o", str(sidecar), *common, "auto", "--device-profile", "quest"]) == 0
    rows = [line.split(",") for line in sidecar.read_text().splitlines()[1:]]
    assert len({row[5] for row in rows}) == len(SCENES), "each has its own convergence"
    assert "scene from 0.00 s: divergence" in capsys.readouterr().err
    assert float(rows[0][4]) <= 1.5
    for name, more in (("out", ["--sidecar", str(sidecar)]), ("auto", ["--convergence", "auto"])):
        command = ["convert", str(film), "-o", str(tmp_path / f"{name}.mp4"), "--depth", "builtin", "--quiet"]
        assert main([*command, "--device-profile", "quest", "--crf", "0", *more]) == 0
    out, auto = (
        np.array([np.frombuffer(picture, np.uint8) for _, picture in shown(tmp_path / f"{name}.mp4")[0]])
        for name in ("out", "auto")
    )
    assert np.abs(out.astype(int) - auto).mean() < 0.1, "values are written with four digits"


def test_a_sidecar_names_fillers_that_have_options_of_their_own(film, tmp_path, capsys):  # noqa: F811
    sidecar, out = tmp_path / "scenes.csv", tmp_path / "out.mp4"
    sidecar.write_text("scene,filler\n2,m2svid\n")
    command = ["convert", str(film), "-o", str(out), "--depth", "builtin", "--quiet", "--sidecar"]
    assert main([*command, str(sidecar), "--checkpoint", str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err
    assert parts(tmp_path).is_dir()  # the first scene is finished
    sidecar.write_text("scene,filler\n2,fast\n")
    assert main([*command, str(sidecar)]) == 2
    said = capsys.readouterr().err
    assert "settings of a film that was begun must stay the same, got" in said
    assert "sidecar" in said
    assert main([*command, str(sidecar), "--force"]) == 0
    assert not parts(tmp_path).exists()


def test_many_files_of_which_some_are_no_videos(clips, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["convert", str(clips), "-o", str(out), "--depth", "builtin", "--quiet"]
    assert main(command) == 4
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("spatialdreamer: ")]
    assert [line.split(":")[1].strip() for line in lines] == [
        str(clips / f"no_video_{number}.mp4") for number in range(30)
    ]
    assert said.out.splitlines()[-1] == "3 of 33 files are done"
    assert len(list(out.iterdir())) == 3
    times = [path.stat().st_mtime_ns for path in sorted(out.iterdir())]
    assert main(command) == 4
    assert capsys.readouterr().out.count("is there already, and stays as it is") == 3
    assert times == [path.stat().st_mtime_ns for path in sorted(out.iterdir())]


def test_a_list_of_files_and_what_many_files_cannot_have(clips, tmp_path, capsys):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{clips / 'photo_1.png'}\n\n{clips / 'photo_2.png'}\n")
    command = ["convert", str(listed), "--depth", "builtin", "--quiet", "-o"]
    assert main([*command, f"{tmp_path / 'out'}/"]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    for arguments, message in (
        ([str(tmp_path / "out.mp4")], "output must be a folder for many files"),
        ([str(tmp_path), "--sidecar", "a.csv"], "sidecar must be a file for one film"),
        ([str(tmp_path), "--preview", "a.png"], "preview must be a file for one film"),
    ):
        assert main([*command, *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["convert", str(clips), "-o", str(clips), "--quiet"]) == 2
    assert "output must be another folder" in capsys.readouterr().err


def test_keyframes_are_photos_of_the_film(film, tmp_path, capsys):  # noqa: F811
    command = ["convert", str(film), "-o", f"{tmp_path}/", "--depth", "builtin", "--quiet"]
    assert main([*command, "--keyframes", "0.4"]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"clip_0-00-0{time}_LRF_Full_SBS.jpg" for time in ("0.0", "0.4", "0.8")]
    assert cv2.imread(str(tmp_path / names[0])).shape == (48, 128, 3)
    assert main([*command, "--keyframes", "0"]) == 2
    assert "keyframes must be between 0.1 and 3600" in capsys.readouterr().err


def test_keyframes_hold_both_views_where_a_film_shows_them_in_turn(film, tmp_path):  # noqa: F811
    command = ["convert", str(film), "-o", f"{tmp_path}/", "--depth", "builtin", "--quiet"]
    assert main([*command, "--keyframes", "10", "--format", "frame_sequential"]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name == "clip_0-00-00.0_LRF_Full_SBS.jpg"
    assert cv2.imread(str(path)).shape == (48, 128, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [("clip_vr180.mp4", r"flat picture.*\(vr180\)"), ("clip_LRF_Full_SBS.mp4", "named like a stereo pair")],
)
def test_keyframes_ask_what_a_conversion_asks(film, tmp_path, capsys, name, message):  # noqa: F811
    clip = tmp_path / name
    clip.write_bytes(film.read_bytes())
    command = ["convert", str(clip), "-o", f"{tmp_path}/", "--depth", "builtin", "--keyframes", "10"]
    main([*command, "--quiet"])
    assert re.search(message, capsys.readouterr().err)
    assert main([*command, "--quiet", "--projection", "flat"]) == 0


def test_no_filler_is_loaded_for_a_format_that_shows_no_filled_view(film, tmp_path):  # noqa: F811
    command = ["convert", str(film), "-o", str(tmp_path / "out.mp4"), "--depth", "builtin", "--quiet"]
    asked = ["--filler", "m2svid", "--checkpoint", "missing.pt"]
    assert main([*command, *asked, "--format", "rgbd"]) == 0
    assert main([*command, *asked, "--overwrite"]) == 2


def test_a_dry_run_says_what_the_work_takes(film, tmp_path, capsys):  # noqa: F811
    command = ["convert", str(film), "-o", f"{tmp_path}/", "--depth", "builtin", "--quiet", "--dry-run"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"clip_LRF_Full_SBS.mp4: \d+ frames will take about 0 min \d+ s \([\d.]+ frames/s\), [\d.]+ [MG]B of "
        r"memory, and on the disk 1 MB meanwhile and 1 MB in the end; measured on 24 frames",
        said,
    ), said
    assert list(tmp_path.iterdir()) == []
