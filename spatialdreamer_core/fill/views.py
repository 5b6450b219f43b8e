"""Flow of a rendered view: that of the source view, brought to where its pixels went."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..contracts import check_call
from ..dvg.zbuffer import take_columns


class ViewFlow(NamedTuple):
    """Flow of a rendered view towards another frame; may be smaller than the view."""

    flow: Tensor  # [2, h, w] px of its own size
    confidence: Tensor  # [1, h, w] in [0, 1]


def carry_flow(
    flow: Tensor,  # [1, 2, h, w] px
    confidence: Tensor,  # [1, 1, h, w] in [0, 1]
    columns: Tensor,  # [1, 1, h, w] int64, of `source_columns`
) -> ViewFlow:
    """Bring one frame's flow and its confidence from the source view into the rendered one.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("carry_flow", flow=flow, confidence=confidence, columns=columns)
    return bring_flow(flow, confidence, columns)


def bring_flow(flow: Tensor, confidence: Tensor, columns: Tensor) -> ViewFlow:
    """Do as `carry_flow`, for what is known to be right."""
    carried = take_columns(torch.cat([flow, confidence.to(flow.dtype)], dim=1), columns)[0]
    return ViewFlow(carried[:2], carried[2:])
