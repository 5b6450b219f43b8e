"""Compile Triton kernels for GPUs that are not there: the interpreter takes more than the compiler does."""

from typing import Any

ARCHITECTURES = (75, 90)  # compute capability of the oldest GPU that Triton knows, and of a recent one


def compile_kernel(
    kernel: Any, types: dict[str, str], constants: dict[str, int | float], *, warps: int = 4
) -> None:
    """Compile a kernel to machine code; raises what the compiler raises.

    A whole number that is 1, as a height can be, becomes a constant at a launch: that is tried, too.

    Args:
        kernel: A function under `triton.jit`; Triton must not be interpreting.
        types: Triton's names of the types of its arguments, such as "*fp32" and "i32".
        constants: Values of its `tl.constexpr` arguments.
        warps: As at the launch.
    """
    assert set(types) | set(constants) == set(kernel.arg_names)
    for architecture in ARCHITECTURES:
        _compile(kernel, types, constants, architecture, warps)
    ones = [p.name for p in kernel.params if types.get(p.name) == "i32" and not p.do_not_specialize]
    _compile(kernel, types, constants | dict.fromkeys(ones, 1), ARCHITECTURES[-1], warps)


def _compile(
    kernel: Any, types: dict[str, str], constants: dict[str, int], architecture: int, warps: int
) -> None:
    """Compile for one GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps}
    )
    assert compiled.asm["cubin"]
