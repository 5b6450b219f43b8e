"""The kernels of depth's edges against their twins: on CUDA, else interpreted."""

import pytest
import torch

from spatialdreamer_core.depth import edges_on_device
from spatialdreamer_core.depth.edges_on_device import dilate_on_device, snap_on_device, steepen_on_device

from ..interpreted import DEVICE, not_interpreted, runs_kernel
from ..triton_compile import compile_kernel

pytest.importorskip("triton", reason="Triton is not installed")


@not_interpreted
@pytest.mark.parametrize("one", [{}, {"height": 1, "radius": 1}, {"width": 1}])
@pytest.mark.parametrize("rule", ["steepen", "snap", "dilate"])
def test_windows_compile(one, rule):
    from spatialdreamer_core.depth.edges_triton import BLOCK, _work_on_edges_kernel

    types = dict.fromkeys(("depth", "result"), "*fp32") | {"halves": "*i32"}
    types |= dict.fromkeys({"height", "width", "radius"} - set(one), "i32")
    constants = {"RULE": rule, "CONTRAST": 0.08, "FOREGROUND": 0.35, "BLOCK": BLOCK}
    compile_kernel(_work_on_edges_kernel, types, constants | one)


@not_interpreted
@pytest.mark.parametrize("one", [{}, {"height": 1}, {"width": 1}])
def test_the_median_compiles(one):
    from spatialdreamer_core.depth.edges_triton import MEDIAN_BLOCK, _smooth_moved_kernel

    types = dict.fromkeys(("before", "values", "smooth"), "*fp32")
    types |= dict.fromkeys({"height", "width"} - set(one), "i32")
    compile_kernel(_smooth_moved_kernel, types, {"MOVED": 1e-3, "BLOCK": MEDIAN_BLOCK} | one)


@runs_kernel
@pytest.mark.parametrize(("size", "radius"), [((1, 1), 1), ((1, 37), 4), ((3, 1), 1), ((3, 70), 2)])
@pytest.mark.parametrize("work", [steepen_on_device, snap_on_device, dilate_on_device])
def test_equals_the_twin(size, radius, work, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    steps = (torch.rand(2, 1, *size, generator=generator) * 3).round() / 4
    depth = (steps + 0.1 * torch.rand(2, 1, *size, generator=generator)).to(DEVICE)
    depth = depth.transpose(2, 3).contiguous().transpose(2, 3)  # in another order in memory
    result = work(depth, radius=radius)
    monkeypatch.setattr(edges_on_device, "use_kernels", lambda *tensors: False)
    assert torch.equal(result, work(depth, radius=radius))
