"""Layouts at the boundary: ComfyUI's IMAGE [F, H, W, C], MASK [F, H, W] and AUDIO, and the library's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.depth import check_equal_channels, is_size_of_film
from ..spatialdreamer_core.video import Sound

if TYPE_CHECKING:
    from comfy_api.latest import Input


def image_to_frames(
    name: str,
    image: Tensor,  # [F, H, W, C], C = 1 grey, 3 RGB or 4 RGBA
) -> Tensor:  # [F, 3, H, W]
    """Convert an IMAGE to RGB frames: grey is repeated, RGBA is composited over black.

    Args:
        name: Socket name for the message.
        image: The IMAGE.

    Raises:
        InputError: If the tensor is not an IMAGE.
    """
    if image.ndim != 4 or 0 in image.shape or image.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"`{name}` must be an IMAGE [frames, height, width, 1, 3 or 4 channels] with at least one frame, "
            f"got shape {list(image.shape)}; connect an IMAGE output"
        )
    image = image.float()
    if image.shape[-1] == 4:
        image = image[..., :3] * image[..., 3:]
    return image.movedim(-1, 1).expand(-1, 3, -1, -1)


def frames_to_image(
    frames: Tensor,  # [F, 1 or 3, H, W]
) -> Tensor:  # [F, H, W, 3]
    """Convert frames to an IMAGE; one channel is repeated."""
    return frames.expand(-1, 3, -1, -1).movedim(1, -1).contiguous().cpu()


def mask_to_frames(
    name: str,
    mask: Tensor,  # [F, H, W], [1, H, W] or [H, W]
    *,
    like: Tensor,  # [F, C, H, W], the frames that the mask belongs to
) -> Tensor:  # [F, 1, H, W]
    """Convert a MASK to one-channel frames; a single one is taken for every frame.

    Args:
        name: Socket name for the message.
        mask: The MASK.
        like: The frames, for their number alone.

    Raises:
        InputError: If the tensor is not a MASK.
    """
    if mask.ndim not in (2, 3) or 0 in mask.shape:
        raise InputError(
            f"`{name}` must be a MASK [frames, height, width] with at least one frame, "
            f"got shape {list(mask.shape)}; connect a MASK output"
        )
    return _repeat(mask.float().reshape(-1, 1, *mask.shape[-2:]), len(like))


def frames_to_mask(
    frames: Tensor,  # [F, 1, H, W]
) -> Tensor:  # [F, H, W]
    """Convert one-channel frames to a MASK."""
    return frames[:, 0].contiguous().cpu()


def image_to_depth(
    image: Tensor,  # [F, h, w, C] or [1, h, w, C]
    *,
    like: Tensor,  # [F, 3, H, W], the frames that the depth belongs to
    invert: bool = False,
    name: str = "depth",
) -> Tensor:  # [F, 1, H, W]
    """Convert a depth map of any node to inverse depth, 1 = near, in the size of its frames.

    Many depth nodes return another size than they were given, some of them stretched to multiples of 64, so a
    map that can be of the same picture is resized bilinearly. A single map is taken for every frame.

    Args:
        image: The depth map as a grey IMAGE; the mean of its channels counts.
        like: The frames.
        invert: True if the map is dark where the scene is near.
        name: Socket name for the message.

    Raises:
        InputError: If the number of frames or the aspect ratio differs, or the map is in colour.
    """
    depth = image_to_frames(name, image).mean(1, keepdim=True)
    if len(depth) not in (1, len(like)):
        raise InputError(
            f"`{name}` must have as many frames as `image` ({len(like)}) or one for all of them, got "
            f"{len(depth)}; estimate it from the same frames"
        )
    (depth_height, depth_width), (height, width) = depth.shape[-2:], like.shape[-2:]
    if not is_size_of_film(depth_width, depth_height, film_width=width, film_height=height):
        raise InputError(
            f"`{name}` must have the aspect ratio of `image` ({width}x{height}), "
            f"got {depth_width}x{depth_height}; estimate it from the uncropped frames"
        )
    if image.shape[-1] != 1:
        for index, frame in enumerate(image[..., :3]):
            check_equal_channels(frame.float().cpu().numpy(), f"frame {index} of `{name}`", white=1)
    if (depth_height, depth_width) != (height, width):
        depth = F.interpolate(depth, (height, width), mode="bilinear", antialias=True)
    return _repeat(1 - depth if invert else depth, len(like))


def audio_to_sound(audio: Input.Audio | None) -> Sound | None:
    """Convert an AUDIO to the library's sound.

    Raises:
        InputError: If it is no AUDIO, or a batch of several.
    """
    if audio is None:
        return None
    waveform = audio.get("waveform") if isinstance(audio, Mapping) else None
    if not isinstance(waveform, Tensor) or waveform.ndim not in (2, 3):
        raise InputError(
            "`audio` must be an AUDIO with a waveform [batch, channels, samples], got "
            f"{list(waveform.shape) if isinstance(waveform, Tensor) else type(audio).__name__}; connect an "
            "AUDIO output"
        )
    if waveform.ndim == 3:
        if len(waveform) != 1:
            raise InputError(f"`audio` must be one sound, got a batch of {len(waveform)}; choose one of them")
        waveform = waveform[0]
    return Sound(waveform, audio["sample_rate"])


def _repeat(frames: Tensor, count: int) -> Tensor:
    """Repeat a single frame, without a copy."""
    return frames.expand(count, -1, -1, -1) if len(frames) == 1 else frames
