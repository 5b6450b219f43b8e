"""torchvision's own RAFT classes with random weights: found, downloaded, refused, and run on any size."""

import logging
import re
import zipfile

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.flow import (
    FLOW_METHODS,
    FLOW_MODELS,
    estimate_flow,
    list_flow_methods,
    load_flow_model,
    open_flow,
    prepare_flow,
    raft,
    raft_weights,
    resize_flow,
)
from spatialdreamer_core.weights import add_model_folder

NAMES = ("raft_small", "raft_large")


@pytest.fixture(autouse=True)
def no_models_of_the_machine(own_models):
    pass


def frames_of(count=2, size=(128, 136)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


def reference(name, first, second):
    """What torchvision's own forward pass gives, [1, 2, H, W]."""
    with torch.no_grad():
        return load_flow_model(name).module(2 * first[None] - 1, 2 * second[None] - 1)[-1]


@pytest.mark.parametrize("name", NAMES)
def test_flow_is_that_of_torchvision_where_nothing_is_padded(install_raft, name):
    install_raft(name)
    frames = frames_of(3)
    seen = []
    flow = estimate_flow(frames, method=name, on_frame=seen.append)
    forward, backward = flow.forward, flow.backward
    assert forward.shape == backward.shape == (2, 2, 128, 136)
    assert forward.dtype == torch.float32
    assert seen == [1, 2]
    for t in range(2):
        there, back = (
            reference(name, *pair) for pair in ((frames[t], frames[t + 1]), (frames[t + 1], frames[t]))
        )
        torch.testing.assert_close(forward[t : t + 1], there, atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(backward[t : t + 1], back, atol=1e-2, rtol=1e-3)
        assert (there - back).abs().mean() > 0.1


@pytest.mark.parametrize("size", [(100, 130), (1, 1)])
def test_other_sizes_are_padded_by_their_border_and_cropped_back(install_raft, size):
    install_raft("raft_small")
    frames = frames_of(size=size)
    rows, columns = (
        torch.arange(padded).clamp(max=side - 1)
        for side, padded in zip(size, (128, 136 if size[1] > 128 else 128), strict=True)
    )
    padded = frames[:, :, rows][..., columns]
    forward = estimate_flow(frames, method="raft_small").forward
    expected = reference("raft_small", *padded)[..., : size[0], : size[1]]
    torch.testing.assert_close(forward, expected, atol=1e-2, rtol=1e-3)


def test_the_correlations_of_the_last_pair_are_let_go(install_raft):
    install_raft("raft_small")
    model = load_flow_model("raft_small")
    estimate_flow(frames_of(), method=model)
    assert model.module.corr_block.corr_pyramid == []


def test_one_frame_has_no_flow(install_raft):
    install_raft("raft_small")
    flow = estimate_flow(frames_of(1), method="raft_small")
    forward, backward = flow.forward, flow.backward
    assert forward.shape == backward.shape == (0, 2, 128, 136)


def test_8_bit_frames_do_as_well(install_raft):
    install_raft("raft_small")
    flow = open_flow("raft_small")
    frames = (frames_of() * 255).round().byte()
    pair = flow.between(*map(flow.prepare, frames))
    clip = estimate_flow(frames / 255, method="raft_small")
    torch.testing.assert_close(pair.forward, clip.forward, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(pair.backward, clip.backward, atol=1e-2, rtol=1e-3)


def test_large_frames_are_shrunk_for_the_estimate(install_raft, monkeypatch):
    install_raft("raft_small")
    monkeypatch.setattr(raft, "_WORKING_SIDE", 136)
    frames = frames_of(size=(256, 272))
    forward = estimate_flow(frames, method="raft_small").forward
    assert forward.shape == (1, 2, 256, 272)
    small = torch.nn.functional.interpolate(frames, (128, 136), mode="bilinear", antialias=True)
    expected = resize_flow(reference("raft_small", *small), (256, 272))
    torch.testing.assert_close(forward, expected, atol=2e-2, rtol=1e-3)


def limit_memory(model, pixels):
    """Let a model's forward pass fail as torch does beyond so many pixels; returns the sizes tried."""
    tried = []

    def check(module, inputs):
        tried.append(tuple(inputs[0].shape[-2:]))
        if inputs[0][0, 0].numel() > pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    model.module.register_forward_pre_hook(check)
    return tried


def test_out_of_memory_halves_the_working_size_and_says_so(install_raft, caplog):
    install_raft("raft_small")
    model = load_flow_model("raft_small")
    tried = limit_memory(model, 200 * 200)
    with caplog.at_level(logging.INFO):
        forward = estimate_flow(frames_of(3, size=(256, 320)), method=model).forward
    assert forward.shape == (2, 2, 256, 320)
    assert tried == [(256, 320), (128, 160), (128, 160)]
    assert (
        "raft_small ran out of memory with a longer side of 320 pixels: trying a longer side of 160 pixels"
        in caplog.text
    )
    estimate_flow(frames_of(2, size=(256, 320)), method=model)
    assert tried[3:] == [(256, 320), (128, 160)], "the next clip starts at full working size"


def test_pairs_in_batches_are_pairs_one_by_one(install_raft, caplog):
    """Also where sizes differ, and where memory takes fewer at once than wanted, which is remembered."""
    install_raft("raft_small")
    model = load_flow_model("raft_small")
    alone, batched = open_flow(model), open_flow(model)
    assert alone.batch == 1, "on the CPU"
    batched.batch = batched._fitting = 4
    frames = [*frames_of(3), *frames_of(2, size=(128, 128))]
    prepared = list(map(alone.prepare, frames))
    pairs = [(prepared[t], prepared[t + 1]) for t in (0, 1, 3)]
    expected = [alone.between(*pair) for pair in pairs]
    sizes = []

    def check(module, inputs):
        sizes.append(len(inputs[0]) // 2)
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    model.module.register_forward_pre_hook(check)
    for got, wanted in zip(batched.between_pairs(pairs), expected, strict=True):
        assert got.forward.shape == wanted.forward.shape
        torch.testing.assert_close(got.forward, wanted.forward, atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(got.backward, wanted.backward, atol=1e-2, rtol=1e-3)
        assert torch.equal(got.backward_confidence, wanted.backward_confidence)
    assert sizes == [2, 1, 1, 1]
    assert caplog.text.count("ran out of memory with 2 pairs of frames: trying") == 1


def test_a_pair_that_never_fits_is_an_error_and_other_errors_stay(install_raft):
    install_raft("raft_small")
    model = load_flow_model("raft_small")
    limit_memory(model, 0)
    with pytest.raises(InputError, match=r"raft_small ran out of it at a longer side of 150 pixels; free"):
        estimate_flow(frames_of(size=(128, 300)), method=model)

    def fail(module, inputs):
        raise RuntimeError("shapes do not match")

    model = load_flow_model("raft_small")
    model.module.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="do not match"):
        estimate_flow(frames_of(), method=model)


def test_values_that_are_not_finite_are_refused():
    frames = frames_of()
    frames[1, 0, 5, 5] = torch.nan
    with pytest.raises(InputError, match=r"`frames` must be finite, got 1 NaN"):
        estimate_flow(frames)


@pytest.mark.parametrize(
    "file", [None, "raft_large_C_T_SKHT_V2-ff5fadd5.safetensors", "raft_large.safetensors", "raft_large.pth"]
)
def test_weights_are_found_under_the_names_in_use(install_raft, file):
    path = install_raft("raft_large", file)
    (info,) = (info for info in list_flow_methods() if info.name == "raft_large")
    assert info.available
    assert info.folder == path.parent
    assert str(path) in info.note
    model = load_flow_model("raft_large")
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_registered_folders_and_torchs_cache_are_searched(install_raft, tmp_path):
    path = install_raft("raft_small")
    cached = tmp_path / "torch" / "hub" / "checkpoints" / path.name
    cached.parent.mkdir(parents=True)
    path.rename(cached)
    assert raft_weights.find_flow_model("raft_small").find() == cached
    add_model_folder("optical_flow", tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    cached.rename(tmp_path / "mine" / path.name)
    assert raft_weights.find_flow_model("raft_small").find() == tmp_path / "mine" / path.name


def test_missing_weights_are_named_with_file_folder_and_address(own_models, tmp_path):
    with pytest.raises(InputError) as raised:
        estimate_flow(frames_of(), method="raft_large")
    for part in (
        "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        str(own_models / "optical_flow"),
        str(tmp_path / "torch"),
        "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "--download",
    ):
        assert part in str(raised.value)
    prepare_flow("dis_fast", download=True)
    with pytest.raises(InputError, match=r"method must be one of dis_ultrafast, .*, raft_large, got 'flow'"):
        prepare_flow("flow")
    with pytest.raises(InputError, match="flow model must be one of raft_small, raft_large, got 'dis_fast'"):
        load_flow_model("dis_fast")


def test_the_list_names_licences_and_addresses():
    listed = {info.name: info for info in list_flow_methods()}
    assert tuple(listed) == FLOW_METHODS
    assert listed["dis_fast"].available
    for model in FLOW_MODELS:
        assert not listed[model.name].available
        assert listed[model.name].commercial is None
        assert listed[model.name].licence.startswith("code BSD-3-Clause, weights trained on FlyingChairs")
        assert model.address in listed[model.name].note
        assert re.fullmatch(r"[0-9a-f]{8}", model.sha256_prefix)


def test_torchvision_publishes_the_weights_where_the_list_says():
    optical_flow = pytest.importorskip("torchvision").models.optical_flow
    small, large = FLOW_MODELS
    assert small.address == optical_flow.Raft_Small_Weights.DEFAULT.url
    assert large.address == optical_flow.Raft_Large_Weights.DEFAULT.url


def test_a_download_is_resumed_checked_and_used(published_raft, own_models):
    server, spec, content = published_raft
    server.cut_at = 2_000_000  # about half
    with pytest.raises(InputError, match=r"was cut .* try again to continue it"):
        prepare_flow("raft_small", download=True)
    with pytest.raises(InputError, match=r"of which only a part has come \(.*\.pth\.part\); download them"):
        load_flow_model("raft_small")
    server.cut_at = None
    seen = []
    prepare_flow("raft_small", download=True, on_progress=lambda *progress: seen.append(progress))
    assert server.requests[-1][1] == "bytes=2000000-"
    assert seen[-1] == (len(content), len(content))
    assert spec.find() == own_models / "optical_flow" / spec.file
    count = len(server.requests)
    assert estimate_flow(frames_of(), method="raft_small", download=True).forward.shape == (1, 2, 128, 136)
    assert len(server.requests) == count, "nothing is fetched twice"


def test_a_download_with_a_wrong_checksum_is_not_used(published_raft, own_models):
    server, spec, content = published_raft
    server.files[f"/models/{spec.file}"] = content[:-1] + b"x"
    with pytest.raises(InputError, match=rf"must have the SHA-256 checksum {spec.sha256_prefix}\.\.\., got "):
        load_flow_model("raft_small", download=True)
    assert list((own_models / "optical_flow").iterdir()) == []


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_cut_short_is_named(install_raft, suffix):
    path = install_raft("raft_small", f"raft_small{suffix}")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=rf"{re.escape(str(path))} must be a whole file .*; delete it and"):
        load_flow_model("raft_small")


def test_another_models_weights_are_refused(install_raft):
    small = install_raft("raft_small")
    small.replace(install_raft("raft_large"))
    with pytest.raises(InputError, match=r"must hold the weights of RAFT large .*Missing key.*; replace it"):
        load_flow_model("raft_large")


@pytest.mark.parametrize("content", [[1, 2], {"feature_encoder.convnormrelu.0.weight": "text"}])
def test_a_file_of_something_else_is_refused(install_raft, content):
    torch.save(content, install_raft("raft_small"))
    with pytest.raises(InputError, match=r"must hold the weights of RAFT small .*, got others \("):
        load_flow_model("raft_small")


def test_weights_of_another_shape_are_refused(install_raft):
    path = install_raft("raft_small")
    state = torch.load(path, weights_only=True)
    name = "update_block.flow_head.conv1.weight"
    state[name] = state[name][:-1].clone()
    torch.save(state, path)
    with pytest.raises(InputError, match=r"size mismatch for update_block\.flow_head\.conv1\.weight"):
        load_flow_model("raft_small")


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(install_raft):
    path = install_raft("raft_small")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300 << 20))
    with pytest.raises(InputError, match=r"cannot be read \(it has more than 256 MB\)"):
        load_flow_model("raft_small")


def test_weights_of_integers_are_refused(install_raft):
    path = install_raft("raft_small")
    state = torch.load(path, weights_only=True)
    name = next(name for name in state if name.endswith("weight"))
    torch.save({**state, name: state[name].to(torch.int32)}, path)
    with pytest.raises(InputError, match=rf"must hold the weights of RAFT small .*{name} holds torch.int32"):
        load_flow_model("raft_small")


class Evil:
    def __reduce__(self):
        return (print, ("code of a weights file ran",))


def test_code_in_a_weights_file_does_not_run(install_raft, capsys):
    torch.save({"weight": Evil()}, install_raft("raft_small"))
    with pytest.raises(InputError, match="cannot be read"):
        load_flow_model("raft_small")
    assert capsys.readouterr().out == ""


def test_a_missing_torchvision_is_named(install_raft, monkeypatch):
    install_raft("raft_small")

    def refuse(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(raft_weights.importlib, "import_module", refuse)
    with pytest.raises(InputError, match=r'package torchvision, .*pip install "spatialdreamer\[flow\]"'):
        load_flow_model("raft_small")


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_gives_what_the_cpu_gives(install_raft, name):
    install_raft(name)
    frames = frames_of(size=(130, 200))
    on_gpu, on_cpu = estimate_flow(frames, method=name, device="cuda"), estimate_flow(frames, method=name)
    for gpu, cpu in ((on_gpu.forward, on_cpu.forward), (on_gpu.backward, on_cpu.backward)):
        assert gpu.device.type == "cpu"
        assert (gpu - cpu).abs().median() < 0.1
