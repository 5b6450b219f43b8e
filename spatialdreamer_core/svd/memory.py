"""How much memory a sampling step and the VAE take, estimated from the networks' configurations.

An estimate counts the tensors that are alive at the peak inside diffusers' modules, without gradients, but
not the weights, the clip itself or the libraries' workspaces. Attention is assumed to be memory-efficient
(torch's `scaled_dot_product_attention` on GPUs), so no matrix of scores is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .model import LATENT_FACTOR


def estimate_memory(
    config: Mapping[str, Any],
    *,
    frames: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    reference: bool = True,
    factor: int = LATENT_FACTOR,
) -> int:
    """Estimate the memory of one sampling step of SVD's UNet, in bytes.

    The peak is the feed-forward of the finest level's temporal attention on the way up: its gated layer holds
    16 times the level's width (8 projected, 4 gates, 4 products), six more tensors of that width are waiting
    (inputs and residuals of the blocks around it), so are the skip connections of that level, and the next
    coarser level's output.

    Guidance needs no more: its second pass runs after the first.

    Args:
        config: Of the UNet.
        frames: Of a window.
        height: Of the frames, px.
        width: Of the frames, px.
        dtype: The UNet's precision.
        reference: Whether RefinerNet's features of the window are held too, see `bank_memory`.
        factor: Pixels of a latent, each side.
    """
    widths = config["block_out_channels"]
    skips = _layers(config, 0) + 1  # one a block, and the first convolution's
    channels = (16 + 6 + skips) * widths[0] + widths[1]
    bank = bank_memory(config, frames=frames, height=height, width=width, dtype=dtype, factor=factor)
    return frames * -(-height // factor) * -(-width // factor) * channels * dtype.itemsize + reference * bank


def bank_memory(
    config: Mapping[str, Any],
    *,
    frames: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    factor: int = LATENT_FACTOR,
) -> int:
    """Return the memory of RefinerNet's features, in bytes: the input of each spatial self-attention.

    Each level with attention has one site a block on the way down and one more on the way up; the middle has
    one, at the coarsest level.

    Args:
        config: Of the UNet; RefinerNet has the same sites.
        frames: Of a window.
        height: Of the frames, px.
        width: Of the frames, px.
        dtype: RefinerNet's precision.
        factor: Pixels of a latent, each side.
    """
    widths, down, up = config["block_out_channels"], config["down_block_types"], config["up_block_types"]
    rows, columns, elements = -(-height // factor), -(-width // factor), 0
    for level, channels in enumerate(widths):
        layers = _layers(config, level)
        sites = layers * ("CrossAttn" in down[level]) + (layers + 1) * ("CrossAttn" in up[-1 - level])
        sites += level == len(widths) - 1
        elements += sites * rows * columns * channels
        rows, columns = -(-rows // 2), -(-columns // 2)
    return frames * elements * dtype.itemsize


def estimate_decoding_memory(
    config: Mapping[str, Any], *, frames: int, height: int, width: int, dtype: torch.dtype
) -> int:
    """Estimate the memory of decoding a window, in bytes.

    The peak is where the last level mixes its first spatial and temporal results: six tensors of its width,
    and the block's input of the level before, at the frames' full size.

    Args:
        config: Of the VAE.
        frames: Of a window.
        height: Of the frames or tiles, px.
        width: Of the frames or tiles, px.
        dtype: The VAE's precision.
    """
    widths = config["block_out_channels"]
    return frames * height * width * (6 * widths[0] + widths[1]) * dtype.itemsize


def estimate_encoding_memory(config: Mapping[str, Any], *, frames: int, height: int, width: int) -> int:
    """Estimate the memory of encoding a chunk, which is done in float32, in bytes.

    The peak is the end of the first residual block: five tensors of its width and the frames themselves.

    Args:
        config: Of the VAE.
        frames: Of a chunk.
        height: Of the frames or tiles, px.
        width: Of the frames or tiles, px.
    """
    channels = 5 * config["block_out_channels"][0] + config["in_channels"]
    return frames * height * width * channels * torch.float32.itemsize


def _layers(config: Mapping[str, Any], level: int) -> int:
    """Return the number of blocks of a level, which diffusers gives for one or for all levels."""
    layers = config["layers_per_block"]
    return layers if isinstance(layers, int) else layers[level]
