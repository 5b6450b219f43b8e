import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialdreamer_core.atomic import partial_path_for
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.m2svid.loading import load_m2svid
from spatialdreamer_core.spatialdreamer import SpatialDreamer, load_spatialdreamer, save_spatialdreamer
from spatialdreamer_core.spatialdreamer.network import add_deviation_map
from spatialdreamer_core.spatialdreamer.refiner import build_bank
from spatialdreamer_core.svd.picture_condition import check_plain_unet

FORMS = ("weights", "weights.safetensors")  # a folder, a file


def make_trained(make_svd, *, stage="stage2", time_ids=4):
    """Make a network whose weights differ from those that loading starts from."""
    network = SpatialDreamer.from_svd(make_svd(seed=9, time_ids=time_ids), with_til=stage == "stage2")
    network.config = dataclasses.replace(network.config, stage=stage, til_neighbours=4, blank_holes=True)
    with torch.no_grad():
        for value in network.refiner.parameters():
            value += 0.01
    return network


def assert_same_weights(first, second):
    """Compare UNet, RefinerNet and TIL."""
    for one, other in zip(
        (first.svd.unet, first.refiner, first.til), (second.svd.unet, second.refiner, second.til), strict=True
    ):
        assert (one is None) == (other is None)
        if one is not None:
            expected = other.state_dict()
            assert one.state_dict().keys() == expected.keys()
            assert all(torch.equal(value, expected[name]) for name, value in one.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "stage"), [*zip(FORMS, ("stage1", "stage2"), strict=True), ("weights", "stage2")]
)
def test_weights_survive_a_round_trip(make_svd, call_unet, tmp_path, name, stage):
    network = make_trained(make_svd, stage=stage)
    save_spatialdreamer(network, tmp_path / name)
    loaded = load_spatialdreamer(make_svd(), tmp_path / name)
    assert loaded.config == network.config
    assert_same_weights(loaded, network)
    assert not any(value.requires_grad for module in loaded.modules for value in module.parameters())
    latents, embeddings = torch.randn(2, 4, 8, 16), torch.randn(2, 1, 32)
    results = []
    for one in (network, loaded):
        features = build_bank(
            one.refiner, latents, embeddings, timestep=one.config.refiner_timestep, til=one.til
        )
        one.bank.load(features)
        results.append(call_unet(one.svd.unet))
    assert torch.equal(*results)
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_without_weights_the_network_is_untrained(make_svd):
    loaded = load_spatialdreamer(make_svd(), None)
    assert loaded.config.stage == "untrained"
    assert_same_weights(loaded, SpatialDreamer.from_svd(make_svd()))


def test_without_weights_the_refiner_may_be_stable_diffusions(make_svd, saved, tmp_path):
    source = SpatialDreamer.from_svd(make_svd(seed=5)).refiner
    save_file(source.state_dict(), tmp_path / "sd.safetensors")
    loaded = load_spatialdreamer(make_svd(), refiner=tmp_path / "sd.safetensors")
    assert torch.equal(loaded.refiner.conv_in.weight, source.conv_in.weight)
    assert loaded.config.refiner_timestep == 0
    with pytest.raises(InputError, match="`refiner` must be left out where trained weights bring a Refiner"):
        load_spatialdreamer(make_svd(), saved / "weights", refiner=tmp_path / "sd.safetensors")


def test_weights_come_in_the_precision_of_svd(base, saved):
    base.unet.to(torch.bfloat16)
    loaded = load_spatialdreamer(base, saved / "weights")
    for module in (loaded.svd.unet, loaded.refiner, loaded.til):
        assert {value.dtype for value in module.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", FORMS)
def test_saving_again_replaces_and_a_failure_leaves_what_was_there(make_svd, tmp_path, monkeypatch, name):
    path = tmp_path / name
    first, second = make_trained(make_svd), make_trained(make_svd, stage="stage1")
    save_spatialdreamer(first, path)
    second.refiner.conv_in.weight.data.fill_(torch.nan)

    def fill_the_disk(tensors, file, **_):
        file.write_bytes(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("spatialdreamer_core.spatialdreamer.checkpoint.save_file", fill_the_disk)
        with pytest.raises(OSError, match="no space left"):
            save_spatialdreamer(second, path)
    assert [item.name for item in tmp_path.iterdir()] == [name]
    assert_same_weights(load_spatialdreamer(make_svd(), path), first)
    save_spatialdreamer(second, path)
    loaded = load_spatialdreamer(make_svd(), path)
    assert loaded.til is None
    assert bool(loaded.refiner.conv_in.weight.isnan().all())
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_other_folders_are_not_overwritten(make_svd, tmp_path):
    network = SpatialDreamer.from_svd(make_svd())
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"sea")
    (tmp_path / "holiday.safetensors").mkdir()
    (tmp_path / "notes").write_text("mine")
    for name in ("holiday", "holiday.safetensors", "notes"):
        with pytest.raises(InputError, match=rf"a new folder or one of their own, got .*{name} which is"):
            save_spatialdreamer(network, tmp_path / name)
    assert (tmp_path / "holiday" / "photo.jpg").read_bytes() == b"sea"
    assert (tmp_path / "notes").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_comes_back_if_the_new_one_cannot_take_its_name(base, saved, tmp_path, monkeypatch):
    folder = copy_folder(saved, tmp_path)
    replace = os.replace

    def refuse_the_new_one(source, target):
        if ".partial-" in source.name:
            raise PermissionError("in use")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse_the_new_one)
        with pytest.raises(PermissionError, match="in use"):
            save_spatialdreamer(SpatialDreamer.from_svd(base), folder)
    assert [item.name for item in tmp_path.iterdir()] == ["weights"]
    assert (folder / "unet.safetensors").read_bytes() == (saved / "weights/unet.safetensors").read_bytes()


@pytest.fixture(scope="module")
def saved(make_svd, tmp_path_factory):
    """Save a network once in both forms; tests copy what they break."""
    folder = tmp_path_factory.mktemp("saved")
    network = make_trained(make_svd)
    for name in FORMS:
        save_spatialdreamer(network, folder / name)
    return folder


@pytest.fixture
def base(make_svd):
    return make_svd()


def copy_folder(saved, tmp_path):
    """Copy the saved folder."""
    target = tmp_path / "weights"
    target.mkdir()
    for item in (saved / "weights").iterdir():
        (target / item.name).write_bytes(item.read_bytes())
    return target


def test_a_folder_holds_a_file_for_each_network(base, saved, tmp_path):
    folder = copy_folder(saved, tmp_path)
    assert {item.name for item in folder.iterdir()} == {
        "config.json",
        "unet.safetensors",
        "refiner.safetensors",
        "til.safetensors",
    }
    (folder / "til.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights of stage 2 must hold TIL, but .*weights has none"):
        load_spatialdreamer(base, folder)


def test_settings_that_are_no_text(base, saved, tmp_path):
    folder = copy_folder(saved, tmp_path)
    (folder / "config.json").write_bytes(b"\x80\xff\xfe")
    with pytest.raises(InputError, match="must be a JSON object"):
        load_spatialdreamer(base, folder)


def test_a_file_with_other_tensors(base, saved, tmp_path):
    file = saved / "weights.safetensors"
    from safetensors import safe_open

    with safe_open(file, framework="pt") as content:
        metadata = content.metadata()
    save_file(load_file(file) | {"vae.bias": torch.zeros(1)}, tmp_path / "more.safetensors", metadata)
    with pytest.raises(InputError, match=r"must be tensors of unet, refiner, til, got 1 others .* vae\.bias"):
        load_spatialdreamer(base, tmp_path / "more.safetensors")


def test_what_a_killed_process_left_is_no_hindrance(make_svd, tmp_path):
    network = make_trained(make_svd, stage="stage1")
    for _ in range(2):
        left = partial_path_for(tmp_path / "weights")
        left.mkdir()
        (left / "half.safetensors").write_bytes(b"half")
    for _ in range(2):
        save_spatialdreamer(network, tmp_path / "weights")
    assert [item.name for item in tmp_path.iterdir()] == ["weights"]


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the system does not list mapped files")
def test_loaded_weights_leave_their_file_alone(make_svd, saved):
    loaded = load_spatialdreamer(make_svd(), saved / "weights.safetensors")
    with open("/proc/self/maps") as maps:
        assert str(saved) not in maps.read()
    assert loaded.til is not None


def test_truncated_files_and_pickles_are_refused(base, saved, tmp_path):
    whole = (saved / "weights.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-64])
    torch.save({"unet": torch.zeros(1)}, tmp_path / "pickle.pt")
    for name, problem in (("cut.safetensors", "it is truncated"), ("pickle.pt", "got a pickle")):
        with pytest.raises(InputError, match=rf"{name} must .*{problem}"):
            load_spatialdreamer(base, tmp_path / name)
    folder = copy_folder(saved, tmp_path)
    cut = folder / "refiner.safetensors"
    cut.write_bytes(cut.read_bytes()[:-64])
    with pytest.raises(InputError, match=r"refiner\.safetensors must .*it is truncated"):
        load_spatialdreamer(base, folder)


def test_other_models_are_refused(base, saved, tmp_path):
    save_file({"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "sd.safetensors")
    with pytest.raises(InputError, match=r"must come with their settings, but .*sd\.safetensors has none"):
        load_spatialdreamer(base, tmp_path / "sd.safetensors")
    folder = copy_folder(saved, tmp_path)
    for part, name in (("unet", "SpatialDreamer's UNet"), ("til", "TIL"), ("refiner", "RefinerNet")):
        state = load_file(folder / f"{part}.safetensors")
        state["stranger"] = torch.zeros(1)
        save_file(state, folder / f"{part}.safetensors")
        with pytest.raises(InputError, match=rf"weights of {name} must be .* 1 unexpected, e\.g\. stranger"):
            load_spatialdreamer(base, folder)
        del state["stranger"]
        save_file(state, folder / f"{part}.safetensors")


def test_a_til_of_the_kind_that_replaced_the_features_is_refused(base, saved, tmp_path):
    """Its output projection is now one of a change, under another name."""
    folder = copy_folder(saved, tmp_path)
    state = load_file(folder / "til.safetensors")
    old = {name.replace("to_change", "to_out"): value for name, value in state.items()}
    save_file(old, folder / "til.safetensors")
    with pytest.raises(InputError, match=r"weights of TIL must be .* 32 missing, e\.g\. .*to_change"):
        load_spatialdreamer(base, folder)


def test_missing_networks_and_settings_are_named(base, saved, tmp_path):
    folder = copy_folder(saved, tmp_path)
    (folder / "refiner.safetensors").unlink()
    with pytest.raises(InputError, match="has no refiner"):
        load_spatialdreamer(base, folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match="must come with their settings"):
        load_spatialdreamer(base, folder)
    with pytest.raises(InputError, match="must be a folder or a file"):
        load_spatialdreamer(base, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        (json.dumps({"colour": 1}), "got colour"),
        (json.dumps({"til_neighbours": 0}), "til_neighbours must be between 1 and 64"),
    ],
)
def test_broken_settings_are_refused(base, saved, tmp_path, text, message):
    folder = copy_folder(saved, tmp_path)
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_spatialdreamer(base, folder)


def test_weights_without_a_deviation_id_load_onto_a_unet_without_one(make_svd, tmp_path):
    network = make_trained(make_svd, time_ids=3)
    save_spatialdreamer(network, tmp_path / "weights")
    assert_same_weights(load_spatialdreamer(make_svd(time_ids=3), tmp_path / "weights"), network)
    with pytest.raises(InputError, match="of another shape"):
        load_spatialdreamer(make_svd(), tmp_path / "weights")


@pytest.mark.parametrize("name", FORMS)
def test_weights_with_a_deviation_map_load_onto_plain_svd(make_svd, tmp_path, name):
    network = add_deviation_map(make_trained(make_svd))
    with torch.no_grad():
        network.svd.unet.conv_in.weight[:, 9:].normal_()
    save_spatialdreamer(network, tmp_path / name)
    loaded = load_spatialdreamer(make_svd(in_channels=8, time_ids=3), tmp_path / name)
    assert loaded.config.deviation_map
    assert loaded.svd.unet.config.in_channels == 13
    assert_same_weights(loaded, network)


@pytest.mark.parametrize(("says", "wanted", "got"), [("true", 13, 9), ("false", 9, 13)])
def test_settings_and_weights_must_agree_on_the_deviation_map(make_svd, tmp_path, says, wanted, got):
    network = make_trained(make_svd)
    network = add_deviation_map(network) if got == 13 else network
    network.config = dataclasses.replace(network.config, deviation_map=says == "true")
    save_spatialdreamer(network, tmp_path / "weights")
    message = rf"UNet must have {wanted} input channels .* deviation_map {says}, got {got} in .*weights"
    with pytest.raises(InputError, match=message):
        load_spatialdreamer(make_svd(in_channels=8, time_ids=3), tmp_path / "weights")


def test_weights_with_a_deviation_map_are_no_m2svid_though_both_have_13_channels(make_svd, tmp_path):
    network = add_deviation_map(make_trained(make_svd, stage="stage1"))
    file = tmp_path / "weights.safetensors"
    save_spatialdreamer(network, file)
    with pytest.raises(InputError, match=r"checkpoint of M2SVid, .* SpatialDreamer's trained weights"):
        load_m2svid(file, variant="no_full_attention")
    with torch.no_grad():
        network.svd.unet.conv_in.weight[:, 9:].normal_()
    with pytest.raises(InputError, match=r"of 13 and 4, which belongs to the sampler of SpatialDreamer"):
        check_plain_unet(network.svd)
    with pytest.raises(InputError, match=r"of 13 and 3, which belongs to the refiner of M2SVid"):
        check_plain_unet(make_svd(in_channels=13, time_ids=3))


def test_weights_load_onto_plain_svd(make_svd, saved):
    loaded = load_spatialdreamer(make_svd(in_channels=8, time_ids=3), saved / "weights")
    assert_same_weights(loaded, load_spatialdreamer(make_svd(), saved / "weights.safetensors"))
