"""The reference's features, as RefinerNet wrote them and SVD's spatial self-attention reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

KeysAndValues = tuple[Tensor, Tensor]  # each [F, N, C], of a site's features


class FeatureBank:
    """Features z_r of one window by attention site, shared by the readers of a UNet.

    A site is the name of a spatial self-attention, as `spatial_sites` lists them; its features are [F, N, C]:
    F frames, N = h · w tokens at the site's size. An empty bank leaves the UNet plain SVD.

    With gradient checkpointing the UNet runs again in the backward pass: what a bank holds, and whether it is
    disabled, must stay as it was in the forward pass until `backward()` has returned.
    """

    def __init__(self) -> None:
        self._features: dict[str, Tensor] = {}
        self._projected: dict[str, KeysAndValues] = {}
        self._keeps_projections = False
        self._enabled = True

    def load(self, features: Mapping[str, Tensor], *, keep_projections: bool = False) -> None:
        """Replace what the bank holds by another window's features.

        Args:
            features: By site, each [F, N, C].
            keep_projections: Whether a site's keys and values, once a reader has projected them, take its
                features' place, for all steps that follow. They take twice the memory; not for training.
        """
        self.clear()
        self._features = dict(features)
        self._keeps_projections = keep_projections

    def clear(self) -> None:
        """Drop what the bank holds."""
        self._features, self._projected = {}, {}

    def read(self, site: str) -> Tensor | None:  # [F, N, C]
        """Return a site's features, or None where there are none (any more) or the bank is disabled."""
        return self._features.get(site) if self._enabled else None

    def keys_and_values(self, site: str, project: Callable[[Tensor], KeysAndValues]) -> KeysAndValues | None:
        """Return the keys and values of a site, or None where the bank is empty or disabled.

        Args:
            site: The site.
            project: Makes them of the site's features.
        """
        if self._enabled and site in self._projected:
            return self._projected[site]
        features = self.read(site)
        if features is None:
            return None
        projected = project(features)
        if self._keeps_projections:
            self._projected[site] = projected
            del self._features[site]
        return projected

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Keep the UNet from reading, as for the unconditional branch of guidance."""
        before, self._enabled = self._enabled, False
        try:
            yield
        finally:
            self._enabled = before

    @property
    def nbytes(self) -> int:
        """How much memory features, keys and values take."""
        projected = (tensor for pair in self._projected.values() for tensor in pair)
        return sum(tensor.nbytes for tensor in (*self._features.values(), *projected))
