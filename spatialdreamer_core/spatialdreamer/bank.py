"""The reference's features, as RefinerNet wrote them and SVD's spatial self-attention reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor


class FeatureBank:
    """Features z_r of one window by attention site, shared by the readers of a UNet.

    A site is the name of a spatial self-attention, as `spatial_sites` lists them; its features are [F, N, C]:
    F frames, N = h · w tokens at the site's size. An empty bank leaves the UNet plain SVD. In training it
    holds those of a batch, [B·F, N, C], a clip's frames together; one window's are read by each clip.

    With gradient checkpointing the UNet runs again in the backward pass: what a bank holds, and whether it is
    disabled, must stay as it was in the forward pass until `backward()` has returned.
    """

    def __init__(self) -> None:
        self._features: dict[str, Tensor] = {}
        self._dropped: Tensor | None = None
        self._enabled = True

    def load(
        self,
        features: Mapping[str, Tensor],  # by site, each [F, N, C] or [B·F, N, C]
        *,
        dropped: Tensor | None = None,  # [B] bool
    ) -> None:
        """Replace what the bank holds by another window's features, or a batch's.

        Args:
            features: What `build_bank` made.
            dropped: Clips of a batch that read nothing, as in guidance's free branch; None: none of them.
        """
        self._features = dict(features)
        self._dropped = dropped

    def clear(self) -> None:
        """Drop what the bank holds."""
        self._features, self._dropped = {}, None

    def read(self, site: str) -> Tensor | None:  # [F, N, C]
        """Return a site's features, or None where the bank is empty or disabled."""
        return self._features.get(site) if self._enabled else None

    @property
    def dropped(self) -> Tensor | None:  # [B] bool
        """Which clips of a batch read nothing."""
        return self._dropped

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
        """How much memory the features take."""
        return sum(value.nbytes for value in self._features.values())
