import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.fill import FastFill, fast_fill
from spatialdreamer_core.fill.hole_runs import find_runs
from spatialdreamer_core.fill.texture import BORDER_SHARE, add_texture, continued_detail, detail_columns

HEIGHT, WIDTH = 24, 64
WHITE_NOISE = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def row_with_holes(text):
    """A frame of one row: `#` is hole, `F` foreground at 9 px, anything else background at 0 px."""
    hole = torch.tensor([[letter == "#" for letter in text]])
    return hole, torch.tensor([[9.0 if letter == "F" else 0.0 for letter in text]])


def extend(view, runs):
    """Give a frame's holes the nearest background pixel of their row."""
    extended = view.clone()
    extended[:, runs.row, runs.column] = view[:, runs.row, runs.source]
    return extended


@pytest.mark.parametrize(
    ("text", "room", "columns"),
    [
        ("F####.....", [5], [8, 7, 6, 5]),  # a shift of 1 px: what it does not reach is mirrored at the seam
        ("F####" + "." * 123, [123], [5, 6, 7, 8]),  # a shift of 4 px along the whole hole
        ("F######" + "." * 121, [121], [9, 8, 7, 8, 9, 10]),  # and along a part of it
        ("FF####..", [2], [6, 7, 7, 6]),  # back and forth where the background is narrow
        ("F##..#..", [2, 2], [4, 3, 4]),  # up to the next hole; the left of two alike
        ("F###..F", [2], [5, 5, 4]),  # up to the next foreground
        ("..####", [2], [1, 0, 0, 1]),  # at the frame's border
        ("####", [0], [0, 1, 2, 3]),  # no background at all
    ],
)
def test_columns_by_hand(text, room, columns):
    runs = find_runs(*row_with_holes(text), eye="right")
    assert runs.room.tolist() == room
    assert detail_columns(runs, (1, len(text))).tolist() == columns


def test_texture_moves_with_its_background():
    # The same background, and a foreground before it that goes on by 2 px.
    columns = []
    for end in (20, 22):
        hole, disparity = row_with_holes("F" * end + "########" + "." * (256 - end - 8))
        runs = find_runs(hole, disparity, eye="right")
        columns.append(dict(zip(runs.column.tolist(), detail_columns(runs, (1, 256)).tolist(), strict=True)))
    before, after = columns
    assert all(after[column] == before[column] for column in before.keys() & after.keys())
    assert len(before.keys() & after.keys()) == 6


def test_detail_by_hand():
    # Rows are alike, so the mean of nine samples 3 px apart is one of three, weighted by a Gaussian.
    view = torch.arange(12.0).square().expand(3, 12, 12) / 144
    hole = torch.zeros(12, 12, dtype=torch.bool)
    hole[:, 1:5] = True
    disparity = torch.zeros(12, 12)
    disparity[:, 0] = 9.0
    runs = find_runs(hole, disparity, eye="right")
    detail = continued_detail(extend(view, runs), runs)
    side = torch.exp(torch.tensor(-0.5 * 9 / 2.5**2))
    known = view[0, 0].clone()
    known[1:5] = known[5]
    for i, column in enumerate((8, 7, 6, 5)):
        left, here, right = known[column - 3], known[column], known[column + 3]
        expected = here - (here + side * (left + right)) / (1 + 2 * side)
        assert torch.allclose(detail[:, i], expected.expand(3), atol=1e-6)


def test_a_mirrored_frame_gets_the_mirrored_texture():
    hole = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    hole[4:20, 20:32] = True
    hole[:, 58:] = True
    disparity = torch.zeros(HEIGHT, WIDTH)
    disparity[4:20, 8:20] = 12.0
    results = []
    for flipped, eye in ((False, "right"), (True, "left")):
        view, marked, moved = (
            part.flip(-1) if flipped else part for part in (WHITE_NOISE[0], hole, disparity)
        )
        runs = find_runs(marked, moved, eye=eye)
        result = extend(view, runs)
        estimate = result[:, runs.row, runs.column]
        result[:, runs.row, runs.column] = add_texture(estimate, result, runs, strength=0.7)
        results.append(result.flip(-1) if flipped else result)
    assert torch.allclose(*results, atol=1e-6)


def noise_with_hole():
    """White noise with an inner hole and one at the frame's border."""
    disparity = torch.zeros(1, 1, HEIGHT, WIDTH)
    disparity[..., 4:20, 20:40] = 12.0
    disparity[..., :, 55:] = -6.0
    view, hole = forward_warp(WHITE_NOISE, disparity)
    return view, hole, disparity


def roughness(view, hole):
    """Mean difference between neighbours in a row, both in holes."""
    both = (hole[..., 1:] > 0.5) & (hole[..., :-1] > 0.5)
    return float(view.diff(dim=-1).abs()[both.expand(-1, 3, -1, -1)].mean())


def test_known_pixels_are_kept_and_holes_become_as_rough_as_asked():
    view, hole, disparity = noise_with_hole()
    filled = [fast_fill(view, hole, disparity=disparity, texture=t) for t in (0, 0.5, 1)]
    known = (hole < 0.5).expand_as(view)
    assert all(torch.equal(result[known], view[known]) for result in filled)
    rough = [roughness(result, hole) for result in filled]
    assert rough[0] < 0.5 * rough[1] < 0.8 * rough[2]
    assert all(0 <= float(result.min()) and float(result.max()) <= 1 for result in filled)


def test_a_seam_gets_no_texture_and_a_border_little_of_it():
    disparity = torch.zeros(HEIGHT, 128)
    hole = torch.zeros(HEIGHT, 128, dtype=torch.bool)
    hole[:, 20:28] = hole[:, 120:] = True
    disparity[:, :20] = 8.0
    view = torch.rand(3, HEIGHT, 128, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    runs = find_runs(hole, disparity, eye="right")
    extended = extend(view, runs)
    colour = extended[:, runs.row, runs.column]
    added = add_texture(colour, extended, runs, strength=1) - colour
    share = added / continued_detail(extended, runs)
    expected = dict(zip(range(20, 28), [1, 1, 1, 1, 1, 1, 0.5, 0], strict=True))
    expected |= {120: 0, 121: 0.5 * BORDER_SHARE} | dict.fromkeys(range(122, 128), BORDER_SHARE)
    weight = torch.tensor([float(expected[column]) for column in runs.column.tolist()])
    assert torch.allclose(share.nanmedian(0).values, weight, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, 1.05])  # bicubic warps overshoot
def test_a_flat_background_stays_flat(value):
    _, hole, disparity = noise_with_hole()
    view = torch.full((1, 3, HEIGHT, WIDTH), value) * (hole < 0.5)
    filled = fast_fill(view, hole, disparity=disparity, texture=1)
    assert torch.allclose(filled, torch.tensor(value), atol=1e-5)


def test_foreground_gives_no_texture():
    image = torch.cat([torch.full((1, 1, HEIGHT, WIDTH), 0.1), WHITE_NOISE[:, 1:]], dim=1)
    disparity = torch.zeros(1, 1, HEIGHT, WIDTH)
    for box in (slice(20, 34), slice(37, 50)):  # background of 3 px between them
        image[..., box] = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1)
        disparity[..., box] = 8.0
    view, hole = forward_warp(image, disparity)
    filled, plain = (fast_fill(view, hole, disparity=disparity, texture=share) for share in (1, 0))
    added = (filled - plain)[:, :1][hole > 0.5]  # red is flat but for the boxes
    assert float(added.abs().max()) < 0.05


def test_a_hole_across_the_frame_gets_none():
    view, hole = WHITE_NOISE.clone(), torch.zeros(1, 1, HEIGHT, WIDTH)
    hole[..., 10, :] = 1
    disparity = torch.zeros_like(hole)
    plain = fast_fill(view, hole, disparity=disparity, texture=0)
    assert torch.equal(fast_fill(view, hole, disparity=disparity, texture=1), plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 37)])
def test_types_and_sizes(dtype, size):
    view = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    hole = torch.zeros(1, 1, *size)
    hole[..., size[1] // 3 :] = 1
    filled = fast_fill(view.to(dtype), hole.to(dtype), disparity=hole.to(dtype), texture=1)
    assert filled.dtype == dtype
    assert filled.isfinite().all()
    exact = fast_fill(view.to(dtype).double(), hole.double(), disparity=hole.double(), texture=1)
    assert torch.allclose(filled.double(), exact, atol=0.01)


def test_a_frame_alone_is_filled_as_in_its_clip():
    view, hole, disparity = (part.repeat(3, 1, 1, 1) for part in noise_with_hole())
    view[1] = view[1].flip(-2) * (hole[1] < 0.5)
    whole = fast_fill(view, hole, disparity=disparity, texture=0.8)
    alone = [
        fast_fill(view[t : t + 1], hole[t : t + 1], disparity=disparity[t : t + 1], texture=0.8)
        for t in range(3)
    ]
    assert torch.equal(whole, torch.cat(alone))


def test_a_ragged_seam_does_not_tear_the_texture():
    # A seam that is 2 px farther away in every second pair of rows.
    hole = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    hole[:, 20:36] = True
    hole[::4, 36:38] = hole[1::4, 36:38] = True
    disparity = torch.zeros(HEIGHT, WIDTH)
    disparity[:, :20] = 16.0
    runs = find_runs(hole, disparity, eye="right")
    columns = torch.zeros(HEIGHT, WIDTH)
    columns[runs.row, runs.column] = detail_columns(runs, (HEIGHT, WIDTH)).to(torch.float32)
    inside = columns[4:-4, 20:30]
    assert not inside.diff(dim=0).any()  # mirrored row by row, every second row would jump by 4 px


@pytest.mark.parametrize("texture", [-0.1, 1.5, float("nan"), "0.4"])
def test_a_texture_out_of_range_is_told(texture):
    with pytest.raises(InputError, match="texture must be"):
        FastFill(texture=texture)
    with pytest.raises(InputError, match="texture must be"):
        fast_fill(WHITE_NOISE, torch.zeros(1, 1, HEIGHT, WIDTH), texture=texture)
