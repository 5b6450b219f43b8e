"""Films in segments: a run that was ended goes on, and its film is that of a run that was not."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.fill import FastFill
from spatialdreamer_core.locking import FileLock
from spatialdreamer_core.pipeline import convert
from spatialdreamer_core.pipeline.film.convert import is_kept
from spatialdreamer_core.pipeline.film.plan import SegmentRule
from spatialdreamer_core.video.output import OutputFile

from ...red_is_near import RedIsNear
from ...small_videos import write_tone
from .small_film import EACH, KEPT, SCENES, Killed, kill_at, parts, shown


class Redrawing(FastFill):
    """A filler that works as slowly as a diffusion model."""

    refines_holes = True


@pytest.fixture(scope="module")
def whole(film):
    """The film as it comes without interruption."""
    path = film.with_name("whole.mp4")
    assert convert(film, path, KEPT, rule=EACH) == sum(SCENES)
    return shown(path)


def test_a_film_of_segments_is_the_film_made_in_one_go(film, whole, tmp_path):
    convert(film, tmp_path / "once.mp4", replace(KEPT, resume="off"))
    assert shown(tmp_path / "once.mp4") == whole
    assert sorted(os.listdir(film.parent)) == ["clip.mp4", "whole.mp4"]


@pytest.mark.parametrize("frame", [1, 7, 8, 24])
def test_killed_and_run_again_gives_the_same_film(film, whole, tmp_path, frame):
    out = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, on_progress=kill_at(frame))
    assert not out.exists()
    seen = []
    convert(film, out, KEPT, rule=EACH, on_progress=lambda done, total, packed: seen.append(done))
    assert shown(out) == whole
    begun = max(sum(SCENES[:number]) for number in range(4) if sum(SCENES[:number]) < max(frame, 2))
    assert seen[0] == begun + 1  # no more than the segment is done again
    assert not parts(tmp_path).exists()


@pytest.mark.parametrize("depth", ["builtin", "model", "file"])
def test_each_scene_gets_its_place_by_itself(film, tmp_path, depth):
    np.save(tmp_path / "depth.npy", np.random.default_rng(0).random((sum(SCENES), 12, 16), np.float32))
    config = replace(KEPT, auto_convergence=True, comfort=True, max_crossed=1.0)
    config = replace(config, depth_file=tmp_path / "depth.npy") if depth == "file" else config
    model = RedIsNear() if depth == "model" else None
    for name, resume in (("once.mp4", "off"), ("out.mp4", "on")):
        convert(film, tmp_path / name, replace(config, resume=resume), rule=EACH, depth_model=model)
    assert shown(tmp_path / "out.mp4") == shown(tmp_path / "once.mp4")


def test_two_pictures_a_frame_stay_in_their_order(film, tmp_path):
    config = replace(KEPT, format="frame_sequential", codec="libx264")
    for name, resume in (("once.mkv", "off"), ("out.mkv", "on")):
        assert convert(film, tmp_path / name, replace(config, resume=resume), rule=EACH) == 2 * sum(SCENES)
    frames, once = (shown(tmp_path / name)[0] for name in ("out.mkv", "once.mkv"))
    assert [pixels for _, pixels in frames] == [pixels for _, pixels in once]
    assert [time for time, _ in frames[::2]] == [time for time, _ in once[::2]]
    differ = [index for index, (one, other) in enumerate(zip(frames, once, strict=True)) if one != other]
    assert set(differ) <= {2 * sum(SCENES[:number]) - 1 for number in (1, 2, 3)}  # before a cut, and the end
    assert [time for time, _ in frames] == sorted({time for time, _ in frames})


@pytest.mark.parametrize(("codec", "suffix"), [("libx265", ".mov"), ("libx264", ".mkv")])
def test_codecs_and_containers_join(film, tmp_path, codec, suffix):
    config = replace(KEPT, codec=codec)
    out, once = tmp_path / f"out{suffix}", tmp_path / f"once{suffix}"
    convert(film, out, config, rule=EACH)
    convert(film, once, replace(config, resume="off"))
    assert [time for time, _ in shown(out)[0]] == [time for time, _ in shown(once)[0]]
    with av.open(str(out)) as container, av.open(str(once)) as other:
        for name in ("codec_tag", "pix_fmt", "sample_aspect_ratio", "color_range", "colorspace"):
            values = (getattr(each.streams.video[0].codec_context, name) for each in (container, other))
            assert next(values) == next(values), name
        times = [packet.dts for packet in container.demux(video=0) if packet.dts is not None]
        assert times == sorted(set(times))


def test_a_long_scene_is_cut_into_parts_that_come_out_alike(film, tmp_path):
    rule = SegmentRule(least=2, most=4, run_in=3)
    convert(film, tmp_path / "whole.mp4", KEPT, rule=rule)
    out = tmp_path / "out.mp4"
    for frame in (6, 14):
        with pytest.raises(Killed):
            convert(film, out, KEPT, rule=rule, on_progress=kill_at(frame))
    convert(film, out, KEPT, rule=rule)
    assert shown(out) == shown(tmp_path / "whole.mp4")
    assert len(shown(out)[0]) == sum(SCENES)


@pytest.mark.slow
def test_a_scene_longer_than_a_minute_is_the_same_after_a_kill_in_its_second_part(tmp_path):
    rule, frames = SegmentRule(), SegmentRule().most + SegmentRule().least + 10
    film, out = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    wall = cv2.resize(np.random.default_rng(0).integers(20, 90, (6, 8, 3), np.uint8), (48, 32))
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "4"})
        stream.width, stream.height = 48, 32
        sound = container.add_stream("aac", rate=48000)
        for index in range(frames):
            image, left = wall.copy(), round(16 + 14 * np.sin(index / 20))
            image[8:28, left : left + 10] = (230, 210, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
        write_tone(container, sound, seconds=1.0, delay=0.0)
    config = replace(KEPT, resume="auto")  # it is kept for its length
    convert(film, tmp_path / "whole.mp4", config)
    with pytest.raises(Killed):
        convert(film, out, config, on_progress=kill_at(rule.most + 100))
    plan = json.loads((parts(tmp_path) / "manifest.json").read_text())["plan"]
    assert [entry["frame"] for entry in plan["scenes"][0]["entries"]] == [0, rule.most - rule.run_in]
    seen = []
    convert(film, out, config, on_progress=lambda done, *_: seen.append(done))
    assert seen[0] == rule.most + 1
    assert len(shown(out)[0]) == frames
    assert shown(out) == shown(tmp_path / "whole.mp4")


def test_depth_of_a_model_is_measured_once(film, tmp_path):
    config, out = replace(KEPT, depth="auto"), tmp_path / "out.mp4"
    convert(film, tmp_path / "once.mp4", replace(config, resume="off"), depth_model=RedIsNear())
    with pytest.raises(Killed):
        convert(film, out, config, rule=EACH, depth_model=RedIsNear(), on_progress=kill_at(9))
    model, passes = RedIsNear(), []
    convert(film, out, config, rule=EACH, depth_model=model, on_first_pass=lambda *now: passes.append(now))
    assert shown(out) == shown(tmp_path / "once.mp4")
    assert passes == []
    assert model.pictures == SCENES[1] + SCENES[2]


def test_parts_of_a_long_scene_begin_with_their_own_depth(film, tmp_path):
    rule, config = SegmentRule(least=2, most=4, run_in=3), replace(KEPT, depth="auto")
    with pytest.raises(Killed):
        convert(
            film, tmp_path / "out.mp4", config, rule=rule, depth_model=RedIsNear(), on_progress=kill_at(1)
        )
    plan = json.loads((parts(tmp_path) / "manifest.json").read_text())["plan"]
    assert [len(scene["entries"]) for scene in plan["scenes"]] == [2, 2, 2]
    assert [entry["frame"] for scene in plan["scenes"] for entry in scene["entries"]] == [0, 1, 7, 8, 16, 17]
    for scene in plan["scenes"]:
        low, high = scene["entries"][1]["depth_range"]
        assert low < high


def test_given_depth_goes_with_its_frames(film, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "depth.npy", rng.random((sum(SCENES), 12, 16), np.float32))
    config, out = replace(KEPT, depth_file=tmp_path / "depth.npy", start=0.1), tmp_path / "out.mp4"
    convert(film, tmp_path / "once.mp4", replace(config, resume="off"))
    with pytest.raises(Killed):
        convert(film, out, config, rule=EACH, on_progress=kill_at(9))
    convert(film, out, config, rule=EACH)
    assert shown(out) == shown(tmp_path / "once.mp4")


def test_changed_settings_are_refused_by_name(film, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, on_progress=kill_at(9))
    other = replace(KEPT, divergence=3.0)
    with pytest.raises(InputError, match=r"settings .* divergence 3\.0 instead of 2\.\d+; .*--force"):
        convert(film, out, other, rule=EACH)
    with pytest.raises(Killed):
        convert(film, out, other, rule=EACH, force=True, on_progress=kill_at(1))


def test_where_nothing_is_finished_other_settings_begin_anew(film, whole, tmp_path):
    out, sidecar = tmp_path / "out.mp4", tmp_path / "scenes.csv"
    sidecar.write_text("scene,divergence\n9,1\n")
    with pytest.raises(InputError, match="scene must be 1 to 3"):
        convert(film, out, replace(KEPT, sidecar=sidecar), rule=EACH)
    sidecar.write_text("scene,divergence\n2,2.5\n")
    convert(film, out, replace(KEPT, sidecar=sidecar), rule=EACH)
    assert shown(out) == whole


def test_a_changed_source_is_refused(film, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, on_progress=kill_at(9))
    changed = film.stat().st_mtime_ns
    os.utime(film, ns=(1, 1))
    with pytest.raises(InputError, match=r"the input of a film .* changed_ns 1 instead of"):
        convert(film, out, KEPT, rule=EACH)
    os.utime(film, ns=(changed, changed))


@pytest.mark.parametrize("damage", ["flip", "record"])
def test_a_damaged_segment_is_made_again(film, whole, tmp_path, damage):
    out = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, on_progress=kill_at(20))
    segment = parts(tmp_path) / "segment-00000.nut"
    content = bytearray(segment.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
    else:
        segment.with_suffix(".json").write_text("{")
    seen = []
    convert(film, out, KEPT, rule=EACH, on_progress=lambda done, *_: seen.append(done))
    assert shown(out) == whole
    assert seen.count(SCENES[1] + 1) == 1  # the first scene again, after the second one


def test_a_second_run_on_the_same_output_is_refused(film, tmp_path):
    out = tmp_path / "out.mp4"
    parts(tmp_path).mkdir()
    lock = FileLock(parts(tmp_path) / "lock")
    assert lock.acquire()
    with pytest.raises(InputError, match="one run at a time"):
        convert(film, out, KEPT, rule=EACH)
    lock.release()


def test_a_full_disk_keeps_what_is_done_and_says_what_is_needed(film, whole, tmp_path, monkeypatch):
    out = tmp_path / "out.mp4"

    def commit(self):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:

        def fill_disk(done, total, packed):
            if done == SCENES[0] + 1:
                patch.setattr(OutputFile, "commit", commit)

        with pytest.raises(InputError, match=r"room .* free about \d+ MB.* 7 of 24 frames"):
            convert(film, out, KEPT, rule=EACH, on_progress=fill_disk)
    convert(film, out, KEPT, rule=EACH)
    assert shown(out) == whole


def test_an_unreadable_manifest_is_no_reason_to_throw_work_away(film, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, on_progress=kill_at(9))
    manifest = parts(tmp_path) / "manifest.json"
    assert [scene["frames"] for scene in json.loads(manifest.read_text())["plan"]["scenes"]] == list(SCENES)
    manifest.write_text("{")
    with pytest.raises(InputError, match=r"manifest .* must be readable.*--force"):
        convert(film, out, KEPT, rule=EACH)


def test_the_contact_sheet_of_an_earlier_run_is_kept(film, tmp_path):
    out, sheet = tmp_path / "out.mp4", tmp_path / "sheet.png"
    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, on_progress=kill_at(20), preview_path=sheet)
    assert not sheet.exists()
    convert(film, out, KEPT, rule=EACH, preview_path=sheet)
    convert(film, tmp_path / "whole.mp4", KEPT, rule=EACH, preview_path=tmp_path / "whole.png")
    assert np.array_equal(cv2.imread(str(sheet)), cv2.imread(str(tmp_path / "whole.png")))


def test_only_long_films_go_this_way_by_themselves(film, tmp_path):
    def look(done, total, packed):
        seen.append(parts(tmp_path).exists())

    seen = []
    convert(film, tmp_path / "out.mp4", replace(KEPT, resume="auto"), on_progress=look)
    assert seen == [False] * sum(SCENES)
    for seconds, frames, filler, kept in (
        (61, 1500, FastFill(), True),
        (59, 1500, FastFill(), False),
        (59, 1500, Redrawing(), True),
        (9, 200, Redrawing(), False),
        (None, None, FastFill(), True),
    ):
        assert is_kept(replace(KEPT, resume="auto"), seconds=seconds, frames=frames, filler=filler) == kept


def test_ctrl_c_says_what_is_kept(film, tmp_path):
    def stop(done, total, packed):
        if done == SCENES[0] + 2:
            raise KeyboardInterrupt("interrupted by SIGINT; no partial file was left")

    with pytest.raises(KeyboardInterrupt, match="SIGINT; 7 of 24 frames are finished and stay"):
        convert(film, tmp_path / "out.mp4", KEPT, rule=EACH, on_progress=stop)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mkv")])
def test_a_film_of_segments_says_how_it_is_packed(film, tmp_path, codec, suffix):
    out = tmp_path / f"out{suffix}"
    convert(film, out, replace(KEPT, codec=codec), rule=EACH)  # the writer compares what it was to say
    with av.open(str(out)) as container:
        keys = [packet for packet in container.demux(video=0) if packet.is_keyframe]
    assert len(keys) >= len(SCENES)
