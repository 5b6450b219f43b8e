"""M2SVid's files: whole ones of every form, and all that is put into their place by mistake."""

import logging
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.m2svid import load_m2svid
from spatialdreamer_core.m2svid.variant import METADATA, read_variant
from spatialdreamer_core.svd import load_svd
from spatialdreamer_core.weights.files import Header

from .. import tiny_svd

TOWER = "conditioner.embedders.0.open_clip.model.visual."
NO_FULL = "m2svid_no_full_atten_weights.pt"
RELEASE = r"https://storage\.googleapis\.com/gresearch/m2svid/m2svid_weights\.zip"


@pytest.fixture(scope="module")
def state(tiny_m2svid, model):
    """The tensors by the names of the authors' network."""
    return {name: tensor.contiguous() for name, tensor in tiny_m2svid.official_state(model).items()}


@pytest.fixture(scope="module")
def official(tmp_path_factory, tiny_m2svid, model):
    file = tmp_path_factory.mktemp("official") / "m2svid_weights.pt"
    tiny_m2svid.save_official(model, file)
    return file


def assert_same(model, other, dtype=torch.float32):
    for module, expected in zip(model.modules, other.modules, strict=True):
        wanted = {name: value.to(dtype) for name, value in expected.state_dict().items()}
        torch.testing.assert_close(module.state_dict(), wanted, rtol=0, atol=0)


def write_zip(file, name, source):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(source, name)
    return file


def test_the_official_file_gives_back_its_networks_and_can_be_replaced(state, model, tmp_path):
    changed = {  # views are encoded by the conditioner's own copy of the encoder, not by the first stage's
        f"module.{name}": value + 1 if name.startswith("first_stage_model.encoder.") else value
        for name, value in state.items()
    }
    file = tmp_path / NO_FULL
    torch.save({"module": changed, "global_steps": 1, "dp_world_size": 8}, file)
    loaded = load_m2svid(file)
    os.truncate(file, 10)
    assert_same(loaded, model)
    assert not loaded.full_attention
    assert loaded.svd.unet.config.num_frames == 25
    assert loaded.svd.unet.down_blocks[0].resnets[0].spatial_res_block.norm1.eps == 1e-5
    for module in loaded.modules:
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_safetensors_in_the_same_names_are_read_in_any_precision(state, model, tmp_path):
    file = tmp_path / "m2svid_combined_fp16.safetensors"
    save_file({f"module.{name}": value.half() for name, value in state.items()}, file)
    loaded = load_m2svid(file, dtype=torch.float16)
    assert_same(loaded, model, torch.float16)
    assert loaded.full_attention


@pytest.mark.parametrize(
    ("name", "metadata", "given", "variant", "why"),
    [
        ("m2svid_weights.pt", None, None, "full_attention", "its name says so"),
        (NO_FULL, None, None, "no_full_attention", "its name says so"),
        (NO_FULL, None, "no_full_attention", "no_full_attention", "its name says so"),
        ("M2SVid-no-full-attention.safetensors", None, None, "no_full_attention", "its name says so"),
        ("m2svid-casino_full_atten.safetensors", None, None, "full_attention", "its name says so"),
        ("m2svid_combined_fp16.safetensors", None, None, "full_attention", "its name says so"),
        (
            "m2svid_weights.safetensors",
            "no_full_attention",
            None,
            "no_full_attention",
            "its metadata says so",
        ),
        ("mine.safetensors", "full_attention", "full_attention", "full_attention", "its metadata says so"),
        ("mine.safetensors", None, "no_full_attention", "no_full_attention", "was given"),
    ],
)
def test_the_variant_is_known_and_the_log_says_why(caplog, name, metadata, given, variant, why):
    header = Header(Path(name), {}, {}, {} if metadata is None else {METADATA: metadata})
    with caplog.at_level(logging.INFO):
        assert read_variant(Path("models", name), header, given) == variant
    assert caplog.messages == [f"{name}: M2SVid, {variant}, as {why}"]


def test_a_variant_that_is_wrong_or_cannot_be_told_is_refused(official, state, tmp_path):
    with pytest.raises(InputError, match=r"`variant` must be that of the weights, full_attention \(its name"):
        load_m2svid(official, variant="no_full_attention")
    shutil.copyfile(official, tmp_path / "mine.pt")
    with pytest.raises(
        InputError, match=r"variant of .*mine\.pt must be known, .*give `variant`: full_atten"
    ):
        load_m2svid(tmp_path / "mine.pt")
    with pytest.raises(InputError, match="variant must be one of full_attention, no_full_attention, got 'x'"):
        load_m2svid(official, variant="x")
    file = tmp_path / "m2svid_weights.safetensors"
    save_file(state, file, {METADATA: "no_full_attention"})
    with pytest.raises(InputError, match=r"weights, no_full_attention \(its metadata says so\)"):
        load_m2svid(file, variant="full_attention")
    header = Header(file, {}, {}, {METADATA: "both"})
    with pytest.raises(
        InputError, match=r"in the metadata of .* must be one of full_attention, .*, got 'both'"
    ):
        read_variant(file, header)


def test_networks_that_the_file_lacks_are_taken_from_an_svd(state, tmp_path, caplog):
    file, svd_file = tmp_path / "m2svid_weights.pt", tmp_path / "svd_xt.safetensors"
    torch.save({"module": {name: value for name, value in state.items() if TOWER not in name}}, file)
    match = r"lacks the image encoder; name svd_xt\.safetensors from https://hugging.* as `svd`, or choose"
    with pytest.raises(InputError, match=match):
        load_m2svid(file)
    kept = ("model.diffusion_model", "conditioner.embedders.3")  # half an autoencoder, too
    torch.save({name: value for name, value in state.items() if name.startswith(kept)}, file)
    with pytest.raises(InputError, match="lacks the autoencoder and the image encoder"):
        load_m2svid(file)
    base = tiny_svd.save_checkpoint(svd_file, seed=5)
    with caplog.at_level(logging.INFO):
        loaded = load_m2svid(file, svd=svd_file)
    assert (
        f"m2svid_weights.pt lacks the autoencoder and the image encoder: taken from {svd_file}" in caplog.text
    )
    tower = base.image_encoder.state_dict()
    torch.testing.assert_close(loaded.svd.image_encoder.state_dict(), tower, rtol=0, atol=0)
    pictures = torch.rand(1, 3, 64, 64)
    ours, theirs = loaded.svd.codec.encode(pictures), base.codec.encode(pictures)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    other = tmp_path / "m2svid.safetensors"
    save_file(state, other)
    with pytest.raises(InputError, match=r"must be a Stable Video Diffusion checkpoint .* like M2SVid"):
        load_m2svid(file, svd=other)


def test_other_models_are_refused_in_each_slot(official, state, tmp_path):
    match = r"M2SVid, whose UNet has 13 input channels, got what looks like {}; choose m2svid_weights\.pt"
    file = tmp_path / "other.safetensors"
    for unet in ({}, {"in_channels": 9, "time_ids": 4}):
        tiny_svd.save_checkpoint(file, **unet)
        with pytest.raises(InputError, match=match.format("Stable Video Diffusion")):
            load_m2svid(file)
    names = ("unet.conv_in.weight", "refiner.down_blocks.0.resnets.0.conv1.bias")
    save_file({name: torch.zeros(1) for name in names}, file)
    with pytest.raises(InputError, match=match.format("SpatialDreamer's trained weights")):
        load_m2svid(file)
    save_file(state, file)
    with pytest.raises(InputError, match=r"must be a Stable Video Diffusion .*, got what looks like M2SVid"):
        load_svd(file)
    with pytest.raises(InputError, match="got a pickle, which can run code"):
        load_svd(official)


def test_files_of_the_wrong_form_are_refused(official, tmp_path):
    release = write_zip(tmp_path / "m2svid_weights.zip", "m2svid_weights.pt", __file__)
    match = r"the release that holds m2svid_weights\.pt; unpack it, or run: spatialdreamer m2svid convert"
    with pytest.raises(InputError, match=match):
        load_m2svid(release)
    with pytest.raises(InputError, match="must be a single file, got the folder"):
        load_m2svid(tmp_path)
    with pytest.raises(InputError, match="but there is no file"):
        load_m2svid(tmp_path / "absent.pt")
    empty = tmp_path / "m2svid_weights.pt"
    empty.touch()
    with pytest.raises(InputError, match=rf"got the empty file .*; download it again from {RELEASE}"):
        load_m2svid(empty)
    with pytest.raises(InputError, match=r"must be a whole archive of torch\.save, got .*other\.zip"):
        load_m2svid(write_zip(tmp_path / "other.zip", "picture.jpg", __file__))


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
@pytest.mark.parametrize("form", ["m2svid_weights.pt", "m2svid_weights.zip", "m2svid_weights.safetensors"])
def test_half_a_download_is_refused(tmp_path, form, share):
    file = tmp_path / form
    if form.endswith(".pt"):
        torch.save({"module": {"a": torch.zeros(1000)}}, file)
    elif form.endswith(".zip"):
        write_zip(file, "m2svid_weights.pt", __file__)
    else:
        save_file({"a": torch.zeros(1000)}, file)
    os.truncate(file, max(4, int(file.stat().st_size * share)))
    with pytest.raises(InputError, match=r"must (be|have) .*download it again"):
        load_m2svid(file)


def quanto(name, value):
    return {f"{name}._data": value.to(torch.int8), f"{name}._scale": value[:1]}


def int8(name, value):
    return {name: value.to(torch.int8), f"{name}_scale": value[:1]}


@pytest.mark.parametrize("quantise", [quanto, int8])
def test_quantised_files_are_refused_with_what_to_take_instead(state, tmp_path, quantise):
    file = tmp_path / "m2svid_combined_quanto_int8.safetensors"
    tensors = {}
    for name, value in state.items():
        tensors |= quantise(name, value) if name.endswith("to_q.weight") else {name: value}
    save_file(tensors, file)
    match = r"got quantised ones \(such as .*_(data|scale)\), which need .*; choose a re-host in fp16, or m2s"
    with pytest.raises(InputError, match=match):
        load_m2svid(file)


def test_tensors_that_are_missing_or_of_another_shape_are_named(state, tmp_path):
    file = tmp_path / "m2svid_weights.pt"
    lost, cut = [name for name in state if name.endswith("attn2.to_v.weight")][:2]
    torch.save({name: value for name, value in state.items() if name != lost} | {cut: state[cut][:1]}, file)
    match = rf"tensors of M2SVid, got 1 missing \(such as {lost}\); 1 of another shape \(such as {cut} \[1"
    with pytest.raises(InputError, match=match):
        load_m2svid(file)
