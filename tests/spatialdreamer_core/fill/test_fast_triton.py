"""Fast fill's kernels against their twin: in Triton's interpreter, and on CUDA in the tests marked gpu.

Triton reads TRITON_INTERPRET when it is first imported, so the interpreter runs this file, and tests of fast
fill that hold for both, in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spatialdreamer_core.fill import FastFill, RenderedFrame
from spatialdreamer_core.fill.fast import _following
from spatialdreamer_core.fill.frame import fill_frame_torch
from spatialdreamer_core.flow import Motion

pytest.importorskip("triton", reason="Triton is not installed")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
on_both = pytest.mark.filterwarnings("default") if INTERPRETED else pytest.mark.gpu
SIZE = (14, 50)
SHARED = "holes_are_filled_from or any_size_without and not size3 or next_frame_do_not_leak"


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_in_the_interpreter():
    files = [Path(__file__), Path(__file__).with_name("test_fill.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files)]
    result = subprocess.run(
        [*command, "-k", f"fast_triton or {SHARED}"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def make_frames(
    count, size=SIZE, *, holes="some", flow_size=None, dtype=torch.float32, hidden=(), seed=0, device=DEVICE
):
    """Make random frames with blocks of foreground beside holes, and random motion that drifts."""
    height, width = size
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    def blocks(*shape, rows=3, columns=6):
        coarse = random(*shape, -(-height // rows), -(-width // columns))
        fine = coarse.repeat_interleave(rows, -2).repeat_interleave(columns, -1)
        return fine[..., :height, :width]

    def motion(direction):
        flow = 0.1 * random(2, *(flow_size or size)) + torch.tensor([1.7, -0.6]).view(2, 1, 1) * direction
        confidence = (random(1, *(flow_size or size)) > 0.1).float()
        return Motion(flow.to(device), confidence.to(device))

    frames = []
    for t in range(count):
        hole = (blocks(1) > 0.65).float()
        if holes == "none":
            hole = torch.zeros_like(hole)
        elif holes == "all":
            hole = torch.ones_like(hole)
        else:
            hole[:, height // 2 : height // 2 + 2] = 1  # rows without any known pixel
            hole[:, : height // 4, :5] = hole[:, -height // 4 :, -7:] = 1
        warped = (0.1 + 0.8 * random(3, height, width)) * (hole < 0.5)
        disparity = (blocks(1, columns=5) > 0.5) * 6.0 + 0.05 * random(1, height, width)
        parts = (part.to(device, dtype) for part in (warped, warped, hole, disparity))
        left, warped, hole, disparity = parts
        frames.append(
            RenderedFrame(
                left,
                warped,
                hole,
                None if t in hidden else disparity,
                motion(-1) if t else None,
                motion(1) if t < count - 1 else None,
            )
        )
    return frames


def fill_all(fill_frame, frames, *, eye="right", texture=0.5):
    """Fill a scene's frames; returns each one and what is remembered of it."""
    memory, filled = None, []
    for i, frame in enumerate(frames):
        following = _following(frame, frames[i + 1 : i + 4])
        done, seen = fill_frame(frame, following, memory, eye=eye, texture=texture, overwrite=False)
        memory = seen or memory
        filled.append((done, seen))
    return filled


def assert_same(frames, *, atol=2e-5, **options):
    """Compare kernels with the twin; a decision at a threshold may fall the other way in single pixels.

    Returns:
        What the twin remembers of each frame.
    """
    from spatialdreamer_core.fill.fast_triton import fill_frame_triton

    remembered = []
    by_both = zip(
        *(fill_all(f, frames, **options) for f in (fill_frame_torch, fill_frame_triton)), strict=True
    )
    for (expected, seen), (got, seen_too) in by_both:
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert float(((got - expected).abs().amax(0) > atol).float().mean()) < 2e-3
        assert (seen is None) == (seen_too is None)
        remembered.append(seen)
        if seen is not None:
            assert torch.equal(seen_too.disparity, seen.disparity)
            assert float((seen_too.real != seen.real).float().mean()) < 2e-3
            assert seen_too.colour.dtype == seen.colour.dtype
    return remembered


@on_both
@pytest.mark.parametrize(("eye", "texture"), [("right", 0.0), ("left", 1.0)])
def test_without_disparity(eye, texture):
    assert_same(make_frames(1, hidden=(0,)), eye=eye, texture=texture)


@on_both
def test_a_clip():
    frames = make_frames(4, (13, 47))
    seen = assert_same(frames)
    found = seen[1].real[frames[1].hole[0] > 0.5].float().mean()
    assert 0.02 < float(found) < 0.9  # what is found and what is not are compared both


@on_both
def test_the_left_eye_flow_of_its_own_size_and_half_precision():
    frames = make_frames(3, (14, 51), flow_size=(7, 20), dtype=torch.float16)
    assert_same(frames, eye="left", atol=1e-3)


@on_both
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (2, 3)])
@pytest.mark.parametrize("holes", ["some", "all"])
def test_small_frames(size, holes):
    assert_same(make_frames(2, size, holes=holes), texture=1.0)


@on_both
@pytest.mark.parametrize("holes", ["none", "all"])
def test_no_holes_and_nothing_else(holes):
    assert_same(make_frames(2, holes=holes))


@on_both
def test_frames_without_disparity_end_the_search():
    assert_same(make_frames(4, (8, 40), hidden=(2,)))


@on_both
def test_wide_rows_take_several_blocks():
    assert_same(make_frames(1, (3, 700)))


@on_both
@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_stream_fills_views_of_larger_tensors(overwrite, dtype):
    frames = make_frames(2, (9, 40), dtype=dtype)
    expected = [done for done, _ in fill_all(fill_frame_torch, frames)]
    parts = [torch.stack([frame[i].repeat_interleave(2, -1) for frame in frames]) for i in range(4)]
    parts = [part[..., ::2] for part in parts]
    own = [
        frame._replace(left=parts[0][t], warped=parts[1][t], hole=parts[2][t], disparity=parts[3][t])
        for t, frame in enumerate(frames)
    ]
    stream = FastFill(overwrite=overwrite).open(eye="right", size=(9, 40))
    filled = [*(done for frame in own for done in stream.push(frame)), *stream.finish()]
    for there, here, frame, given in zip(expected, filled, own, frames, strict=True):
        assert torch.allclose(here, there, atol=1e-3 if dtype == torch.float16 else 2e-5)
        assert torch.equal(frame.warped, here if overwrite else given.warped)
