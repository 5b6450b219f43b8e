"""Writes the API pages from the docstrings into a folder: of the library, then of each of its packages."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pdoc
import pdoc.render

import spatialdreamer_core


def public_modules() -> list[str]:
    """List the library and its packages; names that they load late are loaded, which pdoc would not do."""
    names = [spatialdreamer_core.__name__]
    for module in pkgutil.iter_modules(spatialdreamer_core.__path__, f"{names[0]}."):
        if module.ispkg:
            names.append(module.name)
    for name in names:
        package = import_module(name)
        for public in getattr(package, "__all__", ()):
            setattr(package, public, getattr(package, public))
    return names


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Error parsing type annotation")  # of named tuples' constructors
    pdoc.render.configure(docformat="google", footer_text=f"SpatialDreamer {spatialdreamer_core.__version__}")
    pdoc.pdoc(*public_modules(), output_directory=Path(sys.argv[1]))
