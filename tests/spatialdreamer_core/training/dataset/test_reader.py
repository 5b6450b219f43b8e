import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.training.dataset import DamagedClip, open_dataset
from spatialdreamer_core.training.dataset.records import DATASET_JSON


@pytest.fixture
def copy(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


def edit(folder, change):
    path = folder / DATASET_JSON
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_records_tell_what_the_frames_are(dataset):
    opened = open_dataset(dataset, verify=True)
    assert len(opened) == len(opened.records) == 4
    assert opened.skipped == {}
    for index, record in enumerate(opened.records):
        clip = opened.read(index)
        assert clip.target.shape == (record.frames, 3, record.height, record.width) == (4, 3, 64, 96)
        assert clip.hole.shape == (4, 1, 64, 96)
        assert set(clip.hole.unique().tolist()) == {0.0, 1.0}
        assert float(clip.hole.mean()) == pytest.approx(record.hole, abs=1e-5)
        assert not clip.warped[clip.hole.expand_as(clip.warped) > 0].any()
        one = opened.read(index, range(2, 3))
        assert torch.equal(one.warped[0], clip.warped[2])


@pytest.mark.parametrize("frames", [range(0), range(3, 5), range(-1, 2), range(3, 0, -1)])
def test_frames_must_be_those_of_the_clip(dataset, frames):
    with pytest.raises(InputError, match="`frames` must lie within the 4 frames of film-"):
        open_dataset(dataset).read(0, frames)


def test_missing_and_damaged_clips_are_left_out_counted_and_logged(copy, caplog):
    names = [record.name for record in open_dataset(copy).records]
    (copy / "clips" / f"{names[0]}.mkv").unlink()
    cut = copy / "clips" / f"{names[1]}.mkv"
    cut.write_bytes(cut.read_bytes()[:-9])
    changed = copy / "clips" / f"{names[2]}.mkv"
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    opened = open_dataset(copy)
    assert [record.name for record in opened.records] == names[2:]
    assert opened.skipped.keys() == set(names[:2])
    assert opened.skipped[names[0]] == "its file is missing"
    assert "bytes instead of" in opened.skipped[names[1]]
    assert f"clip {names[0]} is left out: its file is missing" in caplog.text
    assert "2 of 4 clips" in caplog.text
    with pytest.raises(DamagedClip, match=names[2]):
        opened.read(0)
    assert open_dataset(copy, verify=True).skipped[names[2]] == "its checksum is another one"


def test_a_dataset_without_a_whole_clip_is_an_error(copy):
    shutil.rmtree(copy / "clips")
    with pytest.raises(InputError, match=r"at least one whole clip, got none of 4 in .*; run"):
        open_dataset(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=99), "must be of version 1, got version 99 in .*build it anew"),
        (lambda c: c.update(kind="a shopping list"), "which is of another kind"),
        (lambda c: c.update(clips=7), "must list clips"),
        (lambda c: c["clips"].append(3), "must hold records of clips"),
        (lambda c: c["clips"][0].update(name="../../x"), "no name or size of a clip: '../../x'"),
        (lambda c: c["clips"][0].update(frames="8"), "frames must be of type int"),
        (lambda c: c["clips"][0].update(colour=1), "no record of a clip"),
    ],
)
def test_what_the_index_must_be(copy, change, message):
    edit(copy, change)
    with pytest.raises(InputError, match=message):
        open_dataset(copy)


def test_a_folder_that_is_no_finished_dataset(tmp_path, copy):
    with pytest.raises(InputError, match=r"that `dataset build` has finished, got .* without dataset\.json"):
        open_dataset(tmp_path / "nowhere")
    (copy / DATASET_JSON).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="the dataset's files must be readable"):
        open_dataset(copy)


def test_the_documents_example_runs(dataset):
    page = Path(__file__).parents[4] / "docs" / "dataset.md"
    code = next(code for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
    names = {}
    exec(code.replace("out/dvg", dataset.as_posix()).replace("range(2, 5)", "range(1, 4)"), names)  # noqa: S102
    assert names["clip"].target.shape == (3, 3, 64, 96)


def test_the_digest_tells_datasets_apart(dataset, copy):
    assert open_dataset(dataset).digest == open_dataset(copy).digest
    edit(copy, lambda content: content["clips"][0].update(held_out=not content["clips"][0]["held_out"]))
    assert open_dataset(dataset).digest != open_dataset(copy).digest


@pytest.mark.parametrize("way_back", [0.0, 9.0, "half"])
def test_a_record_that_says_no_possible_way_back_is_refused(copy, way_back):
    edit(copy, lambda content: content["clips"][0].update(way_back=way_back))
    with pytest.raises(InputError, match=r"must hold records of clips \(.*way_back.*\); delete it and run"):
        open_dataset(copy)
