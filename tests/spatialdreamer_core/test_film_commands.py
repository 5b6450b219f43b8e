"""The command `scenes`, and sidecars on the command line."""

from __future__ import annotations

from spatialdreamer_core.cli import main

from .pipeline.film.test_film import SCENES, film, parts  # noqa: F401


def test_scenes_are_listed_for_convert(film, tmp_path, capsys):  # noqa: F811
    sidecar = tmp_path / "scenes.csv"
    command = ["scenes", str(film), "-o", str(sidecar), "--quiet"]
    assert main([*command, "--divergence", "3"]) == 0
    lines = sidecar.read_text().splitlines()
    assert [int(line.split(",")[3]) for line in lines[1:]] == list(SCENES)
    assert all(line.split(",")[4] == "3" for line in lines[1:])
    assert main(command) == 2
    assert "sidecar must be a new file" in capsys.readouterr().err


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
