"""Build the real architecture in bfloat16, random weights, sample 2 steps, print the peak memory in bytes.

A program of its own, so that the peak is that of nothing else; run by test_full_size.py.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from spatialdreamer_core.spatialdreamer import SamplerConfig, SpatialDreamer, encode_reference, sample

sys.path.append(str(Path(__file__).parents[1]))

from full_svd import make_model


def main() -> None:
    network = SpatialDreamer.from_svd(make_model())
    counts = [sum(p.numel() for p in net.parameters()) for net in (network.svd.unet, network.refiner)]

    left = torch.rand(3, 3, 128, 128)
    hole = torch.zeros(3, 1, 128, 128)
    hole[..., 50:60] = 1
    reference = encode_reference(network, left)
    result = sample(network, reference, left, hole, SamplerConfig(steps=1, passes=2, feather=0))
    assert result.isfinite().all()
    assert torch.equal(result[..., :50], left[..., :50])
    assert not torch.equal(result[..., 50:60], left[..., 50:60])
    unit = 1 if sys.platform == "darwin" else 1024
    print(*counts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


if __name__ == "__main__":
    main()
