"""The regions of a window: denoised together, each by itself where they do not touch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.svd.windows import Plan, Region

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.frame_matrix import FrameMatrixConfig
from spatialdreamer_core.frame_matrix.progress import Progress
from spatialdreamer_core.frame_matrix.regions import choose_regions, fill_regions
from spatialdreamer_core.frame_matrix.window import Callbacks, Window

CONFIG = FrameMatrixConfig(
    views=2, steps=1, passes=2, reinjections=0, margin=64, last_view_from=0.0
).settled()
HEIGHT, WIDTH, FRAMES = 64, 448, 2


def make_window(*holes):
    """Two views of noise; the second has holes between these columns."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, FRAMES, 3, HEIGHT, WIDTH, generator=generator).half()
    hole = torch.zeros(2, FRAMES, 1, HEIGHT, WIDTH, dtype=torch.bool)
    for start, stop in holes:
        hole[1, ..., 20:44, start:stop] = True
    return Window(pictures, hole, first_frame=0, view_motion=64)


def columns(*spans):
    return [Region(range(FRAMES), range(HEIGHT), range(start, stop)) for start, stop in spans]


def fill(model, window, regions, config=CONFIG, on_step=None):
    own = Window(window.pictures.clone(), window.hole, window.first_frame, window.view_motion)
    callbacks = Callbacks(Progress.of_clip(on_step, 8))
    right = fill_regions(model, own, regions, config, callbacks, new=FRAMES, keep_views=False)
    assert torch.equal(right.half(), own.pictures[1]), "what is carried on is what comes out"
    return right


def test_regions_that_share_a_hole_fill_it_in_one_way_whatever_their_order(model):
    window = make_window((200, 250))
    regions = columns((64, 256), (192, 384))
    config, cells = replace(CONFIG, steps=3, passes=1, reinjections=1), []
    right = fill(model, window, regions, config, lambda done, total, clean: cells.append(clean))
    other = fill(model, window, regions[::-1], config)
    torch.testing.assert_close(right, other, rtol=0, atol=1e-3)
    assert {cell.shape for cell in cells} == {(2, FRAMES, 192, HEIGHT // 8, WIDTH // 8)}
    known = ~window.hole[1].expand_as(right)
    known[..., 190:260] = False  # latents beside the hole are known in part
    torch.testing.assert_close(right[known], window.pictures[1].float()[known], rtol=0, atol=1e-3)
    assert (right - window.pictures[1])[~known].abs().mean() > 0.05


def test_regions_that_do_not_touch_are_what_each_is_alone(model):
    window = make_window((20, 40), (400, 420))
    regions = columns((0, 128), (320, 448))
    both = fill(model, window, regions)
    for region in regions:
        alone = fill(model, window, [region])
        torch.testing.assert_close(region.cut_frame(both), region.cut_frame(alone), rtol=0, atol=1e-4)


def test_a_region_whose_cells_are_known_is_not_denoised(model):
    window = make_window((20, 40), (400, 420))
    window.hole[1, 0, ..., 400:420] = False  # the second region has a hole in frame 1 alone
    sizes = []
    with model.svd.unet.register_forward_hook(lambda _, given, __: sizes.append(given[0].shape[-1])):
        fill(model, window, columns((0, 128), (256, 448)))
    # Per level: a column in both regions; then the row of frame 0 in one and that of frame 1 in both.
    assert sizes == [16, 24, 16, 16, 24]


def test_regions_are_cut_into_tiles_where_the_plan_says_so(model):
    window = make_window((20, 420))
    whole = choose_regions(model, window, CONFIG, Plan(4, 1))
    assert whole == columns((0, WIDTH))
    tiles = choose_regions(model, window, CONFIG, Plan(4, 1, tile=32))
    assert tiles == columns((0, 256), (192, 448))
    assert choose_regions(model, make_window(), CONFIG, Plan(4, 1)) == []
