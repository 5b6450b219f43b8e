"""A SpatialDreamer whose networks ComfyUI brings to its device, with room for the work that they do there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from comfy.model_patcher import ModelPatcher

from .models import make_patcher, move_to_device

if TYPE_CHECKING:
    from ..spatialdreamer_core.spatialdreamer import Reference, SpatialDreamer, Work

# Frames that RefinerNet and the VAE should have room for; they take more where more is free.
_REFINED, _ENCODED, _DECODED = 4, 2, 4


class PlacedModel:
    """A SpatialDreamer in ComfyUI's care.

    UNet, RefinerNet with TIL, and VAE with image tower move apart, when they are used, so that a small device
    need hold only what works at a time.

    Args:
        network: The networks, on the device where they rest.
        choices: What was chosen to load; equal choices are equal models.
    """

    def __init__(self, network: SpatialDreamer, choices: tuple[str, ...]) -> None:
        svd = network.svd
        self.network = network
        self.choices = choices
        self.patcher = make_patcher([svd.unet])
        """The UNet's; by this name the cache of newer ComfyUI recognises what holds a model."""
        self._refiner = make_patcher([network.refiner, *([] if network.til is None else [network.til])])
        self._autoencoder = make_patcher([svd.vae, svd.image_encoder])
        self._present: Work | None = None  # the work that the networks on the device are there for
        bring = WeakMethod(self._bring)  # a circle of references would keep the weights after their use

        def on_work(work: Work) -> None:
            placed = bring()
            assert placed is not None, "the model is gone from ComfyUI's care"
            placed(work)

        network.on_work = on_work

    def get_ram_usage(self) -> int:
        """Tell the cache of ComfyUI 0.3.75 how many bytes the networks take."""
        return sum(parameter.nbytes for part in self.network.modules for parameter in part.parameters())

    def begin(self) -> None:
        """Begin a node's work: between nodes others may have taken the device."""
        self._present = None

    def _bring(self, work: Work) -> None:
        """Bring the networks of a work to the device, all of them at once."""
        if work == self._present:  # each step asks
            return
        self._present = None  # unless all goes well
        needed = {
            patcher: self._estimate(patcher, work)
            for patcher in (self.patcher, self._refiner, self._autoencoder)
            if any(part is network for part in patcher.model for network in work.networks)
        }
        move_to_device(*needed, memory=sum(needed.values()))
        self._present = work

    def _estimate(self, patcher: ModelPatcher, work: Work) -> int:
        """Estimate how many bytes a work takes beside the weights."""
        from ..spatialdreamer_core.svd import bank_memory, estimate_memory

        unet, codec = self.network.svd.unet, self.network.svd.codec
        size: dict[str, Any] = {"height": work.height, "width": work.width}
        step: dict[str, Any] = {**size, "dtype": unet.dtype, "factor": codec.factor}
        unet_memory = partial(estimate_memory, unet.config, **step)
        if patcher is self.patcher:
            return unet_memory(frames=work.frames)
        if patcher is self._refiner:
            part = min(work.frames, _REFINED)
            refining = unet_memory(frames=part, reference=False)
            return refining + bank_memory(unet.config, frames=work.frames, **step)
        encoded, decoded = min(work.frames, _ENCODED), min(work.frames, _DECODED)
        return max(
            codec.encoding_memory(frames=encoded, **size), codec.decoding_memory(frames=decoded, **size)
        )


@dataclass(frozen=True)
class PlacedReference:
    """A reference and the model that it came from, which stays as long as it does.

    No tuple: ComfyUI's cache would look at its parts instead of asking it.
    """

    reference: Reference
    model: PlacedModel

    @property
    def patcher(self) -> ModelPatcher:
        """The model's, by which ComfyUI's cache knows what holds one."""
        return self.model.patcher

    def get_ram_usage(self) -> int:
        """Tell the cache of ComfyUI 0.3.75 how many bytes the reference takes."""
        return self.reference.nbytes
