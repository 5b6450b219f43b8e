"""Networks that ComfyUI brings to its device, with room for the work that they do there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakMethod

from comfy.model_patcher import ModelPatcher
from torch.nn import Module

from .models import make_patcher, move_to_device

if TYPE_CHECKING:
    from ..spatialdreamer_core.spatialdreamer import Reference, SpatialDreamer
    from ..spatialdreamer_core.svd import SVDModel, Work

# Frames that RefinerNet and the VAE should have room for; they take more where more is free.
_REFINED, _ENCODED, _DECODED = 4, 2, 4


class Network(Protocol):
    """Networks on SVD that tell what they will do next."""

    svd: SVDModel
    on_work: Callable[[Work], None] | None

    @property
    def modules(self) -> tuple[Module, ...]:
        """All of them."""
        ...


class PlacedModel:
    """Networks on SVD in ComfyUI's care.

    The UNet, VAE with image tower, and what else there is move apart, when they are used, so that a small
    device need hold only what works at a time.

    Args:
        network: The networks, on the device where they rest.
        choices: What was chosen to load; equal choices are equal models.
        shares: The model in whose care the same SVD is already; ComfyUI must not count it twice.
    """

    def __init__(
        self, network: Network, choices: tuple[str, ...], *, shares: PlacedModel | None = None
    ) -> None:
        svd = network.svd
        self.network: Any = network
        self.choices = choices
        self.patcher: ModelPatcher = make_patcher([svd.unet]) if shares is None else shares.patcher
        """The UNet's; by this name the cache of newer ComfyUI recognises what holds a model."""
        self._autoencoder: ModelPatcher = (
            make_patcher([svd.vae, svd.image_encoder]) if shares is None else shares._autoencoder
        )
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

    def _patchers(self) -> tuple[ModelPatcher, ...]:
        """List what moves apart."""
        return self.patcher, self._autoencoder

    def _bring(self, work: Work) -> None:
        """Bring the networks of a work to the device, all of them at once."""
        if work == self._present:  # each step asks
            return
        self._present = None  # unless all goes well
        needed = {
            patcher: self._estimate(patcher, work)
            for patcher in self._patchers()
            if any(part is network for part in patcher.model for network in work.networks)
        }
        move_to_device(*needed, memory=sum(needed.values()))
        self._present = work

    def _estimate(self, patcher: ModelPatcher, work: Work) -> int:
        """Estimate how many bytes a work takes beside the weights."""
        from ..spatialdreamer_core.svd import estimate_memory

        if patcher is self.patcher:
            return estimate_memory(
                self.network.svd.unet.config, frames=work.frames, reference=False, **self._step(work)
            )
        codec, size = self.network.svd.codec, {"height": work.height, "width": work.width}
        encoded, decoded = min(work.frames, _ENCODED), min(work.frames, _DECODED)
        return max(
            codec.encoding_memory(frames=encoded, **size), codec.decoding_memory(frames=decoded, **size)
        )

    def _step(self, work: Work) -> dict[str, Any]:
        """Return what estimates of a step on a work take, but for its frames."""
        unet, codec = self.network.svd.unet, self.network.svd.codec
        return {
            "height": work.height,
            "width": work.width,
            "dtype": unet.dtype,
            "factor": codec.factor,
        }


class PlacedSpatialDreamer(PlacedModel):
    """A SpatialDreamer in ComfyUI's care, whose RefinerNet with TIL moves by itself."""

    def __init__(self, network: SpatialDreamer, choices: tuple[str, ...]) -> None:
        super().__init__(network, choices)
        self._refiner = make_patcher([network.refiner, *([] if network.til is None else [network.til])])

    def _patchers(self) -> tuple[ModelPatcher, ...]:
        """List what moves apart."""
        return *super()._patchers(), self._refiner

    def _estimate(self, patcher: ModelPatcher, work: Work) -> int:
        """Estimate how many bytes a work takes beside the weights: RefinerNet's features, too."""
        from ..spatialdreamer_core.svd import bank_memory, estimate_memory

        config, step = self.network.svd.unet.config, self._step(work)
        memory = super()._estimate(patcher, work)
        bank = bank_memory(config, frames=work.frames, **step)
        if patcher is self.patcher:
            return memory + bank
        if patcher is self._refiner:
            part = min(work.frames, _REFINED)
            return estimate_memory(config, frames=part, reference=False, **step) + bank
        return memory


class PlacedM2SVid(PlacedModel):
    """An M2SVid in ComfyUI's care."""

    def _estimate(self, patcher: ModelPatcher, work: Work) -> int:
        """Estimate how many bytes a work takes beside the weights."""
        if patcher is not self.patcher:
            return super()._estimate(patcher, work)
        from ..spatialdreamer_core.m2svid.memory import estimate_memory

        return estimate_memory(self.network.svd.unet.config, frames=work.frames, **self._step(work))


@dataclass(frozen=True)
class PlacedReference:
    """A reference and the model that it came from, which stays as long as it does.

    No tuple: ComfyUI's cache would look at its parts instead of asking it.
    """

    reference: Reference
    model: PlacedSpatialDreamer

    @property
    def patcher(self) -> ModelPatcher:
        """The model's, by which ComfyUI's cache knows what holds one."""
        return self.model.patcher

    def get_ram_usage(self) -> int:
        """Tell the cache of ComfyUI 0.3.75 how many bytes the reference takes."""
        return self.reference.nbytes
