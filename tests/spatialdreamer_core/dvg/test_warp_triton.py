"""The warp's kernel against its twin: on CUDA where there is some, else in Triton's interpreter.

Triton reads TRITON_INTERPRET when it is first imported, so the interpreter runs this file in a process of its
own.
"""

import logging
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.forward import warp_frames, warp_memory
from spatialdreamer_core.dvg.rows import warp_rows
from spatialdreamer_core.flow import Motion
from spatialdreamer_core.kernels import kernels_run

from ..interpreted import DEVICE, INTERPRETED, not_interpreted, run_interpreted, runs_kernel
from ..triton_compile import compile_kernel

pytest.importorskip("triton", reason="Triton is not installed")
WIDTH = 70


@not_interpreted
def test_in_the_interpreter():
    run_interpreted(Path(__file__))


@not_interpreted
@pytest.mark.slow
def test_in_the_interpreter_as_every_warp():
    run_interpreted(*(Path(__file__).with_name(name) for name in ("test_forward.py", "test_outlines.py")))


@not_interpreted
@pytest.mark.parametrize(
    ("colour", "disparity", "ones", "widen", "block"),
    [
        ("*fp32", "*fp32", ("image_column", "disparity_column", "warped_column"), True, 512),
        ("*fp16", "*fp64", ("disparity_column",), True, 256),
        ("*bf16", "*bf16", ("image_column", "disparity_column"), False, 256),
    ],
)
def test_compiles_for_old_and_new_gpus(colour, disparity, ones, widen, block):
    """Triton takes a step that is 1 for a constant: that of contiguous rows."""
    from spatialdreamer_core.dvg.warp_triton import NUMBERS, _warp_rows_kernel

    types = dict.fromkeys(_warp_rows_kernel.arg_names, "i32")
    types |= dict.fromkeys(("image", "warped", "hole"), colour) | dict.fromkeys(
        ("disparity", "seen"), disparity
    )
    types |= {"integers": "*i32", "floats": "*fp32"}
    constants = {"NUMBERS": NUMBERS, "WIDEN": widen, "ROWS": 1, "BLOCK": block} | dict.fromkeys(ones, 1)
    types = {name: kind for name, kind in types.items() if name not in constants}
    compile_kernel(_warp_rows_kernel, types, constants, warps=block // 32)


@not_interpreted
def test_frames_of_all_sizes_and_both_eyes_share_one_compiled_kernel():
    """It takes seconds to compile, and black bars or the other eye would have it compiled once more."""
    from spatialdreamer_core.dvg.warp_triton import _warp_rows_kernel

    own = {p.name for p in _warp_rows_kernel.params if not (p.is_constexpr or p.do_not_specialize)}
    tensors = {"image", "disparity", "warped", "hole", "seen", "integers", "floats"}
    assert own == tensors | {"image_column", "disparity_column", "warped_column"}


def twin(image, disparity, *, sign, widen=True):
    frames = [
        warp_rows(colour.float(), moved.float(), sign=sign, widen=widen)
        for colour, moved in zip(image, disparity, strict=True)
    ]
    return [torch.stack(parts) for parts in zip(*frames, strict=True)]


def kernel(image, disparity, *, block=32, **options):
    """Run the kernel, in the interpreter over blocks narrower than the rows."""
    from spatialdreamer_core.dvg.warp_triton import warp_frames_triton

    return warp_frames_triton(image, disparity, block=block if INTERPRETED else None, **options)


def assert_same(result, expected, *, atol=1e-4):
    assert torch.equal(result[1].float(), expected[1].float()), "holes differ"
    for name, a, b in zip(("view", "disparity"), result[::2], expected[::2], strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a.float(), b, atol=atol), f"{name} differs by {(a.float() - b).abs().max()}"


def scene(*, frames=1, columns=slice(None), seed=0):
    """Rows that are each another difficulty, mirrored in every second frame."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.arange(float(WIDTH))

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    def steps(size, scale):
        bands = ((random(WIDTH // size + 1) - 0.3) * scale).round()
        return bands.repeat_interleave(size)[:WIDTH]

    box = torch.where((x >= 24) & (x < 40), 6.0, 0.0)
    flat = (0 * x, 0 * x + 3.5, 0 * x + 1.5 * WIDTH)  # the last one leaves the frame
    hairs = (torch.where(x == 30, 12.0, 0.0), torch.where(x // 2 == 15, 9.0, -2.0))
    soft = torch.cat([torch.full((20,), 9.0), torch.tensor([7.0, 4, 2]), torch.zeros(WIDTH - 23)])
    stretched, crowded = (-1.2 * x, 30 - 2 * x), (0.5 * x - 20, torch.where(x // 6 == 6, x - 20, -x / 8))
    stepped = [steps(*kind) for kind in ((5, 16), (3, 30), (1, 8), (5, 160))]
    stepped += [steps(5, 16) + 0.3, steps(9, 40) - 0.6, steps(5, 20) + random(WIDTH) * 0.4]
    noise = [(random(WIDTH) - 0.5) * scale for scale in (0.8, 6, 12, 140, 600)]
    rows = [*flat, box, box + 0.3, 2 * box - 4, *hairs, soft, *stretched, *crowded, *stepped, *noise]
    disparity = torch.stack(rows).expand(frames, 1, -1, -1).clone()
    image = random(frames, 3, len(rows), WIDTH)
    image[..., ::5] = image[..., ::5].lerp(image[..., 1::5], 0.5)  # mixed pixels at outlines
    image[..., 40] = image[..., 39].lerp(image[..., 41], 0.6)
    image[1::2], disparity[1::2] = image[1::2].flip(-1), disparity[1::2].flip(-1)
    return image[..., columns].to(DEVICE), disparity[..., columns].to(DEVICE)


@runs_kernel
@pytest.mark.parametrize(("sign", "widen", "block"), [(-1, True, 32), (1, True, 128), (-1, False, 64)])
def test_equals_the_twin(sign, widen, block):
    image, disparity = scene(frames=2, seed=block)
    result = kernel(image, disparity, sign=sign, widen=widen, block=block)
    assert_same(result, twin(image, disparity, sign=sign, widen=widen))


@runs_kernel
def test_the_scene_has_all_that_is_blended_bridged_and_closed():
    """So that equality says something."""
    from spatialdreamer_core.dvg.outlines import find_outlines

    image, disparity = scene()
    with_rims, _, _ = twin(image, disparity, sign=-1)
    without, _, _ = twin(image, disparity, sign=-1, widen=False)
    assert float(((with_rims - without).abs() > 0.01).float().mean()) > 0.05
    assert len(find_outlines(image[0], disparity[0], sign=-1).rim.row) > 10


@runs_kernel
def test_many_pixels_on_one_column():
    image, _ = scene(columns=slice(12))
    disparity = (torch.arange(12.0, device=DEVICE) - 5).expand(1, 1, image.shape[2], 12)
    assert_same(kernel(image, disparity, sign=-1), twin(image, disparity, sign=-1))


@runs_kernel
@pytest.mark.parametrize(
    ("size", "sign"), [((1, 1), -1), ((1, 2), 1), ((40, 1), -1), ((1, 65), 1), ((3, 33), -1)]
)
def test_any_size(size, sign):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, *size, generator=generator).to(DEVICE)
    disparity = (torch.rand(1, 1, *size, generator=generator) * 9 - 3).to(DEVICE)
    assert_same(kernel(image, disparity, sign=sign), twin(image, disparity, sign=sign))


@runs_kernel
@pytest.mark.parametrize(
    ("colour", "disparity"),
    [
        (torch.float16, torch.float32),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.float32, torch.float64),
    ],
)
def test_any_type(colour, disparity):
    image, moved = scene(columns=slice(16, 48))
    image, moved = image.to(colour), moved.to(disparity)
    result = kernel(image, moved, sign=-1)
    assert [part.dtype for part in result] == [colour, colour, disparity]
    expected = twin(image, moved, sign=-1)
    rounding = 1e-2 if colour == torch.bfloat16 else 1e-3
    assert_same((*result[:2], expected[2]), expected, atol=rounding)
    assert torch.allclose(result[2].float(), expected[2], rtol=rounding, atol=rounding)


@runs_kernel
def test_views_of_larger_tensors():
    image, disparity = (part[:, :, 3:14] for part in scene(frames=2, columns=slice(16, 48)))
    expected = twin(image, disparity, sign=1)
    channels_last = image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    wide = torch.zeros(2, 2, *disparity.shape[2:], device=DEVICE)
    wide[:, 1:] = disparity
    assert_same(kernel(channels_last, wide[:, 1:], sign=1), expected)
    still = image[:1].transpose(-1, -2).contiguous().transpose(-1, -2).expand(2, -1, -1, -1)
    assert_same(kernel(still, disparity, sign=1), twin(still, disparity, sign=1))


@runs_kernel
def test_programs_take_turns_over_the_rows_of_all_frames():
    image, disparity = (part[:, :, 12:23] for part in scene(frames=5, columns=slice(20, 40)))
    result = kernel(image, disparity, sign=-1, rows_at_once=16)
    assert_same(result, twin(image, disparity, sign=-1))


@runs_kernel
def test_a_call_can_be_interrupted_between_frames():
    finished = []

    def stop_after_two(count):
        finished.append(count)
        if count == 2:
            raise KeyboardInterrupt

    image, disparity = scene(frames=5, columns=slice(8))
    with pytest.raises(KeyboardInterrupt):
        warp_frames(image, disparity, on_frame=stop_after_two)
    assert finished == [1, 2]


@runs_kernel
def test_the_kernel_is_chosen_but_not_for_gradients_nor_float64():
    assert kernels_run(torch.device(DEVICE))
    image, disparity = scene(columns=slice(16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spatialdreamer_core.dvg.warp_triton.warp_frames_triton", lambda *_, **__: "kernel")
        assert warp_frames(image, disparity) == "kernel"
        assert warp_frames(image.double(), disparity.double()) != "kernel"
        assert warp_frames(image.requires_grad_(), disparity) != "kernel"


@runs_kernel
def test_nan_is_refused():
    image, disparity = scene(columns=slice(8))
    disparity[0, 0, 3, 4] = torch.nan
    with pytest.raises(InputError, match="`disparity` must be finite, got 1 NaN"):
        forward_warp(image, disparity)


class Allocations(TorchDispatchMode):
    """Sums the bytes of all new tensors."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = [value.untyped_storage().data_ptr() for value in args if isinstance(value, torch.Tensor)]
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in given:
            self.bytes += result.untyped_storage().nbytes()
        return result


@pytest.fixture
def launches(monkeypatch):
    """Leave the kernel's work undone, and let 30 programs run at once; returns the grids' sizes."""
    from spatialdreamer_core.dvg import warp_triton

    grids = []

    class Launches:
        def __getitem__(self, grid):
            grids.append(grid[0])
            return lambda *_, **__: None

    monkeypatch.setattr(warp_triton, "_warp_rows_kernel", Launches())
    monkeypatch.setattr(warp_triton, "_programs_at_once", lambda *_, **__: 30)
    warp_triton._log_memory.cache_clear()
    return grids


@not_interpreted
@pytest.mark.parametrize(("frames", "width", "height"), [(2, 24, 130), (24, 3840, 2160), (1, 7680, 4320)])
def test_memory_is_that_of_the_results_and_of_a_few_rows(launches, frames, width, height, caplog):
    from spatialdreamer_core.dvg.warp_triton import scratch_memory, warp_frames_triton

    image = torch.rand(1, 3, 1, 1).expand(frames, 3, height, width)
    with caplog.at_level(logging.INFO), Allocations() as allocations:
        for _ in range(2):
            warp_frames_triton(image, image[:, :1], sign=-1, rows_at_once=1)
    results = frames * warp_memory(height, width, torch.float32)
    scratch = scratch_memory(width, rows=30)
    assert allocations.bytes == 2 * (results + scratch)
    assert [record.getMessage() for record in caplog.records] == [  # once
        f"warping {frames} frame(s) of {width}x{height} at once takes {(results + scratch) / 1e6:.1f} MB: "
        f"{results / 1e6:.1f} of results, {scratch / 1e6:.1f} of scratch memory of 30 programs"
    ]
    assert launches == [30, 30]


@not_interpreted
def test_however_many_frames_the_launches_are_few(launches):
    from spatialdreamer_core.dvg.warp_triton import MAX_LAUNCHES, warp_frames_triton

    image = torch.rand(1, 3, 4, 4).expand(1000, 3, 4, 4)
    finished = []
    warp_frames_triton(image, image[:, :1], sign=-1)
    assert len(launches) == 1
    warp_frames_triton(image, image[:, :1], sign=-1, on_frame=finished.append)
    assert len(launches) - 1 <= MAX_LAUNCHES
    assert finished == list(range(1, 1001))
    del launches[:]
    assert warp_frames_triton(image[:0], image[:0, :1], sign=-1)[0].shape == (0, 3, 4, 4)
    assert not launches


@runs_kernel
def test_out_of_memory_fewer_rows_are_warped_at_once(monkeypatch, caplog):
    from spatialdreamer_core.dvg import warp_triton

    image, disparity = (part[:, :, 12:20] for part in scene(columns=slice(16)))
    empty = torch.empty

    def empty_if_it_fits(*size, **options):
        if size[0] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return empty(*size, **options)

    monkeypatch.setattr(warp_triton, "_programs_at_once", lambda *_, **__: 8)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", empty_if_it_fits)
        result = kernel(image, disparity, sign=-1, rows_at_once=1)
    assert "the warp ran out of memory with 8 rows at once: trying 4 rows at once" in caplog.text
    assert_same(result, twin(image, disparity, sign=-1))


@not_interpreted
def test_no_memory_for_a_row(monkeypatch, launches):
    from spatialdreamer_core.dvg import warp_triton

    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    image, disparity = scene(columns=slice(8))
    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(InputError, match="MB free to warp a row of 8 pixels, got less; close other"):
        warp_triton.warp_frames_triton(image, disparity, sign=-1)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(272, 640), (1080, 1920), (2160, 3840), (64, 8192), (3, 8191)])
@pytest.mark.parametrize("eye", ["right", "left"])
def test_large_frames_equal_the_cpu(size, eye):
    from spatialdreamer_core.metrics.clips import make_clip

    clip = make_clip("translate_right", size=(270, 480), frames=2, baseline=0.025)
    image = torch.nn.functional.interpolate(clip.frames, size)
    disparity = torch.nn.functional.interpolate(clip.disparity, size) * size[1] / 480
    sign = -1 if eye == "right" else 1
    view, hole, seen = (part.cpu() for part in warp_frames(image.cuda(), disparity.cuda(), eye=eye))
    expected, expected_hole, expected_seen = twin(image, disparity, sign=sign)
    # A pixel whose coverage is half, or whose neighbours differ by a jump, can fall on either side of it.
    assert float((hole != expected_hole.float()).float().mean()) < 1e-4
    assert float(((view - expected).abs() > 1e-3).float().mean()) < 1e-3
    assert float(((seen - expected_seen).abs() > 1e-2).float().mean()) < 1e-3


@pytest.mark.gpu
def test_a_warp_launches_little_and_waits_for_nothing():
    from spatialdreamer_core.metrics.gpu_calls import count_gpu_calls

    for frames in (1, 40):
        image = torch.rand(frames, 3, 64, 320, device="cuda")
        disparity = torch.rand(frames, 1, 64, 320, device="cuda") * 9
        warp_frames(image, disparity)
        calls = count_gpu_calls(lambda: warp_frames(image, disparity, on_frame=lambda _: None))  # noqa: B023
        assert 1 <= calls.launches <= 20
        assert calls.waits == calls.downloads == 0
        calls = count_gpu_calls(lambda: forward_warp(image, disparity))  # noqa: B023
        assert calls.downloads == 1, "the check of the values, once a call"


@pytest.mark.gpu
def test_a_films_frame_is_warped_refined_and_filled_in_few_launches():
    """On the steady path of a film, when the filler has all the frames that it looks at."""
    from spatialdreamer_core.dvg.hole_masks import add_neighbours
    from spatialdreamer_core.dvg.zbuffer import bring_motion, find_columns
    from spatialdreamer_core.fill.fast import FastFill
    from spatialdreamer_core.fill.filler import RenderedFrame
    from spatialdreamer_core.metrics.gpu_calls import count_gpu_calls

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 180, 320, generator=generator).cuda()
    disparity = torch.zeros(1, 1, 180, 320, device="cuda")
    disparity[..., 100:160] = 9.0
    motion = Motion(torch.ones(2, 180, 320), torch.ones(1, 180, 320)).to(torch.device("cuda"))
    stream = FastFill(overwrite=True, check=False).open(eye="right", size=(180, 320))
    views = []

    def next_frame():
        view, hole, seen = warp_frames(image, disparity)
        columns = find_columns(disparity)
        to_previous, to_next = (bring_motion(motion, columns) for _ in range(2))
        refined = add_neighbours(hole, [(views[-1].hole[None], to_previous)] if views else [])
        views.append(RenderedFrame(image[0], view[0], hole[0], seen[0], to_previous, to_next))
        stream.push(views[-1])
        return refined

    with torch.no_grad():
        for _ in range(12):
            next_frame()
        calls = count_gpu_calls(next_frame)
    assert calls.launches <= 80, calls
    assert calls.waits == calls.downloads == 0, calls
