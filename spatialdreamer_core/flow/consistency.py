"""Forward-backward consistency: where flow can be trusted.

A pixel's flow is trusted where following it forward and then backward returns to the start:
|w_f + w_b(x + w_f)|² < alpha · (|w_f|² + |w_b|²) + beta, with alpha 0.01 and beta 0.5 (squared norms;
Sundaram, Brox and Keutzer, ECCV 2010). SpatialDreamer uses it as the confidence C of Eq. 2.
"""

from __future__ import annotations

from torch import Tensor

from ..checks import check_video
from .sampling import sample_at_flow


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
        1 where the two agree and the target lies inside the frame, else 0; in the frame where `flow` starts.

    Raises:
        InputError: If the shapes are not [B, 2, H, W] or differ.
    """
    if 0 in flow.shape and flow.shape == flow_back.shape:
        return flow.new_zeros(flow.shape[0], 1, *flow.shape[-2:])
    check_video("flow", flow, channels=2)
    check_video("flow_back", flow_back, channels=2, like=flow, like_name="flow")
    back = sample_at_flow(flow_back, flow)
    difference = (flow + back).square().sum(1, keepdim=True)
    lengths = flow.square().sum(1, keepdim=True) + back.square().sum(1, keepdim=True)
    everywhere = flow.new_ones(flow.shape[0], 1, *flow.shape[-2:])
    inside = sample_at_flow(everywhere, flow, mode="nearest", outside="zeros")
    return ((difference < alpha * lengths + beta) & (inside > 0.5)).to(flow.dtype)
