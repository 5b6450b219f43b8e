import cv2
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import BuiltinDepth, estimate_depth
from spatialdreamer_core.depth.cues import position_cue
from spatialdreamer_core.flow import dis_flow, sample_at_flow
from spatialdreamer_core.metrics import make_clip


def correlation(depth, clip, frame):
    """Spearman's with the true inverse depth; what differs by less than 0.05 is one depth."""
    truth = (clip.inverse_depth[frame, 0].numpy() * 20).round()
    return spearmanr(np.asarray(depth).ravel()[::5], truth.ravel()[::5])[0]


def correlations(name, **changes):
    """Ours and the position prior's correlation, averaged over the clip."""
    clip = make_clip(name, **changes)
    depth = estimate_depth(clip.frames)
    position = position_cue(*clip.frames.shape[-2:])
    count = range(len(clip.frames))
    ours = np.mean([correlation(depth[t, 0], clip, t) for t in count])
    return ours, np.mean([correlation(position, clip, t) for t in count])


@pytest.mark.parametrize(
    "name",
    [
        "translate_right",
        "translate_left",
        "translate_up",
        "upside_down_right",
        "upside_down_left",
        "strips_right",
        "strips_left",
        "translate_pan",
        "translate_counter_pan",
        "translate_roll",
        "upside_down_pan",
    ],
)
def test_sideways_camera_movement_orders_the_layers(name):
    ours, position = correlations(name, frames=6)
    assert ours >= 0.8
    assert ours > position


@pytest.mark.parametrize(
    "name", ["dolly_in", "dolly_out", "dolly_upside_down", "walker", "walker_two_layers", "walker_pan"]
)
def test_forward_movement_and_moving_objects_beat_the_position_prior(name):
    ours, position = correlations(name, frames=6)
    assert ours > position + 0.2


def test_a_pan_or_a_zoom_does_no_harm():
    for name in ("pan", "zoom"):
        ours, position = correlations(name, frames=6)
        assert ours > position - 0.05


@pytest.mark.parametrize("name", ["drive", "drive_back", "drive_turn"])
def test_driving_is_understood(name):
    clip = make_clip(name, frames=4)
    depth = estimate_depth(clip.frames)
    single = torch.cat([estimate_depth(frame[None]) for frame in clip.frames])
    count = range(1, 4)
    ours = np.mean([correlation(depth[t, 0], clip, t) for t in count])
    assert ours > np.mean([correlation(single[t, 0], clip, t) for t in count]) + 0.05
    sky = clip.layer[2, 0] == 0
    assert depth[2, 0][sky].median() < depth[2, 0][~sky].quantile(0.1)


@pytest.mark.parametrize(
    "name",
    ["orbit", "orbit_strips", "studio_right", "studio_dolly", "street_zoom"],
)
def test_motion_that_misleads_leaves_the_prior(name):
    ours, position = correlations(name, frames=4)
    assert ours > position - 0.02


@pytest.fixture
def wall_and_coat():
    """Give a frame with a textured wall and someone in a coat of one colour; and where the coat is."""
    frame = np.random.default_rng(0).integers(120, 250, (180, 320, 3), dtype=np.uint8)
    frame[40:, 120:200] = (60, 40, 50)
    inside = np.zeros((180, 320), bool)
    inside[60:170, 130:190] = True
    return frame, inside


@pytest.mark.parametrize("kind", ["astray", "long", "zooming"])
def test_poor_flow_has_no_say(wall_and_coat, kind):
    frame, _ = wall_and_coat
    y, x = np.mgrid[:180, :320].astype(np.float32) - np.float32([90, 160])[:, None, None]
    generator = np.random.default_rng(1)
    builtin, single = BuiltinDepth(), BuiltinDepth().step(frame, None, None)
    make = {
        "astray": lambda sign: generator.normal(0, 8, (180, 320, 2)),
        "long": lambda sign: np.repeat(generator.normal(0, 30, (18, 32, 2)), 10, 0).repeat(10, 1),
        "zooming": lambda sign: np.stack([0.05 * x, 0.05 * y], -1) * sign,
    }[kind]
    depth = single
    for _ in range(3):
        depth = builtin.step(frame, make(1).astype(np.float32), make(-1).astype(np.float32))
    assert np.abs(depth - single).mean() < 0.08
    assert np.corrcoef(depth.ravel(), single.ravel())[0, 1] > 0.95


def test_depth_has_no_steps_inside_one_colour(wall_and_coat):
    frame, inside = wall_and_coat
    flow = np.zeros((180, 320, 2), np.float32)
    flow[40:, 120:160] = (4, 0)  # half of the coat is said to move
    builtin = BuiltinDepth()
    for _ in range(6):
        depth = builtin.step(frame, flow, -flow)
    across = np.abs(np.diff(depth, axis=1))[inside[:, 1:]]
    down = np.abs(np.diff(depth, axis=0))[inside[1:]]
    assert max(across.max(), down.max()) < 0.08


def test_a_face_is_not_folded():
    """Eyes, nose and mouth of other colours do not sink towards the door behind."""
    frame = np.full((180, 320, 3), (150, 110, 80), np.uint8)
    cv2.ellipse(frame, (160, 95), (55, 75), 0, 0, 360, (225, 180, 150), -1)
    parts = {"nose": (100, 160), "eye": (80, 137), "mouth": (135, 160)}
    cv2.ellipse(frame, parts["nose"][::-1], (9, 22), 0, 0, 360, (205, 150, 125), -1)
    cv2.ellipse(frame, parts["eye"][::-1], (10, 5), 0, 0, 360, (245, 245, 245), -1)
    cv2.ellipse(frame, parts["mouth"][::-1], (20, 6), 0, 0, 360, (170, 70, 70), -1)
    depth = BuiltinDepth().step(cv2.GaussianBlur(frame, (0, 0), 0.7), None, None)
    cheek, door = depth[105, 130], depth[100, 30]
    assert cheek > door + 0.1
    for place in parts.values():
        assert depth[place] > cheek - 0.08


def test_what_has_moved_stays_in_front_while_it_rests():
    clip = make_clip("walker_stops")
    depth = estimate_depth(clip.frames)[:, 0]
    walker = clip.layer[:, 0] == 1
    for t in range(4, len(depth)):
        assert depth[t][walker[t]].median() > depth[t][~walker[t]].quantile(0.9)


@pytest.mark.parametrize("name", ["still", "still_noise"])
def test_a_still_clip_is_still(name):
    depth = estimate_depth(make_clip(name, frames=6).frames)
    assert float(depth.std(dim=0).mean()) < 0.01
    assert float(depth.std(dim=0).quantile(0.99)) < 0.02


@pytest.mark.parametrize("name", ["translate_right", "walker", "dolly_in"])
def test_depth_follows_the_image_without_flicker(name):
    clip = make_clip(name, frames=8)
    depth = estimate_depth(clip.frames)
    changes = []
    for t in range(2, 7):
        grey, grey_next = ((clip.frames[k].mean(0) * 255).round().to(torch.uint8).numpy() for k in (t, t + 1))
        flow = torch.from_numpy(dis_flow(grey, grey_next)).permute(2, 0, 1)[None]
        change = (sample_at_flow(depth[t + 1 : t + 2], flow) - depth[t : t + 1]).abs()
        changes.append(float(change.mean()))
    assert np.mean(changes) < 0.02


def test_a_scene_after_a_cut_is_what_it_is_alone():
    first = make_clip("upside_down_right", frames=5).frames
    second = (1 - make_clip("walker", frames=5).frames) * 0.4
    together = estimate_depth(torch.cat([first, second]))
    assert torch.equal(together[:5], estimate_depth(first))
    assert torch.equal(together[5:], estimate_depth(second))


def test_the_state_does_not_grow():
    def size(value):
        if isinstance(value, np.ndarray):
            return value.nbytes
        if hasattr(value, "__dict__"):
            return sum(size(entry) for entry in vars(value).values())
        return 0

    frames = (make_clip("walker", frames=10, size=(90, 160)).frames * 255).byte()
    images = [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in frames]
    greys = [image.mean(-1).astype(np.uint8) for image in images]
    builtin, sizes = BuiltinDepth(), []
    for t in range(10):
        forward = dis_flow(greys[t], greys[t + 1]) if t < 9 else None
        backward = dis_flow(greys[t], greys[t - 1]) if t else None
        builtin.step(images[t], forward, backward)
        sizes.append(size(builtin))
    assert len(set(sizes[2:])) == 1


@pytest.mark.parametrize(("height", "width"), [(175, 143), (1, 1), (1, 40), (33, 2), (2, 700)])
@pytest.mark.parametrize("count", [1, 3])
def test_any_size_and_length_works(height, width, count):
    frames = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    depth = estimate_depth(frames)
    assert depth.shape == (count, 1, height, width)
    assert depth.dtype == torch.float32
    assert bool(depth.isfinite().all())
    assert 0 <= float(depth.min())
    assert float(depth.max()) <= 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_empty_frames_give_the_position_prior(value):
    depth = estimate_depth(torch.full((3, 3, 60, 80), value))
    assert bool(depth.isfinite().all())
    rows = depth[1, 0].mean(dim=1)
    assert float(rows[-5:].mean()) > float(rows[:5].mean())


def test_grey_frames_work():
    frames = make_clip("translate_right", frames=4).frames.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert correlation(estimate_depth(frames)[3, 0], make_clip("translate_right", frames=4), 3) > 0.6


def test_not_a_number_is_refused():
    frames = torch.rand(2, 3, 20, 20)
    frames[1, 0, 3, 3] = float("nan")
    with pytest.raises(InputError, match="`frames` must be finite, got 1 NaN"):
        estimate_depth(frames)
