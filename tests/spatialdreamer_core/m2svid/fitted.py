"""A small M2SVid without an autoencoder that does what a trained one does: it shows the right view.

Its networks are random, but for the last convolution, which is fitted to a clip by least squares. `drift`
then spoils its colours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import tiny_svd

SIZE = (64, 64)
_RIDGE = 1e-4  # of the features' mean square
_SPATIAL = 3.0  # logit of the share of spatial layers: what random temporal ones mix in, no fit takes out


def make_clip(
    frames: int, *, size: tuple[int, int] = SIZE, start: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make a clip that moves slowly, with a hole that does, too: left, warped, hole, right."""
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    time = torch.arange(start, start + frames)[:, None, None] * 0.06
    left = torch.stack(
        [
            0.5
            + 0.2 * torch.sin(x * 0.11 + y * 0.05 + time + phase)
            + 0.1 * torch.sin(y * 0.23 - x * 0.07 - 1.4 * time + 2 * phase)
            for phase in (0, 2, 4)
        ],
        dim=1,
    )
    right, hole = left.roll(-4, -1), torch.zeros(frames, 1, height, width)
    for index in range(frames):
        column = 20 + abs((start + index) % 24 - 12)  # to and fro
        hole[index, :, height // 4 : height // 2, column : column + 6] = 1
    return left, right * (1 - hole), hole, right


def make_random_model() -> Any:
    """Make the model with random weights."""
    from spatialdreamer_core.m2svid.model import assemble
    from spatialdreamer_core.svd import PixelCodec, SVDModel, build_unet

    codec = PixelCodec(4)
    torch.manual_seed(0)
    unet = build_unet(
        in_channels=3 * codec.channels + 1,
        out_channels=codec.channels,
        block_out_channels=(64, 64, 64, 64),
        num_attention_heads=(1, 1, 1, 1),
        cross_attention_dim=tiny_svd.CONTEXT,
        num_frames=14,
    )
    for name, parameter in unet.named_parameters():
        if name.endswith("mix_factor"):
            parameter.data.fill_(_SPATIAL)
    return assemble(SVDModel(unet, codec, tiny_svd.make_image_encoder()), full_attention=False)


def make_model() -> Any:
    """Make the model and fit it, to a window of new frames and to one that begins with finished ones."""
    from spatialdreamer_core.m2svid.inputs import encode_window
    from spatialdreamer_core.m2svid.predict import predict

    model = make_random_model()
    unet, codec = model.svd.unet, model.svd.codec
    features, targets = [], []
    with unet.conv_out.register_forward_pre_hook(lambda _, given: features.append(given[0])):
        for start, finished in ((0, 0), (40, 3)):
            left, warped, hole, right = make_clip(16, start=start)
            shown = torch.cat([right[:finished], warped[finished:]])
            encoded = encode_window(model, left, shown, hole, finished=finished)
            predict(model, *(part[None] for part in encoded))
            targets.append(-codec.scaling * codec.encode(right))  # the velocity at the highest noise level
    inputs = torch.cat([F.unfold(part, 3, padding=1) for part in features])  # [N, 9 · 64, h · w]
    inputs = F.pad(inputs, (0, 0, 0, 1), value=1.0).transpose(1, 2).flatten(0, 1).double()
    wanted = torch.cat(targets).flatten(2).transpose(1, 2).flatten(0, 1).double()
    squares = inputs.T @ inputs
    squares.diagonal().add_(_RIDGE * squares.diagonal().mean())
    solved = torch.linalg.solve(squares, inputs.T @ wanted).float()
    unet.conv_out.weight.copy_(solved[:-1].T.reshape_as(unet.conv_out.weight))
    unet.conv_out.bias.copy_(solved[-1])
    return model


def drift(model: Any, *, contrast: float, brightness: float) -> None:
    """Let what the model shows be of another contrast, and brighter [of a range of 1], for good."""
    convolution, codec = model.svd.unet.conv_out, model.svd.codec
    convolution.weight.mul_(contrast)
    convolution.bias.mul_(contrast).sub_(2 * codec.scaling * brightness)  # latents are of [-1, 1]
