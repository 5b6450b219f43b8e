"""The denoiser of each region: SVD's UNet with what it is conditioned on, kept on the device for all steps.

What stays on the device is small beside a step: the conditioning's latents, the mask and the deviation map, 5
or 9 channels where the UNet's finest level has 320; where even that is too much, each region's are sent when
it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..memory import free_memory
from ..svd.known_latents import reinject
from ..svd.picture_condition import PictureCondition
from ..svd.sampling import Denoise
from ..svd.windows import Region
from .inputs import EncodedClip, predict_clean
from .network import SpatialDreamer
from .reference import Reference
from .sampler_config import SamplerConfig
from .untrained import FirstPictures
from .views import device_of_frames

_CLIP_SHARE = 0.05  # of a device's free memory that the conditioning of a whole clip may take


class Denoisers:
    """Makes the denoisers of a clip's regions.

    Args:
        model: The model, whose UNet has been announced.
        reference: The left view.
        encoded: The clip as the model sees it.
        warped: The rendered view.
        hole: Its hole mask.
        config: How to sample.
        sigmas: The noise levels of the run.
        time_ids: Returns the time ids [1, 3 or 4] of a window.
        reads: Whether the UNet reads the reference.
        pictures: What windows begin with, for a UNet that is shown one picture; None: each frame's own.
        on_wait: Called now and then within a step; may raise to interrupt.
    """

    def __init__(
        self,
        model: SpatialDreamer,
        reference: Reference,
        encoded: EncodedClip,
        warped: Tensor,  # [F, 3, H, W]
        hole: Tensor,  # [F, 1, H, W]
        config: SamplerConfig,
        *,
        sigmas: Sequence[float],
        time_ids: Callable[[range], Tensor],
        reads: bool,
        pictures: FirstPictures | None,
        on_wait: Callable[[], None] | None,
    ) -> None:
        self._model, self._reference = model, reference
        self._warped, self._hole = warped, hole
        self._config, self._time_ids = config, time_ids
        self._reads, self._pictures = reads, pictures
        self._check = None if on_wait is None else lambda done: on_wait()
        levels = [sigma for sigma in sigmas if sigma > 0]
        tensors = torch.tensor(levels, dtype=torch.float32).to(model.device).split(1)
        self._levels = dict(zip(levels, tensors, strict=True))
        self._encoded = encoded
        fixed = [encoded.condition, encoded.mask]
        if model.config.deviation_map:
            missing = encoded.missing_deviation(config.deviation)
            fixed.append(missing if reads else torch.zeros_like(missing))
        self._channels = [part.shape[1] for part in fixed]
        self._fixed = torch.cat(fixed, dim=1)
        self._fits = self._fixed.nbytes <= free_memory(model.device) * _CLIP_SHARE
        if self._fits:
            self._fixed = self._fixed.to(model.device)
        self._opened: dict[Region, Denoise] = {}
        self._loaded: Region | None = None  # whose features the bank holds
        self._reinjected: dict[Region, float] = {}  # the last noise level at which it was done

    def open(self, region: Region) -> Denoise:
        """Return the denoiser of a region, and let the UNet read its features of the reference."""
        unet, config = self._model.svd.unet, self._config
        features = None
        if self._reads and region != self._loaded:
            self._model.bank.clear()  # so that two windows' features are never held at once
            self._loaded = None
            features = self._reference.features(region, on_frame=self._check)
        picture = None if self._pictures is None else self._pictures.of(region.frames)
        vae = self._model.svd.vae if config.reinject else None
        self._model.announce(unet, vae, frames=len(region.frames), latent_size=region.picture_size)
        if features is not None:
            device = self._model.device
            self._model.bank.load({site: feature.to(device) for site, feature in features.items()})
            self._loaded = region
        if region not in self._opened:
            if config.reinject or not self._fits:
                self._opened.clear()
            self._opened[region] = self._make(region, picture)
        return self._opened[region]

    def _make(self, region: Region, picture: PictureCondition | None) -> Denoise:
        """Make the denoiser of a region."""
        unet, bank, device = self._model.svd.unet, self._model.bank, self._model.device
        config, levels = self._config, self._levels
        condition, mask, *maps = region.cut(self._fixed).to(device)[None].split(self._channels, dim=2)
        missing = maps[0] if maps else None
        embedding = self._encoded.embedding(region.frames)
        if picture is not None:
            condition = region.cut_frame(picture.latents).to(device).expand_as(condition)
            embedding = picture.embedding[None]
        embedding = embedding.to(device, unet.dtype)
        ids = self._time_ids(region.frames).to(device)
        scales = torch.linspace(config.guidance_min, config.guidance_max, len(region.frames))
        guided = bool((scales != 1).any())
        guidance = scales.to(device)[:, None, None, None]
        put_in = self._make_reinjection(region) if config.reinject else None

        def predict(noisy: Tensor, sigma: float, seen: dict[str, Any]) -> Tensor:
            return predict_clean(unet, noisy[None], levels[sigma], mask=mask, time_ids=ids, **seen)[0]

        seen = {"condition": condition, "missing": missing, "embedding": embedding}
        blank = None
        if guided:
            blank = {name: None if part is None else torch.zeros_like(part) for name, part in seen.items()}

        def denoise(noisy: Tensor, sigma: float) -> Tensor:
            clean = predict(noisy, sigma, seen)
            if blank is not None:
                with bank.disabled():
                    free = predict(noisy, sigma, blank)
                clean = torch.lerp(free, clean, guidance)
            return clean if put_in is None else put_in(clean, sigma)

        return denoise

    def _make_reinjection(self, region: Region) -> Denoise:
        """Make what puts the known pixels of a region into its clean estimate, once a noise level."""
        codec, canvas, check = self._model.svd.codec, self._reference.canvas, self._check
        frames, pixels = slice(region.frames.start, region.frames.stop), region.scaled(codec.factor)
        device = device_of_frames(self._model.device, len(region.frames), *pixels.picture_size)
        known = pixels.cut_frame(canvas.fit(self._warped[frames])).to(device)
        holes = pixels.cut_frame(canvas.fit_mask(self._hole[frames])).to(device)

        def put_in(clean: Tensor, sigma: float) -> Tensor:
            if self._reinjected.get(region) == sigma:
                return clean
            self._reinjected[region] = sigma
            return reinject(codec, clean, known, holes, on_frame=check).to(clean)

        return put_in
