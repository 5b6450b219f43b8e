import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.interleaved import empty_interleaved
from spatialdreamer_core.fill import FastFill, RenderedFrame, composite, fast_fill
from spatialdreamer_core.flow import Flow, Motion

HEIGHT, WIDTH = 40, 96


def texture(seed=0):
    """A smooth greenish texture, so that red can only come from the foreground."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, HEIGHT // 4, WIDTH // 4, generator=generator)
    grey = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)
    return torch.cat([0.1 + 0 * grey, 0.2 + 0.6 * grey, 0.2 * grey], dim=1)


def moving_box(frames, *, step=0, start=30, disparity=8.0):
    """A red box before a still texture: frames, disparity, exact flow both ways, and the background alone."""
    background = texture().repeat(frames, 1, 1, 1)
    image, depth = background.clone(), torch.zeros(frames, 1, HEIGHT, WIDTH)
    forward = torch.zeros(frames - 1, 2, HEIGHT, WIDTH)
    backward = torch.zeros(frames - 1, 2, HEIGHT, WIDTH)
    for t in range(frames):
        box = slice(start + t * step, start + t * step + 24)
        image[t, :, 8:32, box] = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
        depth[t, :, 8:32, box] = disparity
        if t < frames - 1:
            forward[t, 0, 8:32, box] = step
        if t > 0:
            backward[t - 1, 0, 8:32, box] = -step
    return image, depth, Flow.between(forward, backward), background


def psnr(a, b):
    return float(-10 * torch.log10((a - b).square().mean()))


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("with_disparity", [True, False])
def test_holes_are_filled_from_the_background_only(eye, with_disparity):
    image, disparity, _, _ = moving_box(1)
    view, hole = forward_warp(image, disparity, eye=eye)
    assert hole.sum() == 24 * 8
    filled = fast_fill(view, hole, left=image, disparity=disparity if with_disparity else None, eye=eye)
    inside = hole.expand_as(view) > 0
    assert torch.equal(filled[~inside], view[~inside]), "known pixels are the view's own"
    red = filled[:, :1][hole > 0]
    # Background red is 0.1, the box's 0.9.
    assert float(red.max()) < (0.15 if with_disparity else 0.6)
    assert float(red.mean()) < (0.12 if with_disparity else 0.3)


@pytest.mark.parametrize("step", [3, -3])
def test_flow_brings_the_true_background(step):
    image, disparity, flow, background = moving_box(8, step=step, start=30 if step > 0 else 60)
    view, hole = forward_warp(image, disparity)
    spatial = fast_fill(view, hole, disparity=disparity)
    temporal = fast_fill(view, hole, disparity=disparity, flow=flow)
    inside = (hole.expand_as(view) > 0)[1:-1]
    truth = background[1:-1][inside]
    gain = psnr(temporal[1:-1][inside], truth) - psnr(spatial[1:-1][inside], truth)
    assert gain > (6 if step > 0 else 1), gain


def test_what_was_seen_before_is_exact():
    image, disparity, flow, background = moving_box(6, step=4, start=20)
    view, hole = forward_warp(image, disparity)
    filled = fast_fill(view, hole, disparity=disparity, flow=flow)
    # The box moved right by 4 px a frame, so all its 8 px wide hole of frame 5 lay open in frame 3.
    inside = hole[5].expand(3, -1, -1) > 0
    assert torch.allclose(filled[5][inside], background[5][inside], atol=1e-5)


def test_what_is_seen_two_frames_later_is_exact():
    image, disparity, flow, background = moving_box(6, step=-4, start=60)
    view, hole = forward_warp(image, disparity)
    filled = fast_fill(view, hole, disparity=disparity, flow=flow)
    inside = hole[1].expand(3, -1, -1) > 0
    assert torch.allclose(filled[1][inside], background[1][inside], atol=1e-5)


def test_flow_blurred_at_the_edge_of_the_foreground_is_kept_out():
    image, disparity, flow, background = moving_box(6, step=-4, start=60)
    both = (flow.forward, flow.backward)
    blurred = Flow.between(*(torch.nn.functional.avg_pool2d(f, 5, 1, 2) for f in both))
    view, hole = forward_warp(image, disparity)
    filled = fast_fill(view, hole, disparity=disparity, flow=blurred)
    inside = hole[1].expand(3, -1, -1) > 0
    error = (filled[1] - background[1])[inside].abs()
    assert float((error < 1e-4).float().mean()) > 0.9


def test_nothing_is_taken_from_beyond_a_cut():
    image, disparity, flow, _ = moving_box(6, step=-4, start=60)
    image[3:] = 1 - image[3:]
    for f in (flow.forward, flow.backward):
        f[2] = 1e3  # leads out of the frame: no confidence, as across a cut
    flow = Flow.between(flow.forward, flow.backward)
    view, hole = forward_warp(image, disparity)
    whole = fast_fill(view, hole, disparity=disparity, flow=flow)
    part = flow.cut(0, 3, slice(None), slice(None))
    alone = fast_fill(view[:3], hole[:3], disparity=disparity[:3], flow=part)
    assert torch.equal(whole[:3], alone)


def test_a_still_clip_does_not_flicker():
    image, disparity, _, _ = moving_box(1)
    image, disparity = image.repeat(5, 1, 1, 1), disparity.repeat(5, 1, 1, 1)
    still = torch.zeros(4, 2, HEIGHT, WIDTH)
    view, hole = forward_warp(image, disparity)
    filled = fast_fill(view, hole, disparity=disparity, flow=Flow.between(still, still))
    assert float((filled[1:] - filled[:-1]).abs().max()) < 1e-6


def test_estimates_change_slowly_under_noise():
    image, disparity, _, _ = moving_box(1)
    generator = torch.Generator().manual_seed(0)
    image = image.repeat(8, 1, 1, 1) + 0.05 * torch.randn(8, 3, HEIGHT, WIDTH, generator=generator)
    disparity = disparity.repeat(8, 1, 1, 1)
    still = torch.zeros(7, 2, HEIGHT, WIDTH)
    view, hole = forward_warp(image, disparity)
    inside = (hole.expand_as(view) > 0)[1:]

    def flicker(video):
        return float((video[1:] - video[:-1])[inside].abs().mean())

    steady = fast_fill(view, hole, disparity=disparity, flow=Flow.between(still, still))
    assert flicker(steady) < 0.3 * flicker(fast_fill(view, hole, disparity=disparity))


def test_black_holes_of_the_next_frame_do_not_leak_in():
    frames, height, width = 2, 20, 60
    image = torch.full((frames, 3, height, width), 0.8)
    disparity = torch.zeros(frames, 1, height, width)
    disparity[..., 20:30] = 6
    view, hole = forward_warp(image, disparity)
    flow = torch.zeros(1, 2, height, width)
    flow[:, 0] = 3.5  # the background of half of the hole is seen in the next frame, beside its hole
    filled = fast_fill(view, hole, disparity=disparity, flow=Flow.between(flow, -flow))
    assert float((filled - 0.8).abs().max()) < 1e-5


def test_foreground_motion_does_not_bring_foreground_into_the_hole():
    image, disparity, flow, _ = moving_box(6, step=-4, start=60)
    view, hole = forward_warp(image, disparity)
    filled = fast_fill(view, hole, disparity=disparity, flow=flow)
    assert float(filled[:, :1][hole > 0].max()) < 0.2


def fill_scene(stream, frames):
    return [*(done for frame in frames for done in stream.push(frame)), *stream.finish()]


def test_a_scene_knows_nothing_of_the_one_before():
    image, disparity, _, _ = moving_box(2, step=4)
    warped, hole = forward_warp(image, disparity)
    frames = [RenderedFrame(image[t], warped[t], hole[t], disparity[t]) for t in range(2)]
    stream = FastFill().open(eye="right", size=(HEIGHT, WIDTH))
    fill_scene(stream, frames[:1])
    (again,) = fill_scene(stream, frames[1:])
    (alone,) = fill_scene(FastFill().open(eye="right", size=(HEIGHT, WIDTH)), frames[1:])
    assert torch.equal(again, alone)


def test_overwriting_gives_the_same_in_the_frames_own_tensors():
    image, disparity, _, _ = moving_box(2, step=4)
    warped, hole = forward_warp(image, disparity)
    frames = [RenderedFrame(image[t], warped[t], hole[t], disparity[t]) for t in range(2)]
    own = [f._replace(warped=f.warped.clone(), disparity=f.disparity.clone()) for f in frames]
    expected = fill_scene(FastFill().open(eye="right", size=(HEIGHT, WIDTH)), frames)
    got = fill_scene(FastFill(overwrite=True).open(eye="right", size=(HEIGHT, WIDTH)), own)
    for frame, here, there in zip(own, got, expected, strict=True):
        assert torch.equal(here, there)
        assert torch.equal(frame.warped, there)


def test_frames_and_masks_may_lie_in_memory_in_any_order():
    image, disparity, flow, _ = moving_box(5, step=3)
    view, hole = forward_warp(image, disparity)
    expected = fast_fill(view, hole, disparity=disparity, flow=flow)
    turned = hole.transpose(-1, -2).contiguous().transpose(-1, -2)
    last = view.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast_fill(last, turned, disparity=disparity, flow=flow), expected)


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("interleaved", [False, True])
def test_bytes_are_filled_as_their_floats_are(eye, overwrite, interleaved):
    """Within a level after many frames, too: what is carried along is not rounded each time."""
    frames, still = 24, torch.zeros(2, HEIGHT, WIDTH)
    image, disparity, _, _ = moving_box(1)
    generator = torch.Generator().manual_seed(0)
    image = image + 0.05 * torch.randn(frames, 3, HEIGHT, WIDTH, generator=generator)
    view, hole = forward_warp(image.clamp(0, 1), disparity.repeat(frames, 1, 1, 1), eye=eye)
    view = (view * 255).round().to(torch.uint8)
    # Colours that go on rising for long: rounded in each frame, estimates would stay behind.
    view = (view - torch.arange(frames, 0, -1)[:, None, None, None]).clamp(min=0)
    view = torch.where(hole > 0.5, 0, view).to(torch.uint8)
    motion = Motion(still, torch.ones(1, HEIGHT, WIDTH))
    filled = []
    for views, holes in ((view, hole > 0.5), (view / 255, hole)):
        own = [part.clone() for part in views]
        if interleaved and views is view:
            own = [empty_interleaved(HEIGHT, WIDTH).copy_(part) for part in views]
        given = [
            RenderedFrame(part, part, mask, disparity[0].clone(), motion, motion)
            for part, mask in zip(own, holes, strict=True)
        ]
        stream = FastFill(overwrite=overwrite).open(eye=eye, size=(HEIGHT, WIDTH))
        filled.append(torch.stack(fill_scene(stream, given)))
        if not overwrite:
            assert all(torch.equal(frame.warped, part) for frame, part in zip(given, views, strict=True))
    assert filled[0].dtype == torch.uint8
    known = (hole < 0.5).expand_as(view)
    assert torch.equal(filled[0][known], view[known])
    difference = filled[0] - filled[1] * 255
    assert difference.abs().max() <= 0.5 + 1 / 8
    assert (filled[1].amin(dim=(1, 2, 3)) >= 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (143, 175)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_any_size_without_holes_or_with_nothing_else(size, value):
    view = torch.rand(2, 3, *size)
    hole = torch.full((2, 1, *size), value)
    filled = fast_fill(view, hole, disparity=torch.zeros(2, 1, *size))
    assert filled.isfinite().all()
    assert filled.shape == view.shape
    if not value:
        assert torch.equal(filled, view)


def test_wrong_flow_is_named():
    view, hole = torch.rand(3, 3, 8, 8), torch.zeros(3, 1, 8, 8)
    flow = torch.zeros(3, 2, 8, 8)
    with pytest.raises(InputError, match=r"`flow.forward` must hold one flow for each .* \[2, 2, 8, 8\]"):
        fast_fill(view, hole, disparity=hole, flow=Flow.between(flow, flow))
    with pytest.raises(InputError, match=r"`flow` must be a Flow, got tuple; .*Flow.between\(forward, b"):
        fast_fill(view, hole, disparity=hole, flow=(flow[:2], flow[:2]))


def test_composite_equals_the_warp_outside_the_dilated_hole_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    warped, filled = torch.rand(2, 2, 3, 20, 30, generator=generator)
    hole = torch.zeros(2, 1, 20, 30)
    hole[:, :, 8:10, 12:16] = 1
    for dilate in (0, 1, 3):
        inside = torch.zeros(2, 1, 20, 30, dtype=torch.bool)
        inside[:, :, 8 - dilate : 10 + dilate, 12 - dilate : 16 + dilate] = True
        result = composite(warped, filled, hole, dilate=dilate)
        assert torch.equal(result, torch.where(inside, filled, warped))


def test_a_feather_blends_around_the_hole_and_nowhere_else():
    generator = torch.Generator().manual_seed(0)
    warped, filled = torch.rand(2, 2, 3, 20, 30, generator=generator)
    hole = torch.zeros(2, 1, 20, 30)
    hole[:, :, 8:10, 12:16] = 1
    result = composite(warped, filled, hole, dilate=1, feather=3)
    assert torch.equal(result[..., 7:11, 11:17], filled[..., 7:11, 11:17])
    assert torch.equal(result[..., :3, :], warped[..., :3, :])
    assert torch.equal(result[..., 21:], warped[..., 21:])
    middle = (warped + filled) / 2  # two of the four steps from the hole
    assert torch.allclose(result[..., 8, 18], middle[..., 8, 18])


def test_what_a_filler_shows_far_from_holes_is_ignored_whatever_it_is():
    warped, hole = torch.rand(1, 3, 6, 20), torch.zeros(1, 1, 6, 20)
    hole[..., 0] = 1
    filled = torch.full_like(warped, torch.nan)
    filled[..., :5] = 0.5
    assert torch.equal(composite(warped, filled, hole, feather=3)[..., 5:], warped[..., 5:])


def test_composite_errors():
    video, hole = torch.rand(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    with pytest.raises(InputError, match=r"dilate must be between 0 and 64 \(px\), got 65"):
        composite(video, video, hole, dilate=65)
    with pytest.raises(InputError, match=r"feather must be between 0 and 64 \(px\), got 99"):
        composite(video, video, hole, feather=99)
    with pytest.raises(InputError, match="`hole` must have the size of `warped`"):
        composite(video, video, torch.zeros(1, 1, 4, 5))
