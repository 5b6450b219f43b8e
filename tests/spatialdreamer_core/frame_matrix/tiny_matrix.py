"""A tiny model for the frame matrix, and scenes for it."""

from __future__ import annotations

import torch
from diffusers import UNetSpatioTemporalConditionModel

from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.frame_matrix import FrameMatrixModel
from spatialdreamer_core.svd import PixelCodec, SVDModel

from .. import tiny_svd

SIZE = (48, 64)


def make_model():
    """Make a model whose latents are pixels in another order, which takes a fraction of the VAE's time.

    Its UNet is narrower than the other tiny one, with half of its blocks.
    """
    codec = PixelCodec(8, 1.0)
    config = {name: value for name, value in tiny_svd.make_unet().config.items() if name[0] != "_"}
    size = {"block_out_channels": (64,) * 4, "num_attention_heads": (1,) * 4, "layers_per_block": 1}
    channels = {"in_channels": 2 * codec.channels, "out_channels": codec.channels}
    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(**{**config, **size, **channels})
    return FrameMatrixModel(SVDModel(unet, codec, tiny_svd.make_image_encoder()))


def make_scene(count, *, eye="right", seed=0):
    """Frames of noise, with a foreground whose disparity is positive on a background where it is negative."""
    left = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    depth = torch.zeros(count, 1, *SIZE)
    depth[..., 15:35, 25:45] = 1
    disparity = depth_to_disparity(depth, divergence=14.0, convergence=0.4)
    return left, *forward_warp(left, disparity, eye=eye), disparity


class Shrinks(torch.nn.Module):
    """A UNet without weights, whose output follows sample and condition; it takes no time."""

    def __init__(self, unet, channels):
        super().__init__()
        self.config, self.device, self.dtype, self._channels = unet.config, unet.device, unet.dtype, channels

    def forward(self, sample, time, embedding, time_ids, return_dict):
        noisy, condition = sample.split(self._channels, dim=2)
        return (0.3 * noisy + 0.1 * condition + 0.01 * noisy.mean(dim=1, keepdim=True),)


class KnowsPictures(torch.nn.Module):
    """A UNet that predicts v of known latents: of one picture for any sequence, or of one a frame."""

    def __init__(self, unet, latents):
        super().__init__()
        self.config, self.device, self.dtype = unet.config, unet.device, unet.dtype
        self._latents = latents  # [1 or N, C, h, w]

    def forward(self, sample, time, embedding, time_ids, return_dict):
        sigma = float((4 * time).exp())
        noisy = sample[:, :, : self._latents.shape[1]] * (sigma**2 + 1) ** 0.5
        return ((noisy / (sigma**2 + 1) - self._latents) * (sigma**2 + 1) ** 0.5 / sigma,)
