import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg.borders import sink_borders
from spatialdreamer_core.dvg.disparity import to_disparity
from spatialdreamer_core.stereo import FORMATS, FloatingWindowTracker, apply_floating_window, floating_window
from spatialdreamer_core.stereo.packing import join_views
from spatialdreamer_core.stereo.window import draw_window

from ..no_waits import no_waits


def cut_object(frames=1, *, width=200, disparity=4.0):
    """A background behind the screen, and something near that the left edge cuts."""
    values = torch.full((frames, 1, 10, width), -2.0)
    values[:, :, 4:9, :12] = disparity
    return values


def test_the_bar_is_as_wide_as_the_near_thing_s_disparity():
    window = floating_window(cut_object())
    assert window.left.tolist() == [4]
    assert window.right.tolist() == [0]


def test_the_frame_s_edge_gets_the_disparity_of_what_it_cuts():
    """What the right eye cannot see at the left edge is what the bar takes from the left eye."""
    disparity = cut_object()
    white = torch.ones(1, 3, 10, 200)
    left, right = apply_floating_window(white, white, floating_window(disparity))
    edge_left = int((left[0, 0, 5] > 0).nonzero()[0])
    edge_right = int((right[0, 0, 5] > 0).nonzero()[0])
    assert edge_left - edge_right == 4
    # A point of the object at x is at x - d in the right view: those left of the bar's end are outside there.
    assert edge_left - disparity[0, 0, 5, edge_left] == 0


def test_bars_lie_on_the_left_of_the_left_view_and_on_the_right_of_the_right_one():
    white = torch.ones(2, 3, 4, 100)
    disparity = torch.full((2, 1, 4, 100), 1.25)
    left, right = apply_floating_window(white, white, floating_window(disparity))
    assert left[0, 0, 0, :4].tolist() == [0, 0.75, 1, 1]
    assert right[1, 2, 3, -4:].tolist() == [1, 1, 0.75, 0]
    assert (left[..., 4:] == 1).all()
    assert (right[..., :-4] == 1).all()


def test_the_mirrored_clip_has_mirrored_bars():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.rand(2, 4, 3, 8, 150, generator=generator)
    disparity = 3 * torch.randn(4, 1, 8, 150, generator=generator)
    window, mirrored = floating_window(disparity), floating_window(disparity.flip(-1))
    assert torch.allclose(window.left, mirrored.right)
    assert torch.allclose(window.right, mirrored.left)
    views = apply_floating_window(left, right, window)
    other_way = apply_floating_window(right.flip(-1), left.flip(-1), mirrored)
    assert torch.allclose(views[0], other_way[1].flip(-1))
    assert torch.allclose(views[1], other_way[0].flip(-1))


def test_nothing_in_front_no_bars():
    left, right = torch.rand(2, 2, 3, 5, 40)
    window = floating_window(torch.full((2, 1, 5, 40), -1.0))
    views = apply_floating_window(left, right, window)
    assert torch.equal(views[0], left)
    assert torch.equal(views[1], right)


def test_no_bar_is_wider_than_3_percent():
    window = floating_window(torch.full((1, 1, 4, 200), 50.0))
    assert window.left.tolist() == [6]
    assert window.right.tolist() == [6]


def test_bars_move_slowly_within_a_scene_and_jump_at_its_cut():
    disparity = torch.cat([cut_object(3, disparity=-2.0), cut_object(40)])
    within = floating_window(disparity).left
    assert within[2] == 0
    assert within[3] == pytest.approx(0.4)  # a tenth of the way
    assert within.diff().max() == pytest.approx(0.4)
    assert within[-1] == pytest.approx(4, abs=0.1)
    assert floating_window(disparity, cuts=[3]).left[2:5].tolist() == [0, 4, 4]


def test_chunks_equal_the_whole():
    disparity = 3 * torch.randn(9, 1, 8, 120, generator=torch.Generator().manual_seed(0))
    whole = floating_window(disparity, cuts=[5])
    tracker = FloatingWindowTracker()
    for t in range(9):
        if t == 5:
            tracker.reset()
        step = tracker.step(disparity[t : t + 1])
        assert torch.equal(step.left, whole.left[t : t + 1])
        assert torch.equal(step.right, whole.right[t : t + 1])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_any_size(size):
    view = torch.rand(2, 3, *size)
    left, right = apply_floating_window(view, view, floating_window(torch.ones(2, 1, *size)))
    assert left.shape == right.shape == view.shape


def test_errors():
    view, window = torch.rand(2, 3, 4, 4), floating_window(torch.zeros(3, 1, 4, 4))
    with pytest.raises(InputError, match=r"`window` must hold bars for each frame of `left` \(2\), got 3"):
        apply_floating_window(view, view, window)
    with pytest.raises(InputError, match="`right` must have the size of `left`"):
        apply_floating_window(view, view[..., :3], window)
    with pytest.raises(InputError, match="`disparity` must have 1 channel"):
        floating_window(view)
    with pytest.raises(InputError, match="`disparity` must be finite, got 16 NaN or infinite values"):
        floating_window(torch.full((1, 1, 4, 4), torch.inf))


@pytest.mark.gpu
def test_a_film_s_frame_on_cuda_waits_for_nothing_and_equals_the_cpu():
    generator = torch.Generator().manual_seed(0)
    depth, view = torch.rand(1, 1, 40, 70, generator=generator), torch.rand(1, 3, 40, 70, generator=generator)

    def frame(depth, view, tracker, format):
        disparity = sink_borders(to_disparity(depth, divergence=9, convergence=0.3), width_percent=5)
        window = tracker.advance(disparity)
        return join_views(*draw_window(view, view.flip(-1), window), format=format), window.left

    for format in FORMATS:
        trackers = FloatingWindowTracker(), FloatingWindowTracker()
        there = depth.cuda(), view.cuda()
        frame(*there, trackers[1], format)
        expected = frame(depth, view, trackers[0], format), frame(1 - depth, view, trackers[0], format)
        with no_waits():
            result = frame(1 - there[0], there[1], trackers[1], format)
        for part, other in zip(result, expected[1], strict=True):
            assert torch.allclose(part.cpu(), other, atol=1e-4)
