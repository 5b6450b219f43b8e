import pytest
import torch

from spatialdreamer_core.m2svid.predict import predict


@pytest.fixture(scope="module")
def plain(tiny_m2svid):
    return tiny_m2svid.make_model(full_attention=False)


@pytest.fixture
def inputs():
    """Return two regions of three frames as the UNet gets them."""
    generator = torch.Generator().manual_seed(1)
    left, warped = torch.randn(2, 2, 3, 4, 8, 16, generator=generator)
    mask = torch.full((2, 3, 1, 8, 16), -1.0)
    mask[0, :, :, 2:5, 3:6], mask[1, 1:, :, :, 9] = 1, 0.5
    return left, warped, mask, torch.randn(2, 3, 1, 32, generator=generator)


def test_the_unet_gets_zeros_and_both_views_and_the_mask(plain, inputs, monkeypatch):
    calls = []

    def unet(*args, return_dict):
        calls.append(args)
        return (torch.ones(2, 3, 4, 8, 16),)

    monkeypatch.setattr(plain.svd.unet, "forward", unet)
    result = predict(plain, *inputs, fps=25)
    sample, time, tokens, ids = calls[0]
    left, warped, mask, embeddings = inputs
    assert torch.equal(sample, torch.cat([torch.zeros_like(left), left, warped, mask], dim=2))
    torch.testing.assert_close(time, torch.full((2,), 6.5511 / 4), rtol=0, atol=1e-4)
    assert torch.equal(tokens, embeddings[:, :, 0])
    assert ids.tolist() == [[25, 127, pytest.approx(0.02)]] * 2
    torch.testing.assert_close(result, -torch.ones_like(left), rtol=2e-6, atol=0)


def test_regions_of_a_batch_are_kept_apart(plain, inputs):
    both = predict(plain, *inputs)
    for region in range(2):
        alone = predict(plain, *(tensor[region : region + 1] for tensor in inputs))
        torch.testing.assert_close(both[region : region + 1], alone, rtol=0, atol=1e-5)


def test_each_frame_attends_to_its_own_embedding(plain, inputs):
    before = predict(plain, *inputs)
    left, warped, mask, embeddings = inputs
    same = predict(plain, left, warped, mask, embeddings[:, :1].expand(-1, 3, -1, -1))
    ordinary = plain.svd.unet(
        torch.cat([torch.zeros_like(left), left, warped, mask], dim=2),
        torch.tensor(700.0).log() / 4,
        embeddings[:, 0],
        torch.tensor([[24.0, 127, 0.02]]).repeat(2, 1),
    ).sample
    torch.testing.assert_close(same, -ordinary, rtol=0, atol=1e-5)  # SVD gives all frames the first one's
    assert not torch.allclose(before, same, atol=1e-4)


def test_nothing_is_left_on_the_unet(plain, inputs):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(plain, *inputs, on_wait=interrupt)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in plain.svd.unet.modules())


def test_it_can_be_interrupted_at_each_transformer(plain, inputs):
    count = []
    predict(plain, *inputs, on_wait=lambda: count.append(1))
    assert len(count) == 16


def test_the_unet_is_asked_for(plain, inputs):
    works = []
    plain.on_work = works.append
    predict(plain, *inputs)
    plain.on_work = None
    assert [(work.networks, work.frames, work.height, work.width) for work in works] == [
        ((plain.svd.unet,), 6, 64, 128)
    ]


def test_the_unet_may_be_brought_to_its_device_when_it_is_asked_for(plain, inputs, monkeypatch):
    happened = []

    def device(self):
        happened.append("device")
        return torch.device("cpu")

    monkeypatch.setattr(type(plain), "device", property(device))
    plain.on_work = lambda work: happened.append("work")
    predict(plain, *inputs)
    plain.on_work = None
    assert happened[0] == "work"


@pytest.mark.parametrize("full_attention", [False, True])
def test_half_precision_is_near(tiny_m2svid, inputs, full_attention):
    network = tiny_m2svid.make_model(full_attention=full_attention)
    expected = predict(network, *inputs)
    network.svd.unet.to(torch.bfloat16)
    result = predict(network, *inputs)
    assert result.dtype == torch.float32
    assert (result - expected).std() < 0.03 * expected.std()
