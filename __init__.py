"""SpatialDreamer: turn mono video into stereo 3D video in ComfyUI; the nodes are in `nodes/`."""

from .nodes import SpatialDreamerExtension

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> SpatialDreamerExtension:
    """Hand ComfyUI the pack's nodes."""
    return SpatialDreamerExtension()
