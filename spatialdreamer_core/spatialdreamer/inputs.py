"""What the model sees of a clip, by one rule for sampling and training.

Of a clip (left view, rendered view, hole mask) the model gets, per frame, the rendered view's latents (the
*condition*, unscaled, as SVD's conditioning is) and the hole mask, each latent that a hole touches whole; the
left view's scaled latents, from which RefinerNet makes its features; one image embedding a window, that of
the left view's first frame; and the stereo deviation strength (Eq. 4 of SpatialDreamer) of the window, taken
from the condition before any noise. A network with `SpatialDreamerConfig.deviation_map` also gets the map of
the deviation that the rendered view, as it is shown, lacks.

A network of stage 1 or 2 of training (`SpatialDreamerConfig.blank_holes`) sees mid-grey in the holes: a warp
is black where nothing landed, but shows its picture where a mask was refined or dilated, and a training pair
is black there, too. What the rendered view shows in its holes does not matter then. The picture of the
condition may be under noise (`noise_augmentation`), the mask never is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_video
from ..svd import SCALING, embed_images, pool_mask
from ..svd.canvas import Canvas
from ..svd.noise import FrameNoise
from ..svd.schedule import clean_estimate, noise_time, scale_input
from .config import SpatialDreamerConfig
from .deviation import deviation_strength, missing_deviation
from .network import SpatialDreamer

LATENT_NOISE, PICTURE_NOISE = 0, 1  # independent streams of one seed
_CHUNK = 8  # frames on their way to the VAE
_GREY = 0.5  # what blanked holes show


class EncodedLeft(NamedTuple):
    """The left view of a clip, encoded, on the CPU."""

    canvas: Canvas
    latents: Tensor  # [F, C, h, w] scaled
    embeddings: Tensor  # [F, 1, D]


class EncodedFrame(NamedTuple):
    """A rendered frame's latents, unscaled; None where nothing asks for them."""

    condition: Tensor  # [C, h, w] as the model is shown the frame
    clean: Tensor | None  # [C, h, w] the same without noise
    picture: Tensor | None  # [C, h, w] without noise, and with what it shows in its holes


@dataclass(frozen=True)
class EncodedClip:
    """A clip as the model sees it, on the CPU."""

    condition: Tensor  # [F, C, h, w] unscaled
    mask: Tensor  # [F, 1, h, w], 1 = hole
    reference: Tensor  # [F, C, h, w] scaled, the left view's
    embeddings: Tensor  # [F, 1, D], the left view's
    canvas: Canvas
    scaling: float  # of the codec's latents
    clean: Tensor | None  # [F, C, h, w] unscaled: the condition without noise; None if not asked for
    picture: Tensor | None  # [F, C, h, w] scaled: the rendered view as it is; None if not asked for

    def deviation(self, frames: range | None = None) -> float:
        """Measure the stereo deviation strength of a window (None: of all frames), see `window_deviation`."""
        assert self.clean is not None, "ask `encode_clip` for `measured`"
        window = slice(None) if frames is None else slice(frames.start, frames.stop)
        parts = (self.canvas.cut_padding(clip[window]) for clip in (self.clean, self.reference, self.mask))
        return float(window_deviation(*parts, scaling=self.scaling))

    def missing_deviation(self, factor: float) -> Tensor:  # [F, C, h, w] scaled
        """Return the deviation map that is missing at a factor, see `deviation.missing_deviation`."""
        views = self.scaling * self.condition, self.reference
        return missing_deviation(*views, known=1 - self.mask, factor=factor)

    def embedding(self, frames: range | None = None) -> Tensor:  # [1, 1, D]
        """Return the image embedding of a window: that of its first frame, as SVD has its picture's."""
        first = 0 if frames is None else frames.start
        return self.embeddings[first : first + 1]


def encode_clip(
    model: SpatialDreamer,
    left: Tensor | EncodedLeft,  # [F, 3, H, W] in [0, 1]
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], above 0.5: hole
    *,
    config: SpatialDreamerConfig | None = None,
    canvas: Canvas | None = None,
    noise: Tensor | None = None,  # [F, 3, h, w]
    seed: int = 0,
    first_frame: int = 0,
    measured: bool = True,
    pictures: bool = False,
    known: dict[int, EncodedFrame] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> EncodedClip:
    """Make what the model sees of a clip; a picture is encoded once, and none that nothing asks for.

    Args:
        model: The model, whose VAE and image tower are used.
        left: The source view, or what `encode_left` made of it. In training x2, the view that was rendered.
        warped: The rendered view; in training the one rendered back.
        hole: Its hole mask.
        config: `noise_augmentation` and `blank_holes` are used; None: the model's.
        canvas: The size at which the clip is seen; None: that of `left` if it is encoded, else the clip's
            own, padded to what the UNet's levels halve.
        noise: Standard normal noise on the pictures of the canvas; None: drawn by seed and frame.
        seed: Of the noise.
        first_frame: Index of the first frame in its film.
        measured: Whether the deviation will be asked for.
        pictures: Whether the latents of the rendered view as it is are asked for.
        known: Frames that are encoded already, by index in the film; the others are added.
        on_frame: Called with the frames of the rendered view that are done; may raise to interrupt.

    Raises:
        InputError: If the views do not belong together.
    """
    check_video("warped", warped, channels=3)
    check_video("hole", hole, channels=1, like=warped, like_name="warped")
    config = model.config if config is None else config
    if isinstance(left, Tensor):
        check_video("left", left, channels=3)
        _check_size(tuple(left.shape[:1] + left.shape[2:]), warped)
        height, width = left.shape[-2:]
        if canvas is None:
            multiple, factor = model.svd.size_multiple, model.svd.codec.factor
            canvas = Canvas(height, width, height, width, multiple, factor)
        left = encode_left(model, canvas, left)
    assert canvas is None or canvas == left.canvas, "the left view decides"
    canvas = left.canvas
    _check_size((len(left.latents), canvas.height, canvas.width), warped)
    encoded = encode_warped(
        model,
        canvas,
        warped,
        hole,
        config=config,
        noise=noise,
        seed=seed,
        first_frame=first_frame,
        measured=measured,
        pictures=pictures,
        known=known,
        on_frame=on_frame,
    )
    codec = model.svd.codec
    masks = [pool_mask(canvas.fit_mask(part), codec.factor).cpu() for part in hole.split(_CHUNK)]
    return EncodedClip(
        condition=torch.stack([frame.condition for frame in encoded]),
        mask=torch.cat(masks).float(),
        reference=left.latents,
        embeddings=left.embeddings,
        canvas=canvas,
        scaling=codec.scaling,
        clean=_stack([frame.clean for frame in encoded]) if measured else None,
        picture=codec.scaling * _stack([frame.picture for frame in encoded]) if pictures else None,
    )


def encode_warped(
    model: SpatialDreamer,
    canvas: Canvas,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], above 0.5: hole
    *,
    config: SpatialDreamerConfig,
    noise: Tensor | None = None,  # [F, 3, h, w]
    seed: int = 0,
    first_frame: int = 0,
    measured: bool = True,
    pictures: bool = False,
    known: dict[int, EncodedFrame] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> list[EncodedFrame]:
    """Encode the frames of a rendered view as the model is shown them; arguments as of `encode_clip`."""
    known = {} if known is None else known
    codec, count = model.svd.codec, len(warped)
    new = [frame for frame in range(count) if first_frame + frame not in known]
    model.announce(model.svd.vae, frames=count, latent_size=canvas.latent_size)
    noises = None
    if config.noise_augmentation > 0:
        noises = _PictureNoise(noise, canvas, seed=seed, first_frame=first_frame, frames=new)
    for first in range(0, len(new), _CHUNK):
        chunk = new[first : first + _CHUNK]
        drawn = None if noises is None else noises.take(chunk, codec.device)
        frames = _encode_frames(model, canvas, warped[chunk], hole[chunk], config, drawn, measured, pictures)
        known.update(zip((first_frame + frame for frame in chunk), frames, strict=True))
        if on_frame is not None:
            on_frame(chunk[-1] + 1)
    return [known[first_frame + frame] for frame in range(count)]


def encode_left(
    model: SpatialDreamer,
    canvas: Canvas,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    on_frame: Callable[[int], None] | None = None,
) -> EncodedLeft:
    """Encode the left view by VAE and image tower.

    Args:
        model: The model.
        canvas: The size at which the clip is seen.
        left: The source view.
        on_frame: Called with the number of frames done; may raise to interrupt.
    """
    codec, embeddings = model.svd.codec, []
    latents = torch.empty(len(left), codec.channels, *canvas.latent_size)
    model.announce(model.svd.vae, model.svd.image_encoder, frames=len(left), latent_size=canvas.latent_size)
    for first in range(0, len(left), _CHUNK):
        frames = left[first : first + _CHUNK]
        latents[first : first + _CHUNK] = codec.scaling * codec.encode(canvas.fit(frames))
        embeddings.append(embed_images(model.svd.image_encoder, frames).float().cpu())
        if on_frame is not None:
            on_frame(first + len(frames))
    return EncodedLeft(canvas, latents, torch.cat(embeddings))


def window_deviation(
    clean: Tensor,  # [F, C, h, w] unscaled
    reference: Tensor,  # [F, C, h, w] scaled
    mask: Tensor,  # [F, 1, h, w], 1 = hole
    *,
    scaling: float = SCALING,
) -> Tensor:  # [] float32
    """Measure the stereo deviation strength of a sampling window or training clip.

    Args:
        clean: The condition without noise.
        reference: The left view's latents.
        mask: The hole mask; only known positions count.
        scaling: Of the codec's latents.
    """
    return deviation_strength(scaling * clean, reference, known=mask < 0.5)


def predict_clean(
    unet: Any,
    noisy: Tensor,  # [B, F, C, h, w]
    sigma: Tensor,  # [B]
    *,
    condition: Tensor,  # [B, F, C, h, w] unscaled
    mask: Tensor | None,  # [B, F, 1, h, w]
    missing: Tensor | None = None,  # [B, F, C, h, w] scaled
    embedding: Tensor,  # [B, 1, D]
    time_ids: Tensor,  # [B, 3 or 4]
) -> Tensor:  # [B, F, C, h, w] float32
    """Run the UNet once and return its clean estimate ẑ0, as EDM has it: c_skip·x + c_out·v.

    What a clip of the batch should go without, in dropout for guidance, is given as guidance's free branch
    has it: zeros for a condition, zeros for an embedding, and a reference is not read (`FeatureBank.load`).
    Without either of the two views there is no deviation between them: zeros as well.

    Args:
        unet: SVD's UNet, bare or as accelerate wraps it; its readers read what the bank holds.
        noisy: Clean latents under noise of these levels.
        sigma: Noise levels, above 0.
        condition: The rendered view's latents.
        mask: The hole mask, never under noise; None for SVD's own UNet, which knows none.
        missing: The deviation map that is missing, for a UNet that takes it
            (`SpatialDreamerConfig.deviation_map`); None for one that does not.
        embedding: The image embedding of each clip.
        time_ids: See `added_time_ids`.
    """
    dtype = next(unet.parameters()).dtype
    sigma = sigma.float()
    level = sigma.view(-1, 1, 1, 1, 1)
    seen = [scale_input(noisy, level), condition, mask, missing]
    sample = torch.cat([part for part in seen if part is not None], dim=2).to(dtype)
    output = unet(sample, noise_time(sigma), embedding.to(dtype), time_ids, return_dict=False)[0]
    return clean_estimate(output.float(), noisy, level)


class _PictureNoise:
    """The noise on a clip's pictures: given, or drawn by frame, each portion while the one before is used."""

    def __init__(
        self, given: Tensor | None, canvas: Canvas, *, seed: int, first_frame: int, frames: list[int]
    ) -> None:
        height, width = (side * canvas.factor for side in canvas.latent_size)
        self._given, self._first_frame, self._frames = given, first_frame, frames
        self._drawn = FrameNoise(seed, height=height, width=width, channels=3, stream=PICTURE_NOISE)

    def take(self, chunk: list[int], device: torch.device) -> Tensor:  # [len(chunk), 3, h, w]
        """Return the noise of some frames of the clip."""
        if self._given is not None:
            return self._given[chunk].to(device)
        noise = self._drawn.take((self._first_frame + frame for frame in chunk), device)
        done = self._frames.index(chunk[-1]) + 1
        following = self._frames[done : done + _CHUNK]
        self._drawn.draw_ahead(self._first_frame + frame for frame in following)
        return noise


def _encode_frames(
    model: SpatialDreamer,
    canvas: Canvas,
    warped: Tensor,  # [F, 3, H, W]
    hole: Tensor,  # [F, 1, H, W]
    config: SpatialDreamerConfig,
    noise: Tensor | None,  # [F, 3, h, w]
    measured: bool,
    pictures: bool,
) -> list[EncodedFrame]:
    """Encode some frames, each picture once."""
    codec = model.svd.codec
    device = codec.device
    shown = _blanked(canvas, warped, hole, device) if config.blank_holes else canvas.fit(warped).to(device)
    clean = codec.encode(shown) if measured or noise is None else None
    condition = clean
    if noise is not None:  # that of pictures in [-1, 1]
        condition = codec.encode(shown + noise.to(shown) * (config.noise_augmentation / 2))
    assert condition is not None
    picture = clean if pictures else None
    if pictures and (picture is None or config.blank_holes):
        holed = (hole > 0.5).flatten(1).any(1).nonzero().flatten().tolist()
        if picture is None:
            picture = codec.encode(canvas.fit(warped).to(device))
        elif holed:
            picture = picture.clone()
            picture[holed] = codec.encode(canvas.fit(warped[holed]).to(device))
    parts = (condition, clean, picture)
    return [
        EncodedFrame(*(None if part is None else part[frame] for part in parts))  # type: ignore[arg-type]
        for frame in range(len(warped))
    ]


def _blanked(
    canvas: Canvas,
    warped: Tensor,  # [F, 3, H, W]
    hole: Tensor,  # [F, 1, H, W]
    device: torch.device,
) -> Tensor:  # [F, 3, h, w]
    """Put frames on the canvas with grey in their holes, also where resizing would blend their content in."""
    blanked = torch.where(hole > 0.5, _GREY, warped)
    return torch.where(canvas.fit_mask(hole).to(device) > 0.5, _GREY, canvas.fit(blanked).to(device))


def _stack(parts: list[Tensor | None]) -> Tensor:
    """Stack what was asked for of all frames."""
    present = [part for part in parts if part is not None]
    assert len(present) == len(parts), "frames of another run"
    return torch.stack(present)


def _check_size(left: tuple[int, ...], warped: Tensor) -> None:
    """Check that the rendered view has the frames, height and width of the left one."""
    if left != (len(warped), *warped.shape[-2:]):
        raise InputError(
            f"`warped` must have the frames and size of the left view ({left[0]} frames of "
            f"{left[2]}x{left[1]}), got {len(warped)} of {warped.shape[-1]}x{warped.shape[-2]}; "
            "encode the left view that the warp was made from"
        )
