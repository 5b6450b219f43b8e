import pytest
import torch

from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.forward import forward_warp_with_disparity, warp_frames
from spatialdreamer_core.dvg.outlines import find_outlines, find_seen, widen_foreground
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.metrics.views import masked_psnr, view_regions

SIGNS = {"right": -1, "left": 1}
RED, GREY = torch.tensor([1.0, 0, 0]), torch.tensor([0.5, 0.5, 0.5])
BOX = slice(24, 40)


def box_scene(share=0.0, *, eye="right", disparity=6.0, width=64, height=4, thickness=16):
    """A red box before grey; it covers `share` of the pixel after its trailing edge."""
    image = GREY.view(1, 3, 1, 1).repeat(1, 1, height, width)
    depth = torch.zeros(1, 1, height, width)
    box = slice(24, 24 + thickness)
    image[..., box] = RED.view(3, 1, 1)
    depth[..., box] = disparity
    image[..., box.stop] = (share * RED + (1 - share) * GREY).view(3, 1)
    return (image, depth) if eye == "right" else (image.flip(-1), depth.flip(-1))


def red_of(view):
    """Sum how much of each row is the box: red over grey."""
    return (view[0, 0] - view[0, 1])[0].clamp(min=0).sum()


def layered(seed, *, frames=1, height=12, width=80):
    """Textured bands of whole columns, each at its own disparity: steps of all sizes, clean and in a row."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(frames, 3, height, width, generator=generator)
    bands = (torch.rand(frames, 1, height, width // 5, generator=generator) * 16 - 4).round()
    disparity = bands.repeat_interleave(5, dim=-1)
    disparity[:, :, ::3, ::7] += 3  # single pixels
    return image, disparity


@pytest.mark.parametrize("eye", ["right", "left"])
def test_widening_by_hand(eye):
    disparity = torch.tensor([0.0, 0, 3, 3, 0, 0, 5, 1])
    expected = {"right": [0, 0, 3, 3, 3, 0, 5, 5], "left": [0, 3, 3, 3, 0, 5, 5, 1]}
    assert widen_foreground(disparity, sign=SIGNS[eye]).tolist() == expected[eye]


@pytest.mark.parametrize("eye", ["right", "left"])
def test_an_exact_outline_takes_nothing_of_the_background_along(eye):
    image, disparity = box_scene(eye=eye)
    view, hole = forward_warp(image, disparity, eye=eye)
    plain, plain_hole, _ = warp_frames(image, disparity, eye=eye, widen=False)
    assert torch.equal(view, plain)
    assert torch.equal(hole, plain_hole)
    opened = hole if eye == "right" else hole.flip(-1)
    assert opened[0, 0, 0].nonzero().flatten().tolist() == list(range(34, 40))


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("disparity", [6.0, 6.4])
def test_what_the_foreground_covers_goes_along_and_leaves_no_rim(share, eye, disparity):
    image, depth = box_scene(share, eye=eye, disparity=disparity)
    rim = find_outlines(image[0], depth[0], sign=SIGNS[eye]).rim
    assert rim.shares.view(2, 4).sum(0).tolist() == pytest.approx([share] * 4, abs=0.02)
    assert torch.allclose(rim.disparity, torch.full((4,), disparity))
    view, hole = forward_warp(image, depth, eye=eye)
    if eye == "left":
        view, hole = view.flip(-1), hole.flip(-1)
    beyond = view[..., BOX.stop - 4 :]
    known = hole[..., BOX.stop - 4 :] < 0.5
    assert torch.allclose(beyond[known.expand_as(beyond)], torch.tensor(0.5), atol=1e-2), "grey, or a hole"
    assert not hole[..., BOX.stop :].any(), "the pixel stays, without the foreground's colour"
    half_tones = 0.25 if disparity % 1 else 0.15  # between pixels, the box's own soft edges
    assert float(red_of(view)) == pytest.approx(16 + share, abs=half_tones)


def test_colours_that_do_not_tell_leave_the_pixel_to_the_background():
    image, disparity = box_scene()
    image[:] = 0.5
    outlined = find_outlines(image[0], disparity[0], sign=-1)
    assert outlined.rim is None
    assert torch.equal(outlined.disparity, disparity[0])
    assert torch.equal(outlined.colour, image[0])


def test_colours_beside_the_line_between_both_surfaces_are_no_mixture():
    image, disparity = box_scene()
    image[..., 40] = torch.tensor([0.5, 1.0, 1.0]).view(3, 1)  # the background's own spot
    outlined = find_outlines(image[0], disparity[0], sign=-1)
    assert outlined.rim is None
    assert torch.equal(outlined.colour, image[0])


@pytest.mark.parametrize("sign", [-1, 1])
def test_soft_depth_takes_the_whole_pixel_along(sign):
    image = torch.rand(3, 2, 30, generator=torch.Generator().manual_seed(0))
    ramp = torch.tensor([9.0] * 12 + [7, 4, 2] + [0] * 15)
    disparity = (ramp if sign < 0 else ramp.flip(0)).expand(1, 2, 30)
    outlined = find_outlines(image, disparity, sign=sign)
    assert outlined.rim is None
    assert outlined.colour is image
    assert torch.equal(outlined.disparity, widen_foreground(disparity, sign=sign))


def test_small_steps_are_widened_and_bridged_without_a_seam():
    image, disparity = box_scene(disparity=2.0)
    assert find_outlines(image[0], disparity[0], sign=-1).rim is None
    assert not forward_warp(image, disparity)[1].any()


@pytest.mark.parametrize("thickness", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_hair_keeps_its_width(thickness, share):
    """And is not seen a second time where the crack that it leaves is bridged."""
    image, disparity = box_scene(share, thickness=thickness, disparity=12.0)
    view, hole = forward_warp(image, disparity)
    assert hole[0, 0, 0].nonzero().flatten().tolist() == list(range(24, 24 + thickness))
    assert float(red_of(view)) == pytest.approx(thickness + share, abs=0.3)


@pytest.mark.parametrize("seed", range(4))
def test_left_eye_is_the_mirror_image(seed):
    image, disparity = layered(seed)
    image[..., ::5] = image[..., ::5].lerp(image[..., 1::5], 0.5)
    for shift in (0.0, 0.3):
        right = forward_warp_with_disparity(image, disparity + shift, eye="right")
        left = forward_warp_with_disparity(image.flip(-1), disparity.flip(-1) + shift, eye="left")
        for a, b in zip(right, left, strict=True):
            assert torch.allclose(a, b.flip(-1), atol=1e-4)


def test_without_steps_nothing_is_copied_or_changed():
    image = torch.rand(3, 4, 30)
    flat = torch.zeros(1, 4, 30)
    for disparity in (flat, flat - 7.5, flat + torch.arange(30.0)):
        outlined = find_outlines(image, disparity, sign=1)
        assert outlined.colour is image
        assert outlined.rim is None
    assert torch.equal(forward_warp(image[None], torch.zeros(1, 1, 4, 30))[0], image[None])


@pytest.mark.parametrize("eye", ["right", "left"])
def test_only_differences_of_disparity_count(eye):
    """Convergence moves the whole view: nearer or behind the screen, the outlines stay the same."""
    image, disparity = box_scene(0.5, eye=eye, width=96)
    view, hole = forward_warp(image, disparity, eye=eye)
    behind, hole_behind = forward_warp(image, disparity - 9, eye=eye)
    shift = 9 if eye == "right" else -9
    inner = slice(12, -12)
    assert torch.allclose(behind.roll(-shift, -1)[..., inner], view[..., inner], atol=1e-5)
    assert torch.equal(hole_behind.roll(-shift, -1)[..., inner], hole[..., inner])


def test_parts_equal_the_whole(monkeypatch):
    from spatialdreamer_core.dvg import forward

    image, disparity = layered(5, frames=3)
    whole = forward_warp_with_disparity(image, disparity)
    monkeypatch.setattr(forward, "STRIP_PIXELS", 240)
    strips = forward_warp_with_disparity(image, disparity)
    frames = [forward_warp_with_disparity(image[t : t + 1], disparity[t : t + 1]) for t in range(3)]
    for n in range(3):
        assert torch.equal(whole[n], strips[n])
        assert torch.equal(whole[n], torch.cat([part[n] for part in frames]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 5), (7, 33)])
def test_any_size_and_type(dtype, size):
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 3, *size, generator=generator).to(dtype)
    disparity = (torch.randint(0, 3, (2, 1, *size), generator=generator) * 9.0 - 9).to(dtype)
    for eye in ("right", "left"):
        view, hole, seen = forward_warp_with_disparity(image, disparity, eye=eye)
        assert view.dtype == hole.dtype == seen.dtype == dtype
        assert view.isfinite().all()
        assert seen.isfinite().all()
        assert 0 <= float(view.min()) <= float(view.max()) <= 1


def test_gradients_reach_both_surfaces_of_a_rim():
    image, disparity = box_scene(0.5)
    image.requires_grad_()
    disparity.requires_grad_()
    view, _ = forward_warp(image, disparity)
    view[..., 34].sum().backward()  # what the box covers of it beside what lies behind
    assert image.grad[..., BOX].abs().sum() > 0.1
    assert image.grad[..., BOX.stop :].abs().sum() > 0.1
    assert image.grad.isfinite().all()
    assert disparity.grad.isfinite().all()


@pytest.mark.parametrize("eye", ["right", "left"])
def test_find_seen_agrees_with_the_warp(eye):
    image, disparity = box_scene(0.6, eye=eye)
    _, hole, expected = forward_warp_with_disparity(image, disparity, eye=eye)
    columns, seen = find_seen(disparity, eye=eye)
    known = hole < 0.5
    assert torch.allclose(seen[known], expected[known], atol=0.05)
    assert (columns[known] >= 0).all()


@pytest.mark.parametrize(("eye", "baseline"), [("right", 0.03), ("left", -0.03)])
def test_exact_outlines_gain(eye, baseline):
    """Neither no widening nor that of whole pixels comes nearer to the true view."""
    clip = make_clip("walker", size=(180, 320), frames=1, baseline=baseline)
    quality = {}
    for name, disparity, widen in (
        ("outlines", clip.disparity, True),
        ("none", clip.disparity, False),
        ("whole", widen_foreground(clip.disparity, sign=SIGNS[eye]), False),
    ):
        view, hole, _ = warp_frames(clip.frames, disparity, eye=eye, widen=widen)
        filled = fast_fill(view, hole, disparity=disparity, eye=eye, texture=0)  # the warp is meant
        quality[name] = masked_psnr(filled, clip.other, view_regions(clip.disparity, eye=eye).visible)
    assert quality["outlines"] > max(quality["none"], quality["whole"]) + 0.1, quality
