"""The kernels of columns, hole masks and their edges against their twins: on CUDA, else interpreted."""

from pathlib import Path

import pytest
import torch

from spatialdreamer_core.dvg import hole_masks, mask_edges, outlines, refine_hole_mask, zbuffer
from spatialdreamer_core.flow import Flow, Motion

from ..interpreted import DEVICE, not_interpreted, run_interpreted, runs_kernel
from ..no_waits import no_waits
from ..triton_compile import compile_kernel

pytest.importorskip("triton", reason="Triton is not installed")
SIZES = [(1, 1), (1, 37), (3, 1), (3, 70)]
INT, FLOAT = "i32", "*fp32"


@not_interpreted
def test_in_the_interpreter():
    tests = Path(__file__).parents[1]
    others = ("fill/test_known_pixels_triton.py", "depth/test_edges_triton.py")
    run_interpreted(Path(__file__), *(tests / other for other in others))  # one start for all


def ints(*names):
    return dict.fromkeys(names, INT)


def pointers(*names, kind=FLOAT):
    return dict.fromkeys(names, kind)


@not_interpreted
@pytest.mark.parametrize(("sign", "kind"), [(-1, "*fp32"), (1, "*fp16"), (1, "*fp64")])
@pytest.mark.parametrize("one", [{}, {"width": 1}])  # Triton compiles a 1 into the kernel
def test_columns_compile(sign, kind, one):
    from spatialdreamer_core.dvg import zbuffer_triton as kernels

    types = pointers("disparity", "seen", kind=kind) | {"columns": "*i64"} | ints(*({"width"} - set(one)))
    constants = {"SIGN": sign, "WITH_RIMS": 1, "BLOCK": kernels.BLOCK} | one
    compile_kernel(kernels._find_columns_kernel, types, constants)


@not_interpreted
@pytest.mark.parametrize("one", [{}, {"channels": 1, "height": 1, "width": 1}])
def test_what_uses_columns_compiles(one):
    from spatialdreamer_core.dvg import zbuffer_triton as kernels

    constants, columns = {"BLOCK": kernels.BLOCK}, {"columns": "*i64"}
    types = pointers("values", "taken") | columns | ints(*({"channels", "height", "width"} - set(one)))
    compile_kernel(kernels._take_columns_kernel, types, constants | one)
    types = pointers("flow", "confidence", "other_flow", "other_confidence", "carried") | columns
    for width in ({}, {"width": 1}):
        compile_kernel(
            kernels._bring_motions_kernel, types | ints(*({"width"} - set(width))), constants | width
        )


@not_interpreted
@pytest.mark.parametrize("row", [{}, {"height": 1, "rows": 1}, {"width": 1, "columns": 1}])
def test_refining_compiles(row):
    from spatialdreamer_core.dvg import hole_masks_triton as kernels

    types = pointers("hole", "mask", "flow", "confidence", "refined")
    types |= ints(*({"height", "width", "rows", "columns"} - set(row)))
    types |= pointers("scale_y", "scale_x", kind="fp32")
    compile_kernel(kernels._add_neighbour_kernel, types, {"BLOCK": kernels.BLOCK} | row)


@not_interpreted
@pytest.mark.parametrize("along_rows", [0, 1])
@pytest.mark.parametrize("one", [{}, {"height": 1, "pixels": 1}])
def test_growing_compiles(along_rows, one):
    from spatialdreamer_core.dvg import mask_edges_triton as kernels

    types = pointers("hole", "grown") | ints(*({"height", "width", "pixels"} - set(one)))
    constants = {"ALONG_ROWS": along_rows, "BLOCK": kernels.BLOCK} | one
    compile_kernel(kernels._grow_kernel, types, constants)


@not_interpreted
@pytest.mark.parametrize("one", [{}, {"reach": 1}])
def test_softening_compiles(one):
    from spatialdreamer_core.dvg import mask_edges_triton as kernels

    constants = {"BLOCK": kernels.BLOCK} | one
    sizes = ints(*({"width", "reach"} - set(one)))
    types = {"hole": FLOAT, "squared": "*i16"} | sizes
    compile_kernel(kernels._distance_kernel, types, constants)
    types = {"squared": "*i16", "soft": FLOAT, "height": INT} | sizes
    compile_kernel(kernels._soften_kernel, types, constants)


@pytest.fixture
def twin(monkeypatch):
    """Return a function that calls another one with the kernels switched off."""

    def run(function, *args, **kwargs):
        with monkeypatch.context() as patch:
            for module in (zbuffer, outlines, hole_masks, mask_edges):
                patch.setattr(module, "use_kernels", lambda *tensors: False)
            return function(*args, **kwargs)

    return run


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def layered(frames, height, width, *, scale, dtype=torch.float32):
    """Disparity with steps, slopes, whole and broken pixels, and some beyond the frame."""
    steps = (random(frames, 1, height, width // 9 + 1, seed=1).repeat_interleave(9, -1) * 4).round()[
        ..., :width
    ]
    return ((steps - 2 + 0.3 * random(frames, 1, height, width, seed=2).round()) * scale).to(dtype)


def assert_equal(results, expected):
    for result, other in zip(results, expected, strict=True):
        assert result.dtype == other.dtype
        assert torch.equal(result, other)


@runs_kernel
@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1.5, 60.0])
def test_columns_equal_the_twin(twin, eye, size, scale):
    disparity = layered(2, *size, scale=scale)
    columns = zbuffer.find_columns(disparity, eye=eye)
    assert_equal([columns], [twin(zbuffer.find_columns, disparity, eye=eye)])
    assert_equal(outlines.find_seen(disparity, eye=eye), twin(outlines.find_seen, disparity, eye=eye))
    values = random(2, 3, *size)
    taken = zbuffer.take_columns(values, columns)
    assert_equal([taken], [twin(zbuffer.take_columns, values, columns)])


@runs_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_columns_of_other_types_and_of_views(twin, dtype):
    disparity = layered(5, 4, 70, scale=2.0, dtype=dtype)[:, :, ::2, 3:]
    expected = twin(outlines.find_seen, disparity, eye="left")
    assert_equal(outlines.find_seen(disparity, eye="left"), expected)
    values = random(5, 4, 70, 2, dtype=dtype).permute(0, 3, 1, 2)[:, :, ::2, 3:]
    taken = zbuffer.take_columns(values, expected[0])
    assert_equal([taken], [twin(zbuffer.take_columns, values, expected[0])])


def motion(height, width, *, scale, dtype=torch.float32, seed=5):
    flow = (random(2, height, width, seed=seed) - 0.5) * 2 * scale
    return Motion(flow.to(dtype), random(1, height, width, seed=seed + 1).to(dtype))


@runs_kernel
@pytest.mark.parametrize(
    ("size", "dtype"), [(size, torch.float32) for size in SIZES] + [((3, 70), torch.float16)]
)
def test_motions_equal_the_twin(twin, size, dtype):
    columns = zbuffer.find_columns(layered(1, *size, scale=2.0))
    motions = [motion(*size, scale=3, dtype=dtype), motion(*size, scale=9, dtype=dtype, seed=7)]
    for given in (motions, [None, motions[0]], [None, None], motions * 2):
        for result, other in zip(
            zbuffer.bring_motions(given, columns), twin(zbuffer.bring_motions, given, columns), strict=True
        ):
            assert (result is None) == (other is None)
            if result is not None:
                assert_equal(vars(result).values(), vars(other).values())


@runs_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("smaller", [1, 2, 2.5])
@pytest.mark.parametrize("size", SIZES)
def test_one_mask_equals_the_twin(twin, size, smaller, dtype):
    cells = [max(1, round(side / smaller)) for side in size]
    hole, *masks = ((random(1, 1, *size, seed=seed) > 0.8).to(dtype) for seed in range(3))
    far = motion(*cells, scale=6, dtype=dtype)
    halves = Motion((far.flow * 2).round() / 2 / round(smaller), far.confidence)  # on the edges of pixels
    given = list(zip(masks, (far, halves), strict=True))
    for neighbours in (given[:1], given[1:], given):
        result = hole_masks.add_neighbours(hole, neighbours)
        assert_equal([result], [twin(hole_masks.add_neighbours, hole, neighbours)])


@runs_kernel
def test_a_flow_larger_than_the_mask_equals_the_twin(twin):
    hole, mask = ((random(1, 1, 6, 9, seed=seed) > 0.8).float() for seed in range(2))
    neighbours = [(mask, motion(11, 20, scale=4))]
    expected = twin(hole_masks.add_neighbours, hole, neighbours)
    assert_equal([hole_masks.add_neighbours(hole, neighbours)], [expected])


@runs_kernel
@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("neighbours", ["previous", "eq2"])
def test_a_clip_equals_the_twin(twin, frames, neighbours):
    size = (3, 40)
    flows = [(random(frames - 1, 2, *size, seed=seed) - 0.5) * 3 for seed in (3, 4)]
    trust = [random(frames - 1, 1, *size, seed=seed) for seed in (5, 6)]
    hole = (random(frames, 1, *size) > 0.8).float()
    given = {"disparity": layered(frames, *size, scale=1.5), "eye": "left", "neighbours": neighbours}
    expected = twin(refine_hole_mask, hole, Flow(*flows, *trust), **given)
    assert_equal([refine_hole_mask(hole, Flow(*flows, *trust), **given)], [expected])


@runs_kernel
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("pixels", "dtype"), [(0, torch.float16), (3, torch.float16), (3, torch.float32)])
def test_edges_equal_the_twin(twin, size, dtype, pixels):
    hole = (random(2, 1, *size) > 0.95).to(dtype)
    grown = mask_edges.grow_hole(hole, pixels)
    assert_equal([grown], [twin(mask_edges.grow_hole, hole, pixels)])
    soft, expected = (
        mask_edges.soften_hole(hole, feather=pixels),
        twin(mask_edges.soften_hole, hole, feather=pixels),
    )
    assert soft.dtype == expected.dtype
    assert torch.allclose(soft, expected, atol=1e-6 if dtype == torch.float32 else 1e-3)
    assert torch.equal(soft == 0, expected == 0)
    assert torch.equal(soft == 1, expected == 1)


@pytest.mark.gpu
@pytest.mark.parametrize("eye", ["right", "left"])
def test_a_large_clip_on_cuda_equals_the_twin(twin, eye):
    size, small = (1080, 1920), (360, 640)
    disparity = layered(3, *size, scale=8)
    assert_equal(outlines.find_seen(disparity, eye=eye), twin(outlines.find_seen, disparity, eye=eye))
    hole = (random(3, 1, *size) > 0.95).float()
    neighbours = [(hole[:1], motion(*small, scale=9)), (hole[2:], motion(*size, scale=20))]
    result = hole_masks.add_neighbours(hole[1:2], neighbours)
    expected = twin(hole_masks.add_neighbours, hole[1:2], neighbours)
    assert float((result != expected).float().mean()) < 1e-5
    for pixels in (3, 64):
        grown = mask_edges.grow_hole(hole, pixels)
        assert_equal([grown], [twin(mask_edges.grow_hole, hole, pixels)])
        soft = mask_edges.soften_hole(hole, feather=pixels)
        assert torch.allclose(soft, twin(mask_edges.soften_hole, hole, feather=pixels), atol=1e-6)


@pytest.mark.gpu
def test_a_film_s_frame_takes_few_launches_and_waits_for_nothing():
    disparity, hole = layered(1, 360, 640, scale=2), (random(1, 1, 1080, 1920) > 0.95).float()
    motions = [motion(360, 640, scale=3), motion(360, 640, scale=3, seed=7)]

    def frame():
        columns = zbuffer.find_columns(disparity)
        to_previous, _ = zbuffer.bring_motions(motions, columns)
        return hole_masks.add_neighbours(hole, [(hole, to_previous)])

    frame()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        with no_waits():
            frame()
    launched = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    assert len(launched) <= 4, [event.name for event in launched]
