from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthStabiliser, apply_scene_ranges, measure_scenes, stabilise_depth
from spatialdreamer_core.depth.alignment import fit_scale_shift, typical_range
from spatialdreamer_core.flow import Flow, Motion, estimate_flow, sample_at_flow
from spatialdreamer_core.metrics import CLIPS, render_scene
from spatialdreamer_core.metrics.scene_flow import scene_flow


def rendered(name, frames=10, size=(90, 160)):
    scene = replace(CLIPS[name], frames=frames, size=size)
    clip = render_scene(scene)
    flow, visible = scene_flow(scene, clip)
    return clip, flow, visible


def jittered(truth, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale, shift = torch.rand(2, len(truth), 1, 1, 1, generator=generator)
    return (0.7 + 0.7 * scale) * truth + 0.4 * shift - 0.2


def temporal_error(depth, truth, backward, visible):
    x, y = depth - depth.mean(), truth - truth.mean()
    error = (x * y).sum() / (x * x).sum() * x - y
    change = (error[1:] - sample_at_flow(error[:-1], backward)).abs()
    return float((change * visible).sum() / visible.sum())


def still(frames, size=(24, 32)):
    none = torch.zeros(frames - 1, 2, *size)
    return Flow.between(none, none)


def part(flow, first, end):
    """The flow of frames `first` to `end`."""
    return flow.cut(first, end, slice(None), slice(None))


def resting(size=(24, 32), confidence=1.0):
    return Motion(torch.zeros(2, *size), torch.full((1, *size), confidence))


@pytest.mark.parametrize("flow_kind", ["exact", "dis"])
@pytest.mark.parametrize("name", ["translate_right", "translate_pan", "dolly_out", "walker_two_layers"])
def test_random_scale_and_shift_are_taken_out(name, flow_kind):
    clip, exact, visible = rendered(name)
    flow = exact if flow_kind == "exact" else estimate_flow(clip.frames)
    raw = jittered(clip.inverse_depth)
    before = temporal_error(raw, clip.inverse_depth, exact.backward, visible)
    after = temporal_error(stabilise_depth(raw, flow), clip.inverse_depth, exact.backward, visible)
    assert before > 0.05
    assert after < before / 10


def test_flicker_of_single_pixels_is_filtered_unless_the_strength_is_zero():
    torch.manual_seed(0)
    truth = torch.linspace(0, 1, 32).expand(12, 1, 24, 32)
    raw = truth + 0.02 * torch.randn(truth.shape)
    calm, loose = (stabilise_depth(raw, still(12), strength=s) for s in (0.8, 0.0))
    calm, loose = ((video[1:] - video[:-1])[4:].abs().mean() for video in (calm, loose))
    assert calm < 0.5 * loose


@pytest.mark.parametrize("name", ["translate_right", "pan", "zoom", "walker"])
def test_a_stable_input_stays_what_it_is(name):
    clip = rendered(name)[0]
    stable = stabilise_depth(40 * clip.inverse_depth, estimate_flow(clip.frames))
    assert float((stable / 40 - clip.inverse_depth).abs().mean()) < 2e-3


@pytest.mark.parametrize("length", [1, 3, 4])
def test_chunks_equal_the_whole(length):
    clip, flow, _ = rendered("translate_pan")
    raw, cuts = jittered(clip.inverse_depth), [6]
    whole = stabilise_depth(raw, flow, cuts=cuts)
    state, parts = DepthStabiliser(), []
    for start in range(0, len(raw), length):
        end = min(start + length, len(raw))
        inside = [cut - start for cut in cuts if start <= cut < end]
        lead_in = part(flow, max(start - 1, 0), end)
        parts.append(stabilise_depth(raw[start:end], lead_in, cuts=inside, stabiliser=state))
    ranges = measure_scenes(whole, cuts)
    chunks, whole = (apply_scene_ranges(video, ranges, cuts) for video in (torch.cat(parts), whole))
    assert float((chunks - whole).abs().max()) < 1e-5


def test_a_particle_in_one_frame_does_not_move_the_others():
    clip, flow, _ = rendered("dolly_ground")
    raw = jittered(clip.inverse_depth)
    with_particle = raw.clone()
    with_particle[4, :, 30:38, 50:58] = 10.0
    results = [stabilise_depth(video, flow) for video in (raw, with_particle)]
    without, beside = (apply_scene_ranges(video, measure_scenes(video)) for video in results)
    change = (beside - without).abs().amax(dim=(1, 2, 3))
    change[4] = 0
    assert float(change.max()) < 0.005


def test_a_scene_begins_in_its_typical_unit():
    clip, flow, _ = rendered("translate_right", frames=8)
    raw = jittered(clip.inverse_depth)
    state = DepthStabiliser()
    state.reset(typical_range(frame[None] for frame in raw))
    stable = stabilise_depth(raw, flow, stabiliser=state)
    given, found = (video.flatten(1).quantile(torch.tensor([0.02, 0.98]), dim=1).T for video in (raw, stable))
    assert float((given - given.mean(0)).abs().max()) > 0.1
    assert float((found - given.mean(0)).abs().max()) < 0.03


def test_a_flat_first_frame_lies_in_the_middle_of_the_typical_range():
    state = DepthStabiliser()
    state.reset((1.0, 3.0))
    assert torch.equal(state.step(torch.full((1, 24, 32), 7.0)), torch.full((1, 24, 32), 2.0))


def test_a_cut_begins_anew():
    clip, flow, _ = rendered("translate_right", frames=6)
    raw = jittered(clip.inverse_depth)
    raw[3:] = 5 - 3 * raw[3:]
    both = stabilise_depth(raw, flow, cuts=[3])
    assert torch.equal(both[3], raw[3])
    assert torch.equal(both[:3], stabilise_depth(raw[:3], part(flow, 0, 3)))
    assert torch.equal(both[3:], stabilise_depth(raw[3:], part(flow, 3, 6)))


def test_drift_is_taken_back_over_a_long_scene():
    torch.manual_seed(0)
    truth = torch.linspace(0, 1, 32).repeat(24, 1)
    state = DepthStabiliser()
    for _ in range(250):
        noisy = truth + 0.03 * torch.randn(24, 32)
        last = state.step((0.7 + 0.7 * torch.rand(())) * noisy + 0.4 * torch.rand(()) - 0.2, resting())
    assert float(last.max() - last.min()) == pytest.approx(1.05, abs=0.2)
    assert float(last.mean()) == pytest.approx(0.525, abs=0.1)


def test_one_frame_and_either_layout_stay_as_they_are():
    depth = torch.rand(1, 1, 24, 32)
    assert torch.equal(stabilise_depth(depth, still(1)), depth)
    for frame in (depth[0], depth[0, 0]):
        state = DepthStabiliser()
        assert state.step(frame).shape == frame.shape
        assert torch.allclose(state.step(2 * frame + 1, resting()), frame, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3, 1000.0])
def test_constant_depth_stays_finite(value):
    depth = torch.full((4, 1, 24, 32), value)
    stable = stabilise_depth(depth, still(4))
    assert torch.allclose(stable, depth)
    assert (apply_scene_ranges(stable, measure_scenes(stable)) == 0.5).all()


def test_depth_follows_when_no_flow_can_be_trusted():
    torch.manual_seed(0)
    state, nowhere = DepthStabiliser(), resting(confidence=0.0)
    frame = torch.rand(1, 24, 32)
    state.step(frame)
    stable = state.step(1.3 * frame - 0.1, nowhere)
    assert torch.allclose(stable, frame, atol=1e-4)


def test_the_fit_ignores_what_moved_otherwise():
    torch.manual_seed(0)
    source = torch.rand(1, 1, 60, 80)
    target = 1.7 * source - 0.4
    target[..., :20] = torch.rand(1, 1, 60, 20) * 3
    scale, shift = fit_scale_shift(source, target, torch.ones_like(source))
    assert scale == pytest.approx(1.7, rel=0.01)
    assert shift == pytest.approx(-0.4, abs=0.01)
    assert fit_scale_shift(-source, source, torch.ones_like(source), scale_otherwise=0.9)[0] == 0.9


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(bad):
    depth = torch.rand(3, 1, 24, 32)
    depth[1, 0, 2, 3] = bad
    with pytest.raises(
        InputError, match=r"`depth` must be finite, got 1 NaN or infinite .*; repair the depth"
    ):
        stabilise_depth(depth, still(3))
    with pytest.raises(InputError, match="`depth` must be finite"):
        measure_scenes(depth)
    state = DepthStabiliser()
    state.step(depth[0])
    with pytest.raises(InputError, match=r"`motion\.flow` must be finite"):
        state.step(depth[0], Motion(torch.full((2, 24, 32), bad), torch.ones(1, 24, 32)))


def test_wrong_input_is_named():
    depth, state = torch.rand(3, 1, 24, 32), DepthStabiliser()
    with pytest.raises(InputError, match=r"strength must be between 0 and 0\.95, got 1"):
        DepthStabiliser(strength=1.0)
    with pytest.raises(InputError, match=r"`flow.forward` must hold .* \[F-1, 2, H, W\] = \[2, 2, 24, 32\]"):
        stabilise_depth(depth, still(2))
    with pytest.raises(InputError, match=r"`flow` must be a Flow, got tuple; make one by estimate_flow"):
        stabilise_depth(depth, (torch.zeros(2, 2, 24, 32), torch.zeros(2, 2, 24, 32)))
    with pytest.raises(InputError, match="`cuts` must lie between 0 and 2"):
        stabilise_depth(depth, still(3), cuts=[3])
    with pytest.raises(InputError, match="must be one frame"):
        state.step(depth)
    state.step(depth[0])
    with pytest.raises(InputError, match=r"got none; use estimate_flow, or call reset\(\) at a cut"):
        state.step(depth[1])
    with pytest.raises(InputError, match=r"`motion.flow` must have the size of `depth` \(32x24\), got 8x8"):
        state.step(depth[1], resting((8, 8)))
    with pytest.raises(InputError, match="`to_previous` must be a Motion, got Tensor; take it from a Flow"):
        state.step(depth[1], torch.zeros(2, 24, 32))
    with pytest.raises(InputError, match="must keep its size within a scene"):
        state.step(depth[1, :, :8], resting((8, 32)))
