import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.metrics import ssim


def pair(height=24, width=31, channels=3):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, channels, height, width, generator=generator)
    return (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def test_equal_pictures_score_one():
    _, truth = pair()
    assert ssim(truth, truth) == pytest.approx(1, abs=1e-6)


def test_flat_pictures_by_hand():
    result, truth = torch.full((1, 1, 11, 11), 0.2), torch.full((1, 1, 11, 11), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)  # the second factor is 1
    assert ssim(result, truth) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("window", "side"), [("gaussian", 11), ("uniform", 7)])
def test_it_is_the_formula_at_a_window(window, side):
    result, truth = (video[:1, :1, :side, :side].double() for video in pair())
    offset = torch.arange(side).double() - side // 2
    line = torch.exp(-(offset**2) / (2 * 1.5**2)) if window == "gaussian" else torch.ones(side).double()
    weights = line[:, None] * line
    weights = weights / weights.sum()
    mean_a, mean_b = ((weights * video).sum() for video in (result, truth))
    variance_a = (weights * (result - mean_a) ** 2).sum()
    variance_b = (weights * (truth - mean_b) ** 2).sum()
    covariance = (weights * (result - mean_a) * (truth - mean_b)).sum()
    expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    expected /= (mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4)
    assert ssim(result, truth, window=window) == pytest.approx(float(expected), abs=1e-9)


def test_it_agrees_with_torchmetrics():
    library = pytest.importorskip("torchmetrics.functional.image")
    result, truth = pair()
    _, similarity = library.structural_similarity_index_measure(
        result, truth, data_range=1.0, return_full_image=True
    )
    inside = similarity[..., 5:-5, 5:-5]  # its mean is also of windows that reach beyond the frame
    assert ssim(result, truth) == pytest.approx(float(inside.mean()), abs=1e-5)


def test_it_agrees_with_scikit_image():
    library = pytest.importorskip("skimage.metrics")
    result, truth = pair()
    options = {"data_range": 1.0, "channel_axis": 0, "use_sample_covariance": False}
    for window, how in (("gaussian", {"gaussian_weights": True, "sigma": 1.5}), ("uniform", {"win_size": 7})):
        frames = zip(result.double().numpy(), truth.double().numpy(), strict=True)
        values = [library.structural_similarity(a, b, **options, **how) for a, b in frames]
        assert ssim(result, truth, window=window) == pytest.approx(sum(values) / len(values), abs=1e-5)


def test_a_mask_tells_where():
    result, truth = pair()
    mask = torch.zeros(2, 1, 24, 31, dtype=torch.bool)
    mask[..., 15:] = True
    half = result.clone()
    half[..., :9] = truth[..., :9]
    assert ssim(half, truth, mask) == pytest.approx(ssim(result[..., 10:], truth[..., 10:]), abs=1e-5)
    assert ssim(half, truth, ~mask) > ssim(half, truth, mask)


def test_small_frames_and_unknown_windows_are_refused():
    small = torch.zeros(1, 3, 10, 40)
    with pytest.raises(InputError, match="must be at least 11x11 for SSIM's gaussian window, got 40x10"):
        ssim(small, small)
    with pytest.raises(InputError, match="window must be one of gaussian, uniform, got 'box'"):
        ssim(small, small, window="box")
