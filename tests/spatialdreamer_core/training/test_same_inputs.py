"""Training shows the UNet of a clip what the sampler shows it."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from spatialdreamer_core.spatialdreamer import SamplerConfig, encode_reference, sample
from spatialdreamer_core.spatialdreamer.attention import spatial_sites
from spatialdreamer_core.training.batches import Batches
from spatialdreamer_core.training.clips import EncodedSample, FittedClip, encode_sample
from spatialdreamer_core.training.latent_index import LatentClip
from spatialdreamer_core.training.loss import Trainee
from spatialdreamer_core.training.trained import start_network

from .tiny_training import make_network, quick_config

FRAMES = 3


class OneClip:
    """A cache of one clip."""

    def __init__(self, network, clip, way_back):
        self.clips = [LatentClip("clip", FRAMES, False, 0, 0, way_back)]
        self._sample = encode_sample(network, clip)

    def read(self, index, frames):
        return EncodedSample(*(part[frames.start : frames.stop] for part in self._sample))


@pytest.mark.parametrize(("deviation_map", "slider"), [(False, 1.0), (True, 1.0), (True, 2.0), (True, 0.4)])
def test_the_loop_gives_the_unet_what_the_sampler_gives_it(deviation_map, slider):
    """From the same pictures: condition, mask, deviation map, embedding, time ids and what the readers read.

    A clip whose true view lies so many times as far as its rendered one is sampled with the slider there.
    """
    config = quick_config(
        stage="2",
        batch=1,
        frames=FRAMES,
        drop_condition=0.0,
        drop_embedding=0.0,
        drop_reference=0.0,
        noise_augmentation=False,
        whole_unet=True,
        deviation_map=deviation_map,
    )
    network = start_network(make_network(), config)
    for site in network.til.sites.values():  # as training would leave it
        site.to_change.reset_parameters()
    sites = spatial_sites(network.svd.unet)
    torch.manual_seed(0)
    reference = torch.rand(FRAMES, 3, 64, 64)
    warped, hole = reference.roll(2, dims=-1), torch.zeros(FRAMES, 1, 64, 64)
    hole[..., 10:30, 20:34] = 1
    warped[..., 12:28, 22:32] = 0  # the raw hole, which the mask is a little larger than
    seen = []

    def note(module, inputs):
        seen.append((inputs, {site: network.bank.read(site) for site in sites}))

    handle = network.svd.unet.register_forward_pre_hook(note)
    sample(
        network, encode_reference(network, reference), warped, hole, SamplerConfig(steps=1, deviation=slider)
    )
    cache = OneClip(network, FittedClip(torch.rand_like(reference), reference, warped, hole), 1 / slider)
    batch = Batches(cache, config, scaling=network.svd.codec.scaling).read([0])
    with torch.no_grad():
        Trainee(network)(batch)
    handle.remove()
    (sampled, sampled_features), (trained, trained_features) = seen
    channels = network.svd.codec.channels
    fixed = slice(channels, None)  # all but the noisy latents
    assert sampled[0].shape[2] == (3 if deviation_map else 2) * channels + 1
    assert bool(sampled[0][:, :, 2 * channels + 1 :].any()) == (slider != 1)
    torch.testing.assert_close(trained[0][:, :, fixed], sampled[0][:, :, fixed], atol=1e-4, rtol=0)
    torch.testing.assert_close(trained[2:], sampled[2:], atol=1e-3, rtol=1e-4)
    assert float(sampled[3][0, 3]) > 1, "a deviation that shows"
    torch.testing.assert_close(trained_features, sampled_features, atol=1e-4, rtol=1e-4)
