"""What lists of estimators say about each, whatever it estimates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EstimatorInfo:
    """What a user needs to know to choose an estimator."""

    name: str  # what the function that estimates takes
    title: str
    licence: str  # of the weights, if there are any
    available: bool  # can be used here and now
    note: str
    commercial: bool | None = True  # whether commercial use is allowed; None: see the address
    folder: Path | None = None  # where the weights are, whole or not
    address: str = ""  # of the weights or of their model card
