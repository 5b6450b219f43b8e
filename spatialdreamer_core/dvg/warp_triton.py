"""The forward warp of `rows.py` as one GPU kernel over the rows of a batch of frames; inference only.

A program renders row after row, with scratch memory of one row that stays in the caches: it finds by how much
columns move and what lands where (`warp_disparity_triton.py`), then the colours (`warp_colours_triton.py`).
Device memory is read and written about once; the host waits for nothing. Elements are summed in the order in
which they were chained, so two runs may differ by rounding.

The scratch memory is all that a call takes besides its results, however many frames it is given. Where it
does not fit, fewer rows are rendered at once. `tests/…/dvg/test_warp_triton.py` compares with `rows.py`, in
Triton's interpreter and on CUDA.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..memory import run_within_memory
from .warp_colours_triton import blend_columns, gather_columns
from .warp_disparity_triton import bridge_gaps, chain_elements, find_elements, see_columns

REGISTERS = 64  # of a thread; with fewer it would use slow memory
THREADS = 1024  # that run on a processor, as it has 65536 registers
INTERPRETED_ROWS = 32  # at once, as the interpreter takes as long for one
MAX_LAUNCHES = 16  # a call
NUMBERS = 5  # a column of scratch memory, of int32 and as many of float32
_ANY = [  # of all kinds: one kernel, which takes seconds to compile, serves them
    *("rows", "height", "width", "sign"),
    *("image_frame", "image_channel", "image_row"),
    *("disparity_frame", "disparity_row"),
    *("warped_frame", "warped_channel", "warped_row"),
]
_LOGGER = logging.getLogger(__name__)


def warp_frames_triton(
    image: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    sign: int,
    widen: bool = True,
    on_frame: Callable[[int], None] | None = None,
    block: int | None = None,
    rows_at_once: int = INTERPRETED_ROWS,
) -> tuple[Tensor, Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W], [F, 1, H, W] px
    """Like `forward.warp_frames`, for tensors on a GPU; on the CPU only in Triton's interpreter.

    Args:
        image: The source view, of any strides and any floats but float64.
        disparity: Distance that each pixel moves, pixels.
        sign: -1 for the right eye, +1 for the left one.
        widen: That of `warp_rows`.
        on_frame: Called with the number of frames whose work is on its way; may raise to interrupt.
        block: Columns at once, a power of 2; tests make it small. None: by the width.
        rows_at_once: Of a program in the interpreter, a power of 2.

    Raises:
        InputError: If there is no memory for the scratch memory of one row.
    """
    frames, _, height, width = image.shape
    image, disparity = _with_short_strides(image), _with_short_strides(disparity)
    warped = torch.empty_like(image)
    hole = image.new_empty(frames, 1, height, width)
    seen = torch.empty_like(hole, dtype=disparity.dtype)
    block = block or columns_at_once(width)
    a_program = 1 if image.is_cuda else rows_at_once
    portion = max(1, frames if on_frame is None else triton.cdiv(frames, MAX_LAUNCHES))
    (integers, floats), programs = _allocate_scratch(
        _programs_at_once(image.device, block=block, rows=portion * height, a_program=a_program),
        rows=a_program,
        width=width,
        device=image.device,
    )
    results = sum(part.nbytes for part in (warped, hole, seen))
    _log_memory(results, integers.nbytes + floats.nbytes, programs, f"{frames} frame(s) of {width}x{height}")
    for start in range(0, frames, portion):
        part = slice(start, min(start + portion, frames))
        rows = (part.stop - start) * height
        with torch.cuda.device_of(image):
            _warp_rows_kernel[(min(programs, triton.cdiv(rows, a_program)),)](
                *(image[part], disparity[part], warped[part], hole[part], seen[part], integers, floats),
                *(rows, height, width, sign),
                *image.stride(),
                *(disparity.stride(axis) for axis in (0, 2, 3)),
                *warped.stride(),
                NUMBERS=NUMBERS,
                WIDEN=widen,
                ROWS=a_program,
                BLOCK=block,
                num_warps=block // 32,  # neighbouring threads read neighbouring pixels
                maxnreg=REGISTERS,
            )
        if on_frame is not None:
            for t in range(start, part.stop):
                on_frame(t + 1)
    return warped, hole, seen


def columns_at_once(width: int) -> int:
    """Choose how many columns a program works on at once, each by a thread.

    Few, so that few threads are idle where few columns are blended; but the fewer, the more rows are rendered
    at once, and the scratch memory of wide ones would not stay in the caches.
    """
    return 256 if width <= 2048 else 512


def scratch_memory(
    width: int,
    *,
    rows: int,
) -> int:
    """Return the bytes of scratch memory for as many rows at once."""
    return rows * 4 * NUMBERS * (2 * width + 1)


def _allocate_scratch(
    programs: int, *, rows: int, width: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor], int]:
    """Allocate scratch memory for programs of so many rows each, or for fewer; also return for how many."""

    def allocate(programs: int) -> tuple[Tensor, Tensor]:
        integers = torch.empty(programs * rows, NUMBERS * (width + 1), dtype=torch.int32, device=device)
        return integers, torch.empty(programs * rows, NUMBERS * width, device=device)

    least = scratch_memory(width, rows=rows) / 1e6
    return run_within_memory(
        allocate,
        programs,
        smaller=lambda size: size // 2 or None,
        task="the warp",
        describe="{} rows at once".format,
        explain=lambda _: (
            f"{device} must have {least:.1f} MB free to warp a row of {width} pixels, got less; close other "
            "programs that use it, or convert a smaller picture"
        ),
    )


def _programs_at_once(device: torch.device, *, block: int, rows: int, a_program: int) -> int:
    """Count the programs that run side by side and have as many rows each; the interpreter's run in turn."""
    most = 2
    if device.type == "cuda":
        most = THREADS // block * torch.cuda.get_device_properties(device).multi_processor_count
    turns = triton.cdiv(rows, most * a_program)
    return triton.cdiv(rows, turns * a_program)


def _with_short_strides(frames: Tensor) -> Tensor:
    """Copy frames that lie so scattered that offsets within one would not fit 32 bits."""
    span = sum((size - 1) * step for size, step in zip(frames.shape[1:], frames.stride()[1:], strict=True))
    return frames if span < 2**31 else frames.contiguous()


@functools.lru_cache(maxsize=8)
def _log_memory(results: int, scratch: int, programs: int, task: str) -> None:
    """Say how much memory a call takes; once, as those of a film are all alike."""
    _LOGGER.info(
        "warping %s at once takes %.1f MB: %.1f of results, %.1f of scratch memory of %d programs",
        *(task, (results + scratch) / 1e6, results / 1e6, scratch / 1e6, programs),
    )


@triton.jit(do_not_specialize=_ANY)
def _warp_rows_kernel(
    image: tl.tensor,  # [F, 3, H, W]
    disparity: tl.tensor,  # [F, 1, H, W] px
    warped: tl.tensor,  # [F, 3, H, W], result
    hole: tl.tensor,  # [F, 1, H, W], result, contiguous
    seen: tl.tensor,  # [F, 1, H, W] px, result, contiguous
    integers: tl.tensor,  # scratch memory of each program
    floats: tl.tensor,  # likewise
    rows: tl.tensor,  # F · H
    height: tl.tensor,
    width: tl.tensor,
    sign: tl.tensor,
    image_frame: tl.tensor,  # strides
    image_channel: tl.tensor,
    image_row: tl.tensor,
    image_column: tl.tensor,
    disparity_frame: tl.tensor,
    disparity_row: tl.tensor,
    disparity_column: tl.tensor,
    warped_frame: tl.tensor,
    warped_channel: tl.tensor,
    warped_row: tl.tensor,
    warped_column: tl.tensor,
    NUMBERS: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Render `ROWS` rows at a time of those of all frames; the next ones are as many programs further on."""
    program = tl.program_id(0)
    place = (program * ROWS + tl.arange(0, ROWS)[:, None]).to(tl.int64)
    heads = integers + place * (NUMBERS * (width + 1))
    links = heads + width + 1  # [2 W]
    at_rims = links + 2 * width
    listed = at_rims + width
    counts = listed + width
    moves = floats + place * (NUMBERS * width)  # [2 W]
    shares = moves + 2 * width
    seen_first = shares + width
    bridged = seen_first + width
    for start in range(program * ROWS, rows, tl.num_programs(0) * ROWS):
        index = start + tl.arange(0, ROWS)[:, None]
        exists = index < rows
        index = tl.minimum(index, rows - 1)
        frame, row = (index // height).to(tl.int64), index % height
        colour = image + frame * image_frame + row * image_row
        moved = disparity + frame * disparity_frame + row * disparity_row
        view = warped + frame * warped_frame + row * warped_row
        hole_row = hole + index.to(tl.int64) * width
        seen_row = seen + index.to(tl.int64) * width
        # 1. What lands where.
        tl.store(counts, 0, mask=exists)
        find_elements(
            *(colour, image_channel, image_column, moved, disparity_column, moves, shares, heads),
            *(exists, width, sign, WIDEN, ROWS, BLOCK),
        )
        tl.debug_barrier()
        chain_elements(moves, shares, heads, links, exists, width, sign, WIDEN, ROWS, BLOCK)
        tl.debug_barrier()
        # 2. The disparity seen.
        see_columns(
            *(moves, shares, heads, links, seen_first, at_rims),
            *(exists, width, sign, WIDEN, ROWS, BLOCK),
        )
        tl.debug_barrier()
        bridge_gaps(seen_first, moves, bridged, exists, width, sign, ROWS, BLOCK)
        tl.debug_barrier()
        # 3. The colours there, then those at jumps and beside cleaned pixels once more.
        gather_columns(
            *(colour, image_channel, image_column, seen_first, bridged, shares, at_rims),
            *(view, warped_channel, warped_column, hole_row, seen_row, listed, counts),
            *(exists, width, sign, WIDEN, ROWS, BLOCK),
        )
        tl.debug_barrier()
        blend_columns(
            *(colour, image_channel, image_column, seen_first, bridged, moves, shares, heads, links),
            *(view, warped_channel, warped_column, seen_row, listed, counts),
            *(exists, width, sign, WIDEN, ROWS, BLOCK),
        )
        tl.debug_barrier()  # the next rows use the same scratch memory
