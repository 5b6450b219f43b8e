import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.m2svid.model import assemble
from spatialdreamer_core.svd import SVDModel, Work


def test_a_model_is_svds_networks_in_evaluation(model):
    assert model.modules == (model.svd.unet, model.svd.vae, model.svd.image_encoder)
    assert model.device.type == "cpu"
    assert not any(
        p.requires_grad or module.training for module in model.modules for p in module.parameters()
    )


def test_work_is_announced_in_pixels(model):
    works = []
    model.on_work = works.append
    model.announce(model.svd.unet, frames=5, latent_size=(8, 24))
    model.on_work = None
    model.announce(model.svd.unet, frames=5, latent_size=(8, 24))
    assert works == [Work((model.svd.unet,), 5, 64, 192)]


def test_another_models_unet_is_refused(tiny_svd):
    svd = SVDModel(tiny_svd.make_unet(in_channels=9, time_ids=4), tiny_svd.make_vae(), None)
    with pytest.raises(InputError, match=r"13 input channels and 3 time ids, got 9 and 4; choose"):
        assemble(svd, full_attention=True)
