import math
import warnings

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.metrics import (
    FeatureStatistics,
    frechet_distance,
    load_clip_features,
    load_lpips,
    lpips,
)


def statistics_of(features):
    statistics = FeatureStatistics()
    for row in features:
        statistics.add(row)
    return statistics


def test_the_frechet_distance_of_numbers_by_hand():
    first = statistics_of(torch.tensor([[0.0], [2.0]]))  # mean 1, variance 2
    second = statistics_of(torch.tensor([[1.0], [5.0]]))  # mean 3, variance 8
    assert frechet_distance(first, second) == pytest.approx(2**2 + (8**0.5 - 2**0.5) ** 2)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [4, 40])
def test_it_agrees_with_the_root_of_the_matrix(count):
    linalg = pytest.importorskip("scipy.linalg")
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40, 6, generator=generator)
    b = torch.randn(count, 6, generator=generator) * 2 + 0.5
    covariances = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = float((a.mean(0) - b.mean(0)).square().sum())
    expected += np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(statistics_of(a), statistics_of(b)) == pytest.approx(expected, abs=1e-4)


def test_one_clip_has_no_distance_and_nan_is_refused():
    one, two = statistics_of(torch.rand(1, 3)), statistics_of(torch.rand(2, 3))
    assert math.isnan(frechet_distance(one, two))
    with pytest.raises(InputError, match="features must be finite"):
        two.add(torch.tensor([0.0, float("nan"), 1.0]))


class Extractor(torch.nn.Module):
    """Takes what I3D takes and gives the mean and the deviation of each channel."""

    def forward(self, video, rescale: bool, resize: bool, return_features: bool):
        flat = video.flatten(2)
        return torch.cat([flat.mean(2), flat.std(2)], dim=1)


def test_a_torchscript_file_gives_features(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Extractor()).save(str(tmp_path / "i3d.pt"))
        features = load_clip_features(tmp_path / "i3d.pt")(torch.full((16, 3, 20, 30), 0.75))
    torch.testing.assert_close(features, torch.tensor([0.5, 0.5, 0.5, 0, 0, 0]))
    (tmp_path / "other.pt").write_bytes(b"no script")
    with pytest.raises(InputError, match=r"i3d must be a TorchScript file, got .*other.pt"):
        load_clip_features(tmp_path / "other.pt")
    with pytest.raises(InputError, match="i3d must be an existing file"):
        load_clip_features(tmp_path / "missing.pt")


def test_lpips_takes_any_network():
    def network(a, b):
        return (a - b).abs().mean((1, 2, 3))

    result, truth = torch.full((2, 3, 32, 32), 0.25), torch.zeros(2, 3, 32, 32)
    assert lpips(result, truth, network=network) == pytest.approx(0.25)
    with pytest.raises(InputError, match="must be at least 32x32 for LPIPS, got 32x8"):
        lpips(result[..., :8, :], truth[..., :8, :], network=network)


def test_lpips_is_torchmetrics_with_the_given_weights(tmp_path):
    library = pytest.importorskip("torchmetrics.functional.image.lpips")
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    backbone = models.alexnet(weights=None)
    torch.save(backbone.state_dict(), tmp_path / "alexnet.pth")
    network = load_lpips(tmp_path / "alexnet.pth")
    result, truth = torch.rand(2, 2, 3, 64, 64)
    twin = library._LPIPS(net="alex", pnet_rand=True)
    for name, layer in twin.net.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.load_state_dict(backbone.features[int(name.split(".")[1])].state_dict())
    expected = twin(result * 2 - 1, truth * 2 - 1).mean()
    assert lpips(result, truth, network=network) == pytest.approx(float(expected), abs=1e-6)
    assert lpips(truth, truth, network=network) == pytest.approx(0, abs=1e-6)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="lpips must be the weights of AlexNet"):
        load_lpips(tmp_path / "other.pth")
