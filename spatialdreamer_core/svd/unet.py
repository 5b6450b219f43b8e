"""SVD's UNet: built as its weights were trained, and widened for more conditioning.

diffusers' class has an epsilon of 1e-6 in the group norms of the residual blocks with attention beside them;
Stability AI's generative-models, where SVD was trained, has 1e-5 in every residual block. With the former,
results drift by about 1e-4. The transformers' group norms have 1e-6 in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNetSpatioTemporalConditionModel
from diffusers.models.attention import TemporalBasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..checks import InputError
from .model import LATENT_FACTOR
from .windows import MAX_WINDOW

PLAIN_FRAMES, XT_FRAMES = 14, 25  # that SVD and SVD-XT were trained on
HEAD_WIDTH = 64  # channels of an attention head
TIME_ID_WIDTH = 256  # channels of the sinusoids that one time id becomes
_RESIDUAL_EPSILON = 1e-5
_TIME_IDS = (3, 4)  # SVD's own, and with the deviation strength
_MOST_SEQUENCES = 65_535  # a CUDA grid's second side, which flash attention has as long as its batch


def build_unet(**config: Any) -> UNetSpatioTemporalConditionModel:
    """Build SVD's UNet with the epsilon that its weights were trained with, for pictures of any size.

    Args:
        config: The config, in diffusers' names; other names are ignored.
    """
    unet = UNetSpatioTemporalConditionModel.from_config(config)
    for module in unet.modules():
        if isinstance(module, (ResnetBlock2D, TemporalResnetBlock)):
            module.norm1.eps = module.norm2.eps = _RESIDUAL_EPSILON
    temporal = {name: TemporalProcessor() for name in unet.attn_processors if ".temporal_" in name}
    unet.set_attn_processor({**unet.attn_processors, **temporal})
    return unet


class TemporalProcessor(AttnProcessor2_0):
    """diffusers' processor, for as many sequences as a picture has latents.

    Each latent is a sequence over time, and from 65,536 of them on (2048x2048 px) CUDA's attention fails.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,  # [S, F, C]
        encoder_hidden_states: Tensor | None = None,  # [S, N, D]
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:  # [S, F, C]
        """Run the attention."""
        assert attention_mask is None, "sequences over time have no masks"
        if len(hidden_states) <= _MOST_SEQUENCES:
            return super().__call__(attn, hidden_states, encoder_hidden_states, **kwargs)
        parts = hidden_states.split(_MOST_SEQUENCES)
        seen: Sequence[Tensor | None] = [None] * len(parts)
        if encoder_hidden_states is not None:
            seen = encoder_hidden_states.split(_MOST_SEQUENCES)
        call = super().__call__
        return torch.cat([call(attn, *both, **kwargs) for both in zip(parts, seen, strict=True)])


class RecomputedTemporalBlock(TemporalBasicTransformerBlock):
    """diffusers' temporal block, computed again in the backward pass."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the block."""
        if not torch.is_grad_enabled():
            return super().forward(*args, **kwargs)
        return checkpoint(super().forward, *args, use_reentrant=False, **kwargs)


def enable_gradient_checkpointing(unet: UNetSpatioTemporalConditionModel) -> None:
    """Let a UNet compute activations again in the backward pass rather than keep them, for good.

    diffusers' own method leaves out the temporal transformer blocks, which keep more than all else does. They
    become a class that does nothing else, so that names and weights stay what they are.
    """
    unet.enable_gradient_checkpointing()
    for module in unet.modules():
        if type(module) is TemporalBasicTransformerBlock:
            module.__class__ = RecomputedTemporalBlock


def time_id_count(unet: UNetSpatioTemporalConditionModel) -> int:
    """Return how many numbers `added_time_ids` has: fps, motion, augmentation and, in a wide UNet, a 4th."""
    return unet.config.projection_class_embeddings_input_dim // unet.config.addition_time_embed_dim


def trained_frames(unet: UNetSpatioTemporalConditionModel) -> int:
    """Return how many frames a UNet was trained on at a time: 14 of SVD, 25 of SVD-XT."""
    frames = unet.config.num_frames
    return min(frames, MAX_WINDOW) if isinstance(frames, int) and frames > 0 else PLAIN_FRAMES


def trained_area(unet: UNetSpatioTemporalConditionModel, *, factor: int = LATENT_FACTOR) -> int:
    """Return the area of the pictures that a UNet was trained on, in px; 0 where its config does not say.

    SVD's says 96 latents, of a square that has as many pixels as the 1024x576 of its training.

    Args:
        unet: The UNet.
        factor: Pixels of a latent, each side.
    """
    size = unet.config.sample_size
    sides = (size, size) if isinstance(size, int) else tuple(size or ())
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        return 0
    return factor**2 * sides[0] * sides[1]


def check_unet(unet: UNetSpatioTemporalConditionModel, source: Path, *, views: int = 2) -> None:
    """Check that a UNet is SVD's, widened or not.

    Args:
        unet: The UNet, which may be without memory.
        source: Where it is from, for the message.
        views: Latents that it takes in, the noisy ones included.

    Raises:
        InputError: If it has other inputs or outputs.
    """
    config, channels = unet.config, views * unet.config.out_channels
    heads = config.num_attention_heads
    heads = (heads,) * len(config.block_out_channels) if isinstance(heads, int) else tuple(heads)
    for what, value, allowed in (
        ("input channels", config.in_channels, (channels, channels + 1)),  # with a hole mask or not
        ("time ids", time_id_count(unet), _TIME_IDS),
        ("attention heads", heads, (tuple(width // HEAD_WIDTH for width in config.block_out_channels),)),
    ):
        if value not in allowed:
            raise InputError(
                f"the UNet of {source} must have {' or '.join(map(str, allowed))} {what}, got {value}; "
                "choose the UNet of a Stable Video Diffusion"
            )


def widen_unet(
    unet: UNetSpatioTemporalConditionModel, *, in_channels: int = 9, time_ids: int = 4
) -> UNetSpatioTemporalConditionModel:
    """Give a UNet more input channels and time ids, whose new weights are zero, so that they change nothing.

    The other weights are shared with the given UNet. New channels and ids come after the old ones. The result
    is in evaluation mode, without gradients and with the processors of `build_unet`.

    Args:
        unet: The UNet; returned as it is if it has these channels and ids already.
        in_channels: Channels of the input, at least the UNet's.
        time_ids: Numbers in `added_time_ids`, at least the UNet's.

    Raises:
        InputError: If fewer channels or ids are asked for than the UNet has.
    """
    channels, ids = unet.config.in_channels, time_id_count(unet)
    if (channels, ids) == (in_channels, time_ids):
        return unet
    if in_channels < channels or time_ids < ids:
        raise InputError(
            f"a UNet can only be widened to at least its own {channels} input channels and {ids} time ids, "
            f"got {in_channels} and {time_ids}; use a narrower UNet"
        )
    state = unet.state_dict()
    for name, width in (
        ("conv_in.weight", in_channels),
        ("add_embedding.linear_1.weight", time_ids * unet.config.addition_time_embed_dim),
    ):
        state[name] = _pad_inputs(state[name], width)
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    config["in_channels"] = in_channels
    config["projection_class_embeddings_input_dim"] = time_ids * unet.config.addition_time_embed_dim
    with torch.device("meta"):
        wide = build_unet(**config)
    wide.load_state_dict(state, assign=True)
    return wide.eval().requires_grad_(False)


def _pad_inputs(
    weight: Tensor,  # [O, I, ...]
    width: int,
) -> Tensor:
    """Append zeros to the inputs of a layer's weight."""
    zeros = weight.new_zeros((weight.shape[0], width - weight.shape[1], *weight.shape[2:]))
    return torch.cat((weight, zeros), dim=1)
