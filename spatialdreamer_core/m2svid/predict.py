"""One step of M2SVid: the UNet's clean estimate of the other view, from no noise at the highest noise level.

M2SVid was trained and is used at sigma = 700 with a noisy input of zeros, so that one pass gives the result:
ẑ0 = -v · σ/√(σ²+1). There is no guidance branch: the authors' script runs it at a scale of 1, where it drops
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import Tensor, nn

from ..svd.schedule import SIGMA_MAX, clean_estimate, noise_time
from .full_attention import full_attention
from .memory import fitting_chunk
from .model import M2SVid
from .noise import NOISE_AUGMENTATION

DEFAULT_FPS = 24.0  # M2SVid was trained on clips of 5 to 30 frames a second, each told its own
_MOTION_BUCKET = 127.0


@torch.no_grad()
def predict(
    model: M2SVid,
    left: Tensor,  # [B, F, C, h, w] unscaled
    warped: Tensor,  # [B, F, C, h, w] unscaled
    mask: Tensor,  # [B, F, 1, h, w] in [-1, 1]
    embeddings: Tensor,  # [B, F, 1, D]
    *,
    fps: float = DEFAULT_FPS,
    query_chunk: int | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Tensor:  # [B, F, C, h, w] float32, scaled, on the model's device
    """Predict the other view's latents of a window, or of several regions of the same size at once.

    Args:
        model: The model.
        left: The left view, see `encode_window`.
        warped: The rendered view.
        mask: Its hole mask.
        embeddings: The image embeddings of the left frames.
        fps: Frames a second of the film; it is told to the UNet.
        query_chunk: Masked tokens that attend to all frames at once, at least 1, see `full_attention.py`; the
            result is the same. None: what fits into free memory.
        on_wait: Called at each of the UNet's 16 transformers; may raise to interrupt.

    Raises:
        InputError: If `query_chunk` is out of range.
    """
    unet = model.svd.unet
    batch, frames, _, height, width = left.shape
    model.announce(unet, frames=batch * frames, latent_size=(height, width))
    device = model.device  # to which it may have been brought just now
    zeros = torch.zeros_like(left, dtype=torch.float32, device=device)
    views = [view.to(device, torch.float32) for view in (left, warped, mask)]
    sample = torch.cat([zeros, *views], dim=2).to(unet.dtype)
    sigma = torch.full((batch,), SIGMA_MAX)
    time = noise_time(sigma).to(device)
    ids = torch.tensor([[fps, _MOTION_BUCKET, NOISE_AUGMENTATION]]).repeat(batch, 1).to(device)
    tokens = embeddings.flatten(1, 2).to(device, unet.dtype)
    with ExitStack() as stack:
        stack.enter_context(_own_frame_embeddings(unet, on_wait))
        if model.full_attention:
            if query_chunk is None:
                size = {"regions": batch, "tokens": frames * height * width}
                query_chunk = fitting_chunk(unet.config, **size, dtype=unet.dtype, device=device)
            stack.enter_context(full_attention(unet, mask, query_chunk=query_chunk))
        output = unet(sample, time, tokens, ids, return_dict=False)[0]
    return clean_estimate(output.float(), zeros, SIGMA_MAX)


@contextmanager
def _own_frame_embeddings(unet: nn.Module, on_wait: Callable[[], None] | None) -> Iterator[None]:
    """Let each frame attend to its own embedding, where SVD has one of all frames.

    diffusers' UNet gives each of F frames all F tokens; its transformers then see the frame's own one.
    Temporal attention takes the first frame's, by diffusers' own rule.
    """

    def choose(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if on_wait is not None:
            on_wait()
        tokens = kwargs["encoder_hidden_states"]  # [B·F, F, D]
        frames = tokens.shape[1]
        own = tokens.unflatten(0, (-1, frames)).diagonal(dim1=1, dim2=2)  # [B, D, F]
        return args, {**kwargs, "encoder_hidden_states": own.transpose(1, 2).flatten(0, 1)[:, None]}

    hooks = [
        module.register_forward_pre_hook(choose, with_kwargs=True)
        for module in unet.modules()
        if isinstance(module, TransformerSpatioTemporalModel)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
