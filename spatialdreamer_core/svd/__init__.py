"""Stable Video Diffusion, the base model: checkpoints, UNet, VAE, image tower, windows, sampling.

The names below are loaded when they are first used: the networks need diffusers and transformers.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .checkpoint.load import choose_dtype, load_svd
    from .checkpoint.save import save_folder, save_sgm
    from .codec import Codec, PixelCodec, VaeCodec
    from .image_encoder import embed_images
    from .memory import bank_memory, estimate_decoding_memory, estimate_encoding_memory, estimate_memory
    from .model import LATENT_FACTOR, SCALING, OnSVD, SVDModel, Work
    from .padding import pool_mask
    from .unet import build_unet, time_id_count, trained_area, trained_frames, widen_unet
    from .vae import decode_latents, encode_frames

__all__ = [
    "LATENT_FACTOR",
    "SCALING",
    "Codec",
    "OnSVD",
    "PixelCodec",
    "SVDModel",
    "VaeCodec",
    "Work",
    "bank_memory",
    "build_unet",
    "choose_dtype",
    "decode_latents",
    "embed_images",
    "encode_frames",
    "estimate_decoding_memory",
    "estimate_encoding_memory",
    "estimate_memory",
    "load_svd",
    "pool_mask",
    "save_folder",
    "save_sgm",
    "time_id_count",
    "trained_area",
    "trained_frames",
    "widen_unet",
]
_HOMES = {
    "image_encoder": ("embed_images",),
    "checkpoint.load": ("choose_dtype", "load_svd"),
    "memory": ("bank_memory", "estimate_decoding_memory", "estimate_encoding_memory", "estimate_memory"),
    "model": ("LATENT_FACTOR", "SCALING", "OnSVD", "SVDModel", "Work"),
    "padding": ("pool_mask",),
    "checkpoint.save": ("save_folder", "save_sgm"),
    "codec": ("Codec", "PixelCodec", "VaeCodec"),
    "unet": ("build_unet", "time_id_count", "trained_area", "trained_frames", "widen_unet"),
    "vae": ("decode_latents", "encode_frames"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
