"""SVD's autoencoder on clips of any length and size, in portions that fit into memory.

The encoder sees each frame by itself. The decoder also mixes frames: 29 convolutions over three frames each,
and normalisation over all the frames it is given. A frame's influence on another one falls to about a fifth
over two frames and to a thirtieth over four (random weights); the normalisation's never ends, but is small.
So a clip that does not fit into memory is decoded in windows that overlap by six frames and are blended: at
their borders the result differs from a clip decoded whole by no more than elsewhere. Windows are as long as
memory allows, since what they share is decoded twice.

Tiles overlap by a quarter of their side and are blended linearly. A tile is normalised by its own statistics
(GroupNorm) and attends only to itself, so tiled results differ from whole ones in tone, more so the smaller
tiles are; the blend spreads that difference so that no edge is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..checks import InputError, check_finite, check_video
from ..memory import free_memory, run_within_memory
from .memory import estimate_decoding_memory, estimate_encoding_memory
from .model import LATENT_FACTOR, SCALING
from .padding import pad_to_multiple
from .windows import blend_weights, cut_spans, cut_tiles

if TYPE_CHECKING:
    from diffusers import AutoencoderKLTemporalDecoder

_LOGGER = logging.getLogger(__name__)
_OVERLAP = 6  # frames that windows share, see above
_MOST_ENCODED = 8  # frames at once; more are no faster
_USUAL_WINDOW = 14  # frames, for messages
_TILE_STEP = 64  # px; tiles' sides are multiples of it
_SMALLEST_TILE = 128  # px, that is fallen back to; smaller ones hold too little of a picture
_FREE_SHARE = 0.7  # of the free memory that is used; the rest is for workspaces and what else runs


@torch.no_grad()  # not inference_mode: training takes the result
def encode_frames(
    vae: AutoencoderKLTemporalDecoder,
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    chunk: int | None = None,
    tile: int = 0,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 4, ceil(H / 8), ceil(W / 8)] float32 on the CPU, unscaled
    """Encode frames, each by itself; the latents are the mode of the VAE's distribution.

    The encoder overflows in half precision, so it runs in float32, with a copy of its weights if they are of
    another precision; the VAE itself is not changed. Sides are padded to multiples of 8 by their last pixels.
    If memory runs out, it starts again with smaller portions, see `run_within_memory`.

    Args:
        vae: SVD's VAE, on any device.
        frames: The clip; noise added to it may lead out of [0, 1].
        chunk: Frames at once, at least 1; None takes what fits into free memory, 8 at most.
        tile: Side of a tile, px, a multiple of 64; 0 = whole frames.
        on_frame: Called after each chunk and tile with the number of finished frames; may raise to interrupt.

    Raises:
        InputError: If an argument breaks its rule, or memory does not suffice for a single tile.
    """
    check_video("frames", frames, channels=3)
    check_finite("frames", frames, "repair the frames")
    estimate = partial(estimate_encoding_memory, vae.config, frames=1)
    _check_sizes("chunk", chunk, tile, usual=_MOST_ENCODED)
    portion = _first_portion(vae, estimate, frames.shape, chunk, tile, most=_MOST_ENCODED)
    run = partial(_encode, vae, frames, on_frame)
    with own_precision(vae.quant_conv.weight.device):
        return _run_within_memory(run, portion, longer_side=max(frames.shape[-2:]), task="encoding")


@torch.no_grad()
def decode_latents(
    vae: AutoencoderKLTemporalDecoder,
    latents: Tensor,  # [F, 4, h, w], scaled
    *,
    window: int | None = None,
    tile: int = 0,
    device: torch.device | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 3, 8h, 8w] in [0, 1], float32
    """Decode a clip.

    A clip of at most one window and one tile is what the VAE decodes, exactly; the module's text has what
    happens to longer ones. What overflows in half precision is repeated in float32, with a copy of the
    decoder's weights; the VAE itself is not changed. If memory runs out, decoding starts again with smaller
    portions, see `run_within_memory`.

    Args:
        vae: SVD's VAE, on any device; decodes in its own precision.
        latents: The clip's latents.
        window: Frames at once, at least 1; fewer than 12 leave windows less than six frames of overlap. None
            takes as many as fit into free memory.
        tile: Side of a tile, px of the frames, a multiple of 64; 0 = whole frames.
        device: Where the frames are returned; None: on the CPU.
        on_frame: Called after each window and tile with the number of finished frames; may raise to
            interrupt.

    Raises:
        InputError: If an argument breaks its rule, the result is not finite, or memory does not suffice for a
            single tile.
    """
    check_video("latents", latents, channels=4)
    check_finite("latents", latents, "sample in bfloat16 or float32, or with less guidance")
    dtype = next(vae.decoder.parameters()).dtype
    estimate = partial(estimate_decoding_memory, vae.config, frames=1, dtype=dtype)
    shape = (*latents.shape[:2], *(LATENT_FACTOR * side for side in latents.shape[2:]))
    _check_sizes("window", window, tile, usual=_USUAL_WINDOW)
    portion = _first_portion(vae, estimate, shape, window, tile, most=len(latents))
    run = partial(_decode, vae, latents, device or torch.device("cpu"), on_frame)
    with own_precision(vae.quant_conv.weight.device):
        return _run_within_memory(run, portion, longer_side=max(shape[-2:]), task="decoding")


@contextmanager
def own_precision(device: torch.device) -> Iterator[None]:
    """Let networks compute in the precision of their weights, also where training has others use autocast."""
    if not torch.amp.is_autocast_available(device.type):
        yield
        return
    with torch.autocast(device.type, enabled=False):
        yield


@dataclass(frozen=True)
class _Portion:
    """What the VAE takes at a time."""

    frames: int  # a chunk of the encoder's, a window of the decoder's
    tile: int  # px, side of a tile; 0 = whole pictures

    def smaller(self, longer_side: int) -> _Portion | None:
        """Return half of it for pictures with such a longer side [px], or None if that is too little."""
        if self.frames > 1:
            return replace(self, frames=self.frames // 2)
        tile = min(self.tile or longer_side, longer_side)
        if tile <= _SMALLEST_TILE:
            return None
        return replace(self, tile=max(_SMALLEST_TILE, -(-tile // (2 * _TILE_STEP)) * _TILE_STEP))

    def __str__(self) -> str:
        pictures = f"tiles of {self.tile} px" if self.tile else "whole pictures"
        return f"{self.frames} frame(s) at once in {pictures}"


def _check_sizes(name: str, frames: int | None, tile: int, *, usual: int) -> None:
    """Check how much is asked for at a time; `name` is the option with the number of frames."""
    if frames is not None and (not isinstance(frames, int) or frames < 1):
        raise InputError(f"{name} must be at least 1 frame, got {frames!r}; {usual} suits most GPUs")
    if not isinstance(tile, int) or tile < 0 or tile % _TILE_STEP:
        raise InputError(
            f"tile must be a multiple of {_TILE_STEP} px, or 0 for whole pictures, got {tile!r}; 512 suits "
            "most GPUs"
        )


def _run_within_memory(
    run: Callable[[_Portion], Tensor], portion: _Portion, *, longer_side: int, task: str
) -> Tensor:
    """Run a task of the VAE in such portions, or in smaller ones if memory runs out."""
    result, _ = run_within_memory(
        run,
        portion,
        smaller=lambda portion: portion.smaller(longer_side),
        task=task,
        explain=lambda portion: (
            f"{task} must fit into memory, but the VAE ran out of it with {portion}; free memory or use "
            "smaller frames"
        ),
    )
    return result


def _first_portion(
    vae: AutoencoderKLTemporalDecoder,
    estimate: Callable[..., int],  # bytes of one frame of a height and width
    shape: Sequence[int],  # [F, C, H, W] of the frames
    wanted: int | None,  # frames
    tile: int,
    *,
    most: int,
) -> _Portion:
    """Return what to begin with: what is asked for, or what fits into memory and 32-bit indices."""
    if wanted is None:
        height, width = (min(tile or side, side) for side in shape[2:])
        free = int(free_memory(vae.quant_conv.weight.device) * _FREE_SHARE)
        largest = height * width * _widest(vae)
        wanted = max(1, min(most, free // estimate(height=height, width=width), (2**31 - 1) // largest))
        if wanted < most:
            _LOGGER.debug("the VAE takes %d frame(s) of %dx%d at once, not %d", wanted, width, height, most)
    return _Portion(min(wanted, shape[0]), tile)


def _widest(vae: AutoencoderKLTemporalDecoder) -> int:
    """Return the most channels at the frames' full size that a device must take of all frames at once.

    The last level takes in as many as the level before has, frame by frame: CUDA's convolutions are split
    along the frames where 32-bit indices do not suffice, and CPUs' indices have 64 bits. Frames are mixed
    among its own channels.
    """
    own, before = vae.config.block_out_channels[:2]
    return own if vae.quant_conv.weight.device.type in ("cuda", "cpu") else before


def _encode(
    vae: AutoencoderKLTemporalDecoder,
    frames: Tensor,
    on_frame: Callable[[int], None] | None,
    portion: _Portion,
) -> Tensor:
    """Encode frames in such portions."""
    height, width = (-(-side // LATENT_FACTOR) for side in frames.shape[-2:])
    latents = torch.zeros(len(frames), vae.config.latent_channels, height, width)
    tiles = cut_tiles(height, width, tile=portion.tile // LATENT_FACTOR)
    encoder, to_moments = _in_float32(vae.encoder), _in_float32(vae.quant_conv)
    device, done = vae.quant_conv.weight.device, 0
    for start in range(0, len(frames), portion.frames):
        pictures = pad_to_multiple(frames[start : start + portion.frames], LATENT_FACTOR)
        for tile in tiles:
            rows, columns = tile.scaled(LATENT_FACTOR)
            moments = to_moments(encoder(pictures[..., rows, columns].to(device, torch.float32) * 2 - 1))
            part = moments.chunk(2, dim=1)[0].cpu()  # the mean, which is a normal distribution's mode
            check_finite("encoded frames", part, "use frames in [0, 1] and an intact VAE")
            rows, columns = tile.scaled(1)
            latents[start : start + len(part), :, rows, columns] += part * tile.weights
            done = start + len(part) if tile is tiles[-1] else done
            if on_frame is not None:
                on_frame(done)
    return latents


def _decode(
    vae: AutoencoderKLTemporalDecoder,
    latents: Tensor,
    device: torch.device,
    on_frame: Callable[[int], None] | None,
    portion: _Portion,
) -> Tensor:
    """Decode latents in such portions; return the frames on a device."""
    height, width = (side * LATENT_FACTOR for side in latents.shape[-2:])
    frames = torch.zeros(len(latents), vae.config.out_channels, height, width, device=device)
    tiles = cut_tiles(height, width, tile=portion.tile, step=LATENT_FACTOR)
    windows = cut_spans(len(latents), size=portion.frames, overlap=_OVERLAP)
    done = 0
    for window, weights in zip(windows, blend_weights(windows), strict=True):
        for tile in tiles:
            rows, columns = tile.scaled(1)
            y, x = (
                slice(side.start // LATENT_FACTOR, side.stop // LATENT_FACTOR) for side in (rows, columns)
            )
            part = _decode_part(vae, latents[window.start : window.stop, :, y, x]).to(device)
            part.mul_(weights.to(device)[:, None, None, None]).mul_(tile.weights.to(device))
            frames[window.start : window.stop, :, rows, columns] += part
            done = window.stop if tile is tiles[-1] else done
            if on_frame is not None:
                on_frame(done)
    return frames


def decode_part_with_gradient(
    vae: AutoencoderKLTemporalDecoder,
    latents: Tensor,  # [F, 4, h, w], scaled
) -> Tensor:  # [F, 3, 8h, 8w] float32, not clamped
    """Decode a few frames at once in the decoder's own precision, for a loss on pictures."""
    own = next(vae.decoder.parameters())
    is_picture = torch.zeros(1, len(latents), device=own.device, dtype=own.dtype)
    decoded = vae.decoder((latents.float() / SCALING).to(own), is_picture, num_frames=len(latents))
    return decoded.float() / 2 + 0.5


def _decode_part(
    vae: AutoencoderKLTemporalDecoder,
    latents: Tensor,  # [F, 4, h, w], scaled
) -> Tensor:  # [F, 3, 8h, 8w] in [0, 1], float32
    """Decode what fits into memory, in float32 if the VAE's own precision overflows."""
    own = next(vae.decoder.parameters())
    latents = latents.to(own.device, torch.float32) / SCALING
    is_picture = torch.zeros(1, len(latents), device=own.device)  # none is: all are frames of one video
    decoded = vae.decoder(latents.to(own.dtype), is_picture.to(own.dtype), num_frames=len(latents))
    if own.dtype != torch.float32 and not bool(decoded.isfinite().all()):
        _LOGGER.warning("the VAE overflowed in %s: decoding %d frames in float32", own.dtype, len(latents))
        decoded = _in_float32(vae.decoder)(latents, is_picture, num_frames=len(latents))
    decoded = decoded.float()
    if not bool(decoded.isfinite().all()):
        raise InputError(
            "decoded frames must be finite, but the VAE gave NaN or infinite values even in float32, for "
            f"latents from {float(latents.min()) * SCALING:.4g} to {float(latents.max()) * SCALING:.4g}; use "
            "an intact VAE, or sample in bfloat16 or float32"
        )
    return (decoded / 2 + 0.5).clamp_(0, 1)


def _in_float32(module: nn.Module) -> Callable[..., Tensor]:
    """Return the module as called with a float32 copy of its weights, which leaves its own as they are."""
    tensors = dict(chain(module.named_parameters(), module.named_buffers()))
    if all(value.dtype == torch.float32 for value in tensors.values()):
        return module
    copies = {name: value.float() for name, value in tensors.items()}

    def call(*args: Tensor, **options: int) -> Tensor:
        return functional_call(module, copies, args, options)

    return call
