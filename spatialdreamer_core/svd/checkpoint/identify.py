"""Identify the model that a checkpoint holds by its tensors' names and shapes, for messages."""

from __future__ import annotations

from .sgm_keys import IMAGE_ENCODER, UNET, VAE
from .sgm_shapes import Shapes

SVD = "Stable Video Diffusion"  # a whole one, widened or not
M2SVID = "M2SVid"  # its UNet, with the other networks or not
_TRAINED = "module."  # before each name where a training's wrapper was saved
# The first kind of which some tensor's name holds the text; special cases come before general ones.
_TEXTS = (
    (".lora_", "a LoRA"),
    ("lora_unet_", "a LoRA"),
    ("refiner.down_blocks.", "SpatialDreamer's trained weights"),
    ("motion_modules.", "an AnimateDiff motion module"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("input_hint_block.", "a ControlNet"),
    ("individual_token_refiner.", "Hunyuan Video"),
    ("double_blocks.0.img_attn.norm.key_norm.scale", "Flux"),
    ("double_blocks.0.img_attn", "Hunyuan Video or a relative of Flux"),
    ("joint_blocks.0.context_block.", "Stable Diffusion 3"),
    ("patchify_proj.", "LTX Video"),
    ("head.modulation", "Wan"),
    ("patch_embed.text_proj.", "CogVideoX"),
    ("t5_yproj.", "Mochi"),
    ("conditioner.embedders.1.model.transformer.resblocks.", "Stable Diffusion XL"),
)
_SDXL_CLASSES = {
    2816: "Stable Diffusion XL",
    2560: "the refiner of Stable Diffusion XL",
}  # label_emb's inputs
_SV3D_CLASSES = {256: "SV3D_u", 1280: "SV3D_p"}
_CONTEXTS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}  # widths of a prompt's tokens


def identify(shapes: Shapes) -> str:
    """Say what kind of model the tensors of a file look like.

    Args:
        shapes: The tensors' shapes by name, as in the file's header.
    """
    shapes = {name.removeprefix(_TRAINED): shape for name, shape in shapes.items()}
    for text, kind in _TEXTS:
        if any(text in name for name in shapes):
            return kind
    if any(name.startswith(UNET + "input_blocks.") for name in shapes):
        return _describe_unet(shapes)
    if any(name.startswith("input_blocks.") for name in shapes):
        return f"{_describe_unet({UNET + name: shape for name, shape in shapes.items()})}, as a UNet alone"
    if any("down_blocks.0.resnets.0.temporal_res_block." in name for name in shapes):
        return "the UNet of a Stable Video Diffusion in diffusers' layout"
    if any(name.startswith("down_blocks.0.") for name in shapes):
        return "a UNet in diffusers' layout"
    if any(name.startswith((VAE, "encoder.conv_in.", "decoder.conv_in.")) for name in shapes):
        return "an autoencoder (VAE) alone"
    if any(".visual." in name or "vision_model." in name or name.startswith("visual.") for name in shapes):
        return "an image encoder alone"
    if any("text_model." in name or ".SelfAttention." in name for name in shapes):
        return "a text encoder"
    if not shapes:
        return "nothing at all"
    return f"an unknown kind of model (it holds {len(shapes)} tensors, such as {next(iter(shapes))})"


def _describe_unet(shapes: Shapes) -> str:
    """Tell apart the models that have the UNet of Stable Diffusion."""
    channels = _inputs(shapes, "input_blocks.0.0.weight")
    classes = _inputs(shapes, "label_emb.0.0.weight")
    if any(".time_stack." in name for name in shapes):
        if classes in _SV3D_CLASSES:
            return _SV3D_CLASSES[classes]
        if channels == 13:
            return M2SVID
        parts = (("autoencoder", f"{VAE}decoder."), ("image encoder", IMAGE_ENCODER))
        lacking = [part for part, prefix in parts if not any(name.startswith(prefix) for name in shapes)]
        if lacking:
            return f"{SVD} without {' and '.join(lacking)}"
        temporal = any(name.startswith(f"{VAE}decoder.") and ".time_stack." in name for name in shapes)
        return SVD if temporal else f"a {SVD} whose decoder is for single images"
    if classes in _SDXL_CLASSES:
        return _SDXL_CLASSES[classes]
    keys = [name.removeprefix(UNET) for name in shapes if name.endswith("attn2.to_k.weight")]
    context = _inputs(shapes, keys[0]) if keys else 0
    kind = _CONTEXTS.get(context, "a Stable Diffusion of an unknown kind")
    return kind + (" for inpainting" if channels == 9 else "")


def _inputs(shapes: Shapes, name: str) -> int:
    """Return how many inputs a layer of the UNet has; 0 if it is not there or quantised to another shape."""
    shape = shapes.get(UNET + name, ())
    return shape[1] if len(shape) > 1 else 0
