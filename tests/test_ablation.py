"""The ablation in its smallest form, all variants trained and measured for real."""

from __future__ import annotations

import json
import math

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")


@pytest.mark.slow
def test_every_variant_trains_and_its_figures_reach_table_and_file(tmp_path, monkeypatch, capsys):
    from benchmarks import ablation, report

    monkeypatch.setattr(report, "_ROOT", tmp_path)
    ablation.main(["--steps", "3", "2", "--seeds", "1", "--clips", "2", "--sampling-steps", "2"])
    written = json.loads((tmp_path / "benchmarks" / "results" / "ablation.json").read_text(encoding="utf-8"))
    metrics, table = written["metrics"], capsys.readouterr().out
    assert all(math.isfinite(value) for value in metrics.values())
    assert (metrics["seeds"], metrics["stage_1_steps"], metrics["stage_2_steps"]) == (1, 3, 2)
    assert (metrics["sampled_clips"], metrics["sampling_steps"]) == (2, 2)
    assert "held out: " in written["notes"]
    for name, variant in ablation.VARIANTS.items():
        assert f"{variant.stage}      {variant.label}" in table
        for figure in ("psnr", "ssim", "hole_psnr", "warping_error"):
            assert f"{name}_{figure}" in metrics
    figures = {name: metrics[f"{name}_hole_psnr"] for name in ablation.VARIANTS}
    assert len(set(figures.values())) == len(figures), "each variant is another network"


def test_runs_of_stage_1_are_shared_where_they_are_equal():
    from benchmarks.ablation import VARIANTS

    firsts = [variant.first for variant in VARIANTS.values()]
    assert len(set(firsts)) == 4
    assert VARIANTS["full"].first == VARIANTS["no_til"].first == VARIANTS["deviation"].first


def test_as_many_steps_are_made_as_fit_into_the_time_left():
    from benchmarks.ablation import choose_steps

    assert choose_steps(300.0, (12, 9), (0.05, 0.1)) == (333, 111)  # 12 · 333 · .05 + 9 · 111 · .1 = 299.7
    assert choose_steps(-10.0, (4, 3), (1.0, 1.0)) == (24, 8)


def test_synthetic_pairs_differ_in_their_masks_alone():
    from benchmarks.ablation_pairs import FRAMES, HEIGHT, SCENES, WIDTH, render_synthetic

    scene = SCENES["translate_right"]
    refined, raw = (render_synthetic(scene, 0, 2, refined=refined) for refined in (True, False))
    assert refined.target.shape == (FRAMES, 3, HEIGHT, WIDTH)
    assert (refined.target == raw.target).all()
    assert (refined.reference == raw.reference).all()
    assert (refined.hole >= raw.hole).all()
    assert 0.01 < float(raw.hole.mean()) < 0.3
