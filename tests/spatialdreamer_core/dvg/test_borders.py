import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import ease_borders, forward_warp


def test_by_hand():
    disparity = torch.full((1, 1, 1, 20), 8.0)
    eased = ease_borders(disparity, width_percent=20)[0, 0, 0]  # 4 px: u = 0, 1/4, 1/2, 3/4, 1
    assert eased[:5].tolist() == [0, 1.25, 4, 6.75, 8]
    assert torch.equal(eased, eased.flip(0))
    assert (eased[4:16] == 8).all()


def test_what_lies_behind_the_screen_stays():
    disparity = torch.linspace(-3, 3, 40).view(1, 1, 1, 40).flip(-1)
    eased = ease_borders(disparity)
    assert torch.equal(eased[disparity <= 0], disparity[disparity <= 0])
    assert eased[0, 0, 0, 0] == 0
    assert torch.equal(ease_borders(disparity, width_percent=0), disparity)


def test_an_eased_view_has_no_hole_at_the_edge_and_mirrors():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 6, 100, generator=generator)
    disparity = torch.full((1, 1, 6, 100), 3.0)
    assert forward_warp(image, disparity)[1][..., -2:].all()
    view, hole = forward_warp(image, ease_borders(disparity, width_percent=10))
    assert not hole[..., -1].any()
    assert torch.equal(view[..., -1], image[..., -1])
    mirrored, _ = forward_warp(image.flip(-1), ease_borders(disparity.flip(-1), width_percent=10), eye="left")
    assert torch.allclose(mirrored.flip(-1), view, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_narrow_frames(width):
    eased = ease_borders(torch.full((2, 1, 3, width), 1.0), width_percent=25)
    assert eased.isfinite().all()
    assert (eased[..., 0] == 0).all()


def test_errors():
    with pytest.raises(InputError, match=r"width_percent must be between 0 and 25 \(% of width\), got 30"):
        ease_borders(torch.zeros(1, 1, 2, 2), width_percent=30)
    with pytest.raises(InputError, match=r"`disparity` must have 1 channel"):
        ease_borders(torch.zeros(1, 2, 2, 2))
