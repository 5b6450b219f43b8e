"""The left view as RefinerNet sees it: latents for the whole clip, features window by window.

Features of one frame of 1024x576 take 50 MB in 16 bits, so they are made when a window is sampled. Those of a
whole run stay for its next step where there is room for them, on the model's device or else in main memory;
the rest is made again each time it is needed. On the CPU 4 GB of them stay for the next run; a GPU makes them
anew, which takes it no longer than to bring them to main memory and back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..checks import check_finite, check_video
from ..memory import free_memory
from ..svd import SVDModel, bank_memory, trained_area
from ..svd.canvas import Canvas
from ..svd.windows import Region
from .inputs import EncodedLeft, encode_left
from .network import SpatialDreamer
from .refiner import build_bank
from .sampler_config import DEFAULT_MAX_SIDE

_KEPT_BYTES = 4 << 30  # of main memory, between runs; 80 frames of 1024x576 in 16 bits
_FREE_SHARE = 0.5  # of free memory, a device's beside its work, that features may take

_LOGGER = logging.getLogger(__name__)


class Reference:
    """RefinerNet's features of a clip, made on demand.

    Args:
        model: The model whose RefinerNet it is.
        canvas: The size at which the clip is diffused.
        latents: The left view's latents, scaled.
        embeddings: The image embeddings of its frames.
        kept_bytes: How much main memory is kept, features and latents, as far as there is any; None: 4 GB,
            and for a run what `make_room` found room for.
    """

    def __init__(
        self,
        model: SpatialDreamer,
        canvas: Canvas,
        latents: Tensor,  # [F, C, h, w] on the CPU
        embeddings: Tensor,  # [F, 1, D] on the CPU
        *,
        kept_bytes: int | None = None,
    ) -> None:
        self.model = model
        self.canvas = canvas
        self.latents = latents
        self.embeddings = embeddings
        self._kept_bytes = kept_bytes
        self._room = 0  # bytes of main memory that `make_room` found for the run that goes on
        self._returns = False  # whether that run needs each region's features again
        self._asked: set[Region] = set()  # regions whose features it needed
        self._kept: dict[Region, dict[str, Tensor]] = {}

    @property
    def left(self) -> EncodedLeft:
        """The left view, as `encode_clip` takes it."""
        return EncodedLeft(self.canvas, self.latents, self.embeddings)

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.latents)

    def features(
        self, region: Region, *, on_frame: Callable[[int], None] | None = None
    ) -> dict[str, Tensor]:  # site name -> [F, tokens, C]
        """Return the features of a region, where they were made or are kept.

        TIL mixes in frames beyond a window, so that windows agree where they overlap: their features are
        those of the clip as a whole.

        Args:
            region: The region, in latents.
            on_frame: Called after some frames have passed RefinerNet; may raise to interrupt.
        """
        size = _size(region)
        # Those of regions of another size belong to another plan.
        self._kept = {kept: value for kept, value in self._kept.items() if _size(kept) == size}
        self._returns |= region in self._asked  # as where memory ran out and a run's one window was cut
        self._asked.add(region)
        if region in self._kept:
            return self._kept[region]
        _LOGGER.debug("RefinerNet encodes frames %d to %d", region.frames.start, region.frames.stop - 1)
        frames, til = region.frames, self.model.til
        wide = frames if til is None else til.span(frames, len(self))
        self.model.announce(
            self.model.refiner, self.model.til, frames=len(wide), latent_size=region.picture_size
        )
        features = build_bank(
            self.model.refiner,
            replace(region, frames=wide).cut(self.latents),
            self.embeddings[wide.start : wide.stop],
            til=self.model.til,
            own=range(frames.start - wide.start, frames.stop - wide.start),
            timestep=self.model.config.refiner_timestep,
            on_frame=on_frame,
        )
        self._keep(region, features)
        return features

    @torch.inference_mode()
    def next_window(
        self,
        left: Tensor,  # [F, 3, H, W] in [0, 1]
        *,
        shared: int,
    ) -> Reference:
        """Encode the left view of the next window, whose first frames are this one's last and known already.

        Args:
            left: The source view, of the same size.
            shared: How many frames are both windows'.
        """
        assert 0 <= shared <= min(len(self), len(left)), (shared, len(self), len(left))
        assert left.shape[-2:] == (self.canvas.height, self.canvas.width), left.shape
        latents, embeddings = self.latents[len(self) - shared :], self.embeddings[len(self) - shared :]
        if shared < len(left):
            new = encode_left(self.model, self.canvas, left[shared:])
            latents = torch.cat([latents, new.latents])
            embeddings = torch.cat([embeddings, new.embeddings])
        return Reference(self.model, self.canvas, latents, embeddings, kept_bytes=self._kept_bytes)

    def drop_features(self) -> None:
        """Forget the features; latents and embeddings stay."""
        self._kept.clear()

    def memory(self, regions: Iterable[Region]) -> int:
        """Return how many bytes the features of regions take that are not kept yet."""
        refiner, config = self.model.refiner, self.model.svd.unet.config
        return sum(
            bank_memory(
                config,
                frames=len(region.frames),
                height=len(region.rows),
                width=len(region.columns),
                dtype=refiner.dtype,
                factor=1,  # a region is in latents
            )
            for region in regions
            if region not in self._kept
        )

    def make_room(self, regions: Sequence[Region]) -> bool:
        """Keep the features of all regions until `end_run`, if the device or main memory has room for them.

        Returns:
            Whether one of them has.
        """
        wanted = self.memory(regions)
        in_main_memory = wanted <= free_memory(torch.device("cpu")) * _FREE_SHARE
        self._room = self.nbytes + wanted if in_main_memory else 0
        device = self.model.device
        self._returns = in_main_memory or self._fits_on_device(wanted, regions[0], device)
        return self._returns

    def end_run(self) -> None:
        """Keep no more than between runs: the features that were made last go first, and all on a GPU."""
        self._room, self._returns = 0, False
        self._asked.clear()
        self._kept = {region: kept for region, kept in self._kept.items() if not _on_a_device(kept)}
        while self._kept and self.nbytes > self._limit:
            self._kept.popitem()

    @property
    def nbytes(self) -> int:
        """How much main memory is held."""
        in_main_memory = (features for features in self._kept.values() if not _on_a_device(features))
        kept = sum(feature.nbytes for features in in_main_memory for feature in features.values())
        return self.latents.nbytes + self.embeddings.nbytes + kept

    @property
    def _limit(self) -> int:
        """How many bytes may be kept now."""
        return max(_KEPT_BYTES, self._room) if self._kept_bytes is None else self._kept_bytes

    def _keep(self, region: Region, features: dict[str, Tensor]) -> None:
        """Keep features where they fit, if they are needed again or cost no copy."""
        wanted = sum(feature.nbytes for feature in features.values())
        device = next(iter(features.values())).device
        if device.type == "cpu" or (self._returns and not self._fits_on_device(wanted, region, device)):
            free = free_memory(torch.device("cpu"))
            if self.nbytes + wanted <= self._limit and wanted <= free * _FREE_SHARE:
                self._kept[region] = {site: feature.cpu() for site, feature in features.items()}
        elif self._returns:
            self._kept[region] = features

    def _fits_on_device(self, wanted: int, region: Region, device: torch.device) -> bool:
        """Tell whether features of so many bytes fit into a device's own memory beside its work."""
        if device.type == "cpu":
            return False
        return wanted <= self.model.free_beside_step(device, region) * _FREE_SHARE


@torch.inference_mode()
def encode_reference(
    model: SpatialDreamer,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    max_side: int = DEFAULT_MAX_SIDE,
    on_frame: Callable[[int], None] | None = None,
) -> Reference:
    """Encode the left view for `sample`.

    Args:
        model: The model.
        left: The source view.
        max_side: Larger pictures are diffused at this longer side, px, 64 to 4096; smaller ones are enlarged
            to the area that the model was trained on, but not beyond this side.
        on_frame: Called with the number of frames done; may raise to interrupt.

    Raises:
        InputError: If the frames are not a video of finite values, or `max_side` is out of range.
    """
    check_video("left", left, channels=3)
    check_finite("left", left, "repair the frames")
    canvas = fit_canvas(model.svd, *left.shape[-2:], max_side=max_side)
    return Reference(model, *encode_left(model, canvas, left, on_frame=on_frame))


def fit_canvas(svd: SVDModel, height: int, width: int, *, max_side: int) -> Canvas:
    """Make the canvas on which a model diffuses a clip of a size in px, see `Canvas.fit_to`."""
    return Canvas.fit_to(
        height,
        width,
        max_side=max_side,
        area=trained_area(svd.unet, factor=svd.codec.factor),
        multiple=svd.size_multiple,
        factor=svd.codec.factor,
    )


def _size(region: Region) -> tuple[int, int, int]:
    """Return the size of a region."""
    return len(region.frames), len(region.rows), len(region.columns)


def _on_a_device(features: Mapping[str, Tensor]) -> bool:
    """Tell whether features are in another memory than main memory."""
    return any(feature.device.type != "cpu" for feature in features.values())
