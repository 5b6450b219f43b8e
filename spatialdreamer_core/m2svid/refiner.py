"""Refine a clip of any length and size by M2SVid (arXiv 2505.16565): fill its holes, repair its warp.

The view that was rendered from the left one is given to the model with its hole mask and the left view; one
pass of the UNet makes the whole view anew. As `RefinerConfig.keep_known` asks, that is the result, or its
holes alone are taken into the rendered view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_finite, check_video
from ..dvg.eyes import Eye, eye_sign
from ..fill import RenderedFrame
from .config import RefinerConfig
from .model import M2SVid
from .stream import OnNotice, RefinedFrame, RefineStream


class RefinedViews(NamedTuple):
    """What a run gives."""

    filled: Tensor  # [F, 3, H, W] in [0, 1], the result that `RefinerConfig.keep_known` asks for
    whole: Tensor  # [F, 3, H, W] in [0, 1], the model's picture, and the rendered view where it was not run
    share: float  # of the frames' area that the model was run on


def refine(
    model: M2SVid,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    config: RefinerConfig = RefinerConfig(),  # noqa: B008 (frozen)
    *,
    shift: float | tuple[float, ...] = 0.0,
    eye: Eye = "right",
    disparity: Tensor | None = None,  # [F, 1, H, W] px
    on_frame: Callable[[int], None] | None = None,
    on_view: Callable[[int, Tensor], None] | None = None,
    on_wait: Callable[[], None] | None = None,
    on_notice: OnNotice | None = None,
) -> RefinedViews:
    """Refine a rendered view, which is one scene.

    Args:
        model: The model.
        left: The source view of the same frames.
        warped: The rendered view.
        hole: Its hole mask; values above 0.5 are holes. Without any, the view is returned as it is.
        config: How to refine.
        shift: What convergence has taken off the disparities, px of this width, 0 to the width: convergence ·
            divergence / 100 · width. The model has seen disparities of 0 to 5 % of the width, all positive,
            and gets them so. One number, or one for each frame.
        eye: The rendered eye.
        disparity: The rendered view's disparity, of which nothing but negative values are looked for.
        on_frame: Called with the number of finished frames; may raise to interrupt.
        on_view: As `on_frame`, and gets the frame that was finished last, [3, H, W], for a preview.
        on_wait: Called now and then while a window is refined; may raise to interrupt.
        on_notice: Called with a sentence where the geometry is not what the model knows; the log has it, too.

    Returns:
        The views, of the type of `warped`; without `keep_known` both are the same tensor.

    Raises:
        InputError: If shapes differ, values are not finite, an option is out of range, the device is too
            small or the model gives NaN.
    """
    config.check()
    eye_sign(eye)
    _check_clip(left, warped, hole, disparity)
    if isinstance(shift, tuple) and len(shift) != len(warped):
        raise InputError(
            f"`shift` must be one number, or one for each frame ({len(warped)}), got {len(shift)}; take that "
            "of the same clip"
        )
    filled = torch.empty_like(warped)
    views = RefinedViews(filled, torch.empty_like(warped) if config.keep_known else filled, 0.0)
    stream = RefineStream(model, config, eye=eye, on_wait=on_wait, on_notice=on_notice)
    done = 0

    def take(frames: list[RefinedFrame]) -> None:
        nonlocal done
        for frame in frames:
            views.filled[done], views.whole[done] = frame
            done += 1
            if on_frame is not None:
                on_frame(done)
            if on_view is not None:
                on_view(done, frame.filled)

    for index in range(len(warped)):
        seen = None if disparity is None else disparity[index]
        own = shift[index] if isinstance(shift, tuple) else shift
        take(stream.push(RenderedFrame(left[index], warped[index], hole[index], seen, shift=own)))
    take(stream.finish())
    return views._replace(share=stream.share)


def _check_clip(left: Tensor, warped: Tensor, hole: Tensor, disparity: Tensor | None) -> None:
    """Check that the clip's tensors belong together.

    Raises:
        InputError: If they do not, or values are not finite.
    """
    check_video("warped", warped, channels=3)
    check_video("hole", hole, channels=1, like=warped, like_name="warped")
    check_video("left", left, channels=3, like=warped, like_name="warped")
    for name, values in (("warped", warped), ("left", left)):
        check_finite(name, values, "repair the frames")
    check_finite("hole", hole, "repair the mask")
    if disparity is not None:
        check_video("disparity", disparity, channels=1, like=warped, like_name="warped")
