import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.stereo import FORMATS, anaglyph, check_packed, pack, packed_size, pixel_aspect


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 7, 9, generator=generator), torch.rand(2, 3, 7, 9, generator=generator)


@pytest.mark.parametrize("format", FORMATS)
def test_size_is_as_announced(views, format):
    packed = pack(*views, format=format)
    assert packed.shape == (2, 3, *packed_size(7, 9, format=format))
    assert 0 <= packed.min() <= packed.max() <= 1


def test_full_formats_hold_both_views_exactly(views):
    left, right = views
    assert torch.equal(pack(left, right, format="full_sbs"), torch.cat([left, right], dim=3))
    assert torch.equal(pack(left, right, format="cross_eyed"), torch.cat([right, left], dim=3))
    assert torch.equal(pack(left, right, format="full_tb"), torch.cat([left, right], dim=2))


@pytest.mark.parametrize("format", FORMATS)
def test_8_bit_views_stay_8_bit(views, format):
    left, right = ((view * 255).round().to(torch.uint8) for view in views)
    packed = pack(left, right, format=format)
    assert packed.dtype == torch.uint8
    expected = pack(left / 255, right / 255, format=format) * 255
    assert (packed - expected).abs().max() < 0.51


def test_half_formats_keep_each_half_to_its_eye(views):
    black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert pack(black, white, format="half_sbs")[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert pack(black, white, format="half_tb")[0, 0, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_anaglyph_gives_red_to_the_left_eye():
    white, black = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    only_left = anaglyph(white, black)[0, :, 0, 0]
    only_right = anaglyph(black, white)[0, :, 0, 0]
    assert only_left.tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert only_right.tolist() == pytest.approx([0, 1, 1], abs=1e-6)


def test_grey_stays_nearly_grey_in_an_anaglyph_without_disparity():
    grey = torch.full((1, 3, 2, 2), 0.5)
    assert anaglyph(grey, grey)[0, :, 0, 0].tolist() == pytest.approx([0.5, 0.5, 0.5], abs=0.01)


def test_errors_name_what_is_wrong(views):
    left, right = views
    with pytest.raises(InputError, match="format must be one of full_sbs, half_sbs"):
        pack(left, right, format="sbs")
    with pytest.raises(InputError, match="must have one type, got"):
        pack(left, right.to(torch.uint8))
    with pytest.raises(InputError, match="`right` must have as many frames as `left`"):
        pack(left, right[:1])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(5, 7), (6, 8), (1, 1)])
def test_what_is_packed_counts_as_packed(format, size):
    check_packed(*packed_size(*size, format=format), format=format)


def test_half_formats_have_pixels_of_another_shape():
    """Players stretch them, so that each half is shown in the shape of its view."""
    assert [pixel_aspect(format) for format in FORMATS] == [1, 2, 1, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("format", "size", "said"),
    [
        ("full_sbs", (6, 7), "side by side for the format full_sbs, so of an even width, got 7x6; pack"),
        ("half_tb", (7, 6), "one above the other for the format half_tb, so of an even height, got 6x7"),
        ("triple", (6, 6), "format must be one of"),
        ("full_sbs", (0, 6), "size must be"),
    ],
)
def test_a_size_that_cannot_hold_two_views_is_refused(format, size, said):
    with pytest.raises(InputError, match=said):
        check_packed(*size, format=format)


@pytest.mark.gpu
@pytest.mark.parametrize("format", FORMATS)
def test_8_bit_views_on_cuda_are_packed_as_on_the_cpu(views, format):
    left, right = ((view * 255).round().to(torch.uint8) for view in views)
    expected = pack(left, right, format=format)
    packed = pack(left.cuda(), right.cuda(), format=format).cpu()
    assert packed.dtype == torch.uint8
    assert int((packed.int() - expected.int()).abs().max()) <= 1
