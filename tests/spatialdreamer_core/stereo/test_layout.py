"""From two views to the packed picture: eyes swapped and shifted, padded, resized; sizes told beforehand."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.options import OptionConflict
from spatialdreamer_core.stereo import FORMATS, StereoLayout, pack


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 3, 18, 40, generator=generator).unbind()


@pytest.mark.parametrize("format", FORMATS)
def test_a_plain_layout_is_pack(views, format):
    layout = StereoLayout(format)
    assert layout.is_plain
    depth = torch.rand(1, 1, 18, 40)
    right = depth.expand(-1, 3, -1, -1) if format == "rgbd" else views[1]
    expected = pack(*views, format=format, depth=depth)
    assert torch.equal(layout.pack(views[0], right), expected)
    assert layout.size(18, 40) == expected.shape[-2:]


def test_swapped_eyes(views):
    left, right = views
    swapped = StereoLayout(swap_eyes=True).pack(left, right)
    assert torch.equal(swapped, StereoLayout("cross_eyed").pack(left, right))


@pytest.mark.parametrize("percent", [10.0, -10.0, 12.5, 0.5])
def test_an_offset_brings_all_nearer_by_its_share_of_the_width(percent):
    """A dot's place in the left view minus that in the right one is its disparity, nearer above 0."""
    dot = torch.zeros(1, 3, 1, 40, dtype=torch.uint8)
    dot[..., 20] = 255
    left, right = StereoLayout(ipd_offset=percent).arrange(dot, dot)
    assert int(left[0, 0, 0].argmax()) - int(right[0, 0, 0].argmax()) == round(percent / 100 * 40)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float16, torch.float32])
def test_an_offset_fills_what_is_left_open(dtype):
    row = torch.arange(10, 20).to(dtype).expand(1, 3, 2, 10)
    left, right = StereoLayout(ipd_offset=20).arrange(row, row, black=3)
    assert left.dtype == right.dtype == dtype
    assert left[0, 0, 0].tolist() == [3, *range(10, 19)]
    assert right[0, 0, 0].tolist() == [*range(11, 20), 3]
    left, right = StereoLayout(ipd_offset=-20, ipd_fill="edge").arrange(row, row)
    assert left[0, 0, 0].tolist() == [*range(11, 20), 19]
    assert right[0, 0, 0].tolist() == [10, *range(10, 19)]


@pytest.mark.parametrize(
    ("size", "aspect", "padded"),
    [
        ((18, 40), 1, (22, 40)),
        ((18, 18), 1, (18, 32)),
        ((1080, 1920), 1, (1080, 1920)),
        ((480, 854), 1, (480, 854)),
        ((768, 1366), 1, (768, 1366)),
        ((576, 720), Fraction(64, 45), (576, 720)),  # 16:9 by the shape of its pixels
        ((1, 1), 1, (1, 2)),
    ],
)
def test_views_are_padded_to_16_to_9_as_they_are_shown(size, aspect, padded):
    layout = StereoLayout(pad="16:9")
    assert layout.view_size(*size, aspect=Fraction(aspect)) == padded
    view = torch.full((1, 3, *size), 200, dtype=torch.uint8)
    left, right = layout.arrange(view, view, aspect=Fraction(aspect), black=16)
    assert left.shape[-2:] == right.shape[-2:] == padded
    assert int((left == 200).sum()) == view.numel()
    assert int((left == 16).sum()) == left.numel() - view.numel()
    rows, columns = (left[0, 0] == 200).nonzero(as_tuple=True)
    assert abs(int(rows.min() - (padded[0] - 1 - rows.max()))) <= 1, "in the middle"
    assert abs(int(columns.min() - (padded[1] - 1 - columns.max()))) <= 1


def test_views_are_resized_to_the_output_height_in_their_shape(views):
    layout = StereoLayout("full_tb", output_height=27)
    assert layout.view_size(18, 40) == (27, 60)
    packed = layout.pack(*views)
    assert packed.shape[-2:] == layout.size(18, 40) == (54, 60)
    assert packed[..., :27, :].mean() == pytest.approx(float(views[0].mean()), abs=0.01)


def test_the_output_height_is_the_side_of_a_half_sphere(views):
    layout = StereoLayout("vr180", output_height=101)
    assert layout.pack(*views).shape[-2:] == layout.size(18, 40) == (102, 204)
    assert layout.pixel_aspect(Fraction(4, 3)) == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(17, 33), (1, 1), (36, 64)])
@pytest.mark.parametrize("pad", ["none", "16:9"])
@pytest.mark.parametrize("output_height", [None, 17])
@pytest.mark.parametrize("offset", [0.0, 3.3])
def test_sizes_are_told_beforehand_and_even_for_the_encoder(format, size, pad, output_height, offset):
    """In nunif #605 padding, offset and an encoder that takes even sizes alone failed together."""
    pad = "none" if format == "vr180" else pad
    offset = 0.0 if format == "rgbd" else offset
    layout = StereoLayout(format, pad=pad, output_height=output_height, ipd_offset=offset)
    layout.check()
    view = torch.zeros(1, 3, *size, dtype=torch.uint8)
    height, width = layout.size(*size)
    assert layout.pack(view, view).shape[-2:] == (height, width)
    encoded = layout.encoded_size(*size)
    assert encoded == (height + height % 2, width + width % 2)
    assert encoded[0] % 2 == encoded[1] % 2 == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ipd_offset": 21.0}, r"ipd_offset must be between -20 and 20 \(% of width\), got 21"),
        ({"ipd_offset": float("nan")}, "ipd_offset must be between -20 and 20"),
        ({"pad": "4:3"}, "pad must be one of none, 16:9, got '4:3'"),
        ({"output_height": 8}, r"output_height must be between 16 and 16384 \(px\), got 8"),
        ({"ipd_fill": "mirror"}, "ipd_fill must be one of black, edge"),
        ({"format": "rgbd", "swap_eyes": True}, "swap_eyes must be left alone with the format rgbd"),
        ({"format": "rgbd", "ipd_offset": 1.0}, "ipd_offset must be left alone with the format rgbd"),
        ({"format": "vr180", "pad": "16:9"}, "pad must be none with the format vr180"),
        ({"format": "vr180", "field_of_view": 171.0}, "field_of_view must be between 10 and 170"),
    ],
)
def test_what_breaks_a_rule_is_named(changes, said):
    with pytest.raises(InputError, match=said) as caught:
        StereoLayout(**changes).check()
    if "format" in changes and "field_of_view" not in changes:
        assert isinstance(caught.value, OptionConflict)


def test_the_shape_of_a_view_is_as_it_is_shown():
    assert StereoLayout().view_shape(576, 720, aspect=Fraction(64, 45)) == Fraction(16, 9)
    assert StereoLayout(pad="16:9").view_shape(100, 100) == Fraction(178, 100)
