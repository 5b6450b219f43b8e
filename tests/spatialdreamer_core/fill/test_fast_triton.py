"""Fast fill's kernels against their twin: in Triton's interpreter, and on CUDA in the tests marked gpu.

Triton reads TRITON_INTERPRET when it is first imported, so the interpreter runs this file, and tests of fast
fill that hold for both, in a process of its own.
"""

import importlib
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spatialdreamer_core.fill import FastFill, RenderedFrame
from spatialdreamer_core.fill.fast import _following
from spatialdreamer_core.fill.frame import fill_frame_torch, fill_memory
from spatialdreamer_core.flow import Motion

from ..interpreted import INTERPRETED, not_interpreted, run_interpreted
from ..live_tensors import LiveTensors
from ..no_waits import no_waits

pytest.importorskip("triton", reason="Triton is not installed")
DEVICE = "cpu" if INTERPRETED else "cuda"
on_both = pytest.mark.filterwarnings("default") if INTERPRETED else pytest.mark.gpu
SIZE = (14, 50)
SHARED = "holes_are_filled_from and left or next_frame_do_not_leak"


@not_interpreted
def test_in_the_interpreter():
    files = Path(__file__), Path(__file__).with_name("test_fill.py")
    run_interpreted(*files, select=f"fast_triton or {SHARED}")


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
@pytest.mark.parametrize(
    ("size", "holes"),
    [((1, 1), "all"), ((1, 40), "some"), ((1, 40), "all"), ((17, 1), "some"), ((2, 3), "some")],
)
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
def test_wide_rows_take_several_blocks_and_large_levels_a_launch_each(monkeypatch):
    from spatialdreamer_core.fill import pyramid_triton

    monkeypatch.setattr(pyramid_triton, "COARSE_PIXELS", 30)
    assert_same(make_frames(1, (9, 300)))


@on_both
@pytest.mark.parametrize(
    ("overwrite", "dtype"), [(True, torch.float16), (True, torch.float32), (False, torch.float16)]
)
def test_the_stream_fills_views_of_larger_tensors(overwrite, dtype):
    frames = make_frames(2, (8, 30), dtype=dtype)
    expected = [done for done, _ in fill_all(fill_frame_torch, frames)]
    parts = [torch.stack([frame[i].repeat_interleave(2, -1) for frame in frames]) for i in range(4)]
    parts = [part[..., ::2] for part in parts]
    own = [
        frame._replace(left=parts[0][t], warped=parts[1][t], hole=parts[2][t], disparity=parts[3][t])
        for t, frame in enumerate(frames)
    ]
    stream = FastFill(overwrite=overwrite).open(eye="right", size=(8, 30))
    filled = [*(done for frame in own for done in stream.push(frame)), *stream.finish()]
    for there, here, frame, given in zip(expected, filled, own, frames, strict=True):
        assert torch.allclose(here, there, atol=1e-3 if dtype == torch.float16 else 2e-5)
        assert torch.equal(frame.warped, here if overwrite else given.warped)


@pytest.fixture
def launches(monkeypatch):
    """Let kernels be chosen, and leave their work undone; returns the names of those launched."""
    from spatialdreamer_core.fill import frame as chooser

    names = []

    class Kernel:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, grid):
            names.append(self.name)
            return lambda *_, **__: None

    monkeypatch.setattr(chooser, "_kernels_fill", lambda *_: True)
    files = ("hole_runs", "pyramid", "spatial", "texture", "search", "fast")
    # All are imported before any is changed, as they import each other's functions.
    modules = [importlib.import_module(f"spatialdreamer_core.fill.{name}_triton") for name in files]
    for module in modules:
        for kernel, value in list(vars(module).items()):
            if hasattr(value, "arg_names"):
                monkeypatch.setattr(module, kernel, Kernel(kernel))
    return names


@pytest.mark.skipif(INTERPRETED, reason="memory is the same there")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("size", [(41, 95), (1080, 1920), pytest.param((2160, 3840), marks=pytest.mark.slow)])
@pytest.mark.parametrize("overwrite", [True, False])
def test_memory_and_launches(launches, size, dtype, overwrite):
    motion = Motion(torch.zeros(2, 4, 5), torch.ones(1, 4, 5))
    stream = FastFill(overwrite=overwrite, check=False).open(eye="right", size=size)
    with LiveTensors() as live:
        for t in range(6):
            parts = (torch.empty(channels, *size, dtype=dtype) for channels in (3, 3, 1, 1))
            launches.clear()
            stream.push(RenderedFrame(*parts, motion if t else None, motion))
    assert live.peak == pytest.approx(fill_memory(*size, dtype), rel=0.2)
    assert 15 < len(launches) < 40


class Scarce(TorchDispatchMode):
    """Memory for so many tensors more."""

    def __init__(self, tensors):
        super().__init__()
        self.left = tensors

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("empty", "empty_like", "_to_copy", "clone"):
            self.left -= 1
            if self.left < 0:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(INTERPRETED, reason="memory is the same there")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("overwrite", [True, False])
def test_what_does_not_fit_is_left_as_it_was(launches, dtype, overwrite):
    frames = make_frames(5, dtype=dtype, device="cpu")
    stream = FastFill(overwrite=overwrite, check=False).open(eye="right", size=SIZE)
    for frame in frames[:4]:
        stream.push(frame)
    failures = 0
    while True:
        launches.clear()
        try:
            with Scarce(failures):
                (filled,) = stream.push(frames[4])
        except torch.OutOfMemoryError:
            assert launches == []
            failures += 1
        else:
            break
    assert failures > 10
    assert len(launches) > 15
    assert filled.shape == (3, *SIZE)


@pytest.mark.skipif(INTERPRETED, reason="torch's path is meant")
def test_a_stream_goes_on_after_it_ran_out_of_memory():
    expected = fill_scene(FastFill(check=False), make_frames(6, device="cpu"))
    got = fill_scene(FastFill(check=False, overwrite=True), make_frames(6, device="cpu"), failing=True)
    assert all(map(torch.equal, got, expected))


def fill_scene(filler, frames, *, failing=False):
    """Fill a scene; each call may first fail for lack of memory."""
    stream = filler.open(eye="right", size=SIZE)
    filled = []
    for call in (*(partial(stream.push, frame) for frame in frames), stream.finish):
        for tensors in range(1, 30, 9) if failing else ():
            try:
                with Scarce(tensors):
                    filled += call()
            except torch.OutOfMemoryError:
                continue
            break
        else:
            filled += call()
    return filled


@pytest.mark.gpu
def test_a_steady_frame_on_cuda_waits_for_nothing():
    frames = make_frames(7, (270, 480), flow_size=(135, 240))
    stream = FastFill(check=False, overwrite=True).open(eye="right", size=(270, 480))
    for frame in frames[:5]:
        stream.push(frame)
    torch.cuda.synchronize()
    with torch.profiler.profile() as profile:
        with no_waits():
            stream.push(frames[5])
    names = [event.name for event in profile.events()]
    launches = [name for name in names if name.startswith(("cudaLaunch", "cuLaunch", "cudaMem", "cuMem"))]
    assert 15 < len(launches) <= 50, launches
    assert not [name for name in names if "StreamSynchronize" in name or "EventSynchronize" in name]


@pytest.mark.gpu
def test_motion_from_the_host_is_brought_without_waiting():
    frames = make_frames(4)
    expected = [done for done, _ in fill_all(fill_frame_torch, frames)]
    torch.cuda.synchronize()
    elsewhere = [
        frame._replace(
            to_previous=frame.to_previous and frame.to_previous.to("cpu"),
            to_next=frame.to_next and frame.to_next.to("cpu"),
        )
        for frame in frames
    ]
    stream = FastFill(check=False).open(eye="right", size=SIZE)
    with no_waits():
        filled = [*(done for frame in elsewhere for done in stream.push(frame)), *stream.finish()]
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(filled, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(1080, 1920), (2160, 3840), (271, 4097)])
def test_large_frames_on_cuda(size):
    frames = make_frames(3, size, flow_size=(size[0] // 2, size[1] // 2))
    assert_same(frames, atol=1e-3)  # torch's sampling rounds positions of thousands of pixels
