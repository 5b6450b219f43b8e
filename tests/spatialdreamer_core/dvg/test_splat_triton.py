"""The kernel against its twins: on CUDA where there is some, else in Triton's interpreter.

Triton reads TRITON_INTERPRET when it is first imported, so the interpreter runs this file in a process of its
own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.dvg.reference import splat_rows_reference
from spatialdreamer_core.dvg.splat import splat_rows
from spatialdreamer_core.kernels import kernels_run

from ..triton_compile import compile_kernel

pytest.importorskip("triton", reason="Triton is not installed")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
runs_kernel = pytest.mark.skipif(
    not INTERPRETED and DEVICE == "cpu", reason="no CUDA device here: test_in_the_interpreter runs it"
)


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    root = Path(__file__).parents[3]
    result = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, cwd=root, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
@pytest.mark.parametrize("channels", [1, 3])
def test_compiles_for_old_and_new_gpus(channels):
    from spatialdreamer_core.dvg.splat_triton import BLOCK, WARPS, _splat_rows_kernel

    pointers = dict.fromkeys(("values", "disparity", "blended", "coverage"), "*fp32") | {"scratch": "*i32"}
    types = pointers | dict.fromkeys(("height", "width", "sign"), "i32")
    compile_kernel(_splat_rows_kernel, types, {"CHANNELS": channels, "BLOCK": BLOCK}, warps=WARPS)


def kernel(values, disparity, *, sign, block=32):
    """Run the kernel, in the interpreter over blocks narrower than the rows."""
    from spatialdreamer_core.dvg.splat_triton import BLOCK, splat_rows_triton

    return splat_rows_triton(values, disparity, sign=sign, block=block if INTERPRETED else BLOCK)


def scene(height, width, *, channels, scale):
    generator = torch.Generator().manual_seed(height * width + channels)
    values = torch.rand(channels, height, width, generator=generator)
    disparity = (torch.rand(1, height, width, generator=generator) - 0.5) * 2 * scale
    return values.to(DEVICE), disparity.to(DEVICE)


def assert_same(result, expected):
    for name, a, b in zip(("blended", "coverage"), result, expected, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, atol=1e-5), f"{name} differs by {float((a - b).abs().max())}"


@runs_kernel
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("width", "channels"), [(1, 1), (7, 1), (33, 1), (130, 1), (33, 2), (33, 3), (1, 4), (130, 4)]
)
@pytest.mark.parametrize("scale", [0.4, 6.0, 70.0])
def test_equals_the_twins(sign, width, channels, scale):
    values, disparity = scene(3, width, channels=channels, scale=scale)
    result = kernel(values, disparity, sign=sign)
    assert_same(result, splat_rows(values, disparity, sign=sign, use_triton=False))
    reference = splat_rows_reference(values[None], disparity[None], sign=sign)
    assert_same(result, [part[0] for part in reference])


@runs_kernel
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [200.0, 3000.0])
def test_beyond_the_range_of_the_exponent(sign, scale):
    values, disparity = scene(4, 300, channels=3, scale=scale)
    result = kernel(values, disparity, sign=sign, block=128)
    assert_same(result, splat_rows(values, disparity, sign=sign, use_triton=False))


@runs_kernel
def test_whole_pixels_do_not_reach_the_next_column():
    values = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], device=DEVICE)
    disparity = torch.tensor([[[0.0, 0.0, 2.0, 50.0]]], device=DEVICE)
    blended, coverage = kernel(values, disparity, sign=-1)
    assert coverage[0, 0].tolist() == [2, 1, 0, 0]
    near = float(torch.tensor(2.0).exp())
    assert blended[0, 0].tolist() == pytest.approx([(1 + 3 * near) / (1 + near), 2, 0, 0])


@runs_kernel
def test_many_pixels_on_one_column():
    values, _ = scene(3, 90, channels=2, scale=0)
    disparity = (torch.arange(90.0, device=DEVICE) - 45).expand(1, 3, 90)  # all of them land on column 45
    result = kernel(values, disparity, sign=-1)
    assert float(result[1].max()) == 90
    assert_same(result, splat_rows(values, disparity, sign=-1, use_triton=False))


@runs_kernel
def test_views_of_larger_tensors():
    values, disparity = scene(6, 40, channels=4, scale=3)
    result = kernel(values[1:3, ::2, 5:], disparity[:, ::2, 5:], sign=1)
    expected = splat_rows(values[1:3, ::2, 5:], disparity[:, ::2, 5:], sign=1, use_triton=False)
    assert_same(result, expected)


@pytest.mark.gpu
def test_the_kernel_is_chosen_on_cuda_but_not_for_gradients():
    assert kernels_run(torch.device("cuda:0"))
    values, disparity = (part.cuda() for part in scene(4, 20, channels=3, scale=3))
    blended, _ = splat_rows(values, disparity, sign=-1)
    assert torch.equal(blended, kernel(values, disparity, sign=-1)[0])
    blended, _ = splat_rows(values.requires_grad_(), disparity, sign=-1)
    blended.sum().backward()
    assert values.grad.abs().sum() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(272, 640), (1080, 1920), (2160, 3840), (64, 8192), (3, 8191)])
def test_large_frames_equal_the_twin(channels, size):
    values, disparity = scene(*size, channels=channels, scale=0.015 * size[1])
    for sign in (-1, 1):
        expected = splat_rows(values, disparity, sign=sign, use_triton=False)
        assert_same(splat_rows(values, disparity, sign=sign), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("eye", ["right", "left"])
def test_forward_warp_on_cuda_equals_the_cpu(eye):
    from spatialdreamer_core.metrics.clips import make_clip

    clip = make_clip("translate_right", size=(270, 480), frames=2, baseline=0.025)
    view, hole = forward_warp(clip.frames, clip.disparity, eye=eye)
    view_cuda, hole_cuda = forward_warp(clip.frames.cuda(), clip.disparity.cuda(), eye=eye)
    # A pixel whose coverage is half, or whose neighbours differ by a jump, can fall on either side of it.
    assert float((hole_cuda.cpu() != hole).float().mean()) < 1e-4
    assert float(((view_cuda.cpu() - view).abs() > 1e-3).float().mean()) < 1e-3
