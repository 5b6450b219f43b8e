"""Draw the pictures that ComfyUI's template browser shows: `python scripts/template_pictures.py`.

The browser titles a pack's templates by their file names alone, so the pictures say what comes out. They
show the demo clip, converted without weights.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from spatialdreamer_core.depth import estimate_depth
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.fill import fast_fill, render_pair
from spatialdreamer_core.flow import estimate_flow
from spatialdreamer_core.frame_matrix.views import render_view, view_shares
from spatialdreamer_core.stereo import pack

ROOT = Path(__file__).parents[1]
SIZE, MARGIN, TITLE, FOOT = (640, 360), 8, 52, 40  # px
FIRST, COUNT = 60, 16  # frames of the clip
BACKGROUND, WORDS, HOLES = (23, 23, 26), (240, 240, 240), (255, 0, 200)


def main() -> None:
    """Convert a part of the clip and draw the pictures."""
    frames = read_frames(ROOT / "assets" / "bigbuckbunny.mp4")
    flow = estimate_flow(frames)
    depth = estimate_depth(frames, flow=flow)
    disparity = depth_to_disparity(depth, divergence=4, convergence=0.5)
    warped, hole = forward_warp(frames, disparity, eye="right")
    right = fast_fill(warped, hole, left=frames, disparity=disparity, flow=flow)
    holes = torch.where(hole > 0, torch.tensor(HOLES).view(1, 3, 1, 1) / 255, warped)
    video, anaglyph = picture(frames), picture(pack(frames, right, format="anaglyph"))
    depth_picture = picture(depth.expand(-1, 3, -1, -1))
    holes, packed = picture(holes), picture(pack(frames, right, format="full_sbs"))
    draw(
        "quick_stereo",
        "Video to stereo 3D, one node",
        {"your video": video, "red-cyan": anaglyph},
        foot="side by side, top-bottom, anaglyph; sound kept",
    )
    draw(
        "dvg_stages",
        "Every stage as a node",
        {
            "depth": depth_picture,
            "warp and its holes": holes,
            "filled": picture(right),
            "side by side": packed,
        },
    )
    eyes = picture(torch.cat([view[..., 130:330] for view in (frames, right)], dim=-1))
    draw(
        "photo",
        "Photo to stereo 3D, one node",
        {"your photo": video, "left and right eye": eyes},
        foot="MPO, JPS, anaglyph, wiggle GIF",
    )
    cut = picture(torch.cat([frames[..., :320], pack(frames, right, format="anaglyph")[..., 320:]], dim=-1))
    squeezed = picture(pack(frames[..., 40:448], right[..., 40:448], format="half_sbs"))
    draw(
        "film",
        "A whole film, of any length",
        {"2D | red-cyan 3D": cut, "half side by side": squeezed},
        foot="settings for scenes; goes on after a break",
    )
    pair = render_pair(frames, depth, side="right", divergence=4, convergence=0.5)
    draw(
        "training_pair",
        "A training pair of any clip",
        {
            "target: your clip": video,
            "reference: the other eye": picture(pair.reference),
            "warped: rendered back": picture(pair.warped),
            "hole: what to paint": picture(pair.hole.expand(-1, 3, -1, -1)),
        },
    )
    draw(
        "m2svid",
        "M2SVid: trained, one step",
        {"left view": video, "warp and its holes": holes},
        foot="public weights fill and repair (4.6 GB)",
    )
    between = [
        render_view(frames, disparity, share, eye="right", planes=4)[0] for share in view_shares(4)[1:-1]
    ]
    views = [view[..., 110:-110] for view in (frames, *between, right)]  # each cut as a tile of its own
    matrix = torch.cat([torch.cat(views[:2], dim=-1), torch.cat(views[2:], dim=-1)], dim=-2)
    draw(
        "frame_matrix",
        "Frame matrix: no training needed",
        {"views between the eyes": picture(matrix), "warp and its holes": holes},
        foot="SVD fills all views together (svd_xt, 9.6 GB)",
    )
    draw(
        "spatialdreamer",
        "SpatialDreamer: video diffusion",
        {"left view": video, "warp and its holes": holes},
        foot="SVD fills the holes (svd_xt, 9.6 GB)",
    )


def read_frames(path: Path) -> Tensor:
    """Return a part of a clip at half size, [F, 3, H, W] in [0, 1]."""
    with av.open(str(path)) as container:
        frames = [
            frame.to_ndarray(format="rgb24", width=640, height=360)
            for index, frame in enumerate(container.decode(video=0))
            if FIRST <= index < FIRST + COUNT
        ]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


def picture(frames: Tensor) -> Image.Image:
    """Return the middle frame of a clip [F, 3, H, W]."""
    frame = frames[len(frames) // 2].permute(1, 2, 0).clamp(0, 1)
    return Image.fromarray((frame * 255).round().byte().numpy())


def draw(name: str, title: str, tiles: dict[str, Image.Image], *, foot: str = "") -> None:
    """Draw a title and pictures, two a row, each with its name, and save them as a template's picture."""
    sheet = Image.new("RGB", SIZE, BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((SIZE[0] / 2, TITLE / 2), title, WORDS, ImageFont.load_default(34), anchor="mm")
    rows = (len(tiles) + 1) // 2
    bottom = SIZE[1] - (FOOT if foot else MARGIN)
    width = (SIZE[0] - 3 * MARGIN) // 2
    height = (bottom - TITLE - (rows - 1) * MARGIN) // rows
    for index, (words, image) in enumerate(tiles.items()):
        left = MARGIN + index % 2 * (width + MARGIN)
        top = TITLE + index // 2 * (height + MARGIN)
        make = ImageOps.pad if image.width > 3 * image.height else ImageOps.fit  # whole, or cut to fill
        sheet.paste(make(image, (width, height)), (left, top))
        pen.rectangle((left, top + height - 30, left + width - 1, top + height - 1), (0, 0, 0))
        pen.text((left + 8, top + height - 15), words, WORDS, ImageFont.load_default(22), anchor="lm")
    if foot:
        pen.text((SIZE[0] / 2, SIZE[1] - FOOT / 2), foot, WORDS, ImageFont.load_default(24), anchor="mm")
    sheet.save(ROOT / "workflows" / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
