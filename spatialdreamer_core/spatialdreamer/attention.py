"""Reference attention (SpatialDreamer, section 3.3): RefinerNet writes features, SVD's UNet reads them.

The paper concatenates z_t and z_r along the height, runs the self-attention over both and keeps the first
half. What the second half's queries give is thrown away, so the readers take queries from z_t alone, and keys
and values from [z_t, z_r]: the same result at half the cost. z_r is what a site of RefinerNet takes in after
norm1, as z_t is in SVD. Both networks stay diffusers' own classes; the behaviour goes in through attention
processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from ..checks import InputError
from .bank import FeatureBank

_SUFFIX = ".processor"


class ReaderProcessor(AttnProcessor2_0):
    """Attends from z_t to [z_t, z_r]; without features, exactly diffusers' processor.

    Args:
        site: Name of the attention it is installed at.
        bank: Where z_r is looked up.
    """

    def __init__(self, site: str, bank: FeatureBank) -> None:
        super().__init__()
        self.site = site
        self.bank = bank

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,  # [B·F, N, C]: z_t, frames running fastest
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:  # [B·F, N, C]
        """Run the attention.

        Raises:
            InputError: If the bank is of another number of frames or size than z_t.
        """
        reference = self.bank.read(self.site)
        if reference is None:
            return super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs
            )
        assert encoder_hidden_states is None, "a reader belongs at a self-attention"
        assert attention_mask is None, "readers support no masks"
        reference = self._matched(reference, hidden_states)
        if self.bank.dropped is not None:
            # Attention to z_t twice is attention to z_t: such a clip reads nothing, and RefinerNet still gets
            # a gradient, of zeros, as distributed training needs.
            dropped = self.bank.dropped.to(reference.device)
            dropped = dropped.repeat_interleave(len(reference) // len(dropped))[:, None, None]
            reference = torch.where(dropped, hidden_states, reference)
        both = torch.cat([hidden_states, reference], dim=1)
        return super().__call__(attn, hidden_states, both, None, temb, **kwargs)

    def _matched(
        self,
        reference: Tensor,  # [F, N, C] or [B·F, N, C]
        hidden_states: Tensor,  # [B·F, N, C]
    ) -> Tensor:  # [B·F, N, C]
        """Repeat one clip's reference for each clip of a batch, on its device and in its precision."""
        batch, *size = hidden_states.shape
        if batch % reference.shape[0] or list(reference.shape[1:]) != size:
            raise InputError(
                f"the reference must have the frames and the size of the latents, got features "
                f"{list(reference.shape)} (frames, tokens, channels) for {list(hidden_states.shape)} at "
                f"{self.site}; encode the reference again for this window and size"
            )
        clips = batch // reference.shape[0]
        reference = reference.to(hidden_states)
        return reference if clips == 1 else reference.repeat(clips, 1, 1)


class WriterProcessor(AttnProcessor2_0):
    """Records the input of an attention, then runs as diffusers' processor.

    Args:
        site: Name of the attention it is installed at.
        last: Whether no other site comes after this one: nothing reads the network's output then, and the
            attention itself is left out.
    """

    def __init__(self, site: str, *, last: bool = False) -> None:
        super().__init__()
        self.site = site
        self.last = last
        self.notes: dict[str, Tensor] | None = None  # set while `recorded_features` records

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the attention; hidden_states is [F, N, C]."""
        if self.notes is not None:
            self.notes[self.site] = hidden_states
        return hidden_states if self.last else super().__call__(attn, hidden_states, *args, **kwargs)


def spatial_sites(unet: nn.Module) -> list[str]:
    """List the names of a UNet's spatial self-attentions, in the order in which they run.

    SVD's UNet and RefinerNet have the same 16.
    """
    names = [name for name, _ in unet.named_modules() if name.endswith(".attn1")]
    spatial = [name for name in names if ".temporal_transformer_blocks." not in name]
    return sorted(spatial, key=lambda name: ("down", "mid", "up").index(name.split("_", 1)[0]))


def install_readers(unet: Any, bank: FeatureBank) -> None:
    """Let the spatial self-attentions of SVD's UNet read a bank."""
    readers = {site + _SUFFIX: ReaderProcessor(site, bank) for site in spatial_sites(unet)}
    unet.set_attn_processor({**unet.attn_processors, **readers})


def install_writers(refiner: Any) -> None:
    """Let the self-attentions of a RefinerNet write their features; its output loses its meaning."""
    sites = spatial_sites(refiner)
    writers = {site + _SUFFIX: WriterProcessor(site, last=site == sites[-1]) for site in sites}
    refiner.set_attn_processor({**refiner.attn_processors, **writers})


@contextmanager
def recorded_features(refiner: Any) -> Iterator[dict[str, Tensor]]:
    """Collect what the writers of a RefinerNet record in the `with` block, by site."""
    notes: dict[str, Tensor] = {}
    writers = [item for item in refiner.attn_processors.values() if isinstance(item, WriterProcessor)]
    for writer in writers:
        writer.notes = notes
    try:
        yield notes
    finally:
        for writer in writers:
            writer.notes = None
