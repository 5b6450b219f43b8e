"""Temporal interaction learning, TIL (SpatialDreamer, Eq. 3): features mixed with those of near frames.

    mixture_r = λ · Attn(r, r) + (1 - λ) / N · Σ_i Attn(r, i)
    aug_r = z_r + change(mixture_r)

The mixture is a mean of attentions, not one attention over all neighbours' tokens. The neighbours of frame r
are the N_r other frames of its clip that are nearest to it, of two as near the earlier; a clip of N_r frames
or fewer has only N = its other frames, so a frame of the 8-frame clips of training sees all of them. A frame
alone attends to itself with all the weight.

Every site of RefinerNet has its own projections. The paper puts the mixture in the place of z_r; here it is
added to z_r by a layer whose weights begin at zero, since readers take z_r as what goes into an attention,
not as what comes out of one: an untrained TIL changes nothing, and stage 2 of training begins where stage 1
ended. (The paper says neither which frames are neighbours nor where the projections come from.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

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
        self.to_change = nn.Linear(channels, channels)
        nn.init.zeros_(self.to_change.weight)
        nn.init.zeros_(self.to_change.bias)

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

    def change(
        self,
        mixed: Tensor,  # [F, heads, N, C / heads]
    ) -> Tensor:  # [F, N, C]
        """Join the heads and project."""
        return self.to_change(mixed.transpose(1, 2).flatten(2))


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
        self.gradient_checkpointing = False
        self.sites = nn.ModuleDict()
        for site in spatial_sites(refiner):
            attention = refiner.get_submodule(site)
            self.sites[_key(site)] = SiteInteraction(attention.to_q.in_features, attention.heads)

    @classmethod
    def from_refiner(cls, refiner: Any, config: SpatialDreamerConfig) -> TemporalInteraction:
        """Make an untrained TIL: projections of RefinerNet's self-attentions, and a change of nothing."""
        with torch.device("meta"):
            til = cls(refiner, config)
        state = {}
        for site in spatial_sites(refiner):
            attention, prefix = refiner.get_submodule(site), f"sites.{_key(site)}"
            for name in ("to_q", "to_k", "to_v"):
                state[f"{prefix}.{name}.weight"] = getattr(attention, name).weight.detach().clone()
            output = attention.to_out[0]
            state[f"{prefix}.to_change.weight"] = torch.zeros_like(output.weight)
            state[f"{prefix}.to_change.bias"] = torch.zeros_like(output.bias)
        til.load_state_dict(state, assign=True)
        return til

    def enable_gradient_checkpointing(self) -> None:
        """Compute attentions again in the backward pass rather than keep those of F · N_r pairs a site."""
        self.gradient_checkpointing = True

    def span(self, frames: range, count: int) -> range:
        """Return the frames that the mixtures of some frames of a clip are made from.

        Mixed as a clip of their own, they give those frames what the whole clip does.

        Args:
            frames: The frames, at least one.
            count: How many frames the clip has.
        """
        first, last = (neighbourhood(frame, count, self.neighbours) for frame in (frames[0], frames[-1]))
        return range(first.start, last.stop)

    def forward(
        self,
        site: str,
        features: Tensor,  # [F, N, C]
        *,
        own: range | None = None,
        chunk: int = 4,
    ) -> Tensor:  # [F, N, C], or [len(own), N, C]
        """Mix the frames of a clip, Eq. 3.

        Keys and values are projected once a frame; pairs of frames at the same offset are attended to at
        once. `mix_frames_reference` is the readable twin.

        Args:
            site: Name of the attention that the features belong to.
            features: What RefinerNet wrote there, for a whole clip.
            own: The frames whose mixtures are wanted; the others are only their neighbours. None: all.
            chunk: Frames that are mixed at once; bounds the memory, not the result.
        """
        projections: SiteInteraction = self.sites[_key(site)]  # type: ignore[assignment]
        own = range(len(features)) if own is None else own
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return self._add_mixture(projections, features, own, chunk)
        outputs = []
        for start in range(own.start, own.stop, chunk):
            frames = range(start, min(start + chunk, own.stop))
            wide = self.span(frames, len(features))
            part = features[wide.start : wide.stop]
            frames = range(frames.start - wide.start, frames.stop - wide.start)
            mixed = checkpoint(self._add_mixture, projections, part, frames, chunk, use_reentrant=False)
            outputs.append(mixed)
        return torch.cat(outputs)

    def _add_mixture(
        self,
        projections: SiteInteraction,
        features: Tensor,  # [F, N, C]
        own: range,
        chunk: int,
    ) -> Tensor:  # [len(own), N, C]
        """Add their mixtures to the features of some frames of a clip."""
        query, key, value = projections.project(features, own)
        outputs = []
        for start in range(own.start, own.stop, chunk):
            frames = range(start, min(start + chunk, own.stop))
            asking = query[start - own.start : frames.stop - own.start]
            changes = projections.change(self._mix(asking, key, value, frames))
            outputs.append(features[start : frames.stop] + changes)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _mix(
        self,
        query: Tensor,  # [len(frames), heads, N, D]
        key: Tensor,  # [F, heads, N, D]
        value: Tensor,  # [F, heads, N, D]
        frames: range,
    ) -> Tensor:  # [len(frames), heads, N, D]
        """Return the mixtures of some frames of a clip."""
        count = len(key)
        others = min(self.neighbours, count - 1)
        around = [neighbourhood(frame, count, self.neighbours) for frame in frames]
        mixed = torch.zeros_like(query)
        for offset in range(-others, others + 1):
            # Neighbourhoods move on with their frames, by one or, at the clip's ends, not at all: the frames
            # that have a neighbour at an offset follow each other.
            rows = [row for row, frame in enumerate(frames) if frame + offset in around[row]]
            if not rows:
                continue
            asking = slice(rows[0], rows[-1] + 1)
            first = frames[rows[0]] + offset
            other = slice(first, first + len(rows))
            share = _share(others, self.weight, itself=offset == 0)
            part = F.scaled_dot_product_attention(query[asking], key[other], value[other])
            mixed[asking].add_(part, alpha=share)
        return mixed


def neighbourhood(frame: int, count: int, neighbours: int) -> range:
    """Return a frame and its neighbours: of its clip's frames the nearest, of two as near the earlier.

    Args:
        frame: Index of the frame.
        count: How many frames the clip has.
        neighbours: N_r, at least 1.
    """
    others = min(neighbours, count - 1)
    start = min(max(frame - (others + 1) // 2, 0), count - 1 - others)
    return range(start, start + others + 1)


def _share(others: int, weight: float, *, itself: bool) -> float:
    """Return the weight of an attention in Eq. 3: a frame's to itself, or to one of so many others."""
    if not others:
        return 1.0
    return weight if itself else (1 - weight) / others


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
        neighbours: N_r.
        weight: λ.
    """
    query, key, value = projections.project(features)
    mixed = []
    for r in range(len(features)):
        others = [i for i in range(len(features)) if i != r]
        nearest = sorted(others, key=lambda i: (abs(i - r), i))[:neighbours]
        total = (weight if nearest else 1.0) * F.scaled_dot_product_attention(query[r], key[r], value[r])
        for i in nearest:
            attention = F.scaled_dot_product_attention(query[r], key[i], value[i])
            total = total + (1 - weight) / len(nearest) * attention
        mixed.append(total)
    return features + projections.change(torch.stack(mixed))


def _key(site: str) -> str:
    """Return a site's name without dots, which names of modules cannot have."""
    return site.replace(".", "_")
