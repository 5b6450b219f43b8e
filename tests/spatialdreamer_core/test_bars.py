"""Where the picture lies: bars of every kind are found to the line, and nothing else is taken for bars."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.bars import PictureBox, PictureFinder, Surround, crop_map, find_pictures

HEIGHT, WIDTH = 180, 320
WHOLE = PictureBox(0, HEIGHT, 0, WIDTH)


def scene(index, height=HEIGHT, width=WIDTH, *, dim=1.0):
    """Draw a textured wall that a camera passes, with a bright thing before it."""
    rng = np.random.default_rng(5)
    wall = cv2.resize(rng.integers(50, 230, (12, 60, 3), np.uint8), (4 * width, height))
    picture = wall[:, 3 * index : 3 * index + width].copy()
    left = 30 + 4 * index
    picture[height // 3 : height * 3 // 4, left : left + width // 5] = (240, 210, 60)
    return (picture * dim).astype(np.uint8)


def in_bars(picture, box, *, level=0, noise=0, seed=0, size=(HEIGHT, WIDTH)):
    """Put a picture into a frame with bars."""
    rng = np.random.default_rng(seed)
    frame = np.full((*size, 3), level, float) + rng.normal(0, noise, (*size, 3))
    frame[box.slices] = picture
    return frame.round().clip(0, 255).astype(np.uint8)


def barred(index, box, *, dim=1.0, **options):
    return in_bars(scene(index, *box.size, dim=dim), box, seed=index, **options)


def write(frame, text, place, *, scale=0.7, thickness=2):
    """Write a line of text into a frame."""
    cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), thickness, cv2.LINE_AA)
    return frame


def find(frames):
    """Run the stream; what is decided comes in order, with a look-ahead of a few frames."""
    finder, boxes = PictureFinder(), []
    for count, frame in enumerate(frames, start=1):
        boxes += finder.step(frame)
        assert count - 5 < len(boxes) <= count
    return boxes + finder.finish()


LETTERBOX = PictureBox(22, 158, 0, WIDTH)
BOXES = {
    "letterbox": LETTERBOX,
    "wide letterbox": PictureBox(45, 135, 0, WIDTH),
    "thin letterbox": PictureBox(5, 175, 0, WIDTH),
    "pillarbox": PictureBox(0, HEIGHT, 40, 280),
    "upright film": PictureBox(0, HEIGHT, 121, 198),
    "windowbox": PictureBox(20, 160, 36, 284),
    "unequal": PictureBox(12, 150, 0, WIDTH),
    "unequal beside": PictureBox(0, HEIGHT, 17, 291),
    "odd": PictureBox(21, 156, 33, 280),
}


@pytest.mark.parametrize("level", [(0, 0), (16, 0), (24, 1.5), (20, 3)], ids=str)
@pytest.mark.parametrize("name", BOXES)
def test_bars_are_found_from_the_first_frame_on(name, level):
    black, noise = level
    boxes = find(barred(i, BOXES[name], level=black, noise=noise) for i in range(8))
    assert boxes == [BOXES[name]] * 8


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.float32, 1.0)])
def test_frames_of_more_bits(dtype, white):
    frames = [(barred(i, LETTERBOX, level=16) * (white / 255)).astype(dtype) for i in range(6)]
    assert find(frames) == [LETTERBOX] * 6


@pytest.mark.parametrize("seconds", [1, 6])
def test_text_and_logos_in_the_bars_are_no_picture(seconds):
    """From the first frame on or later, over the edge too, they leave the box as it is."""
    frames = []
    for i in range(10 * seconds):
        frame = barred(i % 40, LETTERBOX, level=4, noise=1)
        if i % 3:
            write(frame, "and then they all went home", (8, 174), scale=0.62)
        if i > 3:
            cv2.circle(frame, (300, 10), 6, (200, 60, 60), -1)
        if i % 7 == 5:
            write(frame, "between picture and bar", (30, 166), scale=0.6)
        frames.append(frame)
    assert find(frames) == [LETTERBOX] * len(frames)


def test_bars_come_and_go():
    """At the frame where they do; within a bar's worth of look-ahead nothing is late."""
    order = [WHOLE] * 7 + [LETTERBOX] * 9 + [WHOLE] * 6 + [BOXES["pillarbox"]] * 6 + [LETTERBOX] * 8
    assert find(barred(i, box) for i, box in enumerate(order)) == order


def test_a_dark_picture_keeps_what_was_found():
    order = [*range(8), *[None] * 9, *range(8, 14)]
    frames = [
        np.zeros((HEIGHT, WIDTH, 3), np.uint8) if i is None else barred(i, LETTERBOX, level=2) for i in order
    ]
    assert find(frames) == [LETTERBOX] * len(order)


def test_a_fade_changes_nothing_once_the_bars_are_known():
    dims = [1.0] * 6 + list(np.linspace(1, 0, 12)) + list(np.linspace(0, 1, 12))
    frames = [barred(i, LETTERBOX, dim=dim) for i, dim in enumerate(dims)]
    assert find(frames) == [LETTERBOX] * len(dims)


def test_a_fade_from_black_settles_once():
    dims = list(np.linspace(0, 1, 20)) + [1.0] * 5
    boxes = find(barred(i, LETTERBOX, dim=dim) for i, dim in enumerate(dims))
    change = boxes.index(LETTERBOX)
    assert change < 12
    assert boxes == [WHOLE] * change + [LETTERBOX] * (len(dims) - change)


def test_bars_that_slide_shut_are_taken_when_they_rest():
    """A box a frame would be a scene a frame."""
    boxes = []
    for i in range(20):
        edge = min(2 * i, 24)
        boxes.append(PictureBox(edge, HEIGHT - edge, 0, WIDTH))
    found = find(barred(i, box) for i, box in enumerate(boxes))
    assert len(set(found)) <= 4
    assert found[-1] == boxes[-1]
    for box, picture in zip(found, boxes, strict=True):
        assert box.top <= picture.top + 2


def night_sky(index):
    """Black above, a lit town with an uneven skyline below."""
    frame = np.full((HEIGHT, WIDTH, 3), 8, np.uint8)
    for k in range(0, WIDTH, 16):
        top = 90 + 7 * ((k * 5) % 11)
        frame[top:, k : k + 16] = scene(index)[top:, k : k + 16]
    return frame


def sea_at_night(index):
    """Black above a straight horizon."""
    frame = scene(index)
    frame[:80] = 3
    return frame


def silhouette(index):
    """Someone black in front of a bright wall, and a black door frame at one side."""
    frame = scene(index)
    frame[:, 250:] = 2
    cv2.ellipse(frame, (120, 140), (50, 90), 0, 0, 360, (2, 2, 2), -1)
    return frame


def arch(index):
    """A bright view out of a black cave."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (160, 90), (110, 60), 0, 0, 360, 1, -1)
    return scene(index) * mask[..., None]


def black_wall(index):
    """A wall at one side."""
    frame = scene(index)
    frame[:, : 60 + index] = 0
    return frame


def title(index):
    """A title on black."""
    return write(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "THE FILM", (60, 100), scale=1.6, thickness=4)


def credits(index):
    """Lines that roll over black."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for line in range(20):
        write(frame, f"gaffer {line}: someone", (60, 40 * line + 200 - 4 * index), scale=0.6)
    return frame


def dark(index):
    """A dark room with a lamp in it."""
    frame = scene(index, dim=0.08)
    cv2.circle(frame, (200, 70), 12, (240, 230, 190), -1)
    return frame


def vignette(index):
    """A picture that fades towards all sides."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    return (scene(index) * np.clip(1.4 - 1.4 * np.hypot(x, y), 0, 1)[..., None]).astype(np.uint8)


def room_between_walls(index):
    """Dark walls on both sides that light falls on."""
    frame = scene(index)
    shade = np.linspace(2, 30, 70).astype(np.uint8)
    frame[:, :70], frame[:, 250:] = shade[None, :, None], shade[None, ::-1, None]
    return frame


NOT_BARS = [
    scene,
    night_sky,
    sea_at_night,
    silhouette,
    arch,
    black_wall,
    title,
    credits,
    dark,
    vignette,
    room_between_walls,
    lambda i: scene(i, dim=i / 40),
    lambda i: scene(i, dim=1 - i / 40),
    lambda i: np.zeros((HEIGHT, WIDTH, 3), np.uint8),
    lambda i: np.full((HEIGHT, WIDTH, 3), 255 * (i % 2), np.uint8),
]


@pytest.mark.parametrize("draw", NOT_BARS)
def test_what_is_dark_is_not_a_bar(draw):
    assert find(draw(i) for i in range(40)) == [WHOLE] * 40


def test_credits_that_roll_over_the_whole_frame_of_a_letterboxed_film():
    """A line that crosses an edge must not be torn there: from then on, the frame is taken whole."""
    frames = [barred(i, LETTERBOX) for i in range(6)] + [credits(i) for i in range(120)]
    boxes = find(frames)
    change = boxes.index(WHOLE)
    assert 6 <= change < 80
    assert boxes == [LETTERBOX] * change + [WHOLE] * (len(frames) - change)


def test_a_dark_picture_in_clean_bars():
    """Most of it less than 16 levels above them."""
    assert find(barred(i, LETTERBOX, dim=0.07) for i in range(8)) == [LETTERBOX] * 8


def test_text_across_an_edge_from_the_first_frame_on():
    frames = [write(barred(i, LETTERBOX), "between both", (60, 164), scale=0.6) for i in range(8)]
    assert find(frames) == [LETTERBOX] * 8


@pytest.mark.parametrize("draw", NOT_BARS)
def test_nor_is_it_in_a_letterboxed_film(draw):
    """Its bars stay where they were, and come back where they were not seen."""
    frames = [barred(i, LETTERBOX, level=2) for i in range(6)]
    for i in range(12):
        picture = cv2.resize(draw(i), LETTERBOX.size[::-1], interpolation=cv2.INTER_AREA)
        frames.append(in_bars(picture, LETTERBOX, level=2))
    assert find(frames) == [LETTERBOX] * len(frames)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 2), (16, 16), (31, 400)])
def test_tiny_frames_have_no_bars(size):
    frames = [np.zeros((*size, 3), np.uint8), np.full((*size, 3), 200, np.uint8)]
    assert find(frames) == [PictureBox(0, size[0], 0, size[1])] * 2


def test_a_sliver_of_picture_is_left_alone():
    """Of what would be cut to less than a quarter of a side, nothing is known."""
    sliver = PictureBox(80, 100, 0, WIDTH)
    assert find(barred(i, sliver) for i in range(8)) == [WHOLE] * 8


def test_a_single_picture_needs_clear_bars():
    assert find([barred(0, LETTERBOX)]) == [LETTERBOX]
    torn = scene(0)
    torn[:, ::4] = 0  # covers three quarters of each line
    assert find([in_bars(torn[22:158], LETTERBOX)]) == [WHOLE]


def test_a_clip_in_memory():
    boxes = [WHOLE] * 5 + [LETTERBOX] * 6
    frames = np.stack([barred(i, box) for i, box in enumerate(boxes)])
    clip = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    assert find_pictures(clip) == boxes
    assert find_pictures(clip[:5].half()) == [WHOLE] * 5


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_a_map_is_cut_to_the_picture(factor):
    """At any size, and nothing of the bars' values comes into it."""
    box = PictureBox(19, 161, 33, 287)
    ramp = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))
    whole = np.full((HEIGHT, WIDTH), 50, np.float32)
    whole[box.slices] = ramp[box.slices]
    size = (WIDTH // factor, HEIGHT // factor)
    small = cv2.resize(ramp, size, interpolation=cv2.INTER_AREA)
    y, x = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    outside = (y * factor < box.top) | (y * factor > box.bottom)
    small[outside] = 50
    small[:, (x * factor < box.left) | (x * factor > box.right)] = 50
    if factor == 1:
        small = whole
    cut = crop_map(small, Surround(np.zeros((HEIGHT, WIDTH, 3), np.uint8), box))
    height, width = box.size
    expected = cv2.resize(ramp[box.slices], cut.shape[::-1], interpolation=cv2.INTER_AREA)
    assert abs(cut.shape[0] - height / factor) < 1
    assert abs(cut.shape[1] - width / factor) < 1
    inner = cut[1:-1, 1:-1]
    np.testing.assert_allclose(inner, expected[1:-1, 1:-1], atol=0.02)


def test_the_picture_goes_back_to_its_place():
    frame = barred(0, LETTERBOX, level=16, noise=2)
    surround = Surround(frame, LETTERBOX)
    back = surround.around(np.full((*LETTERBOX.size, 3), 99, np.uint8))
    assert (back[LETTERBOX.slices] == 99).all()
    assert np.array_equal(back[:22], frame[:22])
    assert np.array_equal(back[158:], frame[158:])
    assert not (frame == 99).all(-1)[LETTERBOX.slices].all()
