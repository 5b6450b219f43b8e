"""The commands `dataset build`, `check` and `show`."""

import shutil

import pytest
from PIL import Image

from spatialdreamer_core.cli import main

OPTIONS = "--frames 4 --depth builtin --least-sharpness 0 --least-flow-confidence 0 --workers 1".split()


def build(film, folder, *options):
    return main(["dataset", "build", str(film), "-o", str(folder), "--quiet", *OPTIONS, *options])


def test_build_check_and_show(tmp_path, film, capsys):
    folder, sheet = tmp_path / "made", tmp_path / "sheet.png"
    assert build(film, folder) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: 4 clips (2 held out) of 3 scenes of 1 video",
        "scenes without a clip: 1 too short",
        "clips left out: 1 too short",
    ]
    assert Image.open(folder / "summary.jpg").size[0] > 900
    assert main(["dataset", "check", str(folder), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{folder}: 4 of 4 clips are whole\n"
    assert main(["dataset", "show", str(folder), "-o", str(sheet), "--clips", "2"]) == 0
    with Image.open(sheet) as two, Image.open(folder / "summary.jpg") as four:
        assert two.size == (four.size[0], four.size[1] // 2)
    assert main(["dataset", "show", str(folder), "-o", str(sheet)]) == 2
    assert "exists; choose another name or overwrite it" in capsys.readouterr().err


def test_check_names_what_is_damaged(tmp_path, dataset, capsys):
    folder = shutil.copytree(dataset, tmp_path / "copy")
    first, second, *_ = sorted((folder / "clips").glob("*.mkv"))
    first.unlink()
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    assert main(["dataset", "check", str(folder), "--quiet"]) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"{first.stem}: its file is missing",
        f"{second.stem}: its checksum is another one",
        f"{folder}: 2 of 4 clips are whole",
        "run `dataset build` again with the same videos and settings to make the others anew",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "frames must be between 1 and 64"),
        (["--divergence-low", "5"], r"divergence_low must not be above divergence_high (4), got 5"),
        (["--way-back-low", "2"], r"way_back_low must be between 0.25 and 1 (of the disparity), got 2"),
        (["--way-back-high", "5"], r"way_back_high must be between 1 and 4 (of the disparity), got 5"),
        (["--depth", "crystal_ball"], "depth must be one of builtin, auto"),
        (["--steps", "3"], "steps must go with the filler"),
        (["--held-out", "1"], "held_out must be between 0 and 0.9, got 1"),
    ],
)
def test_mistakes_give_one_line(tmp_path, film, capsys, options, message):
    assert build(film, tmp_path / "made", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_a_path_that_is_not_there(tmp_path, capsys):
    assert build(tmp_path / "none.mp4", tmp_path / "made") == 2
    assert "VIDEO must be an existing file or folder" in capsys.readouterr().err
    for command in (["check"], ["show", "-o", str(tmp_path / "sheet.jpg")]):
        assert main(["dataset", *command, str(tmp_path)]) == 2
        assert "that `dataset build` has finished" in capsys.readouterr().err
