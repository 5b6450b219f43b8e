from collections import Counter

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.training.batches import Batches
from spatialdreamer_core.training.latent_index import LatentClip

from .tiny_training import TinyCache, quick_config


def make(cache=None, **changes):
    return Batches(cache or TinyCache(), quick_config(**changes), scaling=0.18215)


def test_each_window_comes_once_before_any_comes_again():
    batches = make(stage="2", frames=3)
    count = len(batches)
    assert count == 3 + 2 + 1  # of clips of 5, 4 and 3 frames
    seen = [[batches.draw(number)[:2] for number in range(start, start + count)] for start in (0, count)]
    assert len(set(seen[0])) == count
    assert set(seen[0]) == set(seen[1])
    assert seen[0] != seen[1]
    assert all(len(frames) == 3 for _, frames in seen[0])


def test_stage_1_takes_single_frames_and_none_of_what_is_held_out():
    batches = make(TinyCache((5, 4, 3), held_out=(1,)))
    drawn = {batches.draw(number)[:2] for number in range(len(batches))}
    assert drawn == {(clip, range(i, i + 1)) for clip, count in ((0, 5), (2, 3)) for i in range(count)}


def test_a_sample_follows_from_seed_and_number_alone():
    first, again, other = make(), make(), make(seed=1)
    later = [again.draw(number) for number in (40, 3)][1]
    assert first.draw(3) == later
    assert first.draw(3) != other.draw(3)
    assert first.draw(3).noise_seed != first.draw(4).noise_seed
    assert torch.equal(first.read([3, 4]).noisy[1], first.read([4]).noisy[0])


@pytest.mark.parametrize(("accumulation", "processes"), [(1, 1), (2, 1), (1, 4), (2, 2)])
def test_processes_and_parts_share_a_step_without_gap_or_overlap(accumulation, processes):
    batches = make(batch=8, accumulation=accumulation)
    shares = [list(batches.numbers(5, process=process, processes=processes)) for process in range(processes)]
    assert all(len(share) == accumulation for share in shares)
    assert sorted(number for share in shares for part in share for number in part) == list(range(40, 48))


def test_sigmas_and_what_is_left_out_have_the_distribution_asked_for():
    batches = make(sigma_mean=0.7, sigma_deviation=1.6, drop_condition=0.1, drop_reference=0.5)
    draws = [batches.draw(number) for number in range(4000)]
    logarithms = np.log([drawn.sigma for drawn in draws])
    assert logarithms.mean() == pytest.approx(0.7, abs=0.1)
    assert logarithms.std() == pytest.approx(1.6, abs=0.1)
    left_out = Counter(
        (not drawn.keeps_condition, not drawn.keeps_reference) for drawn in draws
    )  # independent of each other
    assert left_out[True, False] / 4000 == pytest.approx(0.05, abs=0.015)
    assert left_out[True, True] / 4000 == pytest.approx(0.05, abs=0.015)
    assert {drawn.augmentation for drawn in draws} == {0.0}


def test_noise_augmentation_is_drawn_for_each_sample_and_encoded_anew():
    cache = TinyCache()
    asked = []

    def augment(drawn):
        asked.append(drawn)
        return torch.full_like(cache.read(drawn.clip, drawn.frames).condition, 7.0)

    config = quick_config(noise_augmentation=True)
    batches = Batches(cache, config, scaling=0.18215, augment=augment)
    batch = batches.read([0, 1])
    assert torch.equal(batch.condition, torch.full_like(batch.condition, 7.0))
    assert [drawn.augmentation for drawn in asked] == pytest.approx(batch.augmentation.tolist())
    plain = make().read([0, 1])
    assert torch.equal(plain.deviation, batch.deviation)  # measured without noise
    logarithms = np.log([batches.draw(number).augmentation for number in range(2000)])
    assert logarithms.mean() == pytest.approx(-3, abs=0.05)
    assert logarithms.std() == pytest.approx(0.5, abs=0.05)


def test_the_deviation_is_that_of_known_latents_of_the_rendered_view():
    batches = make()
    cache, drawn = TinyCache(), batches.draw(0)
    sample = cache.read(drawn.clip, drawn.frames)
    difference = (0.18215 * sample.condition - sample.reference).abs()
    known = (sample.mask < 0.5).expand_as(difference)
    assert float(batches.read([0]).deviation) == pytest.approx(float(difference[known].mean()), rel=1e-5)


@pytest.mark.parametrize("way_back", [0.5, 1.0, 2.0])
def test_a_view_that_lies_elsewhere_is_trained_with_the_strength_of_the_way_to_the_true_view(way_back):
    """What the sampler passes on where the slider is at how much farther the true view lies."""
    cache, usual = TinyCache(), make()
    cache.clips = [LatentClip(clip.name, clip.frames, False, 0, 0, way_back) for clip in cache.clips]
    for number in range(3):
        own, other = make(cache).read([number]), usual.read([number])
        assert torch.equal(own.deviation, other.deviation / way_back)
        assert (own.factor, other.factor) == (1 / way_back, 1)
        assert torch.equal(own.condition, other.condition)
        assert torch.equal(own.target, other.target)


def test_too_little_data_is_told():
    with pytest.raises(InputError, match=r"clips of at least 3 frames to train on, got 2 .* longest of 2"):
        make(TinyCache((2, 2)), stage="2")
    with pytest.raises(InputError, match="got 0 clips"):
        make(TinyCache((4,), held_out=(0,)))
    with pytest.raises(InputError, match=r"at least batch \(8\) windows of 1 frame\(s\) to train on, got 5"):
        make(TinyCache((5,)), batch=8)


def test_a_sample_is_described():
    text = make(stage="2", frames=3).describe(0)
    assert text.startswith("frames ")
    assert " of clip_" in text
    assert "sigma" in text
