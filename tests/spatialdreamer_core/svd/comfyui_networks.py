"""ComfyUI's own SVD networks: their tensors at full size, and what they make of a tiny checkpoint.

Runs in a process of its own, as ComfyUI reads the command line and its modules have common names:
`python comfyui_networks.py COMFYUI CHECKPOINT INPUTS OUTPUTS SHAPES`.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])
checkpoint_file, inputs_file, outputs_file, shapes_file = sys.argv[2:]
sys.argv = [sys.argv[0], "--cpu"]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.clip_model  # noqa: E402
import comfy.clip_vision  # noqa: E402
import comfy.model_detection  # noqa: E402
import comfy.ops  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.models.autoencoder import AutoencodingEngine  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import Timestep, UNetModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

OPERATIONS = comfy.ops.disable_weight_init
FULL_SIZE = {  # of UNetModel, as published
    "image_size": 32,
    "in_channels": 8,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "num_classes": "sequential",
    "adm_in_channels": 768,
    "context_dim": 1024,
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "legacy": False,
    "extra_ff_mix_layer": True,
    "use_spatial_context": True,
    "merge_strategy": "learned_with_images",
    "video_kernel_size": [3, 1, 1],
    "use_temporal_resblock": True,
    "use_temporal_attention": True,
}


def make_autoencoder(width, multiples):
    parts = "comfy.ldm.modules.diffusionmodules.model.Encoder", "comfy.ldm.modules.temporal_ae.VideoDecoder"
    half = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": width}
    half |= {"ch_mult": multiples, "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    encoder, decoder = (
        {"target": target, "params": half | more}
        for target, more in zip(parts, ({}, {"video_kernel_size": [3, 1, 1], "alpha": 0.0}), strict=True)
    )
    return AutoencodingEngine(
        encoder_config=encoder,
        decoder_config=decoder,
        regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
    )


def part(state, prefix):
    return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}


def list_shapes():
    with torch.device("meta"):
        networks = {
            "model.diffusion_model.": UNetModel(**FULL_SIZE, operations=OPERATIONS),
            "first_stage_model.": make_autoencoder(128, [1, 2, 4, 4]),
        }
    return {
        prefix + name: list(tensor.shape)
        for prefix, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


def run_unet(state, inputs):
    config = comfy.model_detection.detect_unet_config(state, "model.diffusion_model.")
    unet = UNetModel(**config, num_head_channels=64, operations=OPERATIONS)
    unet.load_state_dict(part(state, "model.diffusion_model."))
    frames = len(inputs["sample"])
    return unet.eval()(
        inputs["sample"],
        inputs["timestep"].expand(frames),
        context=inputs["context"],
        y=Timestep(256)(inputs["time_ids"].flatten()).view(1, -1).expand(frames, -1),
        num_video_frames=frames,
    )


def run_autoencoder(state, inputs):
    widths = [state[f"first_stage_model.encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(4)]
    autoencoder = make_autoencoder(widths[0], [width // widths[0] for width in widths])
    autoencoder.load_state_dict(part(state, "first_stage_model."))
    autoencoder.eval()
    moments, _ = autoencoder.encode(inputs["pictures"], unregularized=True)
    return moments, autoencoder.decode(inputs["latents"])


def run_tower(state, inputs):
    names = comfy.clip_vision.convert_to_transformers(
        {name: state[name] for name in state if name.startswith("conditioner.")},
        "conditioner.embedders.0.open_clip.model.visual.",
    )
    convolution = names["vision_model.embeddings.patch_embedding.weight"]
    config = {
        "model_type": "clip_vision_model",
        "num_hidden_layers": 2,
        "hidden_size": convolution.shape[0],
        "num_attention_heads": 1,
        "intermediate_size": names["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "hidden_act": "gelu",
        "num_channels": 3,
        "patch_size": convolution.shape[-1],
        "image_size": 224,
        "projection_dim": names["visual_projection.weight"].shape[0],
    }
    tower = comfy.clip_model.CLIPVisionModelProjection(config, torch.float32, "cpu", OPERATIONS)
    tower.load_state_dict(names)
    return tower.eval()(pixel_values=inputs["pixels"])[2]


if __name__ == "__main__":
    with open(shapes_file, "w") as file:
        json.dump(list_shapes(), file)
    state, inputs = load_file(checkpoint_file), load_file(inputs_file)
    with torch.inference_mode():
        moments, decoded = run_autoencoder(state, inputs)
        outputs = {"moments": moments, "decoded": decoded}
        outputs |= {"noise": run_unet(state, inputs), "embeddings": run_tower(state, inputs)}
    save_file({name: output.contiguous() for name, output in outputs.items()}, outputs_file)
