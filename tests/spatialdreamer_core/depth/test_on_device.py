"""Depth worked on where it lies equals what OpenCV does on the CPU."""

import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.depth import DepthShaping, shape_depth, upsample_depth, working_size
from spatialdreamer_core.depth.on_device import _shrink, upsample_on_device
from spatialdreamer_core.depth.shaping import shape_frames
from spatialdreamer_core.metrics.clips import CLIPS, make_clip

from ..no_waits import no_waits

SIZES = [(1, 1), (1, 50), (60, 1), (2, 3), (45, 80), (61, 97)]
KINDS = ("noise", "ramp", "specks", "blobs")
SHAPINGS = [
    DepthShaping(edge_width=3),
    DepthShaping(edge_width=1, edge_dilation=2),
    DepthShaping(edge_dilation=10, gamma=2.0, foreground_scale=1.5, near=0.9, far=0.1),
    DepthShaping(edge_width=20),
    DepthShaping(foreground_scale=-2.0),
]


def make_depth(kind, height, width):
    generator = np.random.default_rng(height * width)
    if kind == "noise":
        return generator.random((height, width), dtype=np.float32)
    if kind == "ramp":
        return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    if kind == "specks":
        return np.where(generator.random((height, width)) > 0.97, 0.9, 0.2).astype(np.float32)
    coarse = cv2.GaussianBlur(generator.random((height, width), dtype=np.float32), (0, 0), max(1, width / 40))
    return np.where(coarse > 0.5, 0.5 + 0.5 * coarse, 0.4 * coarse).astype(np.float32)


def make_guide(depth, size):
    """A picture whose colours follow the depth, with texture."""
    texture = np.random.default_rng(1).integers(0, 80, (*size, 3)).astype(np.float32)
    shades = cv2.resize(depth, size[::-1])[..., None] * np.float32([120, 150, 90])
    return (cv2.GaussianBlur(texture, (0, 0), 1).reshape(shades.shape) + shades).clip(0, 255).astype(np.uint8)


def as_planes(picture):
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def assert_alike(result, expected, *, share=1e-3):
    """Allow what falls on either side of a threshold."""
    result, expected = torch.as_tensor(result).squeeze().cpu(), torch.as_tensor(expected).squeeze()
    differs = (result - expected).abs() > 1e-4
    assert float(differs.float().mean()) <= share, f"{int(differs.sum())} of {differs.numel()} differ"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("of", [(1, 1), (2, 2), (2, 1), (1.4, 1.6)])
def test_depth_is_brought_to_size_as_on_the_cpu(kind, size, of):
    depth = make_depth(kind, *(max(1, round(side / factor)) for side, factor in zip(size, of, strict=True)))
    guide, there = make_guide(depth, size), torch.from_numpy(depth)[None, None]
    result = upsample_on_device(there, size)
    assert result.shape == (1, 1, *size)
    assert_alike(result, upsample_depth(depth, size))
    result = upsample_on_device(there, size, guide=as_planes(guide))
    assert_alike(result, upsample_depth(depth, size, guide=guide))


@pytest.mark.parametrize("size", [(72, 1280), (100, 1920), (77, 1001)])
def test_a_frame_larger_than_the_working_size(size):
    for small in (working_size(*size), size, (size[0] // 3, 500)):
        depth = make_depth("blobs", *small)
        guide, there = make_guide(depth, size), torch.from_numpy(depth)[None, None]
        assert_alike(upsample_on_device(there, size), upsample_depth(depth, size))
        result = upsample_on_device(there, size, guide=as_planes(guide))
        assert_alike(result, upsample_depth(depth, size, guide=guide))


@pytest.mark.parametrize("clip", sorted(CLIPS)[::6])
def test_scenes(clip):
    scene = make_clip(clip, size=(90, 160), frames=1)
    picture = (scene.frames[0].permute(1, 2, 0) * 255).round().byte().numpy()
    inverse = scene.inverse_depth[0, 0] / scene.inverse_depth.max()
    depth = cv2.resize(inverse.numpy(), (80, 45), interpolation=cv2.INTER_AREA)
    there = torch.from_numpy(depth)[None, None]
    assert_alike(upsample_on_device(there, (90, 160)), upsample_depth(depth, (90, 160)))
    result = upsample_on_device(there, (90, 160), guide=as_planes(picture))
    assert_alike(result, upsample_depth(depth, (90, 160), guide=picture))


@pytest.mark.parametrize("shaping", SHAPINGS)
@pytest.mark.parametrize("size", SIZES)
def test_depth_is_shaped_as_on_the_cpu(shaping, size):
    depth = torch.stack([torch.from_numpy(make_depth(kind, *size))[None] for kind in KINDS])
    assert_alike(shape_frames(depth, shaping, on_device=True), shape_depth(depth, shaping))
    assert shape_frames(depth, DepthShaping(), on_device=True) is depth


@pytest.mark.parametrize(
    ("length", "size"), [(1, 7), (7, 1), (45, 50), (230, 346), (9, 9), (12, 4), (12, 6), (13, 6), (400, 397)]
)
@pytest.mark.parametrize("rows", [(5, 5), (5, 2), (6, 3), (3, 7)])
def test_areas_are_those_of_opencv(length, size, rows):
    generator = np.random.default_rng(0)
    before, after = rows
    values = generator.random((before, length), dtype=np.float32)
    expected = cv2.resize(values, (size, after), interpolation=cv2.INTER_AREA)
    assert torch.allclose(_shrink(torch.from_numpy(values)[None], (after, size))[0], torch.tensor(expected))
    if size <= length and after <= before:
        picture = generator.integers(0, 256, (before, length), dtype=np.uint8)
        expected = cv2.resize(picture, (size, after), interpolation=cv2.INTER_AREA)
        levels = torch.from_numpy(picture)[None].float()
        assert torch.equal(_shrink(levels, (after, size), whole=True)[0], torch.tensor(expected).float())


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(270, 480), (720, 1280), (1080, 1920)])
def test_on_cuda_as_on_the_cpu(size):
    depth = make_depth("blobs", *working_size(*size))
    picture = make_guide(depth, size)
    there, guide = torch.from_numpy(depth)[None, None].cuda(), as_planes(picture).cuda()
    assert_alike(upsample_on_device(there, size), upsample_depth(depth, size))
    result = upsample_on_device(there, size, guide=guide)
    assert_alike(result, upsample_depth(depth, size, guide=picture))
    for shaping in SHAPINGS:
        assert_alike(shape_depth(result, shaping), shape_depth(result.cpu(), shaping))


@pytest.mark.gpu
@pytest.mark.parametrize("guided", [False, True])
def test_a_film_s_frame_takes_few_launches_and_waits_for_nothing(guided):
    depth = torch.from_numpy(make_depth("blobs", 360, 640))[None, None].cuda()
    guide = torch.rand(3, 1080, 1920).cuda() if guided else None

    def frame():
        raised = upsample_on_device(depth, (1080, 1920), guide=guide)
        return shape_frames(raised, SHAPINGS[1], on_device=True)

    frame()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        with no_waits():
            frame()
    events = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    launched = [event.name for event in events if not event.name.startswith("Memset")]
    assert len(launched) <= (48 if guided else 8), launched
