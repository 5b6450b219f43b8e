import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthShaping, shape_depth
from spatialdreamer_core.dvg import depth_to_disparity, forward, forward_warp, rows
from spatialdreamer_core.fill import fast_fill


def box_scene(width=64, height=8, disparity=6.0):
    """A red box with disparity in front of a grey ramp without."""
    image = torch.linspace(0.2, 0.8, width).view(1, 1, 1, width).repeat(1, 3, height, 1)
    depth = torch.zeros(1, 1, height, width)
    image[:, :, :, 24:40] = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    depth[..., 24:40] = disparity
    return image, depth


def test_zero_disparity_is_the_identity():
    image = torch.rand(2, 3, 9, 33)
    view, hole = forward_warp(image, torch.zeros(2, 1, 9, 33))
    assert torch.allclose(view, image, atol=1e-6)
    assert not hole.any()


def test_right_eye_moves_near_things_left_and_opens_a_hole_on_their_right():
    image, disparity = box_scene()
    view, hole = forward_warp(image, disparity, eye="right")
    assert torch.allclose(view[0, :, 0, 18:34], image[0, :, 0, 24:40], atol=1e-2)
    assert hole[0, 0, 0].nonzero().flatten().tolist() == list(range(34, 40))
    assert not view[hole.expand_as(view) > 0].any(), "holes are black"


def test_left_eye_is_the_mirror_image():
    image, disparity = box_scene()
    view, hole = forward_warp(image, disparity + 0.3, eye="right")
    mirrored_view, mirrored_hole = forward_warp(image.flip(-1), disparity.flip(-1) + 0.3, eye="left")
    assert torch.allclose(mirrored_view.flip(-1), view, atol=1e-4)
    assert torch.equal(mirrored_hole.flip(-1), hole)


@pytest.mark.parametrize("eye", ["right", "left"])
def test_fine_detail_keeps_its_contrast_between_pixels(eye):
    wave = (2 * torch.pi / 6 * torch.arange(96.0)).sin() * 0.4 + 0.5  # a splat by half a pixel leaves 87 %
    image = wave.expand(1, 3, 4, 96)
    view, _ = forward_warp(image, torch.full((1, 1, 4, 96), 3.5), eye=eye)
    inner = view[..., 8:88]
    assert float(inner.max() - inner.min()) > 0.76


@pytest.mark.parametrize("eye", ["right", "left"])
def test_colours_do_not_mix_across_a_jump(eye):
    image, disparity = box_scene(disparity=6.5)
    image[:, :, :, 24:40] = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    view, hole = forward_warp(image, disparity, eye=eye)
    grey = (view[:, 0] - view[:, 1]).abs() < 1e-3
    red = view[:, 0] > 0.99
    mixed = ~grey & ~red & (hole[:, 0] < 0.5)
    assert int(mixed.sum(-1).max()) <= 2, "one pixel at each side of the box"


@pytest.mark.parametrize("eye", ["right", "left"])
def test_the_nearer_one_wins(eye):
    image, disparity = box_scene(disparity=12.0)
    disparity[..., :24] = 3.0
    view, _ = forward_warp(image, disparity, eye=eye)
    red = (view[0, 0] > 0.99) & (view[0, 1] < 0.01)
    assert int(red.sum(1).min()) >= 15, "the box stays whole in front of what it covers"


def test_layers_far_behind_an_outline_keep_their_order():
    image, disparity = torch.zeros(1, 3, 1, 300), torch.full((1, 1, 1, 300), -400.0)  # most leave the frame
    image[..., 220:226], disparity[..., 220:226] = 1.0, 199.5  # half a pixel of the front on column 20
    image[..., 66:71], disparity[..., 66:71] = 0.5, 50.0  # behind it there
    image[..., 30], disparity[..., 30] = 0.0, 10.0  # behind both
    view, _ = forward_warp(image, disparity)
    cover = rows.FRONT_ODDS * 0.5 / (0.5 + rows.FRONT_ODDS * 0.5)
    assert float(view[0, 0, 0, 20]) == pytest.approx(cover * 1.0 + (1 - cover) * 0.5, abs=1e-4)


def test_a_stretched_surface_has_no_cracks():
    width = 120
    image = torch.linspace(0, 1, width).view(1, 1, 1, width).repeat(1, 3, 4, 1)
    slope = -torch.arange(width, dtype=torch.float32) * 1.2  # neighbours land 2.2 px apart
    view, hole = forward_warp(image, slope.view(1, 1, 1, width).expand(1, 1, 4, width), eye="right")
    assert not hole[..., :-1].any(), "at the edge alone, beyond which the next pixel lands"
    assert (view[0, 0, 0, :-1].diff() > -1e-6).all()


@pytest.mark.parametrize("thickness", [2, 3])
def test_a_true_strip_inside_a_hole_is_kept(thickness):
    image, disparity = box_scene(disparity=12.0)
    strip = slice(40, 40 + thickness)
    image[..., strip] = torch.tensor([0, 0, 1.0]).view(3, 1, 1)
    disparity[..., strip] = 6.0  # lands in the middle of the hole
    view, hole = forward_warp(image, disparity)
    seen = slice(34, 34 + thickness)
    assert not hole[..., seen].any()
    assert torch.allclose(view[0, 2, :, seen], torch.ones(()), atol=1e-2)


def test_strips_equal_the_whole(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 37, 50, generator=generator)
    disparity = torch.rand(2, 1, 37, 50, generator=generator) * 8
    whole = forward_warp(image, disparity)
    monkeypatch.setattr(forward, "STRIP_PIXELS", 150)
    strips = forward_warp(image, disparity)
    assert torch.equal(whole[0], strips[0])
    assert torch.equal(whole[1], strips[1])


def test_chunks_equal_the_whole():
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(4, 3, 12, 50, generator=generator)
    disparity = torch.rand(4, 1, 12, 50, generator=generator) * torch.tensor([1, 5, 20, 90]).view(4, 1, 1, 1)
    view, hole = forward_warp(image, disparity)
    parts = [forward_warp(image[t : t + 1], disparity[t : t + 1]) for t in range(4)]
    assert torch.equal(view, torch.cat([part[0] for part in parts]))
    assert torch.equal(hole, torch.cat([part[1] for part in parts]))


def test_disparity_beyond_the_frame_leaves_only_holes():
    _, hole = forward_warp(torch.rand(1, 3, 4, 20), torch.full((1, 1, 4, 20), 50.0))
    assert hole.all()


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("size", [(1, 1), (5, 20), (16, 8192)])
def test_a_view_that_all_has_left_is_filled_with_finite_pixels(size, eye):
    image, disparity = torch.rand(1, 3, *size), torch.full((1, 1, *size), 1.5 * size[1] + 2)
    view, hole = forward_warp(image, disparity, eye=eye)
    assert hole.all()
    filled = fast_fill(view, hole, left=image, disparity=disparity, eye=eye)
    assert filled.isfinite().all()
    assert 0 <= float(filled.min()) <= float(filled.max()) <= 1


@pytest.mark.parametrize("depth", ["zeros", "ones", "rand"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (16, 8192)])
def test_any_size_and_flat_depth_from_depth_to_view(size, depth):
    """Depth without any range moves everything alike: the view is the image, shifted."""
    inverse_depth = getattr(torch, depth)(1, 1, *size)
    shaped = shape_depth(inverse_depth, DepthShaping(1.0, gamma=2, edge_width=4, edge_dilation=2))
    disparity = depth_to_disparity(shaped, divergence=20, convergence=0.5)
    view, hole = forward_warp(torch.rand(1, 3, *size), disparity)
    assert view.isfinite().all()
    if depth != "rand":
        shift = 0.1 * size[1]
        assert abs(float(hole.sum()) / size[0] - shift) <= 1


@pytest.mark.parametrize("size", [(1, 1), (143, 175)])
def test_odd_sizes(size):
    view, hole = forward_warp(torch.rand(1, 3, *size), torch.rand(1, 1, *size))
    assert view.shape == (1, 3, *size)
    assert hole.shape == (1, 1, *size)


def test_errors():
    image = torch.rand(2, 3, 4, 6)
    with pytest.raises(InputError, match="eye must be one of right, left, got 'both'"):
        forward_warp(image, torch.zeros(2, 1, 4, 6), eye="both")
    with pytest.raises(InputError, match="`disparity` must have as many frames as `image`"):
        forward_warp(image, torch.zeros(1, 1, 4, 6))
    with pytest.raises(InputError, match="`disparity` must be finite, got 48 NaN"):
        forward_warp(image, torch.full((2, 1, 4, 6), float("nan")))


def test_gradients_reach_image_and_disparity():
    image, disparity = torch.rand(1, 3, 4, 20, requires_grad=True), torch.rand(1, 1, 4, 20)
    disparity = disparity.mul(4).requires_grad_()
    view, _ = forward_warp(image, disparity)
    view.square().sum().backward()
    assert image.grad.abs().sum() > 0
    assert disparity.grad.abs().sum() > 0
