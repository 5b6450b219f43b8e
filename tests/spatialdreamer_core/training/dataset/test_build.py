"""Building: what becomes of videos, interruptions, and everything that can be wrong with an input."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.fill import render_pair
from spatialdreamer_core.locking import FileLock
from spatialdreamer_core.pipeline import FillerConfig
from spatialdreamer_core.training.dataset import build_dataset, open_dataset, scene_clips
from spatialdreamer_core.training.dataset.build import list_videos, summarise
from spatialdreamer_core.training.dataset.scene_clips import draw_ways_back
from spatialdreamer_core.training.dataset.sheet import describe

from ...red_is_near import RedIsNear


def hashes(folder):
    """Return the checksum of every file of a folder, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


class Interrupted(Exception):
    pass


def interrupt_after(count):
    """Return a callback of progress that raises at the `count`-th call."""
    calls = iter(range(count))

    def on_progress(what, done, total):
        if next(calls, None) is None:
            raise Interrupted

    return on_progress


def test_each_scene_gives_its_own_clips(dataset):
    content = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    assert content["counts"] == {
        "videos": 1,
        "scenes": 3,
        "empty_scenes": {"too short": 1},
        "faults": {"too short": 1},
    }
    records = open_dataset(dataset).records
    assert [(record.scene.split("-")[-1], record.first_frame) for record in records] == [
        ("000000", 0),
        ("000000", 4),
        ("000013", 0),
        ("000013", 4),
    ]
    assert {record.source for record in records} == {"film.mp4"}
    assert all(1 <= record.divergence <= 4 for record in records)
    assert len({(record.side, record.divergence) for record in records}) == 4
    assert {record.fps for record in records} == {25.0}


def test_the_truth_is_the_video_and_the_rest_is_its_rendered_pair(dataset, film):
    from spatialdreamer_core.video import read_frames

    opened = open_dataset(dataset)
    frames = np.stack([frame.image for frame in read_frames(film)])
    for index, start in ((1, 4), (3, 17)):
        clip = opened.read(index)
        truth = torch.from_numpy(frames[start : start + 4]).movedim(-1, 1) / 255
        assert torch.equal(clip.target, truth)
        assert (clip.reference - clip.target).abs().mean() > 0.005
        known = (clip.hole == 0).expand_as(clip.warped)
        assert (clip.warped - clip.target)[known].abs().mean() < 0.1 * clip.target.std()


def test_masks_without_refinement_are_part_of_those_with_it_and_all_else_is_the_same(
    tmp_path, film, config, dataset
):
    build_dataset([film], tmp_path / "made", dataclasses.replace(config, refine_masks=False))
    refined, raw = open_dataset(dataset), open_dataset(tmp_path / "made")
    assert [record.name for record in raw.records] == [record.name for record in refined.records]
    clips = [(refined.read(index), raw.read(index)) for index in range(len(raw.records))]
    for with_it, without in clips:
        assert torch.equal(with_it.target, without.target)
        assert torch.equal(with_it.reference, without.reference)
        assert (with_it.hole >= without.hole).all()
    assert sum(float((with_it.hole - without.hole).sum()) for with_it, without in clips) > 0


def test_a_clip_is_what_render_pair_gives(tmp_path, films, config):
    scenes_of, write_film = films
    film = write_film(tmp_path / "still.mp4", scenes_of(2, speed=0))
    settings = dataclasses.replace(config, frames=1, clips_per_scene=1)
    build_dataset([film], tmp_path / "made", settings)
    opened = open_dataset(tmp_path / "made")
    clip, record = opened.read(0), opened.records[0]
    from spatialdreamer_core.depth import estimate_depth

    frames = clip.target.repeat(2, 1, 1, 1)
    depth = estimate_depth(frames, estimator="builtin")[:1]
    pair = render_pair(clip.target, depth, side=record.side, divergence=record.divergence)
    assert (clip.reference - pair.reference).abs().max() < 0.05
    assert (clip.hole != pair.hole).float().mean() < 0.01


def test_a_depth_model_is_steadied_and_normalised_by_scene_as_in_a_conversion(
    tmp_path, film, config, monkeypatch
):
    from spatialdreamer_core.pipeline import ConvertConfig, convert_frames
    from spatialdreamer_core.video import read_frames

    monkeypatch.setattr(scene_clips, "open_estimator", lambda name, device: RedIsNear())
    given = []
    render = scene_clips.render_pair

    def render_pair(frames, depth, **settings):
        given.append(depth.clone())
        return render(frames, depth, **settings)

    monkeypatch.setattr(scene_clips, "render_pair", render_pair)
    build_dataset([film], tmp_path / "made", dataclasses.replace(config, clips_per_scene=1))
    frames = [torch.from_numpy(frame.image).movedim(-1, 0) / 255 for frame in read_frames(film)]
    pairs = convert_frames(frames, ConvertConfig(), depth_model=RedIsNear())
    depth = torch.stack([pair.depth for pair in pairs])
    assert len(given) == 2
    for got, start in zip(given, (0, 13), strict=True):
        assert (got - depth[start : start + 4]).abs().max() < 1e-4


def test_another_filler_fills_x2(tmp_path, film, config):
    wide = dataclasses.replace(config, divergence_low=15.0, divergence_high=20.0, clips_per_scene=1)
    clips = []
    for texture in (0.0, 1.0):
        filler = FillerConfig(texture=texture)
        built = build_dataset([film], tmp_path / f"texture {texture}", wide, filler=filler)
        clips.append(open_dataset(built.folder).read(0))
    smooth, rough = clips
    assert torch.equal(smooth.target, rough.target)
    assert not torch.equal(smooth.reference, rough.reference)


def test_clips_stride_size_and_number_are_as_asked_for(tmp_path, film, config):
    settings = dataclasses.replace(config, frames=3, stride=3, clips_per_scene=1, size=48)
    settings = dataclasses.replace(settings, divergence_low=15.0, divergence_high=20.0)
    build_dataset([film], tmp_path / "made", settings)
    whole = dataclasses.replace(config, frames=9, clips_per_scene=1)
    build_dataset([film], tmp_path / "whole", whole)
    strided, every = open_dataset(tmp_path / "made"), open_dataset(tmp_path / "whole")
    assert [record.first_frame for record in strided.records] == [0, 0]
    assert {record.fps for record in strided.records} == {25 / 3}
    small = strided.read(0).target
    assert small.shape == (3, 3, 32, 48)
    full = torch.nn.functional.avg_pool2d(every.read(0).target[::3], 2)
    assert (full - small).abs().max() < 2 / 255


def test_what_teaches_nothing_is_left_out_and_counted(tmp_path, films, config, caplog):
    scenes_of, write_film = films
    moving = scenes_of(4)
    grey = np.full_like(moving[0], 128)
    parts = {
        "good": moving,
        "still": [moving[0]] * 4,
        "dark": [frame // 20 for frame in moving],
        "flat": [grey + np.uint8(10 * t) for t in range(4)],
        "short": moving[:3],
    }
    paths = [write_film(tmp_path / f"{name}.mp4", frames) for name, frames in parts.items()]
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    paths += [tmp_path / "broken.mp4", write_film(tmp_path / "again.mp4", moving)]
    settings = dataclasses.replace(config, least_sharpness=0.25)
    built = build_dataset(paths, tmp_path / "made", settings)
    assert (built.clips, built.videos, built.scenes) == (1, 5, 5)
    assert built.faults == {"blurred": 1, "static": 1, "too dark": 1, "too short": 1}
    assert built.empty_scenes == built.faults
    assert built.skipped.keys() == {"broken.mp4", "again.mp4"}
    assert "again.mp4 is left out: it is the same as" in caplog.text
    told = summarise(built).splitlines()
    assert told[0].endswith("made: 1 clip (0 held out) of 5 scenes of 5 videos")
    assert told[1] == "scenes without a clip: 1 blurred, 1 static, 1 too dark, 1 too short"
    assert told[3] == "videos left out: again.mp4, broken.mp4"


def test_a_film_of_many_cuts(tmp_path, films, config):
    scenes_of, write_film = films
    film = write_film(tmp_path / "cuts.mp4", scenes_of(5, *[2] * 60))
    built = build_dataset([film], tmp_path / "made", config)
    assert built.scenes == 61
    assert built.clips == 1
    assert built.faults == {"too short": 60}


@pytest.mark.parametrize(
    ("frames", "reason"), [((3,), "1 too short"), ((4, 2), "1 static; 1 too short|1 static, 1 too short")]
)
def test_videos_without_any_clip_are_an_error(tmp_path, films, config, frames, reason):
    scenes_of, write_film = films
    film = write_film(tmp_path / "film.mp4", scenes_of(*frames, speed=0))
    with pytest.raises(
        InputError, match=f"at least one clip, got none of . scenes? \\({reason}\\); give others"
    ):
        build_dataset([film], tmp_path / "made", config)
    assert not (tmp_path / "made" / "dataset.json").exists()


@pytest.mark.parametrize("count", [1, 24, 40, 55])
def test_an_interrupted_build_goes_on_to_the_same_bytes(tmp_path, film, config, dataset, count):
    folder = tmp_path / "made"
    with pytest.raises(Interrupted):
        build_dataset([film], folder, config, on_progress=interrupt_after(count))
    assert not [name for name in hashes(folder) if ".partial" in name or ".lock" in name]
    assert not (folder / "dataset.json").exists()
    assert build_dataset([film], folder, config).clips == 4
    assert hashes(folder) == hashes(dataset)


def test_what_is_finished_is_not_made_again(tmp_path, film, config, dataset):
    folder = tmp_path / "made"
    build_dataset([film], folder, config)
    before = {path: path.stat().st_mtime_ns for path in (folder / "clips").iterdir()}
    lost, *_ = sorted((folder / "clips").glob("*.mkv"))
    lost.write_bytes(lost.read_bytes()[:-1])
    build_dataset([film], folder, config)
    changed = {path.stem for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed == {lost.stem}
    assert hashes(folder) == hashes(dataset)


def test_videos_can_be_added(tmp_path, film, films, config):
    scenes_of, write_film = films
    other = write_film(tmp_path / "other.mp4", scenes_of(1, 5)[1:])
    build_dataset([film], tmp_path / "one", config)
    added = build_dataset([other], tmp_path / "one", config)
    together = build_dataset([other, film], tmp_path / "two", config)
    assert added.clips == together.clips == 5
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_the_name_of_the_folder_does_not_matter_to_the_bytes(tmp_path, film, config, dataset):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.link(film, elsewhere / film.name)
    build_dataset([elsewhere / film.name], tmp_path / "made", config)
    assert hashes(tmp_path / "made") == hashes(dataset)


def test_a_folder_belongs_to_one_set_of_settings(tmp_path, film, config, dataset):
    shutil.copytree(dataset, tmp_path / "made")
    for changes, message in (
        ({"frames": 5}, r"frames must be 4, with which .* was begun, got 5; choose another folder"),
        ({"divergence_high": 5.0}, r"divergence_high must be 4\.0, with which"),
    ):
        with pytest.raises(InputError, match=message):
            build_dataset([film], tmp_path / "made", dataclasses.replace(config, **changes))
    with pytest.raises(InputError, match=r"filler_options must be \{\}, with which"):
        build_dataset([film], tmp_path / "made", config, filler=FillerConfig(texture=0.1))
    build_dataset(
        [film], tmp_path / "made", dataclasses.replace(config, workers=0, device="cpu", held_out=0.1)
    )


def test_each_clip_that_is_trained_on_has_views_that_lie_elsewhere(tmp_path, film, config, dataset):
    settings = dataclasses.replace(config, way_back_low=0.4, way_back_high=2.5, held_out=0.4)
    build_dataset([film], tmp_path / "made", settings)
    opened, usual = open_dataset(tmp_path / "made"), open_dataset(dataset)
    records = {record.name: record for record in opened.records}
    places = {record.name: index for index, record in enumerate(opened.records)}
    assert {record.held_out for record in records.values()} == {True, False}
    for index, record in enumerate(usual.records):
        own = records[record.name]
        assert dataclasses.replace(own, held_out=record.held_out) == record, "as without other views"
        assert "way back" not in describe(own, 0)
        straight = usual.read(index)
        for end, low, high in (("short", 0.4, 1.0), ("beyond", 1.0, 2.5)):
            assert (f"{own.name}-{end}" in records) != own.held_out
            if own.held_out:
                continue
            other = records[f"{own.name}-{end}"]
            assert low < other.way_back < high
            assert (other.side, other.divergence, other.scene) == (own.side, own.divergence, own.scene)
            clip = opened.read(places[other.name])
            assert torch.equal(straight.target, clip.target)
            assert torch.equal(straight.reference, clip.reference)
            assert not torch.equal(straight.warped, clip.warped)
            assert f" %, {other.way_back:g} of the way back, holes " in describe(other, 0)
    assert len({record.way_back for record in records.values()}) == 5
    assert len(records) == 8


def test_views_may_lie_on_one_end_alone(config):
    short = dataclasses.replace(config, way_back_low=0.5)
    assert [*draw_ways_back("clip", config)] == ["clip"]
    assert [*draw_ways_back("clip", short)] == ["clip", "clip-short"]
    drawn = [draw_ways_back(f"clip{number}", short)[f"clip{number}-short"] for number in range(200)]
    assert min(drawn) < 0.52
    assert max(drawn) > 0.96
    assert np.median(drawn) == pytest.approx(0.5**0.5, abs=0.06)


def test_a_build_with_other_views_goes_on_to_the_same_bytes(tmp_path, film, config):
    settings = dataclasses.replace(config, way_back_low=0.5, way_back_high=2.0)
    build_dataset([film], tmp_path / "whole", settings)
    with pytest.raises(Interrupted):
        build_dataset([film], tmp_path / "made", settings, on_progress=interrupt_after(45))
    build_dataset([film], tmp_path / "made", settings)
    assert hashes(tmp_path / "made") == hashes(tmp_path / "whole")


def test_a_dataset_begun_before_there_were_other_views_goes_on(tmp_path, film, config, dataset):
    shutil.copytree(dataset, tmp_path / "made")
    for name in ("settings.json", "dataset.json"):
        file = tmp_path / "made" / name
        content = json.loads(file.read_text(encoding="utf-8"))
        for option in ("way_back_low", "way_back_high"):
            assert content["settings"].pop(option) == 1
        file.write_text(json.dumps(content), encoding="utf-8")
    assert "way_back" not in (tmp_path / "made" / "dataset.json").read_text(encoding="utf-8")
    assert {record.way_back for record in open_dataset(tmp_path / "made").records} == {1.0}
    build_dataset([film], tmp_path / "made", config)
    with pytest.raises(InputError, match=r"way_back_low must be 1\.0, with which"):
        build_dataset([film], tmp_path / "made", dataclasses.replace(config, way_back_low=0.5))


def test_errors_about_the_folder(tmp_path, film, config):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"a new folder or a dataset, got .*full with letter\.txt in it"):
        build_dataset([film], tmp_path / "full", config)
    with pytest.raises(InputError, match="dataset must be writable"):
        build_dataset([film], tmp_path / "full" / "letter.txt", config)
    (tmp_path / "made").mkdir()
    lock = FileLock(tmp_path / "made" / ".lock")
    assert lock.acquire()
    with pytest.raises(InputError, match="by one run at a time"):
        build_dataset([film], tmp_path / "made", config)
    lock.release()
    (tmp_path / "made" / "settings.json").write_text('{"kind": "spatialdreamer DVG dataset", "version": 9}')
    with pytest.raises(InputError, match="must be of version 1, got version 9"):
        build_dataset([film], tmp_path / "made", config)


def test_a_full_disk_is_an_error_and_what_is_finished_stays(tmp_path, film, config, dataset, monkeypatch):
    folder, written, write = tmp_path / "made", [], Path.write_bytes

    def write_bytes(path, data):
        written.append(path)
        if len(written) == 3:
            write(path, data[:99])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(InputError, match=r"dataset folder must have room for film-.*mkv, got 'No space"):
        build_dataset([film], folder, config)
    assert len(list((folder / "clips").iterdir())) == 4, "two clips and their records, nothing else"
    build_dataset([film], folder, config)
    assert hashes(folder) == hashes(dataset)


def test_a_video_that_changes_after_it_was_looked_at(tmp_path, film, films, config):
    with pytest.raises(Interrupted):
        build_dataset([film], tmp_path / "made", config, on_progress=interrupt_after(24))
    path = next((tmp_path / "made" / "videos").glob("*.json"))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["scenes"][2]["frames"] = 30
    path.write_text(json.dumps(content), encoding="utf-8")
    built = build_dataset([film], tmp_path / "made", config)
    assert built.clips == 2
    assert built.empty_scenes == {"too short": 1, "unreadable": 1}


def test_black_bars_are_cut_off(tmp_path, films, config):
    scenes_of, write_film = films
    frames = [np.pad(frame, ((16, 16), (0, 0), (0, 0))) for frame in scenes_of(12)]
    film = write_film(tmp_path / "bars.mp4", frames)
    build_dataset([film], tmp_path / "made", config)
    records = open_dataset(tmp_path / "made").records
    assert {(record.height, record.width) for record in records} == {(64, 96)}


def test_folders_stand_for_their_videos(tmp_path, film):
    for name in ("b.mp4", "a.MKV", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).touch()
    assert list_videos([film, tmp_path]) == [film, tmp_path / "a.MKV", tmp_path / "b.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="a video or a folder of videos, got none"):
        list_videos([tmp_path / "empty"])
    with pytest.raises(InputError, match="VIDEO must be an existing file or folder"):
        list_videos([tmp_path / "none.mp4"])


@pytest.mark.gpu
def test_a_gpu_gives_nearly_the_same_clips(tmp_path, film, config, dataset):
    build_dataset([film], tmp_path / "made", dataclasses.replace(config, device="cuda"))
    here, there = open_dataset(dataset), open_dataset(tmp_path / "made")
    assert [record.name for record in there.records] == [record.name for record in here.records]
    for index in range(len(here)):
        ours, theirs = here.read(index), there.read(index)
        assert torch.equal(ours.target, theirs.target)
        assert (ours.reference - theirs.reference).abs().mean() < 0.01
        assert (ours.hole != theirs.hole).float().mean() < 0.01


def command(film, folder, *, workers):
    options = [
        "--frames",
        "4",
        "--depth",
        "builtin",
        "--least-sharpness",
        "0",
        "--least-flow-confidence",
        "0",
    ]
    arguments = ["dataset", "build", film, "-o", folder, "--workers", workers, "--quiet", *options]
    return [sys.executable, "-m", "spatialdreamer_core.cli", *map(str, arguments)]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_to_the_same_bytes(tmp_path, film, dataset, workers):
    folder = tmp_path / "made"
    running = subprocess.Popen(command(film, folder, workers=workers))
    while not list(folder.glob("clips/*.mkv")) and running.poll() is None:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert not (folder / "dataset.json").exists()
    subprocess.run(command(film, folder, workers=workers), check=True)
    assert hashes(folder) == hashes(dataset)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_ctrl_c_ends_all_processes_and_leaves_no_partial_file(tmp_path, film, dataset):
    folder = tmp_path / "made"
    running = subprocess.Popen(
        command(film, folder, workers=2), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(folder.glob("videos/*.json")) and running.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert errors.splitlines() == ["spatialdreamer: interrupted by SIGINT; no partial file was left"]
    assert running.returncode == 128 + signal.SIGINT
    assert not [name for name in hashes(folder) if ".partial" in name or ".lock" in name]
    subprocess.run(command(film, folder, workers=1), check=True)
    assert hashes(folder) == hashes(dataset)
