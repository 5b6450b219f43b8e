"""Fill 8 frames by one step of the preset `fast` on the real architecture, random weights.

Prints the peak memory in bytes and the seconds taken. A program of its own, so that the peak is that of
nothing else; run by test_full_size.py.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import torch

from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.frame_matrix import FrameMatrixConfig, FrameMatrixModel, fill_matrix

sys.path.append(str(Path(__file__).parents[1]))

from full_svd import make_model


def main() -> None:
    model = FrameMatrixModel(make_model())
    left = torch.rand(8, 3, 128, 128)
    depth = torch.zeros(8, 1, 128, 128)
    depth[..., 30:90, 40:80] = 1
    disparity = depth_to_disparity(depth, divergence=16.0, convergence=0.3)
    warped, hole = forward_warp(left, disparity)
    begin = time.monotonic()
    config = FrameMatrixConfig(matrix_preset="fast", steps=1, feather=0)
    result = fill_matrix(model, left, warped, hole, disparity, config).filled
    known = (hole < 0.5).expand_as(warped)
    assert result.isfinite().all()
    assert torch.equal(result[known], warped[known])
    assert not torch.equal(result[~known], warped[~known])
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, time.monotonic() - begin)


if __name__ == "__main__":
    main()
