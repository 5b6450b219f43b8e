"""`nodes/layout.py` needs no ComfyUI: it is loaded below stand-ins for the pack and its `nodes` package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def layout():
    names = {"layout_test_pack": ROOT, "layout_test_pack.nodes": ROOT / "nodes"}
    for name, folder in names.items():
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    yield importlib.import_module("layout_test_pack.nodes.layout")
    for name in [name for name in sys.modules if name.startswith("layout_test_pack")]:
        del sys.modules[name]


def test_an_image_survives_the_round_trip(layout):
    image = torch.rand(2, 3, 5, 3)
    frames = layout.image_to_frames("image", image)
    assert frames.shape == (2, 3, 3, 5)
    assert torch.equal(frames[1, 2, 0], image[1, 0, :, 2])
    assert torch.equal(layout.frames_to_image(frames), image)


def test_grey_is_repeated_and_alpha_composited_over_black(layout):
    grey = torch.rand(1, 4, 6, 1)
    assert torch.equal(layout.image_to_frames("image", grey), grey.movedim(-1, 1).repeat(1, 3, 1, 1))
    rgba = torch.tensor([0.8, 0.4, 0.2, 0.5]).expand(1, 2, 2, 4)
    torch.testing.assert_close(
        layout.image_to_frames("image", rgba)[0, :, 0, 0], torch.tensor([0.4, 0.2, 0.1])
    )


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 4, 4, 2), (0, 4, 4, 3)])
def test_what_is_no_image_is_refused(layout, shape):
    with pytest.raises(ValueError, match=r"`warped` must be an IMAGE .* got shape .*; connect an IMAGE"):
        layout.image_to_frames("warped", torch.zeros(shape))


def test_a_mask_survives_the_round_trip_and_may_lack_the_batch(layout):
    mask = torch.rand(2, 3, 5)
    like = torch.zeros(2, 3, 3, 5)
    frames = layout.mask_to_frames("hole", mask, like=like)
    assert frames.shape == (2, 1, 3, 5)
    assert torch.equal(layout.frames_to_mask(frames), mask)
    assert layout.mask_to_frames("hole", mask[0], like=like[:1]).shape == (1, 1, 3, 5)
    with pytest.raises(ValueError, match=r"`hole` must be a MASK"):
        layout.mask_to_frames("hole", torch.zeros(1, 3, 5, 1), like=like)


def test_a_single_mask_or_depth_map_is_taken_for_every_frame(layout):
    like = torch.zeros(4, 3, 6, 8)
    mask, depth = torch.rand(6, 8), torch.rand(1, 6, 8, 1)
    for frames in (
        layout.mask_to_frames("hole", mask, like=like),
        layout.mask_to_frames("hole", mask[None], like=like),
    ):
        assert torch.equal(frames, mask.expand(4, 1, 6, 8))
    repeated = depth[..., 0].expand(4, 1, 6, 8)
    torch.testing.assert_close(layout.image_to_depth(depth, like=like), repeated)
    torch.testing.assert_close(layout.image_to_depth(depth, like=like, invert=True), 1 - repeated)
    assert layout.mask_to_frames("hole", torch.zeros(3, 6, 8), like=like).shape[0] == 3  # others refuse it


def test_depth_is_averaged_resized_and_inverted(layout):
    like = torch.zeros(1, 3, 100, 200)
    depth = torch.linspace(0, 1, 50).view(1, 50, 1, 1).expand(1, 50, 101, 3)  # within 2 % of the aspect ratio
    resized = layout.image_to_depth(depth, like=like)
    assert resized.shape == (1, 1, 100, 200)
    assert 0 <= resized.min() < 0.02 < 0.98 < resized.max() <= 1
    torch.testing.assert_close(layout.image_to_depth(depth, like=like, invert=True), 1 - resized)
    same = torch.rand(1, 100, 200, 1)
    torch.testing.assert_close(layout.image_to_depth(same, like=like), same.movedim(-1, 1))


def test_depth_of_another_length_or_aspect_ratio_is_refused(layout):
    like = torch.zeros(2, 3, 48, 64)
    with pytest.raises(ValueError, match=r"as many frames as `image` \(2\) or one .*, got 3; estimate"):
        layout.image_to_depth(torch.zeros(3, 48, 64, 3), like=like)
    with pytest.raises(ValueError, match=r"aspect ratio of `image` \(64x48\), got 48x64; estimate"):
        layout.image_to_depth(torch.zeros(2, 64, 48, 3), like=like)


def test_depth_that_a_model_stretched_to_multiples_of_64_belongs_to_its_frames(layout):
    frames = torch.zeros(1, 3, 80, 192)
    stretched = torch.linspace(0, 1, 448).view(1, 448, 1, 1).expand(1, 448, 1024, 3)
    assert layout.image_to_depth(stretched, like=frames).shape == (1, 1, 80, 192)
    with pytest.raises(ValueError, match=r"aspect ratio of `image` \(192x80\), got 1024x512"):
        layout.image_to_depth(torch.zeros(1, 512, 1024, 3), like=frames)


def test_coloured_depth_is_refused(layout):
    like = torch.zeros(2, 3, 48, 64)
    depth = torch.full((2, 48, 64, 3), 0.5)
    depth[1, :2] = torch.tensor([1.0, 0.2, 0.0])  # a watermark
    assert layout.image_to_depth(depth, like=like).shape == (2, 1, 48, 64)
    depth[1] = torch.tensor([1.0, 0.2, 0.0])
    with pytest.raises(ValueError, match="must be grey, got colours in 100% of frame 1 of `depth`"):
        layout.image_to_depth(depth, like=like)
