import math

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.stereo import (
    ANAGLYPHS,
    FORMATS,
    PIXEL_FORMATS,
    TWO_PICTURES,
    QuiltGrid,
    anaglyph,
    check_packed,
    pack,
    pack_quilt,
    packed_size,
    pictures_a_pair,
    pixel_aspect,
    quilt_suffix,
)
from spatialdreamer_core.stereo.half_sphere import half_sphere_side, to_half_sphere


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 7, 9, generator=generator), torch.rand(2, 3, 7, 9, generator=generator)


def pack_all(left, right, format, **options):
    """Pack views in any format, with depth that rises over the width."""
    depth = torch.linspace(0, 1, left.shape[-1], device=left.device).expand(len(left), 1, *left.shape[-2:])
    return pack(left, right, format=format, depth=depth, **options)


@pytest.mark.parametrize("format", FORMATS)
def test_size_is_as_announced(views, format):
    packed = pack_all(*views, format)
    count = 2 * pictures_a_pair(format)
    assert packed.shape == (count, 3, *packed_size(7, 9, format=format))
    assert 0 <= packed.min() <= packed.max() <= 1
    assert count == (4 if format in TWO_PICTURES else 2)


def test_full_formats_hold_both_views_exactly(views):
    left, right = views
    assert torch.equal(pack(left, right, format="full_sbs"), torch.cat([left, right], dim=3))
    assert torch.equal(pack(left, right, format="cross_eyed"), torch.cat([right, left], dim=3))
    assert torch.equal(pack(left, right, format="full_tb"), torch.cat([left, right], dim=2))


@pytest.mark.parametrize("format", FORMATS)
def test_8_bit_views_stay_8_bit(views, format):
    left, right = ((view * 255).round().to(torch.uint8) for view in views)
    packed = pack_all(left, right, format)
    assert packed.dtype == torch.uint8
    expected = pack_all(left / 255, right / 255, format) * 255
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
    with pytest.raises(InputError, match="`depth` must be given for the format rgbd, got none; give"):
        pack(left, right, format="rgbd")
    with pytest.raises(InputError, match=r"anaglyph must be one of dubois, .*, got 'red'"):
        pack(left, right, format="anaglyph", anaglyph="red")
    with pytest.raises(InputError, match="anaglyph must be one of"):
        anaglyph(left, right, method="red")
    with pytest.raises(InputError, match=r"field_of_view must be between 10 and 170 \(degrees\), got 180"):
        pack(left, right, format="vr180", field_of_view=180)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(5, 7), (6, 8), (1, 1)])
def test_what_is_packed_counts_as_packed(format, size):
    check_packed(*packed_size(*size, format=format), format=format, frames=2)


def test_half_formats_have_pixels_of_another_shape():
    """Players stretch them, so that each half is shown in the shape of its view."""
    assert {format: pixel_aspect(format) for format in FORMATS if pixel_aspect(format) != 1} == {
        "half_sbs": 2,
        "half_tb": 0.5,
    }


@pytest.mark.parametrize(
    ("format", "size", "said"),
    [
        ("full_sbs", (6, 7), "side by side for the format full_sbs, so of an even width, got 7x6; pack"),
        ("half_tb", (7, 6), "one above the other for the format half_tb, so of an even height, got 6x7"),
        ("triple", (6, 6), "format must be one of"),
        ("quilt", (6, 7), "side by side for the format quilt, so of an even width, got 7x6"),
        ("rgbd", (6, 7), "side by side for the format rgbd, so of an even width, got 7x6"),
        ("vr180", (6, 10), "two squares side by side .* twice as wide as high, got 10x6; pack"),
        ("full_sbs", (0, 6), "size must be"),
    ],
)
def test_a_size_that_cannot_hold_two_views_is_refused(format, size, said):
    with pytest.raises(InputError, match=said):
        check_packed(*size, format=format)


def test_an_odd_picture_too_many_is_refused():
    with pytest.raises(
        InputError, match="in turn for the format frame_sequential, so of an even number, got 3"
    ):
        check_packed(6, 6, format="frame_sequential", frames=3)


def coordinates(views):
    """Give views whose values tell the place: row in red, column in green, eye in blue."""
    height, width = views[0].shape[-2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return [torch.stack([row, column, torch.full_like(row, eye)])[None].to(torch.uint8) for eye in (0, 1)]


@pytest.mark.parametrize("format", PIXEL_FORMATS)
def test_lines_and_pixels_alternate_in_place_the_left_view_first(views, format):
    packed = pack(*coordinates(views), format=format)[0].long()
    row, column, eye = packed
    assert torch.equal(row, torch.arange(7)[:, None].expand(7, 9))
    assert torch.equal(column, torch.arange(9).expand(7, 9))
    turn = {"row_interlaced": row, "column_interlaced": column, "checkerboard": row + column}[format]
    assert torch.equal(eye, turn % 2)


@pytest.mark.parametrize("format", TWO_PICTURES)
def test_left_and_right_follow_each_other(views, format):
    left, right = views
    packed = pack(left, right, format=format)
    assert torch.equal(packed[0::2], left)
    assert torch.equal(packed[1::2], right)


def test_rgbd_is_the_picture_beside_its_depth(views):
    left, right = views
    depth = torch.rand(2, 1, 7, 9)
    packed = pack(left, right, format="rgbd", depth=depth)
    assert torch.equal(packed[..., :9], left)
    assert torch.equal(packed[..., 9:], depth.expand(-1, 3, -1, -1))


def test_a_quilt_begins_at_the_bottom_left_and_goes_right_then_up():
    views = torch.arange(6).to(torch.uint8).view(6, 1, 1, 1, 1).expand(6, 2, 3, 2, 4)
    quilt = pack_quilt(views, columns=3, rows=2)
    assert quilt.shape == (2, 3, 4, 12)
    assert quilt[1, 2, ::2, ::4].tolist() == [[3, 4, 5], [0, 1, 2]]
    assert quilt_suffix(columns=3, rows=2, aspect=16 / 9) == "_qs3x2a1.78"


def test_a_grid_names_its_quilts():
    check_packed(72, 256, format="quilt", grid=QuiltGrid(columns=4, rows=2))
    assert QuiltGrid(columns=4, rows=2).suffix(72, 256) == "_qs4x2a1.78"
    check_packed(6, 7, format="quilt", grid=QuiltGrid(columns=7, rows=2))


@pytest.mark.parametrize(("height", "width"), [(75, 100), (74, 102)])
def test_pictures_that_are_no_quilts_of_a_grid_are_refused(height, width):
    with pytest.raises(InputError, match=f"quilts of 4x2 views, .* got {width}x{height}; save the quilts"):
        check_packed(height, width, format="quilt", grid=QuiltGrid(columns=4, rows=2))


def test_two_views_as_a_quilt_are_one_row(views):
    packed = pack(*views, format="quilt")
    assert torch.equal(packed, pack_quilt(torch.stack(views), columns=2, rows=1))


@pytest.mark.parametrize("grid", [(2, 2), (0, 0), (-1, -2), (3, 1)])
def test_a_grid_that_views_do_not_fill_is_refused(views, grid):
    with pytest.raises(InputError, match=r"must be the number of `views` \(2\), got"):
        pack_quilt(torch.stack(views), columns=grid[0], rows=grid[1])


@pytest.mark.parametrize("method", ANAGLYPHS)
def test_every_anaglyph_sends_red_to_the_left_eye(method):
    white, black = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    assert anaglyph(white, black, method=method)[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0], abs=0.06)
    assert anaglyph(black, white, method=method)[0, :, 0, 0].tolist() == pytest.approx([0, 1, 1], abs=0.06)
    grey = torch.full((1, 3, 2, 2), 0.5)
    assert anaglyph(grey, grey, method=method)[0, 1:, 0, 0].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert anaglyph(white, white, method=method).min() > 0.98


@pytest.mark.parametrize(
    ("method", "expected"),
    [  # of left (0.2, 0.4, 0.6) and right (0.8, 0.5, 0.1), by hand
        ("color", (0.2, 0.5, 0.1)),
        ("half-color", (0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6, 0.5, 0.1)),
        ("gray", (0.3630, *2 * (0.299 * 0.8 + 0.587 * 0.5 + 0.114 * 0.1,))),
        ("wimmer", (0.7 * 0.4 + 0.3 * 0.6, 0.5, 0.1)),
        ("wimmer2", ((0.75 * 0.4 + 0.25 * 0.6) ** (1 / 1.6), 0.5 + 0.45 * 0.3, 0.1 + 0.25 * 0.7)),
        (
            "dubois",
            (0.2 * 0.437 + 0.4 * 0.449 + 0.6 * 0.164 - 0.8 * 0.011 - 0.5 * 0.032 - 0.1 * 0.007, None, None),
        ),
    ],
)
def test_anaglyphs_by_hand(method, expected):
    left, right = (torch.tensor(color).view(1, 3, 1, 1) for color in ((0.2, 0.4, 0.6), (0.8, 0.5, 0.1)))
    mixed = anaglyph(left, right, method=method).flatten().tolist()
    assert [
        value for value, wanted in zip(mixed, expected, strict=True) if wanted is not None
    ] == pytest.approx([wanted for wanted in expected if wanted is not None], abs=1e-5)


def test_dubois2_mixes_light():
    """Equal to mixing decoded sRGB and encoding the sum."""
    left, right = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    light = [((view + 0.055) / 1.055) ** 2.4 for view in (left.clamp(min=0.05), right.clamp(min=0.05))]
    mixed = anaglyph(*light, method="dubois")
    expected = torch.where(mixed > 0.0031308, 1.055 * mixed ** (1 / 2.4) - 0.055, 12.92 * mixed)
    got = anaglyph(left.clamp(min=0.05), right.clamp(min=0.05), method="dubois2")
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def sample_sphere(view, *, side, field_of_view, aspect, samples):
    """Average many rays a pixel, each the nearest pixel: a slow, obvious half sphere."""
    height, width = view.shape[-2:]
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    places = (torch.arange(side * samples, dtype=torch.float64) + 0.5) / (
        side * samples
    ) * math.pi - math.pi / 2
    elevation, azimuth = torch.meshgrid(places, places, indexing="ij")
    x = width / 2 + focal * azimuth.tan()
    y = height / 2 + focal * aspect * elevation.tan() / azimuth.cos()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen = view[:, y.clamp(0, height - 1).long(), x.clamp(0, width - 1).long()] * inside
    return torch.nn.functional.avg_pool2d(seen[None].float(), samples)[0]


@pytest.mark.parametrize(("field_of_view", "aspect"), [(90.0, 1.0), (120.0, 1.0), (60.0, 1.5)])
def test_half_spheres_equal_many_rays_a_pixel(field_of_view, aspect):
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(96.0), indexing="ij")
    view = torch.stack([(x / 9).sin() * 0.5 + 0.5, (y / 7).cos() * 0.5 + 0.5, (x + y) / 156])
    side = half_sphere_side(96, field_of_view=field_of_view)
    got = to_half_sphere(view[None], side=side, field_of_view=field_of_view, aspect=aspect)[0]
    expected = sample_sphere(view, side=side, field_of_view=field_of_view, aspect=aspect, samples=8)
    error = (got - expected).abs()
    assert error.mean() < 0.004
    inside = expected.amin(0) > 0.02
    assert error[:, inside].quantile(0.99) < 0.06


def test_a_half_sphere_does_not_alias():
    """A pattern of single lines turns grey where it shrinks."""
    view = (torch.arange(400) % 2).float().expand(1, 3, 300, 400)
    sphere = to_half_sphere(view, side=100, field_of_view=90.0)
    middle = sphere[0, 0, 45:55, 30:70]
    assert 0.35 < middle.min() <= middle.max() < 0.65


def test_a_half_sphere_shows_angles_in_their_place_and_black_around():
    view = torch.zeros(1, 3, 301, 401)
    view[..., 150, 200 + round(401 / 2 * math.tan(math.radians(30)))] = 1.0  # 30 degrees to the right
    sphere = to_half_sphere(view, side=360, field_of_view=90.0)[0, 0]
    row, column = divmod(int(sphere.argmax()), 360)
    assert abs(column + 0.5 - 360 * (90 + 30) / 180) < 1
    assert abs(row + 0.5 - 180) < 1
    white = to_half_sphere(torch.ones(1, 3, 301, 401), side=360, field_of_view=90.0)[0, 0]
    assert white[:, :89].max() == white[:, -89:].max() == white[:60].max() == 0
    assert white[150:210, 95:265].min() == pytest.approx(1)


@pytest.mark.parametrize(
    ("format", "side"), [("full_sbs", 4096), *((format, 255) for format in FORMATS if format != "full_sbs")]
)
def test_each_eye_is_by_itself(format, side):
    """Left is red and right is blue."""
    left, right = torch.zeros(2, 1, 3, side, side, dtype=torch.uint8).unbind()
    left[:, 0], right[:, 2] = 255, 255
    packed = pack_all(left, right, format)
    assert packed.shape[-2:] == packed_size(side, side, format=format)
    packed = packed[..., ::3, ::3]
    red, green, blue = packed.unbind(1)
    if format == "rgbd":
        half = packed.shape[-1] // 2
        assert (red[..., :half] == 255).all()
        assert (packed[..., half + 1 :].diff(dim=1) == 0).all()
    elif format == "anaglyph":
        assert (red > 80).all()
        assert (blue > 200).all()
    else:
        assert (green == 0).all()
        assert ((red == 0) | (blue == 0)).all()
        assert (red > 0).any()
        assert (blue > 0).any()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 2)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_the_smallest_views_of_every_type(format, size, dtype):
    left, right = torch.ones(2, 1, 3, *size).to(dtype).unbind()
    packed = pack_all(left, right, format)
    assert packed.dtype == dtype
    assert packed.shape[-2:] == packed_size(*size, format=format)
    assert packed.float().isfinite().all()


@pytest.mark.gpu
@pytest.mark.parametrize("format", FORMATS)
def test_8_bit_views_on_cuda_are_packed_as_on_the_cpu(views, format):
    left, right = ((view * 255).round().to(torch.uint8) for view in views)
    expected = pack_all(left, right, format)
    packed = pack_all(left.cuda(), right.cuda(), format).cpu()
    assert packed.dtype == torch.uint8
    assert int((packed.int() - expected.int()).abs().max()) <= 1
