"""Draw the pictures of the nodes' help pages: `python scripts/help_pictures.py [NODE ...]`.

Each shows what the node takes and gives on the demo clip, converted without weights, and above it the nodes
that it is mostly wired to. Of nodes whose model must be downloaded it shows what the model is given.
"""

from __future__ import annotations

import json
import sys
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from spatialdreamer_core.depth import estimate_depth
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp, refine_hole_mask
from spatialdreamer_core.fill import fast_fill, render_pair
from spatialdreamer_core.flow import estimate_flow
from spatialdreamer_core.frame_matrix.views import render_view, view_shares
from spatialdreamer_core.stereo import pack
from spatialdreamer_core.stereo.quilt import pack_quilt

ROOT = Path(__file__).parents[1]
CLIP, PICTURES = ROOT / "assets" / "bigbuckbunny.mp4", ROOT / "web" / "docs" / "images"
WIDTH, MARGIN, CHAIN, WORDS = 720, 8, 56, 26  # px: of a picture, between its parts, and their heights
SHAPE = (640, 360)  # px, of the clip's frames as they are converted
FIRST, COUNT = 60, 12  # frames of the clip
GROUND, BOX, HERE, TEXT, HOLES = (23, 23, 26), (52, 52, 58), (38, 98, 168), (240, 240, 240), (255, 0, 200)
CHAINS = {
    "SpatialDreamerConvertVideo": ("Load Video", "Video to Stereo 3D"),
    "SpatialDreamerBatchConvert": ("Batch to Stereo 3D",),
    "SpatialDreamerImageToStereo": ("Load Image", "Image to Stereo 3D", "Save Stereo 3D Photo"),
    "SpatialDreamerLoadDemoClip": ("Load Demo Clip", "Video to Stereo 3D"),
    "SpatialDreamerFilmSettings": ("Film Settings", "Video to Stereo 3D"),
    "SpatialDreamerDepthEstimator": ("Load Image", "Depth Estimator", "DVG Forward Warp"),
    "SpatialDreamerLoadDepth": ("Load Depth", "DVG Forward Warp", "Fast Fill"),
    "SpatialDreamerOpticalFlow": ("frames", "Optical Flow", "Fast Fill"),
    "SpatialDreamerDVGForwardWarp": ("Depth Estimator", "DVG Forward Warp", "Fast Fill"),
    "SpatialDreamerRefineHoleMask": ("DVG Forward Warp", "Refine Hole Mask", "a filler"),
    "SpatialDreamerFastFill": ("DVG Forward Warp", "Fast Fill", "Composite"),
    "SpatialDreamerComposite": ("a filler", "Composite", "SBS Packer"),
    "SpatialDreamerSBSPacker": ("Composite", "SBS Packer", "Save Stereo 3D Video"),
    "SpatialDreamerSaveStereoVideo": ("SBS Packer", "Save Stereo 3D Video"),
    "SpatialDreamerSaveStereoPhoto": ("SBS Packer", "Save Stereo 3D Photo"),
    "SpatialDreamerQuiltPacker": ("Frame Matrix Sampler", "Quilt Packer", "Save Stereo 3D Photo"),
    "SpatialDreamerCompareStereo": ("Composite", "Compare", "figures"),
    "SpatialDreamerBuildDVGClip": ("Depth Estimator", "Build DVG Clip", "training pairs"),
    "SpatialDreamerModelLoader": ("Model Loader", "RefinerNet Encode", "TIL SVD Sampler"),
    "SpatialDreamerRefinerNetEncode": ("Model Loader", "RefinerNet Encode", "TIL SVD Sampler"),
    "SpatialDreamerTILSVDSampler": ("RefinerNet Encode", "TIL SVD Sampler", "Composite"),
    "SpatialDreamerFiller": ("Model Loader", "SpatialDreamer Filler", "Video to Stereo 3D"),
    "SpatialDreamerM2SVidLoader": ("M2SVid Loader", "M2SVid Refiner", "SBS Packer"),
    "SpatialDreamerM2SVidRefiner": ("M2SVid Loader", "M2SVid Refiner", "SBS Packer"),
    "SpatialDreamerM2SVidFiller": ("M2SVid Loader", "M2SVid Filler", "Video to Stereo 3D"),
    "SpatialDreamerFrameMatrixSampler": ("Model Loader", "Frame Matrix Sampler", "SBS Packer"),
    "SpatialDreamerFrameMatrixFiller": ("Model Loader", "Frame Matrix Filler", "Video to Stereo 3D"),
}


class Stages:
    """The demo clip and what each stage makes of it, [F, C, H, W]."""

    @cached_property
    def left(self) -> Tensor:
        """The source view."""
        with av.open(str(CLIP)) as container:
            frames = [
                frame.to_ndarray(format="rgb24", width=SHAPE[0], height=SHAPE[1])
                for index, frame in enumerate(container.decode(video=0))
                if FIRST <= index < FIRST + COUNT
            ]
        return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255

    @cached_property
    def flow(self):
        """Its optical flow."""
        return estimate_flow(self.left)

    @cached_property
    def depth(self) -> Tensor:
        """Its depth by the builtin estimator."""
        return estimate_depth(self.left, flow=self.flow)

    @cached_property
    def disparity(self) -> Tensor:
        """The disparity of a strength that shows well in a small picture."""
        return depth_to_disparity(self.depth, divergence=5, convergence=0.5)

    @cached_property
    def warp(self) -> tuple[Tensor, Tensor]:
        """The warped view and its hole mask."""
        return forward_warp(self.left, self.disparity, eye="right")

    @cached_property
    def marked(self) -> Tensor:
        """The warped view with its holes in a colour."""
        warped, hole = self.warp
        return torch.where(hole > 0, torch.tensor(HOLES).view(1, 3, 1, 1) / 255, warped)

    @cached_property
    def refined(self) -> Tensor:
        """The hole mask, refined over time and widened as fillers that redraw want it."""
        mask = refine_hole_mask(self.warp[1], self.flow, disparity=self.disparity)
        return torch.nn.functional.max_pool2d(mask, 5, 1, 2)

    @cached_property
    def right(self) -> Tensor:
        """The filled view."""
        warped, hole = self.warp
        return fast_fill(warped, hole, left=self.left, disparity=self.disparity, flow=self.flow)

    def packed(self, format: str) -> Tensor:
        """Both views in a format."""
        return pack(self.left, self.right, format=format, depth=self.depth if format == "rgbd" else None)

    def views(self, count: int) -> list[Tensor]:
        """Views from the left eye to the right one."""
        between = [
            render_view(self.left, self.disparity, share, eye="right", planes=4)[0]
            for share in view_shares(count)[1:-1]
        ]
        return [self.left, *between, self.right]


def picture(frames: Tensor) -> Image.Image:
    """Return the middle frame of a clip of colours or greys."""
    frame = frames[len(frames) // 2].expand(3, -1, -1).permute(1, 2, 0).clamp(0, 1)
    return Image.fromarray((frame * 255).round().byte().numpy())


def flow_picture(flow: Tensor) -> Image.Image:
    """Return the middle frame's flow: the hue is the direction, the brightness the length."""
    dx, dy = flow[len(flow) // 2].numpy()
    length, angle = cv2.cartToPolar(dx, dy, angleInDegrees=True)
    value = np.clip(length / np.percentile(length, 99), 0, 1) * 255
    hsv = np.stack([angle / 2, np.full_like(angle, 200), value], axis=-1)
    return Image.fromarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))


def close_up(frames: Tensor) -> Image.Image:
    """Return a part of the middle frame in which single pixels are seen."""
    part = picture(frames).crop((300, 120, 364, 156))
    return part.resize(SHAPE, Image.Resampling.NEAREST)


def tiles_of(node: str, stages: Stages) -> dict[str, Image.Image]:
    """Return a node's pictures by their words; in the order of the data's way."""
    left, marked, right = picture(stages.left), picture(stages.marked), picture(stages.right)
    given = {"left view": left, "warped view, holes marked": marked}
    between = {"left eye": left, "between": picture(stages.views(3)[1]), "right eye": right}
    stereo = {"anaglyph": picture(stages.packed("anaglyph")), "half_sbs": picture(stages.packed("half_sbs"))}
    match node.removeprefix("SpatialDreamer"):
        case "ConvertVideo" | "LoadDemoClip" | "FilmSettings" | "BatchConvert":
            return {"the video": left} | stereo
        case "ImageToStereo":
            return {"the photo": left, "depth": picture(stages.depth)} | {"anaglyph": stereo["anaglyph"]}
        case "DepthEstimator" | "LoadDepth":
            return {"frame": left, "depth: white is near": picture(stages.depth)}
        case "OpticalFlow":
            return {"frame": left, "flow: the hue is the direction": flow_picture(stages.flow.forward)}
        case "DVGForwardWarp":
            return {"depth": picture(stages.depth), "warped": picture(stages.warp[0])} | {
                "hole": picture(stages.warp[1])
            }
        case "RefineHoleMask":
            return {"hole": picture(stages.warp[1]), "refined, dilate 2": picture(stages.refined)}
        case "FastFill":
            return {"warped view, holes marked": marked, "filled": right}
        case "Composite":
            return {"warped": marked, "filled by any filler": right} | {
                "from where: white = filled": picture(stages.warp[1])
            }
        case "SBSPacker":
            formats = ("full_sbs", "half_sbs", "half_tb", "anaglyph", "rgbd")
            return {name: picture(stages.packed(name)) for name in formats} | {
                "row_interlaced, close up": close_up(stages.packed("row_interlaced"))
            }
        case "SaveStereoVideo":
            return {"film_00001_LRF_Full_SBS.mp4": picture(stages.packed("full_sbs"))} | {
                "film_00001_redcyan.mp4": stereo["anaglyph"]
            }
        case "SaveStereoPhoto":
            return {"left, then": left, "right: wiggle, MPO, JPS": right}
        case "QuiltPacker":
            quilt = pack_quilt(torch.stack(stages.views(6)), columns=3, rows=2)
            return {"6 views, 3 x 2: the leftmost at the bottom left": picture(quilt)}
        case "CompareStereo":
            difference = (stages.right - stages.left).abs().mean(1, keepdim=True) * 2
            return {"a view": right, "another one": left, "their difference": picture(difference)}
        case "BuildDVGClip":
            pair = render_pair(stages.left, stages.depth, divergence=5)
            return {"target x1": left, "reference x2": picture(pair.reference)} | {
                "warped: x2 seen from x1": picture(pair.warped)
            }
        case "FrameMatrixSampler" | "FrameMatrixFiller":
            return between
        case _:  # nodes of models: what these are given
            return given


def draw(node: str, tiles: dict[str, Image.Image]) -> Image.Image:
    """Draw a node's chain, and below it its pictures, at most three a row, each with its words."""
    columns = min(3, len(tiles))
    rows = -(-len(tiles) // columns)
    width = (WIDTH - (columns + 1) * MARGIN) // columns
    height = min(width * image.height // image.width for image in tiles.values())
    height = max(height, width * 9 // 16) if columns > 1 else height
    sheet = Image.new("RGB", (WIDTH, CHAIN + rows * (height + WORDS + MARGIN)), GROUND)
    pen = ImageDraw.Draw(sheet)
    draw_chain(pen, CHAINS[node], title_of(node))
    for index, (words, image) in enumerate(tiles.items()):
        x = MARGIN + index % columns * (width + MARGIN)
        y = CHAIN + index // columns * (height + WORDS + MARGIN)
        sheet.paste(ImageOps.pad(image, (width, height), color=GROUND), (x, y))
        pen.text((x + 4, y + height + WORDS / 2), words, TEXT, ImageFont.load_default(16), anchor="lm")
    return sheet


def title_of(node: str) -> str:
    """Return a node's name as ComfyUI shows it."""
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    return texts[node]["display_name"]


def draw_chain(pen: ImageDraw.ImageDraw, names: tuple[str, ...], title: str) -> None:
    """Draw boxes with names, joined by arrows; in another colour that of the node with this title."""
    font, gap = ImageFont.load_default(18), 34
    widths = [round(font.getlength(name)) + 28 for name in names]
    x = (WIDTH - sum(widths) - gap * (len(names) - 1)) / 2
    for index, (name, width) in enumerate(zip(names, widths, strict=True)):
        top, bottom = MARGIN + 4, CHAIN - MARGIN - 4
        colour = HERE if name in title else BOX
        pen.rounded_rectangle((x, top, x + width, bottom), 8, colour)
        pen.text((x + width / 2, CHAIN / 2), name, TEXT, font, anchor="mm")
        if index:
            tip = (x - 6, CHAIN / 2)
            pen.line((x - gap + 6, CHAIN / 2, *tip), TEXT, 2)
            pen.polygon([tip, (tip[0] - 8, tip[1] - 5), (tip[0] - 8, tip[1] + 5)], TEXT)
        x += width + gap


def main() -> None:
    """Draw the pictures of all nodes, or of those that are named."""
    stages = Stages()
    PICTURES.mkdir(exist_ok=True)
    for node in sys.argv[1:] or CHAINS:
        draw(node, tiles_of(node, stages)).save(PICTURES / f"{node}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
