"""Holes filled by Stable Diffusion inpainting (Rombach et al., CVPR 2022), each frame by itself.

It invents what fast fill cannot know, and is meant for `render_pair`, where the invented view is only the
reference that training starts from. Three things make it fit rendered views:

- The UNet sees the mask at the latents' size. A hole a few pixels wide would fall between the samples of
  diffusers' nearest resizing, so every block of pixels of one latent that a hole touches is masked whole.
- A frame larger than the working size is averaged down, and every pixel that a hole touches counts as hole,
  so that no colour of a hole gets into what is known.
- Noise is drawn on the CPU, the same for each frame: chunks equal the whole, and flicker is least.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts import check_call
from ..dvg.eyes import Eye
from ..memory import run_within_memory
from ..options import check_options, option
from ..weights.download import OnProgress
from .composite import composite
from .filler import RenderedFrame
from .stable_diffusion_weights import fetch_inpainting_model, load_pipeline


@dataclass(frozen=True)
class InpaintConfig:
    """How holes are inpainted; defaults as published with the model and in diffusers."""

    prompt: str = option(
        "", metavar="TEXT", help="What the holes show, in words; without any the picture decides."
    )
    steps: int = option(50, 1, 1000, metavar="COUNT", help="Steps of denoising.")
    guidance: float = option(
        7.5,
        1.0,
        50.0,
        metavar="SCALE",
        advanced=True,
        help="How closely the prompt is followed; without one it has no meaning.",
    )
    size: int = option(
        512,
        64,
        4096,
        "px",
        advanced=True,
        help="Shorter side to which larger frames are brought for the model.",
    )
    seed: int = option(0, 0, 2**63 - 1, help="Seed of the noise. The same seed gives the same result.")

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)


class Inpainter:
    """The filler by a pipeline of diffusers, each frame by itself; also to be called as a function.

    Args:
        pipeline: A `StableDiffusionInpaintPipeline`.
        config: How it fills.
    """

    refines_holes = False  # nothing carries over from frame to frame that a steadier mask would help
    takes_bytes = False
    reach = 0

    def __init__(self, pipeline: Any, config: InpaintConfig) -> None:
        self.config = config
        self.modules: tuple[nn.Module, ...] = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        self._pipeline = pipeline

    def open(self, *, eye: Eye, size: tuple[int, int]) -> InpaintStream:
        """Begin a film, or an eye of it."""
        return InpaintStream(self)

    @torch.no_grad()  # not inference_mode: training takes the result
    def __call__(
        self,
        warped: Tensor,  # [F, 3, H, W] in [0, 1]
        hole: Tensor,  # [F, 1, H, W], 1 = hole
    ) -> Tensor:  # [F, 3, H, W] in [0, 1]
        """Fill the holes of a rendered view.

        Args:
            warped: The rendered view; what it shows in its holes is ignored.
            hole: Hole mask; values above 0.5 are holes.

        Returns:
            The view with its holes filled; all other pixels are the view's own, bit for bit.

        Raises:
            InputError: If a tensor breaks its rule (`contracts.TABLE`) or a frame does not fit into memory.
        """
        check_call("Inpainter", warped=warped, hole=hole)
        filled = warped.clone()
        for t in (hole > 0.5).flatten(1).any(dim=1).nonzero().flatten().tolist():
            filled[t : t + 1] = self._inpaint(warped[t : t + 1], hole[t : t + 1])
        return composite(warped, filled, hole)

    def _inpaint(
        self,
        warped: Tensor,  # [1, 3, H, W]
        hole: Tensor,  # [1, 1, H, W]
    ) -> Tensor:  # [1, 3, H, W]
        """Redraw a frame at the working size, and bring it back to its own."""
        size = (warped.shape[-2], warped.shape[-1])
        small = _working_size(size, self.config.size)
        # Both poolings have the same cells; diffusers takes values below 0 for another range.
        image = F.adaptive_avg_pool2d(warped.float().clamp(0, 1), small)
        mask = F.adaptive_max_pool2d((hole > 0.5).float(), small)
        image, mask = _pad(image, mask, self._pipeline.vae_scale_factor)
        redrawn, _ = run_within_memory(
            lambda size: self._redraw(image, mask, size),
            (image.shape[-2], image.shape[-1]),
            smaller=lambda size: None,  # less detail has to be asked for
            task="Stable Diffusion inpainting",
            explain=lambda size: (
                f"a frame must fit into memory, but Stable Diffusion inpainting ran out of it at {size[1]}x"
                f"{size[0]}; use a smaller `size` than {self.config.size} px or smaller frames"
            ),
        )
        redrawn = redrawn[..., : small[0], : small[1]]
        return (redrawn if small == size else F.interpolate(redrawn, size, mode="bilinear")).to(warped)

    def _redraw(self, image: Tensor, mask: Tensor, size: tuple[int, int]) -> Tensor:  # [1, 3, *size]
        """Run the pipeline on a frame of such a height and width."""
        images: Tensor = self._pipeline(
            prompt=self.config.prompt,
            image=image,
            mask_image=mask,
            height=size[0],
            width=size[1],
            num_inference_steps=self.config.steps,
            guidance_scale=self.config.guidance if self.config.prompt else 1.0,
            generator=torch.Generator().manual_seed(self.config.seed),
            output_type="pt",
        ).images
        return images


class InpaintStream:
    """Fills frame by frame.

    Args:
        inpainter: What fills a frame.
    """

    def __init__(self, inpainter: Inpainter) -> None:
        self._inpainter = inpainter

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Fill a frame.

        Raises:
            InputError: As the inpainter.
        """
        return [self._inpainter(frame.warped[None], frame.hole[None])[0]]

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return nothing: no frame waits."""
        return []


def load_inpainter(
    folder: str | os.PathLike[str] | None = None,
    *,
    config: InpaintConfig | None = None,
    device: torch.device | str = "cpu",
    download: bool = False,
    on_progress: OnProgress | None = None,
) -> Inpainter:
    """Load Stable Diffusion inpainting.

    Args:
        folder: A pipeline in diffusers' layout, or None for Stable Diffusion 2 inpainting (CreativeML Open
            RAIL++-M), which is looked for in the model folders of the kind `diffusers` and in Hugging Face's
            cache.
        config: How it fills; None for the defaults.
        device: Where it runs.
        download: Whether to download missing files of Stable Diffusion 2 inpainting, 2.6 GB.
        on_progress: Of the download, see `fetch_inpainting_model`.

    Returns:
        The filler.

    Raises:
        InputError: If a setting is out of range, a package is missing, or files are missing, damaged or those
            of another model.
    """
    config = config or InpaintConfig()
    config.check()
    if folder is None:
        folder = fetch_inpainting_model(download=download, on_progress=on_progress)
    inpainter = Inpainter(load_pipeline(Path(folder)), config)
    for module in inpainter.modules:
        module.to(device)
    return inpainter


def _working_size(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return a frame's size with the shorter side reduced to `shorter` if it is longer."""
    shrink = min(1.0, shorter / min(size))
    return round(size[0] * shrink), round(size[1] * shrink)


def _pad(image: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Repeat the last row and column up to whole latents of `factor` pixels; mask such latents whole."""
    height, width = image.shape[-2:]
    padding = (0, -width % factor, 0, -height % factor)
    image, mask = (F.pad(part, padding, mode="replicate") for part in (image, mask))
    mask = F.interpolate(F.max_pool2d(mask, factor), scale_factor=factor, mode="nearest")
    return image, mask
