"""Forward-backward consistency: where flow can be trusted.

A pixel's flow is trusted where following it forward and then backward returns to the start:
|w_f + w_b(x + w_f)|² < alpha · (|w_f|² + |w_b|²) + beta, with alpha 0.01 and beta 0.5 (squared norms;
Sundaram, Brox and Keutzer, ECCV 2010). SpatialDreamer uses it as the confidence C of Eq. 2.
"""

from __future__ import annotations

import operator

from torch import Tensor

from ..checks import check_range
from ..comparing import compare
from ..contracts import check_call, working_dtype
from .sampling import ends_of, look_up_at


def flow_confidence(
    flow: Tensor,  # [B, 2, H, W], from frame a to frame b
    flow_back: Tensor,  # [B, 2, H, W], from frame b to frame a
    *,
    alpha: float = 0.01,
    beta: float = 0.5,
) -> Tensor:  # [B, 1, H, W], 1 = trusted, 0 = not
    """Check each flow vector against the opposite direction.

    Args:
        flow: Flow to be checked, pixels.
        flow_back: Flow of the opposite direction, pixels.
        alpha: Tolerance relative to the squared lengths.
        beta: Tolerance in squared pixels.

    Returns:
        1 where the two agree and the target lies inside the frame, else 0; in the frame where `flow` starts,
        of its type.

    Raises:
        InputError: If a flow breaks its rule (`contracts.TABLE`) or a tolerance is negative.
    """
    check_call("flow_confidence", flow=flow, flow_back=flow_back)
    check_range("alpha", alpha, 0, 1e6)
    check_range("beta", beta, 0, 1e12)
    if not len(flow):
        return flow.new_zeros(flow.shape[0], 1, *flow.shape[-2:])
    return compare_flows(flow, flow_back, alpha=alpha, beta=beta)


def compare_flows(flow: Tensor, flow_back: Tensor, *, alpha: float = 0.01, beta: float = 0.5) -> Tensor:
    """Like `flow_confidence`, without checking its arguments."""
    dtype = working_dtype(flow)
    flow, flow_back, given = flow.detach().to(dtype), flow_back.detach().to(dtype), flow.dtype
    x, y = ends_of(flow)
    back = look_up_at(flow_back, x, y)
    squared = flow.square().addcmul_(back, back)
    tolerance = (squared[:, :1] + squared[:, 1:]).mul_(alpha).add_(beta)
    apart = back.add_(flow).square_()
    agree = compare(operator.lt, apart[:, :1] + apart[:, 1:], tolerance)
    return (agree & _is_inside(x, y)[:, None]).to(given)


def _is_inside(x: Tensor, y: Tensor) -> Tensor:  # two of [B, H, W] -> [B, H, W] bool
    """Tell which positions lie inside the frame."""
    height, width = x.shape[-2:]
    return compare(lambda x, y: (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5), x, y)
