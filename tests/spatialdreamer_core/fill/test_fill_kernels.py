"""Fast fill's kernels are compiled for old and new GPUs: the interpreter takes more than the compiler."""

import pytest

from ..interpreted import not_interpreted
from ..triton_compile import compile_kernel

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = not_interpreted
WHOLE = ("run_at", "pixels", "first", "right", "seam", "room", "counts")
NUMBERS = (
    "height",
    "width",
    "plane",
    "ramp",
    "shift",
    "out_height",
    "out_width",
    "level_height",
    "level_width",
)


def type_of(name):
    """Tell the type of a kernel's argument by its name."""
    if name == "strength":
        return "fp32"
    if name in NUMBERS or name[:-1] in ("height_", "width_"):
        return "i32"
    return {"marks": "*u8", "real": "*i1", "other_real": "*i1"}.get(
        name, "*i32" if name in WHOLE else "*fp32"
    )


def compile_with(kernel, constants, *, warps=4, **types):
    names = [name for name in kernel.arg_names if name not in constants]
    compile_kernel(kernel, {name: type_of(name) for name in names} | types, constants, warps=warps)


def test_lists():
    from spatialdreamer_core.fill import hole_runs_triton as module

    compile_with(module._list_holes, {"ROWS": module.ROWS, "BLOCK": module.ROW_BLOCK}, hole="*fp16")


@pytest.mark.parametrize("with_disparity", [True, False])
def test_runs(with_disparity):
    from spatialdreamer_core.fill import hole_runs_triton as module

    constants = {"WITH_DISPARITY": with_disparity, "BLOCK": module.RUN_BLOCK}
    types = {} if with_disparity else {"disparity": "*u8"}
    compile_with(module._measure_runs, constants, **types)


def test_extension():
    from spatialdreamer_core.fill import spatial_triton as module

    compile_with(module._extend, {"BLOCK": module.BLOCK})


@pytest.mark.parametrize("name", ["_make_second_level", "_halve", "_fill", "_make_coarse_levels"])
def test_pyramid(name):
    from spatialdreamer_core.fill import pyramid_triton as module

    coarse = name == "_make_coarse_levels"
    block = module.COARSE_BLOCK if coarse else module.LEVEL_BLOCK
    compile_with(getattr(module, name), {"BLOCK": block}, warps=module.COARSE_WARPS if coarse else 4)


def test_estimates():
    from spatialdreamer_core.fill import spatial_triton as module

    compile_with(module._estimate, {"BLOCK": module.BLOCK})


def test_texture():
    from spatialdreamer_core.fill import texture_triton as module

    compile_with(module._add_texture, {"BLOCK": module.BLOCK})


def test_motion():
    from spatialdreamer_core.fill import search_triton as module

    compile_with(module._follow, {"STEPS": 3, "BLOCK": module.RUN_BLOCK})


@pytest.mark.parametrize(("ahead", "other"), [(True, "*fp16"), (False, "*fp32")])
def test_search(ahead, other):
    from spatialdreamer_core.fill import search_triton as module

    types = {"other_colour": other, "other_disparity": other} | ({"other_real": other} if ahead else {})
    compile_with(module._look_up, {"AHEAD": ahead, "BLOCK": module.BLOCK}, **types)


def test_write():
    from spatialdreamer_core.fill import fast_triton as module

    compile_with(module._write, {"WITH_DISPARITY": True, "BLOCK": module.BLOCK})
