"""Build the real architecture in bfloat16, random weights, run one window, print the peak memory in bytes.

A program of its own, so that the peak is that of nothing else; run by test_full_size.py.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock

from spatialdreamer_core.m2svid import encode_window
from spatialdreamer_core.m2svid.model import assemble
from spatialdreamer_core.m2svid.predict import predict

sys.path.append(str(Path(__file__).parents[1]))

from full_svd import make_model


def main() -> None:
    model = assemble(make_model(in_channels=13, num_attention_heads=(5, 10, 20, 20)), full_attention=True)
    kinds = (ResnetBlock2D, TemporalResnetBlock)
    residuals = [module for module in model.svd.unet.modules() if isinstance(module, kinds)]
    assert {norm.eps for module in residuals for norm in (module.norm1, module.norm2)} == {1e-5}

    left = torch.rand(2, 3, 128, 128)
    hole = torch.zeros(2, 1, 128, 128)
    hole[..., 50:70] = 1
    encoded = encode_window(model, left, left, hole)
    latents = predict(model, *(tensor[None] for tensor in encoded))[0]
    frames = model.svd.codec.decode(latents)
    assert latents.shape == (2, 4, 16, 16)
    assert frames.shape == left.shape
    assert frames.isfinite().all()
    unit = 1 if sys.platform == "darwin" else 1024
    count = sum(parameter.numel() for parameter in model.svd.unet.parameters())
    print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


if __name__ == "__main__":
    main()
