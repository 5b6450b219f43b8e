"""A SpatialDreamer whose networks ComfyUI brings to its device, with room for the work that they do there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakMethod

from comfy.model_patcher import ModelPatcher
from torch.nn import Module

from .models import make_patcher, move_to_device

if TYPE_CHECKING:
    from ..spatialdreamer_core.spatialdreamer import Reference, SpatialDreamer
    from ..spatialdreamer_core.svd.canvas import Canvas

_REFINED = 4  # frames that pass RefinerNet at a time
_ENCODED, _DECODED = 2, 4  # frames that the VAE should have room for; it takes more where more is free


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
        self._unet = make_patcher([svd.unet])
        self._refiner = make_patcher([network.refiner, *([] if network.til is None else [network.til])])
        self._autoencoder = make_patcher([svd.vae, svd.image_encoder])
        self._memory: dict[ModelPatcher, int] = {}  # bytes beside the weights
        self._present: set[ModelPatcher] = set()  # since the work was announced
        bring = WeakMethod(self._bring)  # a circle of references would keep the weights after their use

        def on_use(networks: Sequence[Module]) -> None:
            placed = bring()
            assert placed is not None, "the model is gone from ComfyUI's care"
            placed(networks)

        network.on_use = on_use

    def get_ram_usage(self) -> int:
        """Tell ComfyUI's cache how many bytes the networks take."""
        return sum(parameter.nbytes for part in self.network.modules for parameter in part.parameters())

    def expect(self, canvas: Canvas, *, frames: int, tile: int = 0) -> None:
        """Announce work on a clip, and estimate how much memory it takes beside the weights.

        Args:
            canvas: The size at which the clip is diffused.
            frames: How many are diffused at a time.
            tile: Side of the tiles that are diffused at a time, px; 0 for whole pictures.
        """
        from ..spatialdreamer_core.svd import (
            FACTOR,
            bank_memory,
            estimate_decoding_memory,
            estimate_encoding_memory,
            estimate_memory,
        )

        unet, vae = self.network.svd.unet, self.network.svd.vae
        height, width = (FACTOR * side for side in canvas.latent_size)
        picture = {"height": height, "width": width}
        region = {name: min(tile or side, side) for name, side in picture.items()} | {"dtype": unet.dtype}
        encoding = estimate_encoding_memory(vae.config, frames=min(frames, _ENCODED), **picture)
        decoding = estimate_decoding_memory(
            vae.config, frames=min(frames, _DECODED), **picture, dtype=vae.dtype
        )
        refining = estimate_memory(unet.config, frames=min(frames, _REFINED), **region, reference=False)
        beyond = 0 if self.network.til is None else self.network.til.neighbours  # frames beside a window
        self._memory = {
            self._unet: estimate_memory(unet.config, frames=frames, **region),
            self._refiner: refining + bank_memory(unet.config, frames=frames + beyond, **region),
            self._autoencoder: max(encoding, decoding),
        }
        self._present = set()

    def _bring(self, networks: Sequence[Module]) -> None:
        """Bring networks to the device, all of them at once."""
        needed = {
            patcher: memory
            for patcher, memory in self._memory.items()
            if any(part is network for part in patcher.model for network in networks)
        }
        assert needed, "this work was not expected"
        if needed.keys() != self._present:  # each step asks
            self._present = set()  # unless all goes well
            move_to_device(*needed, memory=sum(needed.values()))
            self._present = set(needed)


class PlacedReference(NamedTuple):
    """A reference and the model that it came from, which stays as long as it does."""

    reference: Reference
    model: PlacedModel

    def get_ram_usage(self) -> int:
        """Tell ComfyUI's cache how many bytes the reference takes."""
        return self.reference.nbytes
