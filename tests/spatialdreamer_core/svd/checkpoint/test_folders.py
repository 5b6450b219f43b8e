"""Models saved as folders in diffusers' layout come back as they were."""

import json

import pytest
import torch

pytest.importorskip("diffusers")

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import PixelCodec, SVDModel, build_unet, load_svd, save_folder, save_sgm

from ...tiny_svd import CONTEXT, make_image_encoder, make_model


def same_weights(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def make_small_unet(*, channels=3):
    torch.manual_seed(3)
    return build_unet(
        in_channels=2 * channels,
        out_channels=channels,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        block_out_channels=(64, 64),
        layers_per_block=1,
        cross_attention_dim=CONTEXT,
        num_attention_heads=(1, 1),
    )


def make_pixel_model():
    return SVDModel(make_small_unet(), PixelCodec(1), make_image_encoder())


@pytest.mark.parametrize("make", [make_model, make_pixel_model])
def test_a_folder_comes_back_bit_for_bit(tmp_path, capfd, make):
    model = make()
    save_folder(model, tmp_path / "model")
    assert capfd.readouterr() == ("", "")
    loaded = load_svd(tmp_path / "model")
    for ours, theirs in zip(loaded.modules, model.modules, strict=True):
        assert type(ours) is type(theirs)
        assert same_weights(ours.state_dict(), theirs.state_dict())
    assert loaded.codec.channels == model.codec.channels
    assert loaded.codec.scaling == model.codec.scaling
    assert not list(tmp_path.rglob("*.bin"))


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match=r"must be new, got .*choose another name"):
        save_folder(make_pixel_model(), tmp_path / "model")


def test_a_single_file_cannot_hold_a_pixel_codec(tmp_path):
    with pytest.raises(InputError, match=r"must hold SVD's autoencoder, got .* save_folder"):
        save_sgm(make_pixel_model(), tmp_path / "model.safetensors")


def test_a_damaged_codec_and_a_unet_for_another_one(tmp_path):
    save_folder(make_pixel_model(), tmp_path / "model")
    make_small_unet(channels=4).save_pretrained(tmp_path / "unet")
    with pytest.raises(InputError, match=r"latents of the 3 channels that the autoencoder takes, got .* 4"):
        load_svd(tmp_path / "model", unet=tmp_path / "unet")
    file = tmp_path / "model" / "vae" / "config.json"
    config = json.loads(file.read_text())
    for damage in ({"factor": 0}, {"factor": "much"}, {"scaling": None}):
        file.write_text(json.dumps(config | damage))
        with pytest.raises(InputError, match=r"factor|scaling|PixelCodec"):
            load_svd(tmp_path / "model")
    del config["factor"]
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"must be that of a PixelCodec"):
        load_svd(tmp_path / "model")
