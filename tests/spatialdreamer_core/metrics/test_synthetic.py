from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.flow import sample_at_flow
from spatialdreamer_core.metrics import CLIPS, Camera, Layer, Scene, Sphere, make_clip, render_scene
from spatialdreamer_core.metrics.scene_flow import scene_flow

_BACK = Layer(0.2, seed=1)
_FRONT = Layer(0.8, "rectangle", (0.25, 0.25, 0.5, 0.75), colour=(0.7, 0.4, 0.3), seed=2)
_SIZE = (60, 100)


def test_the_reference_view_shows_each_layer_where_its_box_says():
    clip = render_scene(Scene((_BACK, _FRONT), size=_SIZE, frames=1))
    expected = torch.zeros(_SIZE, dtype=torch.int64)
    expected[15:45, 25:50] = 1
    assert torch.equal(clip.layer[0, 0], expected)
    assert torch.allclose(clip.inverse_depth[0, 0], torch.where(expected == 1, 0.8, 0.2))


def test_a_sideways_camera_shifts_by_inverse_depth():
    clip = render_scene(Scene((_BACK, _FRONT), Camera((0.0625, 0, 0)), size=_SIZE, frames=3))
    for t in range(3):  # 0.0625 * 0.8 * 100 = 5 pixels to the left a frame
        assert (clip.layer[t, 0, 30] == 1).nonzero().ravel().tolist() == list(range(25 - 5 * t, 50 - 5 * t))
    moved = clip.frames[2, :, 18:42, 20:35]
    assert torch.allclose(moved, clip.frames[0, :, 18:42, 30:45], atol=0.02)


def test_a_dolly_brings_planes_nearer():
    clip = render_scene(Scene((_BACK,), Camera((0, 0, 1.0)), size=_SIZE, frames=2))
    assert torch.allclose(clip.inverse_depth[1], torch.tensor(0.25))  # distance 5 - 1


def test_a_turn_or_zoom_changes_no_parallax():
    for camera in (Camera(roll=0.1), Camera(zoom=1.1)):
        clip = render_scene(Scene((_BACK, _FRONT), camera, size=_SIZE, frames=2))
        assert set(clip.inverse_depth[1].unique().tolist()) == set(clip.inverse_depth[0].unique().tolist())


def test_a_slanted_plane_changes_by_its_slant():
    ground = Layer(0.5, slant=(0.0, 0.6))
    depth = render_scene(Scene((ground,), size=_SIZE, frames=1)).inverse_depth[0, 0]
    assert float(depth[-1, 50] - depth[0, 50]) == pytest.approx(0.6 * 59 / 60, abs=1e-4)
    assert float(depth.mean()) == pytest.approx(0.5, abs=1e-3)


def test_an_object_moves_alone_and_pauses():
    walker = Layer(0.5, "ellipse", (0.2, 0.3, 0.4, 0.7), velocity=(0.04, 0, 0), seed=3)
    clip = render_scene(Scene((_BACK, walker), size=_SIZE, frames=5, pause=(2, 4)))
    centres = [float((clip.layer[t, 0] == 1).nonzero()[:, 1].float().mean()) for t in range(5)]
    assert torch.tensor(centres).diff().tolist() == pytest.approx([2, 2, 0, 0], abs=0.2)
    still = clip.layer[0, 0] == 0
    assert torch.equal(clip.frames[2], clip.frames[3])
    assert torch.equal(clip.frames[0][:, still][:, :200], clip.frames[1][:, still][:, :200])


@pytest.mark.parametrize("baseline", [0.05, -0.05])
def test_the_second_view_agrees_with_disparity_and_holes(baseline):
    clip = render_scene(Scene((_BACK, _FRONT), size=(60, 200), frames=1), baseline=baseline)
    direction = -1.0 if baseline > 0 else 1.0  # right eye: x' = x - d
    expected = 0.05 * 200 * clip.inverse_depth
    assert torch.allclose(clip.disparity, expected)
    # Each visible pixel of the second view, looked up in the first, has the same colour.
    flow = torch.zeros(1, 2, 60, 200)
    seen = clip.layer[0, 0]
    other_depth = torch.full_like(clip.inverse_depth, 0.2)
    left = round(0.25 * 200 + direction * 8)
    other_depth[..., 15:45, left : left + 50] = 0.8
    flow[:, 0] = -direction * 10 * other_depth[:, 0]
    looked_up = sample_at_flow(clip.frames, flow)
    known = clip.other_hole[0, 0] == 0
    assert float((looked_up - clip.other).abs().mean(1)[0][known].max()) < 0.03
    # The hole beside the front layer is as wide as the two disparities differ, 10 * (0.8 - 0.2) pixels.
    row = clip.other_hole[0, 0, 30]
    beside = row[left + 50 : left + 60] if baseline > 0 else row[left - 10 : left]
    assert int(beside.sum()) == 6
    assert int((seen == 1).sum()) == 30 * 50


def test_a_sphere_is_round_and_bulges_towards_the_camera():
    sphere = Sphere(0.25, (0.5, 0.5), 0.2, seed=4)  # at distance 4, of radius 0.2 * 4
    clip = render_scene(Scene((_BACK, sphere), size=(101, 101), frames=1))
    inside = clip.layer[0, 0] == 1
    assert float(clip.inverse_depth[0, 0, 50, 50]) == pytest.approx(1 / (4 - 0.8), rel=1e-4)
    assert torch.equal(inside, inside.T)
    # Its outline is seen under asin(0.8 / 4), which a focal length of 101 pixels shows as a radius of 20.6.
    assert int(inside[50].sum()) == 41
    assert clip.inverse_depth[0, 0][inside].min() > 0.25


def test_the_flow_of_the_studio_leads_to_the_same_colours():
    scene = replace(CLIPS["studio_right"], size=(180, 320), frames=2)
    clip = render_scene(scene)
    flow, visible = scene_flow(scene, clip)
    carried = sample_at_flow(clip.frames[:1], flow.backward)
    error = (carried - clip.frames[1:]).abs().mean(1, keepdim=True)
    assert float(error[visible > 0].mean()) < 0.015
    assert float(error[visible == 0].mean()) > 0.05
    assert flow.forward.shape == flow.backward.shape == (1, 2, 180, 320)


def test_noise_is_seeded():
    scene = Scene((_BACK,), size=_SIZE, frames=2, noise=0.02)
    first, again = render_scene(scene).frames, render_scene(scene).frames
    assert torch.equal(first, again)
    assert float((first[0] - first[1]).std()) == pytest.approx(0.02 * 2**0.5, rel=0.1)


def test_named_clips_stay_in_range():
    for name in CLIPS:
        clip = make_clip(name, size=(36, 64), frames=2)
        assert clip.frames.shape == (2, 3, 36, 64)
        assert 0 <= float(clip.inverse_depth.min())
        assert float(clip.inverse_depth.max()) <= 1
    with pytest.raises(InputError, match="name must be one of"):
        make_clip("nothing")
