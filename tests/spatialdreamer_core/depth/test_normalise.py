import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import RunningRange, normalise_scenes
from spatialdreamer_core.depth.inverse import to_inverse_depth
from spatialdreamer_core.depth.normalise import percentiles


def test_a_scene_is_stretched_between_its_percentiles():
    raw = torch.arange(101.0).reshape(1, 1, 1, 101)
    depth = normalise_scenes(raw, [])[0, 0, 0]
    assert depth[2] == 0
    assert depth[98] == 1
    torch.testing.assert_close(depth[50], torch.tensor(0.5))
    assert depth[0] == 0
    assert depth[100] == 1


def test_scenes_are_apart_and_frames_of_one_scene_together():
    raw = torch.rand(5, 1, 8, 10) * torch.tensor([1, 2, 3, 50, 70]).view(5, 1, 1, 1)
    depth = normalise_scenes(raw, [3])
    assert torch.equal(depth[:3], normalise_scenes(raw[:3], []))
    assert torch.equal(depth[3:], normalise_scenes(raw[3:], []))
    assert depth[0].mean() < depth[2].mean()


def test_scale_and_shift_do_not_matter():
    raw = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(normalise_scenes(1000 * raw - 300, []), normalise_scenes(raw, []))


def test_one_bright_pixel_does_not_matter():
    raw = torch.rand(1, 1, 40, 40)
    before = normalise_scenes(raw, [])
    raw[0, 0, 0, 0] = 1e6
    assert (normalise_scenes(raw, [])[..., 1:] - before[..., 1:]).abs().max() < 0.01


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_no_depth_is_the_middle(value):
    assert torch.equal(normalise_scenes(torch.full((2, 1, 3, 4), value), []), torch.full((2, 1, 3, 4), 0.5))


def test_the_percentiles_of_many_values_are_sampled_evenly():
    ramp = torch.linspace(0, 1, 1024).expand(6, 1, 1024, 1024)
    low, high = percentiles(ramp, 0.02, 0.98)
    assert abs(low - 0.02) < 0.002
    assert abs(high - 0.98) < 0.002


def test_wrong_input_is_named():
    raw = torch.rand(3, 1, 4, 4)
    with pytest.raises(InputError, match=r"low must be less than high, got 0\.9 and 0\.1"):
        normalise_scenes(raw, [], 0.9, 0.1)
    with pytest.raises(InputError, match=r"cuts must lie between 1 and 2, got \[3\]"):
        normalise_scenes(raw, [3])
    with pytest.raises(InputError, match="`raw` must have 1 channel"):
        normalise_scenes(raw.expand(-1, 3, -1, -1), [])


def test_a_stream_follows_slowly_and_begins_anew():
    frame = torch.rand(1, 1, 20, 20)
    running = RunningRange()
    assert torch.equal(running.step(frame), normalise_scenes(frame, []))
    pumped = running.step(1.5 * frame)
    assert (pumped - normalise_scenes(frame, [])).max() > 0.3, "a frame's own range is not taken at once"
    for _ in range(200):
        settled = running.step(1.5 * frame)
    torch.testing.assert_close(settled, normalise_scenes(frame, []), atol=1e-2, rtol=0)
    running.reset()
    torch.testing.assert_close(running.step(9 * frame), normalise_scenes(frame, []))


def test_metres_become_their_inverse_and_nonsense_nothing():
    raw = torch.tensor([2.0, 0.5, 0.0, -1.0, float("inf"), float("nan"), 1e-9]).view(1, 1, 1, 7)
    expected = [0.5, 2.0, 0.0, 0.0, 0.0, 0.0, 100.0]
    torch.testing.assert_close(to_inverse_depth(raw, "metric").flatten(), torch.tensor(expected))


def test_affine_outputs_keep_their_straight_line():
    raw = torch.tensor([0.0, 0.25, 1.0, float("nan")]).view(1, 1, 1, 4)
    assert to_inverse_depth(raw, "affine_depth").flatten().tolist() == [1, 0.75, 0, 0]
    assert to_inverse_depth(raw, "affine_inverse").flatten().tolist() == [0, 0.25, 1, 0]
