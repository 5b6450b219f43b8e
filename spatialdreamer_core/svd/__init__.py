"""Stable Video Diffusion, the base model: checkpoints, UNet, VAE, image tower, windows, sampling."""

from .image_encoder import embed_images
from .loading import choose_dtype, load_svd
from .memory import bank_memory, estimate_decoding_memory, estimate_encoding_memory, estimate_memory
from .model import FACTOR, SCALING, SVDModel
from .padding import crop_to, pad_to_multiple, pool_mask
from .saving import save_sgm
from .unet import build_unet, time_id_count, trained_area, trained_frames, widen_unet
from .vae import decode_latents, encode_frames

__all__ = [
    "FACTOR",
    "SCALING",
    "SVDModel",
    "bank_memory",
    "build_unet",
    "choose_dtype",
    "crop_to",
    "decode_latents",
    "embed_images",
    "encode_frames",
    "estimate_decoding_memory",
    "estimate_encoding_memory",
    "estimate_memory",
    "load_svd",
    "pad_to_multiple",
    "pool_mask",
    "save_sgm",
    "time_id_count",
    "trained_area",
    "trained_frames",
    "widen_unet",
]
