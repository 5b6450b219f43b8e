"""Tiny SVD networks of the real classes, made wide for SpatialDreamer."""

import pytest
import torch

pytest.importorskip("diffusers")


@pytest.fixture(scope="session")
def call_unet(tiny_svd):
    """Return a function that runs a UNet on seeded inputs of a number of frames."""

    def call(unet, *, frames=2, batch=1, deviation=1000.0, embedding=None):
        generator = torch.Generator().manual_seed(5)
        sample = torch.randn(batch, frames, unet.config.in_channels, 8, 16, generator=generator)
        context = torch.randn(batch, 1, tiny_svd.CONTEXT, generator=generator)
        ids = torch.tensor([[6, 127, 0.02, deviation]])[:, : unet.add_embedding.linear_1.in_features // 256]
        embedding = context if embedding is None else embedding
        return unet(sample, 0.3, embedding, ids.repeat(batch, 1)).sample

    return call


@pytest.fixture(scope="session")
def make_svd(tiny_svd):
    """Return a function that makes a tiny SVD, wide enough for SpatialDreamer."""
    from spatialdreamer_core.svd import SVDModel

    vae, image_encoder = tiny_svd.make_vae(), tiny_svd.make_image_encoder()

    def make(*, in_channels=9, time_ids=4, seed=0):
        unet = tiny_svd.make_unet(in_channels=in_channels, time_ids=time_ids, seed=seed)
        return SVDModel(unet, vae, image_encoder)

    return make
