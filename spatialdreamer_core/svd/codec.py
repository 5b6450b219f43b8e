"""How frames become latents and back: SVD's autoencoder, or, for small models, pixels in another order.

What is built on the base model asks its codec (`SVDModel.codec`) how large and how deep a latent is, and
never the autoencoder itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_finite, check_range, check_video
from .memory import estimate_decoding_memory, estimate_encoding_memory
from .model import LATENT_FACTOR, SCALING
from .padding import pad_to_multiple
from .vae import decode_latents, decode_part_with_gradient, encode_frames

if TYPE_CHECKING:
    from diffusers import AutoencoderKLTemporalDecoder

MAX_FACTOR = 8  # px of a latent of PixelCodec, each side
_OnFrame = Callable[[int], None]


class Codec(Protocol):
    """What turns frames into latents and back.

    Attributes:
        factor: Pixels of a latent, each side.
        channels: Channels of a latent.
        scaling: What unscaled latents are multiplied by to have about unit variance.
    """

    factor: int
    channels: int
    scaling: float

    @property
    def device(self) -> torch.device:
        """Where it works, and frames are best given to it."""
        ...

    def encode(
        self,
        frames: Tensor,  # [F, 3, H, W] in [0, 1]
        *,
        on_frame: _OnFrame | None = None,
    ) -> Tensor:  # [F, C, ceil(H / factor), ceil(W / factor)] float32 on the CPU, unscaled
        """Encode frames, each by itself; `on_frame` is called with those done and may raise to interrupt."""
        ...

    def decode(
        self,
        latents: Tensor,  # [F, C, h, w], scaled
        *,
        device: torch.device | None = None,
        on_frame: _OnFrame | None = None,
    ) -> Tensor:  # [F, 3, factor · h, factor · w] in [0, 1], float32, on `device` or the CPU
        """Decode a clip."""
        ...

    def decode_with_gradient(
        self,
        latents: Tensor,  # [F, C, h, w], scaled
    ) -> Tensor:  # [F, 3, factor · h, factor · w] float32, not clamped
        """Decode a short clip where it lies, for a loss on pictures."""
        ...

    def encoding_memory(self, *, frames: int, height: int, width: int) -> int:
        """Estimate the bytes that encoding so many frames of a size in px takes at once."""
        ...

    def decoding_memory(self, *, frames: int, height: int, width: int) -> int:
        """Estimate the bytes that decoding so many frames of a size in px takes at once."""
        ...


class VaeCodec:
    """SVD's autoencoder as a codec.

    Args:
        vae: The autoencoder, on any device and in any precision.
    """

    factor = LATENT_FACTOR
    channels = 4
    scaling = SCALING

    def __init__(self, vae: AutoencoderKLTemporalDecoder) -> None:
        self.vae = vae

    @property
    def device(self) -> torch.device:
        """Where the autoencoder is."""
        return self.vae.device

    def encode(
        self,
        frames: Tensor,  # [F, 3, H, W] in [0, 1]
        *,
        on_frame: _OnFrame | None = None,
    ) -> Tensor:  # [F, 4, ceil(H / 8), ceil(W / 8)] float32 on the CPU, unscaled
        """Encode frames, see `encode_frames`."""
        return encode_frames(self.vae, frames, on_frame=on_frame)

    def decode(
        self,
        latents: Tensor,  # [F, 4, h, w], scaled
        *,
        device: torch.device | None = None,
        on_frame: _OnFrame | None = None,
    ) -> Tensor:  # [F, 3, 8h, 8w] in [0, 1], float32
        """Decode a clip, see `decode_latents`."""
        return decode_latents(self.vae, latents, device=device, on_frame=on_frame)

    def decode_with_gradient(
        self,
        latents: Tensor,  # [F, 4, h, w], scaled
    ) -> Tensor:  # [F, 3, 8h, 8w] float32, not clamped
        """Decode a short clip at once, in the decoder's precision."""
        return decode_part_with_gradient(self.vae, latents)

    def encoding_memory(self, *, frames: int, height: int, width: int) -> int:
        """Estimate the bytes that encoding takes, see `estimate_encoding_memory`."""
        return estimate_encoding_memory(self.vae.config, frames=frames, height=height, width=width)

    def decoding_memory(self, *, frames: int, height: int, width: int) -> int:
        """Estimate the bytes that decoding takes, see `estimate_decoding_memory`."""
        size = {"frames": frames, "height": height, "width": width}
        return estimate_decoding_memory(self.vae.config, **size, dtype=self.vae.dtype)


class PixelCodec(nn.Module, ConfigMixin):
    """A codec without weights that loses nothing: a latent holds a square of pixels, channel by channel.

    Unscaled latents are the pixels in [-1, 1], in which photographs have a standard deviation of about 1/2.

    Args:
        factor: Pixels of a latent, each side, 1 to 8.
        scaling: What latents are multiplied by.

    Raises:
        InputError: If an argument is out of range.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(self, factor: int = 4, scaling: float = 2.0) -> None:
        super().__init__()
        check_range("factor", factor, 1, MAX_FACTOR, "px", whole=True)
        check_range("scaling", scaling, 0.01, 100)
        self.factor = factor
        self.channels = 3 * factor**2
        self.scaling = scaling

    @property
    def device(self) -> torch.device:
        """The CPU: there are no weights, and moving pixels about is not worth a transfer."""
        return torch.device("cpu")

    @torch.no_grad()
    def encode(
        self,
        frames: Tensor,  # [F, 3, H, W] in [0, 1]
        *,
        on_frame: _OnFrame | None = None,
    ) -> Tensor:  # [F, C, ceil(H / factor), ceil(W / factor)] float32 on the CPU, unscaled
        """Encode frames; sides are padded to multiples of the factor by their last pixels.

        Raises:
            InputError: If the frames are no video of finite values.
        """
        check_video("frames", frames, channels=3)
        check_finite("frames", frames, "repair the frames")
        latents = F.pixel_unshuffle(pad_to_multiple(frames.float(), self.factor) * 2 - 1, self.factor).cpu()
        if on_frame is not None:
            on_frame(len(frames))
        return latents

    @torch.no_grad()
    def decode(
        self,
        latents: Tensor,  # [F, C, h, w], scaled
        *,
        device: torch.device | None = None,
        on_frame: _OnFrame | None = None,
    ) -> Tensor:  # [F, 3, factor · h, factor · w] in [0, 1], float32
        """Decode a clip.

        Raises:
            InputError: If the latents have other channels or are not finite.
        """
        check_video("latents", latents, channels=self.channels)
        check_finite("latents", latents, "sample in bfloat16 or float32, or with less guidance")
        frames = self.decode_with_gradient(latents).clamp_(0, 1).to(device or torch.device("cpu"))
        if on_frame is not None:
            on_frame(len(frames))
        return frames

    def decode_with_gradient(
        self,
        latents: Tensor,  # [F, C, h, w], scaled
    ) -> Tensor:  # [F, 3, factor · h, factor · w] float32, not clamped
        """Decode a clip where it lies."""
        return F.pixel_shuffle(latents.float() / self.scaling, self.factor) / 2 + 0.5

    def encoding_memory(self, *, frames: int, height: int, width: int) -> int:
        """Estimate the bytes that encoding takes: the frames and their latents."""
        return 2 * 3 * frames * height * width * torch.float32.itemsize

    def decoding_memory(self, *, frames: int, height: int, width: int) -> int:
        """Estimate the bytes that decoding takes: the latents and their frames."""
        return self.encoding_memory(frames=frames, height=height, width=width)


def make_codec(vae: Any) -> Codec:
    """Return the codec of a model's autoencoder, which may be one itself."""
    return vae if isinstance(vae, PixelCodec) else VaeCodec(vae)
