"""Names that a package loads from its modules when they are first used (PEP 562).

Importing such a package is cheap, and needs only what its caller goes on to use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make a package's `__getattr__` and `__dir__`.

    Args:
        package: The package's `__name__`.
        homes: The names that each of its modules gives.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> object:
        """Load a name from its module."""
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{home_of[name]}", package), name)

    def names() -> list[str]:
        """List what there is, loaded or not."""
        return sorted({*vars(sys.modules[package]), *home_of})

    return load, names
