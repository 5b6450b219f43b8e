import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import SceneRangeMeter, apply_scene_ranges, measure_scenes


def normalise(raw, cuts=()):
    return apply_scene_ranges(raw, measure_scenes(raw, cuts), cuts)


def test_a_scene_is_stretched_between_its_percentiles():
    raw = torch.arange(1001.0).reshape(1, 1, 7, 143)
    depth = normalise(raw).flatten()
    assert (depth[:18] == 0).all()
    assert (depth[-18:] == 1).all()
    torch.testing.assert_close(depth[[260, 500, 740]], torch.tensor([0.25, 0.5, 0.75]), atol=2e-3, rtol=0)


def test_scenes_are_apart_and_frames_of_one_scene_together():
    raw = torch.rand(5, 1, 8, 10) * torch.tensor([1, 2, 3, 50, 70]).view(5, 1, 1, 1)
    depth = normalise(raw, [3])
    assert torch.equal(depth[:3], normalise(raw[:3]))
    assert torch.equal(depth[3:], normalise(raw[3:]))
    assert depth[0].mean() < depth[2].mean()


def test_scale_and_shift_do_not_matter():
    raw = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(normalise(1000 * raw - 300), normalise(raw), atol=2e-3, rtol=0)


def test_one_bright_pixel_does_not_matter():
    raw = torch.rand(1, 1, 40, 40)
    before = normalise(raw)
    raw[0, 0, 0, 0] = 1e6
    assert (normalise(raw)[..., 1:] - before[..., 1:]).abs().max() < 0.01


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_no_depth_is_the_middle(value):
    assert torch.equal(normalise(torch.full((2, 1, 3, 4), value)), torch.full((2, 1, 3, 4), 0.5))


def test_a_weight_is_a_number_of_repetitions():
    few, many = SceneRangeMeter(), SceneRangeMeter()
    frames = torch.rand(2, 1, 20, 20) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    for meter in (few, many):
        meter.add(frames[0])
    few.add(frames[1], weight=3)
    for _ in range(3):
        many.add(frames[1])
    assert few.result() == many.result()


def test_scene_ranges_are_percentiles_of_each_scene():
    torch.manual_seed(0)
    depth = torch.randn(6, 1, 60, 80) * torch.tensor([1, 1, 1, 500, 500, 500.0]).view(6, 1, 1, 1) + 3
    ranges = measure_scenes(iter(depth), [3])
    for found, scene in zip(ranges, (depth[:3], depth[3:]), strict=True):
        low, high = scene.flatten().quantile(torch.tensor([0.02, 0.98])).tolist()
        assert abs(found.low - low) < 2e-3 * (high - low)
        assert abs(found.high - high) < 2e-3 * (high - low)
    with pytest.raises(InputError, match="at least one frame, got 0"):
        measure_scenes([])
    with pytest.raises(InputError, match="0 <= low < high <= 100, got 98 and 2"):
        measure_scenes(depth, low_percentile=98, high_percentile=2)
    with pytest.raises(InputError, match=r"one range per scene \(2\), got 1"):
        apply_scene_ranges(depth, ranges[:1], [3])
    with pytest.raises(InputError, match="`cuts` must lie between 0 and 5"):
        measure_scenes(depth, [6])
