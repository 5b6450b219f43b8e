"""Stable Video Diffusion, the base model: checkpoints, UNet, VAE, image tower, windows, sampling."""

from .model import FACTOR, SCALING, SVDModel

__all__ = ["FACTOR", "SCALING", "SVDModel"]
