"""Tiny models with random weights, of the classes that run the real ones, saved as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

PREPROCESSORS = {
    "dpt": {"image_processor_type": "DPTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2},
    "depth_anything": {
        "image_processor_type": "DPTImageProcessor",
        "size": {"height": 42, "width": 42},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 14,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
    },
    "zoedepth": {
        "image_processor_type": "ZoeDepthImageProcessor",
        "size": {"height": 32, "width": 48},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 32,
        "resample": 2,
        "do_pad": True,
    },
    "depth_pro": {"image_processor_type": "DepthProImageProcessor", "size": {"height": 32, "width": 32}},
}
PREPROCESSORS = {
    family: {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, **config}
    for family, config in PREPROCESSORS.items()
}


def save_model(folder: Path, family: str, **changes) -> None:
    """Save a tiny model of a family with its preprocessor_config.json."""
    torch.manual_seed(0)
    if family == "marigold":
        return _save_marigold(folder)
    build = {"dpt": _dpt, "depth_anything": _depth_anything, "zoedepth": _zoedepth, "depth_pro": _depth_pro}
    model = build[family](**changes)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)  # as they start, the output hardly varies
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS[family]))
    return None


def _transformer(size: int) -> dict:
    return {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": size,
    }


def _dpt():
    from transformers import DPTConfig, DPTForDepthEstimation

    neck = {
        "neck_hidden_sizes": [8, 8, 16, 16],
        "fusion_hidden_size": 8,
        "backbone_out_indices": [0, 1, 2, 3],
    }
    return DPTForDepthEstimation(DPTConfig(**_transformer(32), patch_size=16, is_hybrid=False, **neck))


def _depth_anything(**changes):
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        **{**_transformer(42), "patch_size": 14},
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=16,
            patch_size=14,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=8,
            head_hidden_size=8,
            **changes,
        )
    )


def _zoedepth():
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

    backbone = BeitConfig(
        **_transformer(32),
        patch_size=16,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_indices=[1, 2, 3, 4],
    )
    return ZoeDepthForDepthEstimation(
        ZoeDepthConfig(
            backbone_config=backbone,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=8,
            bottleneck_features=8,
            num_attractors=[2, 2, 1, 1],
            bin_embedding_dim=8,
            num_relative_features=8,
            bin_configurations=[{"n_bins": 8, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}],
        )
    )


def _depth_pro():
    from transformers import DepthProConfig, DepthProForDepthEstimation, Dinov2Config

    encoder = Dinov2Config(**{**_transformer(8), "patch_size": 2}).to_dict()
    return DepthProForDepthEstimation(
        DepthProConfig(
            patch_size=8,
            fusion_hidden_size=8,
            intermediate_hook_ids=[2, 0],
            intermediate_feature_dims=[8, 8],
            scaled_images_ratios=[0.25, 0.5, 1.0],
            scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
            scaled_images_feature_dims=[8, 8, 8],
            image_model_config=encoder,
            patch_model_config=encoder,
            fov_model_config=encoder,
            use_fov_model=False,
        )
    )


def _save_marigold(folder: Path) -> None:
    import tiny_diffusion
    from diffusers import DDIMScheduler, MarigoldDepthPipeline

    pipeline = MarigoldDepthPipeline(
        **tiny_diffusion.make_parts(folder.parent, channels=8),
        scheduler=DDIMScheduler(prediction_type="v_prediction", clip_sample=False),
        prediction_type="depth",
        default_denoising_steps=1,
        default_processing_resolution=32,
    )
    tiny_diffusion.save_pipeline(pipeline, folder)
