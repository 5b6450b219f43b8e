import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel
from safetensors.torch import load_file, save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer import refiner as refiner_module
from spatialdreamer_core.spatialdreamer.attention import spatial_sites
from spatialdreamer_core.spatialdreamer.config import SVD_CLEAN_TIMESTEP, SpatialDreamerConfig
from spatialdreamer_core.spatialdreamer.refiner import build_bank, dead_parameters, find_weights, make_refiner
from spatialdreamer_core.spatialdreamer.til import TemporalInteraction
from spatialdreamer_core.svd import bank_memory, estimate_memory
from spatialdreamer_core.svd.checkpoint.sgm_keys import to_stored, unet_table
from spatialdreamer_core.weights.stable_diffusion import is_stable_diffusion_2

FRAMES = 3


@pytest.fixture(scope="module")
def unet(tiny_svd):
    return tiny_svd.make_unet()


@pytest.fixture
def refiner(unet):
    return make_refiner(unet)


@pytest.fixture(scope="module")
def left(tiny_svd):
    """Make a left view's latents and embeddings."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(FRAMES, 4, 8, 16, generator=generator)
    return latents, torch.randn(FRAMES, 1, tiny_svd.CONTEXT, generator=generator)


@pytest.fixture(scope="module")
def published(tmp_path_factory, tiny_svd):
    """Save a tiny UNet in the layout of Stable Diffusion 2.1."""
    torch.manual_seed(7)
    model = UNet2DConditionModel(
        block_out_channels=tiny_svd.WIDTHS,
        attention_head_dim=[width // 64 for width in tiny_svd.WIDTHS],
        cross_attention_dim=tiny_svd.CONTEXT,
        use_linear_projection=True,
    )
    folder = tmp_path_factory.mktemp("sd")
    (folder / "unet").mkdir()
    save_file(model.state_dict(), folder / "unet" / "diffusion_pytorch_model.safetensors")
    return model.eval(), folder


def test_the_full_size_refiner_has_the_tensors_of_sd21():
    with torch.device("meta"):
        svd = UNetSpatioTemporalConditionModel(in_channels=9, projection_class_embeddings_input_dim=1024)
        sd21 = UNet2DConditionModel(
            cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True
        )
    refiner = make_refiner(svd)
    shapes = {name: value.shape for name, value in refiner.state_dict().items()}
    assert shapes == {name: value.shape for name, value in sd21.state_dict().items()}
    assert spatial_sites(refiner) == spatial_sites(svd) == spatial_sites(sd21)
    heads = [refiner.get_submodule(site).heads for site in spatial_sites(refiner)]
    assert heads == [svd.get_submodule(site).heads for site in spatial_sites(svd)]
    assert sum(value.numel() for value in refiner.parameters()) == 865_910_724
    dead = [refiner.get_parameter(name) for name in dead_parameters(refiner)]
    assert (len(dead), sum(value.numel() for value in dead)) == (24, 2_618_244)


@torch.no_grad()
@pytest.mark.parametrize(("channels", "time_ids"), [(8, 3), (9, 4), (9, 3)])
def test_the_refiner_sees_what_svd_sees_of_a_clean_frame_without_its_temporal_layers(
    tiny_svd, left, channels, time_ids
):
    unet = tiny_svd.make_unet(in_channels=channels, time_ids=time_ids)
    for name, module in unet.named_modules():
        if hasattr(module, "mix_factor"):
            module.mix_factor.fill_(100.0)  # all spatial
        if ".spatial_res_block.norm" in name:
            module.eps = 1e-5  # as SVD was trained
    seen = {}
    for site in spatial_sites(unet):
        unet.get_submodule(site).register_forward_pre_hook(
            lambda _, args, site=site: seen.__setitem__(site, args[0])
        )
    latents, embeddings = left
    mask = torch.zeros(FRAMES, channels - 8, 8, 16)
    ids = torch.tensor([[6, 127, 0.02, 0.0]])[:, :time_ids].repeat(FRAMES, 1)
    sample = torch.cat([latents, latents / 0.18215, mask], dim=1)
    unet(sample[:, None], torch.tensor(SVD_CLEAN_TIMESTEP), embeddings, ids)
    bank = build_bank(make_refiner(unet), latents, embeddings, timestep=SVD_CLEAN_TIMESTEP)
    assert list(bank) == list(seen) == spatial_sites(unet)
    for site, features in bank.items():
        torch.testing.assert_close(features, seen[site], atol=2e-4, rtol=0)


def test_the_refiner_does_not_share_its_weights_with_svd(unet, refiner):
    taken = {value.data_ptr() for value in unet.parameters()}
    assert not taken & {value.data_ptr() for value in refiner.parameters()}


@torch.no_grad()
def test_chunks_equal_the_whole_and_frames_their_own(refiner, left):
    finished = []
    whole = build_bank(refiner, *left, timestep=0.0, chunk=8)
    parts = build_bank(refiner, *left, timestep=0.0, chunk=2, on_frame=finished.append)
    assert finished == [2, 3]
    latents, embeddings = left
    last = build_bank(refiner, latents[2:], embeddings[2:], timestep=0.0)
    other = build_bank(refiner, latents[2:], embeddings[:1], timestep=0.0)
    for site, features in whole.items():
        torch.testing.assert_close(parts[site], features, atol=1e-5, rtol=0)
        torch.testing.assert_close(last[site], features[2:], atol=1e-5, rtol=0)
    site = list(whole)[1]  # behind the first cross-attention
    assert not torch.allclose(other[site], last[site], atol=1e-5)


@torch.no_grad()
def test_a_window_s_own_frames_are_those_of_the_whole(refiner, left):
    whole = build_bank(refiner, *left, timestep=0.0)
    part = build_bank(refiner, *left, timestep=0.0, own=range(1, 3))
    for site, features in part.items():
        assert torch.equal(features, whole[site][1:])
    for wrong in (range(2, 4), range(1, 1), range(0, 3, 2)):
        with pytest.raises(InputError, match="`own` must be a range of the 3 frames of `latents`"):
            build_bank(refiner, *left, timestep=0.0, own=wrong)


@torch.no_grad()
@pytest.mark.parametrize("with_til", [False, True])
def test_clips_of_a_batch_are_mixed_each_by_itself(refiner, tiny_svd, with_til):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(6, 4, 8, 16, generator=generator)
    embeddings = torch.randn(6, 1, tiny_svd.CONTEXT, generator=generator)
    til = TemporalInteraction.from_refiner(refiner, SpatialDreamerConfig()) if with_til else None
    for site in til.sites.values() if til is not None else ():
        site.to_change.reset_parameters()
    build = partial(build_bank, refiner, timestep=0.0, til=til)
    for own in (None, range(1, 3)):
        together = build(latents, embeddings, clips=2, own=own)
        alone = [build(latents[part], embeddings[part], own=own) for part in (slice(0, 3), slice(3, 6))]
        for site, features in together.items():
            expected = torch.cat([features_of_one[site] for features_of_one in alone])
            torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    for clips, rule in ((4, "as many frames of each clip, got 6 frames for 4"), (0, "clips must be between")):
        with pytest.raises(InputError, match=rule):
            build(latents, embeddings, clips=clips)


@torch.no_grad()
def test_a_device_takes_all_frames_at_once_or_as_many_as_fit(refiner, monkeypatch):
    """Four at a time left an H100 waiting for Python: the bank took 2.4 times one pass."""
    config = refiner.config
    size = {"height": 64, "width": 128, "dtype": torch.float16}
    frame = estimate_memory(config, frames=1, **size, reference=False)
    features = bank_memory(config, frames=25, **size)
    on_gpu = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float16, config=config)
    latents = torch.zeros(25, 4, 8, 16)

    def choose(fitting, network=on_gpu):
        free = features + math.ceil(fitting * frame / refiner_module._FREE_SHARE)
        monkeypatch.setattr(refiner_module, "free_memory", lambda device: free)
        return refiner_module._choose_chunk(network, latents)

    assert [choose(fitting) for fitting in (100, 25, 24, 9, 0)] == [25, 25, 13, 9, 4]
    assert choose(100, refiner) == 4
    with torch.enable_grad():
        assert choose(100) == 4


@torch.no_grad()
def test_a_bank_that_runs_out_of_memory_is_made_in_smaller_chunks(refiner, left):
    def make(most):
        def check(_, args):
            sizes.append(len(args[0]))
            if sizes[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory")

        with refiner.register_forward_pre_hook(check):
            return build_bank(refiner, *left, timestep=0.0)

    whole, sizes = build_bank(refiner, *left, timestep=0.0), []
    for site, features in make(most=1).items():
        torch.testing.assert_close(features, whole[site], atol=1e-5, rtol=0)
    assert sizes == [3, 1, 1, 1]
    with pytest.raises(torch.OutOfMemoryError):  # the caller may have smaller windows
        make(most=0)


@torch.no_grad()
def test_the_timestep_matters(refiner, left):
    site = spatial_sites(refiner)[0]
    clean, noisy = (build_bank(refiner, *left, timestep=time)[site] for time in (SVD_CLEAN_TIMESTEP, 1.5))
    assert not torch.allclose(clean, noisy, atol=1e-4)


def test_exactly_the_24_dead_tensors_get_no_gradient_also_with_checkpointing(refiner, left):
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            refiner.enable_gradient_checkpointing()
            refiner.train()
        refiner.zero_grad()
        bank = build_bank(refiner, *left, timestep=0.0, chunk=2)
        generator = torch.Generator().manual_seed(2)
        sum(
            (value * torch.randn(value.shape, generator=generator)).sum() for value in bank.values()
        ).backward()
        gradients.append({name: value.grad for name, value in refiner.named_parameters()})
        without = [name for name, gradient in gradients[-1].items() if gradient is None]
        assert without == dead_parameters(refiner)
        assert len(without) == 24
    for name, gradient in gradients[0].items():
        if gradient is not None:
            assert bool(gradient.any()), name
            torch.testing.assert_close(gradients[1][name], gradient, atol=1e-3, rtol=1e-3)


def test_weights_are_found_in_a_pipeline_a_folder_or_as_a_file(published):
    file = published[1] / "unet" / "diffusion_pytorch_model.safetensors"
    assert {find_weights(path) for path in (published[1], published[1] / "unet", file)} == {file}


@torch.no_grad()
def test_weights_of_stable_diffusion_load_as_they_are(unet, published, left):
    model, folder = published
    refiner = make_refiner(unet, weights=folder)
    for name, value in model.state_dict().items():
        assert torch.equal(refiner.state_dict()[name], value)
    latents, embeddings = left
    seen = []
    site = spatial_sites(model)[-1]
    model.get_submodule(site).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(latents, 0, embeddings)
    bank = build_bank(refiner, latents, embeddings, timestep=0.0)
    torch.testing.assert_close(bank[site], seen[0], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def checkpoint(published, tmp_path_factory):
    """Save the same UNet as a whole checkpoint is published."""
    state = published[0].state_dict()
    stored = to_stored(unet_table(state), state)
    stored |= {"first_stage_model.decoder.conv_in.weight": torch.zeros(1), "alphas_cumprod": torch.zeros(3)}
    stored["cond_stage_model.model.positional_embedding"] = torch.zeros(2)
    file = tmp_path_factory.mktemp("sgm") / "v2-1_512-ema-pruned.safetensors"
    save_file({name: value.contiguous() for name, value in stored.items()}, file)
    return file


def test_a_published_checkpoint_gives_the_same_refiner(tiny_svd, published, checkpoint):
    unet = tiny_svd.make_unet().to(torch.bfloat16)
    refiner = make_refiner(unet, weights=checkpoint)
    for name, value in published[0].state_dict().items():
        assert torch.equal(refiner.state_dict()[name], value.to(torch.bfloat16))
    assert all(value.requires_grad for value in refiner.parameters())


def test_a_checkpoint_of_another_model_is_named(unet, checkpoint, tmp_path):
    state = load_file(checkpoint)
    prefix = "model.diffusion_model."
    sizes = {name: 768 for name in state if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))}
    narrow = state | {name: torch.zeros(len(state[name]), width) for name, width in sizes.items()}
    for other, said in (
        (narrow, "Stable Diffusion 1.x"),
        (state | {f"{prefix}input_blocks.0.0.weight": torch.zeros(64, 9, 3, 3)}, "for inpainting"),
        ({"lora_unet_down.weight": torch.zeros(1)}, "a LoRA"),
    ):
        save_file(other, tmp_path / "other.safetensors")
        with pytest.raises(InputError, match=f"must be Stable Diffusion 2.1's, got what looks like .*{said}"):
            make_refiner(unet, weights=tmp_path / "other.safetensors")
        assert not is_stable_diffusion_2(tmp_path / "other.safetensors")
    del state[f"{prefix}out.2.bias"]
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"1 missing \(such as model.diffusion_model.out.2.bias\)"):
        make_refiner(unet, weights=tmp_path / "other.safetensors")


def test_stable_diffusion_2_is_recognised(published, checkpoint, tiny_svd, tmp_path):
    folder = published[1]
    published[0].save_config(folder / "unet")
    for path in (checkpoint, folder, folder / "unet", *folder.glob("unet/*.safetensors")):
        assert is_stable_diffusion_2(path), path
    tiny_svd.save_checkpoint(tmp_path / "svd.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(checkpoint.read_bytes()[:50])
    (tmp_path / "config.json").write_text(
        '{"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768}'
    )
    for path in (tmp_path / "svd.safetensors", tmp_path / "broken.safetensors", tmp_path, tmp_path / "none"):
        assert not is_stable_diffusion_2(path), path


def test_the_refiner_has_the_precision_of_svd(tiny_svd, published):
    unet = tiny_svd.make_unet().to(torch.bfloat16)
    for weights in (None, published[1]):
        assert {value.dtype for value in make_refiner(unet, weights=weights).parameters()} == {torch.bfloat16}


def test_weights_of_another_model_are_refused(unet, published, tmp_path):
    file = published[1] / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    wide = dict(state, **{"conv_in.weight": torch.zeros(64, 9, 3, 3), "more": torch.zeros(1)})
    del wide["conv_out.bias"]
    save_file(wide, tmp_path / "other.safetensors")
    with pytest.raises(InputError) as caught:
        make_refiner(unet, weights=tmp_path / "other.safetensors")
    for part in ("RefinerNet", "1 missing, e.g. conv_out.bias", "1 unexpected, e.g. more"):
        assert part in str(caught.value)
    assert "1 of another shape, e.g. conv_in.weight" in str(caught.value)


def test_files_that_are_no_whole_safetensors_are_refused(unet, published, tmp_path):
    file = published[1] / "unet" / "diffusion_pytorch_model.safetensors"
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-100])
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.ckpt")
    for name, problem in (("cut.safetensors", "it is truncated"), ("pickle.ckpt", "got a pickle")):
        with pytest.raises(InputError, match=rf"{name} must .*{problem}"):
            make_refiner(unet, weights=tmp_path / name)
    with pytest.raises(InputError, match="start from SVD's own weights"):
        make_refiner(unet, weights=tmp_path / "nowhere")
