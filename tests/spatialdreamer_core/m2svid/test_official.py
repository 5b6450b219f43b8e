"""Equality with the authors' implementation, on a frozen copy of what it took in and gave.

`official.safetensors` was made by the release's public source (the fork hetima/m2svid at c8b4dee), on the CPU
in float32: the preparation of `inpaint_and_refine.py` and `VideoLDM.generate`, of `configs/m2svid.yaml` and
`m2svid_no_fullatten.yaml`. The networks were built as narrow as `tiny_m2svid`'s (64 channels times 1, 1, 2, 2
with a context of 32; autoencoders with 32 channels at each level; an image tower of width 64 with two layers,
128 channels in their feed-forward and patches of 56 px) and got the weights of `weights_by_name`; torch's
attention took the place of xformers'. The noise on the views was set to zero. The clip is nine frames of
smooth noise, of which a case takes the first 1, 4 or 9, with a vertical strip of holes or scattered blobs, of
which the second frame has none.
"""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from safetensors.torch import load_file

from spatialdreamer_core.m2svid import ViewNoise, encode_window, load_m2svid, prepare_holes
from spatialdreamer_core.m2svid.predict import predict

FPS = 24
STILL = ViewNoise(strength=0)
CASES = pytest.mark.parametrize("frames", [1, 4, 9])
SHAPES = pytest.mark.parametrize("shape", ["strip", "blobs"])


def weights_by_name(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return random weights that depend on a tensor's name alone, of about unit gain.

    The two copies of the autoencoder that encode the views are the same, as in the release.
    """
    seed = zlib.crc32(name.replace("conditioner.embedders.5.", "conditioner.embedders.3.").encode())
    values = np.random.RandomState(seed).random_sample(shape).astype(np.float32) * 2 - 1
    if len(shape) > 1:
        values *= (3 / np.prod(shape[1:])) ** 0.5
    elif name.endswith("weight"):
        values = 1 + 0.2 * values
    else:
        values *= 0.2
    return torch.from_numpy(np.asarray(values))


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    return load_file(Path(__file__).with_name("official.safetensors"))


@pytest.fixture(scope="module")
def models(tiny_m2svid, tmp_path_factory):
    """Load a model from the authors' format, and use it as either variant."""
    state = tiny_m2svid.official_state(tiny_m2svid.make_model())
    state = {f"module.{name}": weights_by_name(name, tuple(value.shape)) for name, value in state.items()}
    file = tmp_path_factory.mktemp("official") / "m2svid_weights.pt"
    torch.save({"module": state}, file)
    full = load_m2svid(file)
    return {True: full, False: dataclasses.replace(full, full_attention=False)}


def clip(official, frames, shape):
    """Return left view, rendered view and hole mask of a case."""
    left, warped, hole = (official[name][:frames].float() for name in ("left", "warped", f"{shape}.hole"))
    return left / 255, warped / 255, hole


def assert_equal(result, expected):
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)


@SHAPES
def test_what_the_model_sees(models, official, shape):
    left, warped, hole = clip(official, 9, shape)
    encoded = encode_window(models[True], left, warped, hole, noise=STILL)
    assert torch.equal(prepare_holes(warped, hole)[0], official[f"{shape}.black"].float() / 255)
    assert torch.equal(encoded.mask, official[f"{shape}.mask"])
    assert_equal(encoded.left, official["left_latents"])
    assert_equal(encoded.warped, official[f"{shape}.warped_latents"])
    assert_equal(encoded.embeddings, official["embeddings"])


@CASES
@SHAPES
@pytest.mark.parametrize("full_attention", [True, False])
def test_the_step(models, official, frames, shape, full_attention):
    names = ("left_latents", f"{shape}.warped_latents", f"{shape}.mask", "embeddings")
    inputs = (official[name][None, :frames] for name in names)
    result = predict(models[full_attention], *inputs, fps=FPS)[0]
    variant = "full" if full_attention else "plain"
    assert_equal(result, official[f"{shape}.{frames}.{variant}.latents"])
    other = official[f"{shape}.{frames}.{'plain' if full_attention else 'full'}.latents"]
    assert not torch.allclose(result, other, atol=1e-2)  # the weights are the same


def test_all_of_it(models, official):
    left, warped, hole = clip(official, 4, "strip")
    encoded = encode_window(models[True], left, warped, hole, noise=STILL)
    latents = predict(models[True], *(tensor[None] for tensor in encoded), fps=FPS)[0]
    assert_equal(models[True].svd.codec.decode(latents), official["strip.4.full.frames"])


def test_norms_have_the_authors_epsilon(models):
    """What it changes at random weights is less than the tolerance above."""
    unet = models[True].svd.unet
    kinds = (ResnetBlock2D, TemporalResnetBlock)
    residuals = [module for module in unet.modules() if isinstance(module, kinds)]
    assert len(residuals) == 2 * 22  # spatial and temporal
    assert {norm.eps for module in residuals for norm in (module.norm1, module.norm2)} == {1e-5}
