"""Measures by networks: LPIPS between pictures, and the Fréchet distance between sets of clips (FVD).

The networks come from outside, as functions, and nothing is downloaded. `load_lpips` makes LPIPS of AlexNet's
published weights and torchmetrics, `load_clip_features` takes the usual I3D as a TorchScript file.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, one_line
from ..contracts import check_call
from ..media import check_regular_file
from ..memory import is_out_of_memory
from ..weights.files import read_state

PerceptualDistance: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes two videos [F, 3, H, W] in [0, 1] and gives the distance of each pair of frames, [F]."""
ClipFeatures: TypeAlias = Callable[[Tensor], Tensor]
"""Takes a clip [F, 3, H, W] in [0, 1] and gives its features, [D]."""

CLIP_FRAMES = 16  # of the clips whose features FVD compares
LPIPS_WEIGHTS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
_SLICES = {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5}  # where torchmetrics puts AlexNet's convolutions
_LARGEST_FILE = 1 << 29  # bytes; AlexNet has 244 MB
_LEAST_SIDE = 32  # px; below it AlexNet's last features have no pixels
_I3D_SIDE = 224  # px


def lpips(
    result: Tensor,  # [F, 3, H, W] in [0, 1]
    truth: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    network: PerceptualDistance,
) -> float:
    """LPIPS (Zhang et al., CVPR 2018): distance in features of a network, the mean over frames; 0 is ideal.

    Args:
        result: The view to be judged.
        truth: What it should be.
        network: What `load_lpips` gives, or another one.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`), or a frame is smaller than 32x32.
    """
    check_call("lpips", result=result, truth=truth)
    return sum(frame_lpips(*frames, network=network) for frames in zip(result, truth, strict=True)) / len(
        result
    )


def frame_lpips(result: Tensor, truth: Tensor, *, network: PerceptualDistance) -> float:
    """Return one frame's LPIPS, of [3, H, W] each."""
    height, width = result.shape[-2:]
    if min(height, width) < _LEAST_SIDE:
        raise InputError(
            f"frames must be at least {_LEAST_SIDE}x{_LEAST_SIDE} for LPIPS, got {width}x{height}; "
            "measure larger ones"
        )
    with torch.no_grad():
        return float(network(result[None].float().clamp(0, 1), truth[None].float().clamp(0, 1)))


def load_lpips(weights: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> PerceptualDistance:
    """Load LPIPS with AlexNet, the usual one; torchmetrics brings the weights of its last layer.

    Args:
        weights: AlexNet's weights as torchvision publishes them (`LPIPS_WEIGHTS`), or the same tensors as a
            safetensors file.
        device: Where it runs.

    Raises:
        InputError: If torchmetrics or torchvision cannot be used, or the file holds other weights.
    """
    check_regular_file(Path(weights), name="lpips")
    try:
        network = importlib.import_module("torchmetrics.functional.image.lpips")._LPIPS(
            net="alex", pnet_rand=True
        )
    except (ImportError, AttributeError, RuntimeError, TypeError) as error:
        raise InputError(
            f"LPIPS needs the Python packages torchmetrics and torchvision, which cannot be used here "
            f'({one_line(error)}); install them with: pip install "spatialdreamer[evaluate]"'
        ) from error
    state = _read_state(os.fspath(weights))
    try:
        own = network.net.state_dict()
        for index, part in _SLICES.items():
            for kind in ("weight", "bias"):
                own[f"slice{part}.{index}.{kind}"] = state[f"features.{index}.{kind}"]
        network.net.load_state_dict(own)
    except Exception as error:
        raise InputError(
            f"lpips must be the weights of AlexNet as torchvision publishes them, got others in {weights} "
            f"({one_line(error)}); use the file from {LPIPS_WEIGHTS}"
        ) from error
    network.eval().requires_grad_(False).to(device)

    def distance(result: Tensor, truth: Tensor) -> Tensor:
        return network(result.to(device), truth.to(device), normalize=True).flatten().cpu()

    return distance


class FeatureStatistics:
    """Mean and covariance of features, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | None = None
        self._products: Tensor | None = None

    def add(
        self,
        features: Tensor,  # [D]
    ) -> None:
        """Take the features of one more clip."""
        values = features.detach().double().flatten().cpu()
        if not bool(values.isfinite().all()):
            raise InputError("features must be finite, got NaN or infinite values; use another extractor")
        if self._sum is None or self._products is None:
            self._sum = torch.zeros_like(values)
            self._products = torch.zeros(len(values), len(values), dtype=values.dtype)
        self._sum += values
        self._products += values.outer(values)
        self.count += 1

    def merge(self, other: FeatureStatistics) -> None:
        """Take what another one has collected."""
        if other._sum is None or other._products is None:
            return
        if self._sum is None or self._products is None:
            self._sum, self._products = torch.zeros_like(other._sum), torch.zeros_like(other._products)
        self._sum += other._sum
        self._products += other._products
        self.count += other.count

    @property
    def mean(self) -> Tensor:  # [D]
        """The mean."""
        assert self._sum is not None
        return self._sum / self.count

    @property
    def covariance(self) -> Tensor:  # [D, D]
        """The covariance, of a sample."""
        assert self._products is not None
        mean = self.mean
        return (self._products - self.count * mean.outer(mean)) / (self.count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Fréchet distance between two sets of features as if they were Gaussian; of clips it is FVD.

        |μ1 - μ2|² + tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½)     (Heusel et al. 2017; Unterthiner et al. 2019)

    It depends on how many clips there are: compare figures of as many, and hundreds for ones to be published.

    Returns:
        The distance, 0 or more; NaN if one of them has less than two clips.
    """
    if min(first.count, second.count) < 2:
        return float("nan")
    between = (first.mean - second.mean).square().sum()
    values, vectors = torch.linalg.eigh(first.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second.covariance @ root).clamp(min=0).sqrt().sum()
    distance = between + first.covariance.trace() + second.covariance.trace() - 2 * shared
    return max(0.0, float(distance))


def load_clip_features(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> ClipFeatures:
    """Load I3D as the TorchScript file that FVD is usually measured with (`i3d_torchscript.pt`).

    A TorchScript file is a program, and this runs it: load only one that you trust. Frames are stretched to
    224x224 and brought to [-1, 1]; the features are those before the softmax.

    Args:
        path: The file.
        device: Where it runs.

    Raises:
        InputError: If it is missing or no TorchScript.
    """
    file = os.path.abspath(path)
    check_regular_file(Path(file), name="i3d")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch would rather have other formats
            network = torch.jit.load(file, map_location=device).eval()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InputError(
            f"i3d must be a TorchScript file, got {path} ({one_line(error)}); use i3d_torchscript.pt"
        ) from error

    def features(clip: Tensor) -> Tensor:
        frames = F.interpolate(clip.float().to(device), (_I3D_SIDE, _I3D_SIDE), mode="bilinear")
        video = (frames * 2 - 1).transpose(0, 1)[None]
        try:
            with torch.no_grad():
                return network(video, rescale=False, resize=False, return_features=True)[0].cpu()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise InputError(
                f"i3d must take a clip and give its features, but {path} fails ({one_line(error)}); use "
                "i3d_torchscript.pt"
            ) from error

    return features


def _read_state(file: str) -> Any:
    """Read a state dict, without running code from it."""
    try:
        return read_state(Path(file), limit=_LARGEST_FILE)
    except Exception as error:
        raise InputError(
            f"lpips must be a whole file of weights, but {file} cannot be read ({one_line(error)}); download "
            f"it again from {LPIPS_WEIGHTS}"
        ) from error
