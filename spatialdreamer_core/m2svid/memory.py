"""How much memory one pass of M2SVid takes, and how many masked tokens fit into it at once.

The peak of a pass is that of SVD's UNet (`svd/memory.py`): full attention runs while the UNet holds little,
so it adds nothing, where attention is efficient, unless nearly all tokens are masked and run at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..memory import free_memory
from ..svd import estimate_memory as estimate_step
from ..svd.model import LATENT_FACTOR
from .full_attention import LEAST_CHUNK

# Tensors of the finest level's width, counted on the way up: what waits while full attention runs, with the
# keys and values, for each of the window's tokens; and what it takes for each token of a chunk, in the
# feed-forward.
_WAITING, _CHUNK = 10, 18
_EFFICIENT = ("cuda", "cpu")  # kinds of devices whose attention makes no matrix of scores
_FREE_SHARE = 0.7  # of the free memory that is used; the rest is for workspaces and what else runs


def estimate_memory(
    config: Mapping[str, Any],
    *,
    frames: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    query_chunk: int | None = None,
    factor: int = LATENT_FACTOR,
) -> int:
    """Estimate the memory of one pass of the UNet, in bytes, without the weights.

    Args:
        config: Of the UNet.
        frames: Of all regions that are run at once.
        height: Of a region, px.
        width: Of a region, px.
        dtype: The UNet's precision.
        query_chunk: Masked tokens of full attention at once; None: without full attention, or with a chunk
            that takes no more than the rest of the pass, as `fitting_chunk` finds where memory is scarce.
        factor: Pixels of a latent, each side.
    """
    size: dict[str, Any] = {"height": height, "width": width, "dtype": dtype, "factor": factor}
    step = estimate_step(config, frames=frames, **size, reference=False)
    if query_chunk is None:
        return step
    tokens = frames * -(-height // factor) * -(-width // factor)
    channels = _WAITING * tokens + _CHUNK * min(query_chunk, tokens)
    return max(step, channels * config["block_out_channels"][0] * dtype.itemsize)


def fitting_chunk(
    config: Mapping[str, Any],
    *,
    regions: int,
    tokens: int,
    dtype: torch.dtype,
    device: torch.device,
) -> int:
    """Return how many masked tokens can attend at once in the memory that is free before a pass.

    Args:
        config: Of the UNet.
        regions: That are run at once.
        tokens: Of a region, through all its frames, at the finest level.
        dtype: The UNet's precision.
        device: Where it runs.

    Returns:
        At least 256, at most all of a region's.
    """
    width, heads = config["block_out_channels"][0], config["num_attention_heads"]
    free = free_memory(device) * _FREE_SHARE / dtype.itemsize
    each = _CHUNK * width
    if device.type not in _EFFICIENT:
        each += 2 * tokens * (heads if isinstance(heads, int) else heads[0])  # scores and their softmax
    fitting = int((free - _WAITING * width * regions * tokens) / each)
    return max(LEAST_CHUNK, min(fitting, tokens))
