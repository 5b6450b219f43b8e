"""The warp of bytes gives what that of floats gives, rounded."""

import numpy as np
import pytest
import torch

from spatialdreamer_core import remapping
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward
from spatialdreamer_core.dvg.forward import warp_frames
from spatialdreamer_core.dvg.forward_bytes import warp_bytes


def picture_of(height, width, seed=0):
    """A smooth picture, whose outlines are found, as a decoder gives it."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[:, width // 4 : width // 2] = (200, 40, 90)
    return image


def disparity_of(height, width, *, largest=8.0):
    """A near square, a slope, and fractions of a pixel."""
    disparity = torch.linspace(0, 3, width).repeat(1, height, 1)
    disparity[:, height // 4 : height // 2 + 1, width // 4 : width // 2] = largest
    return disparity


@pytest.fixture(params=["opencv", "torch"])
def way(request, monkeypatch):
    """Both ways of reading colours."""
    if request.param == "torch":
        monkeypatch.setattr(remapping, "_remaps_exactly", lambda: False)


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 1), (31, 53), (64, 96)])
@pytest.mark.parametrize("layout", ["interleaved", "planes", "cut out"])
def test_the_view_is_that_of_floats_rounded(way, eye, size, layout):
    image = picture_of(size[0] + 4, size[1] + 6)[2:-2, 3:-3]
    if layout != "cut out":
        image = np.ascontiguousarray(image)
    given = torch.from_numpy(image).permute(2, 0, 1)
    if layout == "planes":
        given = given.contiguous()
    kept, disparity = given.clone(), disparity_of(*size)
    view, hole, seen = warp_bytes(given, disparity, eye=eye)
    expected = warp_frames(kept[None] / 255, disparity[None], eye=eye)
    assert [part.dtype for part in (view, hole, seen)] == [torch.uint8, torch.bool, torch.float32]
    assert (view - expected[0][0] * 255).abs().max() <= 0.5 + 1e-3
    assert torch.equal(hole, expected[1][0] > 0.5)
    torch.testing.assert_close(seen, expected[2][0], atol=1e-5, rtol=0)
    assert torch.equal(given, kept), "the source is as it was"


def test_holes_are_black_and_rims_are_clean():
    """A red square before grey: no pixel of the view is redder on the background than the picture is."""
    image = np.full((20, 60, 3), 90, np.uint8)
    image[:, 20:40] = (250, 10, 10)
    disparity = torch.zeros(1, 20, 60)
    disparity[..., 20:40] = 6
    view, hole, _ = warp_bytes(torch.from_numpy(image).permute(2, 0, 1), disparity, eye="right")
    assert hole[0].sum(-1).tolist() == [6] * 20
    assert view[:, hole[0]].max() == 0
    assert torch.equal(view[:, 3, :14], torch.full((3, 14), 90, dtype=torch.uint8))
    assert view[:, 3, 14:34].tolist() == [[250] * 20, [10] * 20, [10] * 20]


def test_strips_change_nothing(monkeypatch):
    image = torch.from_numpy(picture_of(50, 40)).permute(2, 0, 1)
    disparity = disparity_of(50, 40)
    whole = warp_bytes(image, disparity, eye="left")
    monkeypatch.setattr(forward, "STRIP_PIXELS", 290)
    for part, expected in zip(warp_bytes(image, disparity, eye="left"), whole, strict=True):
        assert torch.equal(part, expected)


def test_disparity_beyond_the_frame_leaves_a_hole():
    image = torch.from_numpy(picture_of(6, 30)).permute(2, 0, 1)
    view, hole, seen = warp_bytes(image, torch.full((1, 6, 30), 90.0), eye="right")
    assert hole.all()
    assert not view.any()
    assert not seen.any()


def test_an_unknown_eye_is_refused():
    with pytest.raises(InputError, match="eye must be one of right, left"):
        warp_bytes(torch.zeros(3, 4, 6, dtype=torch.uint8), torch.zeros(1, 4, 6), eye="both")
