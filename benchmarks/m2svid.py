"""What M2SVid costs beside its authors' script, and what working around holes alone saves.

SVD's architecture with random weights, in one run, interleaved, medians: the denoiser's pass against that of
the authors' network, which runs a second branch for guidance at a scale of 1, with the same weights, with and
without full attention of masked tokens; `refine` around the holes of 5 % of the picture, along one side of an
object, against whole pictures; and how near the two are inside the holes, by the margin of context. Seconds
on the CPU are those that it worked, whatever else runs beside.

    python -m benchmarks.m2svid --official DIR    # their repository; einops must be installed
    python -m benchmarks.m2svid                   # without them

Random weights have no locality: a trained model's regions are nearer to its whole pictures.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import format_table, write_result
from spatialdreamer_core.m2svid import M2SVid, RefinerConfig, encode_window, refine
from spatialdreamer_core.m2svid.predict import predict
from spatialdreamer_core.svd import SVDModel, build_unet
from spatialdreamer_core.svd.checkpoint.sgm_keys import to_stored, unet_table
from spatialdreamer_core.svd.schedule import SIGMA_MAX, noise_time

_FRAMES, _HEIGHT, _WIDTH = 4, 256, 512
_PASS_WIDTH = 256  # px, of the denoiser's pass alone
_WIDTHS = (64, 128, 256, 256)
_CONTEXT = 64
_MARGINS = (64, 128)
_FPS = 24.0


def main() -> None:
    """Print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", type=Path, metavar="DIR", help="the authors' repository")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, interleaved")
    arguments = parser.parse_args()
    metrics: dict[str, float] = {}
    with torch.inference_mode():
        model = make_model()
        for full_attention in (True, False):
            variant = replace(model, full_attention=full_attention)
            if arguments.official is not None:
                metrics |= compare_pass(variant, arguments.official, arguments.repeat)
        metrics |= compare_regions(model, arguments.repeat)
        metrics |= compare_margins(model)
    print(format_table(["what", "value"], [[name, value] for name, value in metrics.items()]))
    notes = (
        f"narrow networks, random weights, float32, {_FRAMES} frames, medians of {arguments.repeat}, times "
        f"in seconds; the pass at {_PASS_WIDTH}x{_HEIGHT}, refining at {_WIDTH}x{_HEIGHT}"
    )
    print(write_result("m2svid", metrics, notes))


def make_model() -> M2SVid:
    """Make M2SVid with random weights."""
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    unet = build_unet(
        in_channels=13,
        block_out_channels=_WIDTHS,
        num_attention_heads=tuple(width // 64 for width in _WIDTHS),
        cross_attention_dim=_CONTEXT,
        num_frames=25,
    )
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=2,
        force_upcast=True,
    )
    tower = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=1,
        patch_size=56,
        projection_dim=_CONTEXT,
        hidden_act="gelu",
    )
    networks = unet, vae, CLIPVisionModelWithProjection(tower)
    return M2SVid(SVDModel(*(network.eval() for network in networks)), full_attention=True)


def make_clip(width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make left view, rendered view and holes: 5 % of the picture, along the left side of a round object."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(_FRAMES, 3, _HEIGHT // 16, width // 16, generator=generator)
    left = F.interpolate(coarse, (_HEIGHT, width), mode="bicubic").clamp(0, 1)
    rows = torch.arange(_HEIGHT)[:, None]
    columns = torch.arange(width)
    hole = torch.zeros(_FRAMES, 1, _HEIGHT, width)
    high = (rows - _HEIGHT / 2).abs() < 0.45 * _HEIGHT
    breadth = 0.05 * width / 0.9
    for frame in range(_FRAMES):
        edge = width / 3 + 8 * ((rows - _HEIGHT / 2) / (_HEIGHT / 2)) ** 2 + frame
        hole[frame, 0] = ((columns >= edge - breadth) & (columns < edge) & high).float()
    return left, left.roll(-12, -1) * (1 - hole), hole


def compare_pass(model: M2SVid, official: Path, repeat: int) -> dict[str, float]:
    """Time the denoiser's pass beside the authors' of both branches; both give the same."""
    name = "full_attention" if model.full_attention else "no_full_attention"
    encoded = encode_window(model, *make_clip(_PASS_WIDTH))
    network = _official_network(official, model)
    inputs = _official_inputs(model, *encoded)
    works: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: predict(model, *(part[None] for part in encoded), fps=_FPS)[0],
        "official": lambda: network(**inputs)[:_FRAMES],
    }
    times, results = _measure(works, repeat)
    theirs = results["official"] * -SIGMA_MAX / (SIGMA_MAX**2 + 1) ** 0.5
    difference = float((results["ours"] - theirs).abs().max() / theirs.abs().max())
    return {
        f"{name}_pass": times["ours"],
        f"{name}_official_pass": times["official"],
        f"{name}_pass_over_official": times["ours"] / times["official"],
        f"{name}_largest_difference": difference,
    }


def _official_inputs(
    model: M2SVid, left: Tensor, warped: Tensor, mask: Tensor, embeddings: Tensor
) -> dict[str, Any]:
    """Return what the authors' network takes: the branch with conditions, then the one with zeros."""
    unet = model.svd.unet
    conditioned = torch.cat([torch.zeros_like(left), left, warped, mask], dim=1)
    ids = torch.tensor([_FPS, 127.0, 0.02])
    vector = unet.add_time_proj(ids).reshape(1, -1).repeat(_FRAMES, 1)
    return {
        "x": torch.cat([conditioned, torch.zeros_like(conditioned)]),
        "timesteps": noise_time(torch.full((2 * _FRAMES,), SIGMA_MAX)),
        "context": torch.cat([embeddings, torch.zeros_like(embeddings)]),
        "y": torch.cat([vector, vector]),
        "num_video_frames": _FRAMES,
        "image_only_indicator": torch.zeros(2, _FRAMES),
        "inpainting_mask": torch.cat([mask, mask])[:, 0],
    }


def _official_network(folder: Path, model: M2SVid) -> Any:
    """Build the authors' UNet with the model's weights."""
    _stand_in_for_packages(folder)
    module = importlib.import_module("sgm.modules.diffusionmodules.video_model")
    network = module.VideoUNet(
        adm_in_channels=768,
        num_classes="sequential",
        use_checkpoint=False,
        in_channels=13,
        out_channels=4,
        model_channels=_WIDTHS[0],
        attention_resolutions=[4, 2, 1],
        num_res_blocks=2,
        channel_mult=[width // _WIDTHS[0] for width in _WIDTHS],
        num_head_channels=64,
        use_linear_in_transformer=True,
        transformer_depth=1,
        context_dim=_CONTEXT,
        spatial_transformer_attn_type="softmax-xformers",
        extra_ff_mix_layer=True,
        use_spatial_context=True,
        merge_strategy="learned_with_images",
        video_kernel_size=[3, 1, 1],
        attn_inpainting_strategy="spatial_full_attention" if model.full_attention else None,
    )
    state = model.svd.unet.state_dict()
    stored = to_stored(unet_table(state), state)
    network.load_state_dict({key.removeprefix("model.diffusion_model."): stored[key] for key in stored})
    return network.eval()


def _stand_in_for_packages(folder: Path) -> None:
    """Import what the network needs of the authors' packages alone, and torch's attention for xformers'."""
    root = folder / "third_party" / "Hi3D_Official" / "sgm"
    if not root.is_dir():
        raise SystemExit(f"--official must be the authors' repository, with {root.relative_to(folder)} in it")
    for name in ("sgm", "sgm.modules", "sgm.modules.diffusionmodules"):
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules.setdefault(name, package)
    if "xformers" not in sys.modules and find_spec("xformers") is None:
        xformers: Any = ModuleType("xformers")
        xformers.__version__ = "0.0.30"
        xformers.ops = ModuleType("xformers.ops")
        xformers.ops.memory_efficient_attention = lambda query, key, value, **_: (
            F.scaled_dot_product_attention(query, key, value)
        )
        sys.modules |= {"xformers": xformers, "xformers.ops": xformers.ops}


def compare_regions(model: M2SVid, repeat: int) -> dict[str, float]:
    """Time `refine` around the holes and on whole pictures."""
    clip = make_clip(_WIDTH)
    config = RefinerConfig(keep_known=True)
    works = {
        "regions": lambda: refine(model, *clip, config),
        "whole": lambda: refine(model, *clip, replace(config, regions="whole")),
    }
    times, results = _measure(works, repeat)
    return {
        "refine_regions": times["regions"],
        "refine_whole": times["whole"],
        "regions_over_whole": times["regions"] / times["whole"],
        "share_run": results["regions"].share,
        "share_of_holes": float(clip[2].mean()),
    }


def compare_margins(model: M2SVid) -> dict[str, float]:
    """Measure how near regions are to whole pictures inside the holes, by margin."""
    clip = make_clip(_WIDTH)
    config = RefinerConfig(keep_known=True)
    whole = refine(model, *clip, replace(config, regions="whole")).filled
    inside = clip[2].expand_as(whole) > 0.5
    return dict(_margins(model, clip, config, whole, inside))


def _margins(
    model: M2SVid, clip: tuple[Tensor, Tensor, Tensor], config: RefinerConfig, whole: Tensor, inside: Tensor
) -> Iterator[tuple[str, float]]:
    """Yield the figures of each margin."""
    for margin in _MARGINS:
        views = refine(model, *clip, replace(config, margin=margin))
        error = (views.filled - whole)[inside].square().mean()
        yield f"margin{margin}_share_run", views.share
        yield f"margin{margin}_psnr_in_holes", float(-10 * error.clamp_min(1e-12).log10())


def _measure(works: dict[str, Callable[[], Any]], repeat: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Run each work in turn, again and again; return medians [s], and what each gave."""
    times: dict[str, list[float]] = {name: [] for name in works}
    results = {}
    for count in range(repeat + 1):
        for name, work in works.items():
            started = time.process_time()
            results[name] = work()
            if count:  # the first round warms up
                times[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in times.items()}, results


if __name__ == "__main__":
    main()
