"""The frame matrix with a trained model in its smallest form: trained, sampled and measured for real."""

from __future__ import annotations

import json
import math

import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")


@pytest.mark.slow
def test_a_model_is_trained_and_each_method_reaches_table_and_file(tmp_path, monkeypatch, capsys):
    from benchmarks import frame_matrix, frame_matrix_trained, report

    monkeypatch.setattr(report, "_ROOT", tmp_path)
    sizes = ["--steps", "2", "--videos", "4", "--clips", "1", "--seeds", "1"]
    frame_matrix.main(["--trained", *sizes, "--folder", str(tmp_path / "kept")])
    file = tmp_path / "benchmarks" / "results" / "frame_matrix_trained.json"
    written, table = json.loads(file.read_text(encoding="utf-8")), capsys.readouterr().out
    metrics = written["metrics"]
    assert all(math.isfinite(value) for value in metrics.values())
    assert (metrics["steps"], metrics["videos"], metrics["clips"], metrics["seeds"]) == (2, 4, 1, 1)
    for name in frame_matrix_trained.METHODS:
        assert f"\n{name} " in table
    figures = [value for name, value in metrics.items() if name.endswith("_psnr")]
    assert len(figures) == len(frame_matrix_trained.METHODS)
    assert (tmp_path / "kept" / "samples_0.png").is_file()


def test_a_sideways_clip_is_one_moment_and_scenes_differ_by_their_number():
    from benchmarks.frame_matrix_clips import HEIGHT, WIDTH, make_scene, render_video

    over_time, sideways = (render_video(10, sideways=sideways) for sideways in (False, True))
    assert over_time.shape == sideways.shape
    assert over_time.shape[1:] == (3, HEIGHT, WIDTH)
    assert torch.equal(over_time[0], sideways[0])
    assert not torch.equal(over_time[1:], sideways[1:])
    assert make_scene(10) == make_scene(10)
    assert make_scene(10).layers != make_scene(22).layers, "two scenes of one kind"


def test_the_truth_of_a_held_out_clip_is_what_its_warp_shows_outside_the_holes():
    from benchmarks.frame_matrix_clips import render_held_out
    from benchmarks.frame_matrix_trained import measure

    clip = render_held_out(0)
    known = (clip.hole < 0.5).expand_as(clip.warped)
    error = (clip.warped - clip.truth)[known].square().mean()
    assert -10 * float(error.log10()) > 20, "no more than resampling and the edges of objects differ"
    perfect = measure([clip], [clip.truth + 1e-4])
    assert perfect["psnr"] == pytest.approx(80, abs=0.1)
    assert perfect["ssim"] == pytest.approx(1, abs=1e-3)
    assert perfect["texture"] == pytest.approx(1, abs=1e-3)
