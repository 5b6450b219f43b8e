"""Judging a filler's frames on a GPU: the kernel against its twin, and nothing waits for the verdict."""

import pytest
import torch

from spatialdreamer_core.fill import CheckedStream, FillerError, RenderedFrame, known_pixels
from spatialdreamer_core.fill.known_pixels import KnownPixels

from ..interpreted import DEVICE, not_interpreted, runs_kernel
from ..no_waits import no_waits
from ..triton_compile import compile_kernel

pytest.importorskip("triton", reason="Triton is not installed")


@not_interpreted
def test_compiles():
    from spatialdreamer_core.fill.known_pixels_triton import BLOCK, _judge_kernel

    names = ("filled", "kept", "least", "largest", "low", "high", "found")
    types = dict.fromkeys(names, "*fp32") | dict.fromkeys(("first_row", "height", "width"), "i32")
    compile_kernel(_judge_kernel, types | {"rows_apart": "i32"}, {"BLOCK": BLOCK})
    compile_kernel(_judge_kernel, types, {"BLOCK": BLOCK, "rows_apart": 1})


def frames(height, width, dtype):
    """A rendered view, its holes, and what a filler made of it: some pixels too many are changed."""
    generator = torch.Generator().manual_seed(0)
    warped = torch.rand(3, height, width, generator=generator)
    hole = torch.rand(1, height, width, generator=generator) > 0.8
    wrong = torch.rand(1, height, width, generator=generator) > 0.9
    filled = torch.where(hole | wrong, 0.5, warped)
    return [part.to(DEVICE, dtype) for part in (warped, hole, filled)]


@runs_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (5, 70)])
@pytest.mark.parametrize(
    ("reach", "rows"),
    [(0, slice(0, None, 1)), (0, slice(3, None, 8)), (2, slice(1, None, 2)), (None, slice(0, None, 1))],
)
def test_equals_the_twin(size, dtype, reach, rows, monkeypatch):
    warped, hole, filled = frames(*size, dtype)
    known = KnownPixels(warped, hole, reach=reach, rows=rows)
    for value in (0.5, float("nan"), 7.0, -float("inf")):
        filled[1, 0, -1] = value
        result = known.judge(filled).read()
        with monkeypatch.context() as patch:
            patch.setattr(known_pixels, "use_kernels", lambda *tensors: False)
            expected = known.judge(filled).read()
        assert str(result) == str(expected)  # NaN does not equal itself


class Late:
    """A filler that changes known pixels in its third frame."""

    def __init__(self, reach=0):
        self.reach, self.count = reach, 0

    def open(self, *, eye, size):
        return self

    def push(self, frame):
        self.count += 1
        filled = torch.where(frame.hole > 0.5, 0.5, frame.warped)
        return [1 - filled] if self.count == 3 else [filled]

    def finish(self):
        return []


@pytest.mark.gpu
@pytest.mark.parametrize("reach", [0, 2])
def test_a_fault_is_named_with_its_frame_before_the_scene_ends(reach):
    warped, hole, _ = (part.cuda() for part in frames(270, 480, torch.float32))
    frame = RenderedFrame(warped, warped, hole * 0)
    stream = CheckedStream(Late(reach), eye="right", size=(270, 480), rows_apart=8)

    def fill():
        for _ in range(9):
            stream.push(frame)
        stream.finish()

    with pytest.raises(FillerError, match="of them in its frame 3; "):
        fill()


@pytest.mark.gpu
@pytest.mark.parametrize("reach", [0, 2])
def test_pushing_waits_for_nothing(reach):
    warped, hole, _ = (part.cuda() for part in frames(1080, 1920, torch.float32))

    class Same(Late):
        def push(self, frame):
            return [frame.warped]

    frame = RenderedFrame(warped, warped, hole)
    stream = CheckedStream(Same(reach), eye="right", size=(1080, 1920), rows_apart=8)
    for _ in range(8):
        stream.push(frame)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        with no_waits():
            stream.push(frame)
    events = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    launched = [event.name for event in events if not event.name.startswith("Memset")]
    assert len(launched) <= 8, launched
    stream.finish()
