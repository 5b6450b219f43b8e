"""Sidecars: what rows mean, what is refused, and that nothing of a scene reaches another one."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import Placement
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.pipeline.film.plan import Entry, FilmPlan, FilmScene, cut_segments
from spatialdreamer_core.pipeline.film.sidecar import parse_sidecar, settle, write_scenes

from .small_film import EACH, KEPT, SCENES, shown

BASE = Placement(2.5, 0.5, 0.0)
PLAN = FilmPlan(
    tuple(
        FilmScene(frames, first + frames, 1, None, (Entry(first, first, 0),))
        for first, frames in ((0, 100), (100, 50), (150, 100))
    )
)


def settled(text, fillers=("fast", "m2svid")):
    rows = parse_sidecar(text)
    return settle(rows, PLAN, [BASE] * 3, time_base=Fraction(1, 25), fillers=fillers)


def test_a_scene_and_a_time():
    first, second, third = settled("scene,start,end,divergence,convergence\n2,,,4,0.25\n,7,8,1,\n")
    assert first.placement(1.0) == BASE
    assert second.placement(4.0) == second.placement(5.9) == Placement(4.0, 0.25, 0.0)
    assert third.placement(6.9) == third.placement(8.0) == BASE
    assert third.placement(7.0) == third.placement(7.9) == Placement(1.0, 0.5, 0.0)


def test_values_go_over_smoothly_within_a_scene_and_jump_at_cuts():
    first, second, _ = settled("start,end,divergence,ease\n1,4,4.5,1\n4,5,6.5,1\n")
    assert first.placement(1.0) == BASE
    assert first.placement(1.5).divergence == pytest.approx(3.5)
    assert first.placement(1.25).divergence == pytest.approx(2.5 + 2 * 0.15625)  # 3 x² - 2 x³
    assert first.placement(2.0).divergence == first.placement(3.9).divergence == 4.5
    assert second.placement(4.0).divergence == 6.5  # at the cut
    assert second.placement(5.0).divergence == 6.5
    assert second.placement(5.5).divergence == pytest.approx(4.5)


def test_a_row_that_follows_before_the_last_one_is_reached_begins_where_values_are():
    first, _, _ = settled("start,end,divergence,ease\n1,1.5,4.5,1\n1.5,3,2.5,1\n")
    assert first.placement(1.4999).divergence == pytest.approx(first.placement(1.5).divergence, abs=0.01)


def test_json_says_the_same_as_csv():
    rows = [{"scene": 2, "divergence": 4, "skip": True}, {"start": "0:07", "end": 8, "convergence": None}]
    csv = parse_sidecar("scene,start,end,divergence,skip\n2,,,4,true\n,7,8,,\n")
    for text in (json.dumps(rows), json.dumps({"scenes": rows})):
        assert [replace(row, line=0) for row in parse_sidecar(text)] == [replace(row, line=0) for row in csv]


def test_fillers_and_skipped_scenes_get_segments_of_their_own():
    settings = settled("scene,filler,skip\n1,m2svid,\n3,,yes\n")
    assert [scene.kind for scene in settings] == [("m2svid", False), (None, False), ("", True)]
    assert [segment.scenes for segment in cut_segments(PLAN, [scene.kind for scene in settings])] == [
        (0,),
        (1,),
        (2,),
    ]
    assert [segment.scenes for segment in cut_segments(PLAN)] == [(0, 1, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene,divergence\n9,2\n", r"line 2: scene must be 1 to 3, as many as the film has, got 9"),
        ("scene,divergence\n2,2\n2,3\n", r"must not overlap, got 4\.000 s to 6\.000 s in lines 2 and 3"),
        ("scene,start,end\n2,,\n\n,5,7\n", r"must not overlap, got 5\.000 s to 6\.000 s in lines 2 and 4"),
        ("start,end,divergence\n20,30,2\n", r"line 2: start must lie in the film .* got 20\.000 s"),
        ("scene,start,end\n2,3.5,6\n", r"line 2: start must be that of its scene \(4\.000 s\), got 3\.500"),
        ("scene,divergence\n1,99\n", r"line 2: divergence must be between 0 and 20 .* got 99"),
        ("scene,divergence\n1,nan\n", r"line 2: divergence must be between 0 and 20 .* got nan"),
        ("scene,convergence\n1,near\n", r"line 2: convergence must be a number, got 'near'"),
        ("scene,filler\n1,magic\n", r"line 2: filler must be one of fast, m2svid, got 'magic'"),
        ("start,end,filler\n1,2,fast\n", r"line 2: filler and skip must be for whole scenes"),
        ("scene,skip\n1,maybe\n", r"line 2: skip must be yes or no, got 'maybe'"),
        ("scene,ease\n1,99\n", r"line 2: ease must be between 0 and 60 \(seconds\), got 99"),
        ("scene,strength\n1,2\n", r"line 1: columns must be some of scene, .* got 'strength'"),
        ("scene,divergence\n1,2,3\n", r"line 2: a row must have at most 2 values, got 3"),
        ("start,divergence\n1,2\n", r"line 2: a row must name a scene, or a start and an end"),
        ("start,end\n5,4\n", r"line 2: end must be later than start \(5 s\), got 4 s"),
        ("start,end\nsoon,4\n", r"line 2: start must be seconds, m:s or h:m:s, got 'soon'"),
        ("scene\ntwo\n", r"line 2: scene must be a number, or two as 3-5, got 'two'"),
        ("scene\n3-2\n", r"line 2: scene must be at least 1, and of two the less first, got '3-2'"),
        ("[1, 2]", r"must be a list of objects, or \{\"scenes\": list\}, if it is JSON"),
    ],
)
def test_what_is_refused_names_line_and_value(text, message):
    with pytest.raises(InputError, match=message):
        settled(text)


def test_a_written_sidecar_changes_nothing_until_it_is_edited():
    text = write_scenes(PLAN, [{}] * 3, time_base=Fraction(1, 25))
    assert text.splitlines()[:2] == [
        "scene,start,end,frames,divergence,convergence,foreground_scale,filler,skip,ease",
        "1,0.000,4.000,100,,,,,no,0",
    ]
    assert [scene.placement(scene.keys[0].time) for scene in settled(text)] == [BASE] * 3


def test_one_scene_changed_leaves_the_others_bit_for_bit(film, tmp_path):
    sidecar = tmp_path / "sidecar.csv"
    films = {}
    for name, row in (("plain", "2,2.5,"), ("strong", "2,6,"), ("flat", "2,,yes")):
        sidecar.write_text(f"scene,divergence,skip\n{row}\n")
        convert(film, tmp_path / f"{name}.mp4", replace(KEPT, sidecar=sidecar), rule=EACH)
        films[name] = [
            np.frombuffer(pixels, np.uint8).reshape(48, 128, 3)
            for _, pixels in shown(tmp_path / f"{name}.mp4")[0]
        ]
    convert(film, tmp_path / "none.mp4", KEPT, rule=EACH)
    assert [pixels for _, pixels in shown(tmp_path / "none.mp4")[0]] == [
        frame.tobytes() for frame in films["plain"]
    ]
    second = range(SCENES[0], SCENES[0] + SCENES[1])
    for index, (plain, strong, flat) in enumerate(zip(*films.values(), strict=True)):
        same = [np.array_equal(plain, other) for other in (strong, flat)]
        assert same == ([False, False] if index in second else [True, True]), index
        if index in second:
            assert np.array_equal(flat[:, :64], flat[:, 64:])
            assert np.array_equal(strong[:, :64], plain[:, :64])


def test_a_sidecar_needs_segments():
    with pytest.raises(InputError, match="resume must be auto or on with a sidecar, got off"):
        ConvertConfig(sidecar="scenes.csv", resume="off").check()
