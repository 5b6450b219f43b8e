"""Temporal interaction learning, TIL (SpatialDreamer, Eq. 3): features mixed with those of near frames.

    aug_r = λ · Attn(r, r) + (1 - λ) / N_r · Σ_i Attn(r, i)

is a mean of attentions, not one attention over all neighbours' tokens. The N_r neighbours of frame r are
those at the offsets -N_r/2 … -1 and 1 … N_r/2; beyond the clip's ends its first or last frame is taken again.
Every site of RefinerNet has its own projections, and the result, through the output projection, replaces z_r
in the bank. (The paper says neither which neighbours these are nor where the projections come from.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import spatial_sites
from .config import SpatialDreamerConfig


class SiteInteraction(nn.Module):
    """The projections of one site.

    Args:
        channels: Channels of the features.
        heads: Attention heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def project(
        self,
        features: Tensor,  # [F, N, C]
        own: range | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # three of [F, heads, N, C / heads]
        """Return queries, of `own` frames if given, and keys and values of all."""
        asking = features if own is None else features[own.start : own.stop]
        query, key, value = (
            layer(inputs).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, inputs in ((self.to_q, asking), (self.to_k, features), (self.to_v, features))
        )
        return query, key, value

    def output(
        self,
        mixed: Tensor,  # [F, heads, N, C / heads]
    ) -> Tensor:  # [F, N, C]
        """Join the heads and project."""
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class TemporalInteraction(nn.Module):
    """TIL for all sites of a RefinerNet.

    Args:
        refiner: The RefinerNet whose sites it has; its weights are not taken, see `from_refiner`.
        config: `til_neighbours` and `til_weight` are used.
    """

    def __init__(self, refiner: Any, config: SpatialDreamerConfig) -> None:
        super().__init__()
        config.check()
        self.neighbours = config.til_neighbours
        self.weight = config.til_weight
        self.sites = nn.ModuleDict()
        for site in spatial_sites(refiner):
            attention = refiner.get_submodule(site)
            self.sites[_key(site)] = SiteInteraction(attention.to_q.in_features, attention.heads)

    @classmethod
    def from_refiner(cls, refiner: Any, config: SpatialDreamerConfig) -> TemporalInteraction:
        """Make a TIL whose projections start as those of RefinerNet's self-attentions."""
        with torch.device("meta"):
            til = cls(refiner, config)
        state = {}
        for site in spatial_sites(refiner):
            for name, value in refiner.get_submodule(site).state_dict().items():
                state[f"sites.{_key(site)}.{name.replace('to_out.0', 'to_out')}"] = value.detach().clone()
        til.load_state_dict(state, assign=True)
        return til

    def forward(
        self,
        site: str,
        features: Tensor,  # [F, N, C]
        *,
        own: range | None = None,
        chunk: int = 4,
        weights: Tensor | None = None,  # [F, F]
    ) -> Tensor:  # [F, N, C], or [len(own), N, C]
        """Mix the frames of a clip, Eq. 3.

        Keys and values are projected once a frame; pairs of frames at the same offset are attended to at
        once. A neighbour that stands for several beyond the clip's end is attended to once, with their
        weights summed, so no pair is computed twice. `mix_frames_reference` is the readable twin.

        Args:
            site: Name of the attention that the features belong to.
            features: What RefinerNet wrote there, for a whole clip.
            own: The frames whose mixtures are wanted; the others are only their neighbours. None: all.
            chunk: Frames that are mixed at once; bounds the memory, not the result.
            weights: What `pair_weights` of this TIL returned for as many frames; None: computed.
        """
        projections: SiteInteraction = self.sites[_key(site)]  # type: ignore[assignment]
        count, reach = features.shape[0], self.neighbours // 2
        own = range(count) if own is None else own
        query, key, value = projections.project(features, own)
        weights = self.pair_weights(count, like=features) if weights is None else weights
        outputs = []
        for start in range(own.start, own.stop, chunk):
            stop = min(start + chunk, own.stop)
            asking = query[start - own.start : stop - own.start]
            mixed = torch.zeros_like(asking)
            for offset in range(-reach, reach + 1):
                first, end = max(start, -offset), min(stop, count - offset)  # rows whose neighbour exists
                if first >= end:
                    continue
                rows, other = slice(first - start, end - start), slice(first + offset, end + offset)
                part = F.scaled_dot_product_attention(asking[rows], key[other], value[other])
                shares = weights[first:end, other].diagonal()[:, None, None, None]
                mixed[rows].addcmul_(part, shares)
            outputs.append(projections.output(mixed))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def pair_weights(self, frames: int, *, like: Tensor) -> Tensor:  # [F, F]
        """Return `pair_weights` of this TIL, on the device and of the type of a tensor."""
        return pair_weights(frames, neighbours=self.neighbours, weight=self.weight).to(like)


def pair_weights(
    frames: int, *, neighbours: int, weight: float
) -> Tensor:  # [F, F] float64: of frame r (row) for frame i (column)
    """Return the weights of Eq. 3 for each pair of frames; each row's sum is 1."""
    weights = torch.eye(frames, dtype=torch.float64) * weight
    rows = torch.arange(frames)
    share = torch.full((frames,), (1 - weight) / neighbours, dtype=torch.float64)
    for step in range(1, neighbours // 2 + 1):
        for offset in (-step, step):
            weights.index_put_((rows, (rows + offset).clamp(0, frames - 1)), share, accumulate=True)
    return weights


def mix_frames_reference(
    projections: SiteInteraction,
    features: Tensor,  # [F, N, C]
    *,
    neighbours: int,
    weight: float,
) -> Tensor:  # [F, N, C]
    """Mix the frames of a clip as Eq. 3 is written, one pair after the other: the readable twin of TIL.

    Args:
        projections: Those of the features' site.
        features: What RefinerNet wrote there.
        neighbours: N_r, even.
        weight: λ.
    """
    query, key, value = projections.project(features)
    last = features.shape[0] - 1
    offsets = [*range(-neighbours // 2, 0), *range(1, neighbours // 2 + 1)]
    mixed = []
    for r in range(last + 1):
        total = weight * F.scaled_dot_product_attention(query[r], key[r], value[r])
        for offset in offsets:
            i = min(max(r + offset, 0), last)
            attention = F.scaled_dot_product_attention(query[r], key[i], value[i])
            total = total + (1 - weight) / neighbours * attention
        mixed.append(total)
    return projections.output(torch.stack(mixed))


def _key(site: str) -> str:
    """Return a site's name without dots, which names of modules cannot have."""
    return site.replace(".", "_")
