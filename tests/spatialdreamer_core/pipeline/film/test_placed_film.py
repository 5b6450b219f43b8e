"""Films that are kept in segments have their scenes' strength and place, too, chosen once for the film."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from spatialdreamer_core.pipeline import convert

from ...red_is_near import RedIsNear
from .small_film import EACH, KEPT, SCENES, Killed, kill_at, shown

AUTO = replace(KEPT, auto_convergence=True, divergence=6.0)
LIMITED = replace(KEPT, comfort=True, max_crossed=0.4, max_uncrossed=0.8, divergence=6.0)


def lines(caplog):
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith("scene from")]


@pytest.mark.parametrize("config", [AUTO, LIMITED], ids=["auto", "limited"])
@pytest.mark.parametrize("depth", ["builtin", "model", "file"])
def test_segments_are_placed_as_the_film_in_one_go(film, tmp_path, caplog, config, depth):
    caplog.set_level(logging.INFO, logger="spatialdreamer_core")
    model = RedIsNear() if depth == "model" else None
    if depth == "file":
        maps = np.random.default_rng(0).random((sum(SCENES), 6, 8)).astype(np.float32)
        np.save(tmp_path / "depth.npy", maps)
        config = replace(config, depth_file=str(tmp_path / "depth.npy"), depth_kind="normalised")
    convert(film, tmp_path / "out.mp4", config, rule=EACH, depth_model=model)
    kept = lines(caplog)
    caplog.clear()
    convert(film, tmp_path / "once.mp4", replace(config, resume="off"), depth_model=model)
    assert len(kept) == len(SCENES)
    assert kept == lines(caplog)
    assert shown(tmp_path / "out.mp4")[0] == shown(tmp_path / "once.mp4")[0]


def test_a_run_that_goes_on_knows_what_was_measured(film, tmp_path, caplog):
    out, passes = tmp_path / "out.mp4", []
    with pytest.raises(Killed):
        convert(film, out, AUTO, rule=EACH, on_progress=kill_at(9))
    convert(film, out, AUTO, rule=EACH, on_first_pass=lambda *now: passes.append(now))
    assert passes == []
    convert(film, tmp_path / "whole.mp4", AUTO, rule=EACH)
    assert shown(out) == shown(tmp_path / "whole.mp4")


def test_a_sidecar_has_the_last_word(film, tmp_path, caplog):
    """Its scene is converted as by hand, the others stay automatic."""
    sidecar = tmp_path / "scenes.csv"
    sidecar.write_text("scene,convergence\n2,0.1\n")
    convert(film, tmp_path / "out.mp4", replace(AUTO, sidecar=str(sidecar)), rule=EACH)
    convert(film, tmp_path / "auto.mp4", AUTO, rule=EACH)
    by_hand = replace(AUTO, auto_convergence=False, convergence=0.1)
    convert(film, tmp_path / "by_hand.mp4", by_hand, rule=EACH)
    got, auto, expected = (shown(tmp_path / f"{name}.mp4")[0] for name in ("out", "auto", "by_hand"))
    first, second = SCENES[0], SCENES[0] + SCENES[1]
    assert got[:first] == auto[:first]
    assert got[first:second] == expected[first:second]
    assert got[first:second] != auto[first:second]
    assert got[second:] == auto[second:]
