"""The latent cache: what it holds, that reading is partial, that building goes on and repeats to the byte."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import pickle
import shutil

import pytest
import safetensors
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer import SamplerConfig, SpatialDreamer, encode_reference, sample_views
from spatialdreamer_core.training import latents
from spatialdreamer_core.training.clips import encode_sample, fit_clip
from spatialdreamer_core.training.latents import build_latents, open_latents
from spatialdreamer_core.training.small_world import make_small_world

SIZE = {"height": 64, "width": 64}


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def built(small_model, tmp_path_factory):
    """A small cache of three clips in three shards, with the dataset that it is of; not to be changed."""
    from .conftest import Clips

    dataset = Clips(3, 10, 2, held_out={2})
    folder = tmp_path_factory.mktemp("cache") / "latents"
    return build_latents(dataset, small_model, folder, **SIZE, shard_bytes=1), dataset


@pytest.fixture
def copied(built, tmp_path):
    """A copy of that cache's folder."""
    return shutil.copytree(built[0].folder, tmp_path / "latents")


def test_what_is_read_is_what_the_networks_see(built, small_model):
    cache, dataset = built
    assert [(clip.name, clip.frames, clip.held_out) for clip in cache.clips] == [
        ("clip0", 3, False),
        ("clip1", 10, False),
        ("clip2", 2, True),
    ]
    for frames in (range(10), range(4, 9)):
        wanted = encode_sample(small_model, fit_clip(dataset.read(1, frames), **SIZE))
        for got, own in zip(cache.read(1, frames), wanted, strict=True):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, own, rtol=0, atol=1e-6)
    assert torch.equal(cache.read(0).target, cache.read(0, range(3)).target)


def test_it_holds_what_the_deployed_sampler_feeds_the_unet(built, small_model):
    cache, dataset = built
    settings = dataclasses.replace(small_model.config, blank_holes=True, noise_augmentation=0.0)
    model = dataclasses.replace(small_model, config=settings)
    clip, sample, fed = fit_clip(dataset.read(2, range(2)), **SIZE), cache.read(2), []
    hook = model.svd.unet.register_forward_pre_hook(lambda module, inputs: fed.append(inputs[0]))
    try:
        reference = encode_reference(model, clip.reference, max_side=64)
        sample_views(*(model, reference, clip.warped, clip.hole), SamplerConfig(steps=1, window=2, overlap=0))
    finally:
        hook.remove()
    (seen,) = fed
    assert torch.equal(seen[0, :, 48:96], sample.condition)
    assert torch.equal(seen[0, :, 96:], sample.mask)
    assert torch.equal(reference.latents, sample.reference)
    assert torch.equal(reference.embeddings, sample.embeddings)


def test_only_the_frames_asked_for_are_read(built, monkeypatch):
    asked = []

    class Spy:
        def __init__(self, content):
            self.content = content

        def get_slice(self, name):
            part = self.content.get_slice(name)

            class Slice:
                def __getitem__(self, key):
                    asked.append((name, key))
                    return part[key]

            return Slice()

    opened = latents._open_shard

    @contextlib.contextmanager
    def watch(file):
        with opened(file) as content:
            yield Spy(content)

    monkeypatch.setattr(latents, "_open_shard", watch)
    built[0].read(1, range(2, 5))
    assert asked == [
        (f"clip1.{part}", slice(2, 5, None))
        for part in ("target", "condition", "mask", "reference", "embeddings")
    ]


def test_frames_that_a_clip_has_not_are_refused(built):
    with pytest.raises(InputError, match="within the 3 frames of clip0, got range\\(2, 5\\)"):
        built[0].read(0, range(2, 5))


def test_a_cache_travels_to_other_processes(built):
    cache = pickle.loads(pickle.dumps(built[0]))
    assert torch.equal(cache.read(0).mask, built[0].read(0).mask)


def test_a_finished_cache_is_opened_without_reading_the_dataset(built, small_model):
    cache, dataset = built
    dataset.asked.clear()
    assert build_latents(dataset, small_model, cache.folder, **SIZE, shard_bytes=1) == cache
    assert dataset.asked == []
    assert open_latents(cache.folder) == cache


def test_an_interrupted_build_goes_on_and_gives_the_same_bytes(built, small_model, tmp_path, caplog):
    cache, dataset = built
    folder = tmp_path / "latents"

    def interrupt(done, total):
        if done >= 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_latents(dataset, small_model, folder, **SIZE, shard_bytes=1, on_progress=interrupt)
    assert sorted(digests(folder)) == ["latents.json", "shard-00000.safetensors", "shard-00001.safetensors"]
    with pytest.raises(InputError, match=r"lacks shard-00002\.safetensors of 3 shards; build it again"):
        open_latents(folder)
    dataset.asked.clear()
    reported = []
    with caplog.at_level(logging.INFO, logger="spatialdreamer_core"):
        build_latents(
            *(dataset, small_model, folder),
            **SIZE,
            shard_bytes=1,
            on_progress=lambda *done: reported.append(done),
        )
    assert "goes on: 13 of 15 frames are there" in caplog.text
    assert reported == [(13, 15), (15, 15)]
    assert {index for index, _ in dataset.asked} == {2}
    assert digests(folder) == digests(cache.folder)


def test_several_clips_share_a_shard_until_it_is_full(small_model, make_clips, tmp_path):
    frame = 3 * 256 * 48 * 4 + 64 * 4 + 256  # of 16x16 latents
    cache = build_latents(make_clips(1, 1, 1), small_model, tmp_path / "a", **SIZE, shard_bytes=2 * frame)
    assert [clip.shard for clip in cache.clips] == [0, 0, 1]
    assert cache.read(1).target.shape == (1, 48, 16, 16)


def test_half_precision_takes_half_and_is_close(small_model, make_clips, tmp_path):
    dataset = make_clips(2)
    whole, half = (
        build_latents(dataset, small_model, tmp_path / name, **SIZE, precision=name)
        for name in ("float32", "float16")
    )
    sizes = [(cache.folder / "shard-00000.safetensors").stat().st_size for cache in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    torch.testing.assert_close(half.read(0).target, whole.read(0).target, rtol=1e-3, atol=1e-3)
    assert torch.equal(half.read(0).mask, whole.read(0).mask)


def test_another_making_is_refused_or_said_and_rebuilt(copied, built, small_model, make_clips, caplog):
    _, dataset = built
    with pytest.raises(InputError, match=r"differs in width \(64, not 128\), shard_bytes"):
        build_latents(dataset, small_model, copied, height=64, width=128)
    with pytest.raises(InputError, match="differs in dataset; delete it to have it made anew"):
        build_latents(make_clips(3, 10), small_model, copied, **SIZE, shard_bytes=1)
    with caplog.at_level(logging.WARNING, logger="spatialdreamer_core"):
        cache = build_latents(make_clips(1), small_model, copied, **SIZE, shard_bytes=1, rebuild=True)
    assert "is rebuilt, since it differs in dataset" in caplog.text
    assert [clip.name for clip in cache.clips] == ["clip0"]
    assert sorted(digests(copied)) == ["latents.json", "shard-00000.safetensors"]


def test_another_base_model_is_noticed(copied, built):
    other = SpatialDreamer.from_svd(make_small_world(seed=5, factor=2, widths=(64,)))
    with pytest.raises(InputError, match="differs in codec, image tower"):
        build_latents(built[1], other, copied, **SIZE, shard_bytes=1)


def test_a_clip_that_cannot_be_read_is_left_out_and_tried_again(small_model, make_clips, tmp_path, caplog):
    dataset = make_clips(1, 2)
    dataset.broken = {1}
    with caplog.at_level(logging.WARNING, logger="spatialdreamer_core"):
        cache = build_latents(dataset, small_model, tmp_path / "a", **SIZE)
    assert [clip.name for clip in cache.clips] == ["clip0"]
    assert cache.skipped == ("clip1",)
    assert "clip1 is damaged" in caplog.text
    assert "lacks 1 of 2 clips" in caplog.text
    dataset.broken = set()
    assert len(build_latents(dataset, small_model, tmp_path / "a", **SIZE)) == 2
    dataset.broken = {0, 1}
    with pytest.raises(InputError, match=r"none of the 2 in .* could be read; check the dataset"):
        build_latents(dataset, small_model, tmp_path / "b", **SIZE)


def test_a_damaged_shard_is_named_with_its_remedy(copied, built, small_model):
    file = copied / "shard-00001.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"must be whole, got .*shard-00001.*; delete that file and build"):
        open_latents(copied)
    cache = build_latents(built[1], small_model, copied, **SIZE, shard_bytes=1)  # made again
    assert file.read_bytes() == whole
    file.unlink()
    with pytest.raises(InputError, match=r"shard-00001\.safetensors"):
        cache.read(1)
    shutil.copy(copied / "shard-00000.safetensors", file)
    with pytest.raises(InputError, match=r"must be whole, got .*shard-00001.*clip1.*; delete that file and"):
        cache.read(1)


def test_values_that_are_not_finite_are_not_handed_on(copied):
    from safetensors.torch import load_file, save_file

    file = copied / "shard-00000.safetensors"
    with safetensors.safe_open(file, framework="pt") as content:
        metadata = content.metadata()
    tensors = load_file(file)
    tensors["clip0.reference"][1, 0, 0, 0] = float("nan")
    save_file(tensors, file, metadata=metadata)
    cache = open_latents(copied)
    with pytest.raises(InputError, match=r"reference of clip0 in .*shard-00000.*delete that file"):
        cache.read(0)
    cache.read(0, range(1))


def test_a_shard_of_another_cache_is_refused(copied, small_model, make_clips, tmp_path):
    other = build_latents(make_clips(1), small_model, tmp_path / "other", **SIZE)
    shutil.copy(other.folder / "shard-00000.safetensors", copied / "shard-00001.safetensors")
    with pytest.raises(InputError, match="must be a shard of this latent cache"):
        open_latents(copied)


def test_a_damaged_index_is_named_with_its_remedy(copied):
    index = copied / "latents.json"
    text = index.read_text()
    for content in (text[:50], "{}", text.replace('"version": 1', '"version": 7'), "[]"):
        index.write_text(content)
        with pytest.raises(InputError, match="delete that folder and build it again"):
            open_latents(copied)
    index.unlink()
    with pytest.raises(InputError, match=r"must have an index, but .* has none; build the cache first"):
        open_latents(copied)


@dataclasses.dataclass(frozen=True)
class ElsewhereRecord:
    name: str
    frames: int
    held_out: bool = False
    way_back: float = 1.0


def test_how_far_a_view_is_rendered_back_is_carried_along(copied, built, small_model, make_clips):
    """A cache of before there were such views stays that of its dataset, and is another one's with them."""
    dataset = make_clips(3, 10, 2, held_out={2})
    dataset.records = [ElsewhereRecord(clip.name, clip.frames, clip.held_out) for clip in dataset.records]
    index = json.loads((copied / "latents.json").read_text())
    for clip in index["clips"]:
        assert clip.pop("way_back") == 1
    (copied / "latents.json").write_text(json.dumps(index))
    cache = build_latents(dataset, small_model, copied, **SIZE, shard_bytes=1)
    assert [clip.way_back for clip in cache.clips] == [1.0, 1.0, 1.0]
    dataset.records[0] = dataclasses.replace(dataset.records[0], way_back=0.5)
    with pytest.raises(InputError, match=r"differs in dataset; delete it"):
        build_latents(dataset, small_model, copied, **SIZE, shard_bytes=1)
    cache = build_latents(dataset, small_model, copied, **SIZE, shard_bytes=1, rebuild=True)
    assert [clip.way_back for clip in cache.clips] == [0.5, 1.0, 1.0]
    assert [clip.way_back for clip in open_latents(copied).clips] == [0.5, 1.0, 1.0]


def test_a_folder_of_something_else_is_left_alone(small_model, make_clips, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="a new folder or one of its own"):
        build_latents(make_clips(1), small_model, tmp_path, **SIZE)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="a dataset must hold clips, got none"):
        build_latents(make_clips(), small_model, tmp_path / "new", **SIZE)


def test_a_full_drive_is_said_before_and_while_writing(small_model, make_clips, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "latents"
    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", fail)
        with pytest.raises(InputError, match=r"must have room for shard-00000.*free space"):
            build_latents(make_clips(1), small_model, folder, **SIZE)
        assert sorted(digests(folder)) == ["latents.json"]
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(latents.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"needs .* GB on the drive of .*free space"):
        build_latents(make_clips(1), small_model, folder, **SIZE)
