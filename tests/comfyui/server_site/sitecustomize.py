"""Makes PyPI's torchvision importable beside a CPU build of torch, for the tests and their server only.

PyPI's torchvision is compiled for CUDA: without CUDA's libraries its operators are missing and
`import torchvision` fails with "operator torchvision::nms does not exist". Declaring the two operators that
the import looks up is enough; nothing here calls them. Python runs this file at start when its folder is on
PYTHONPATH; torch is imported only at the moment when torchvision is.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path


class TorchvisionOperators(MetaPathFinder):
    """Declares the missing operators just before the first import of torchvision, then leaves."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not spec.submodule_search_locations:
            return spec
        import torch

        try:
            for library in Path(spec.submodule_search_locations[0]).glob("_C.*"):
                torch.ops.load_library(library)
            torch.ops.torchvision.nms  # noqa: B018  raises AttributeError where it is missing
        except (OSError, AttributeError):
            for name in ("nms", "qnms"):
                schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                torch.library.define(f"torchvision::{name}", schema)
        return spec


sys.meta_path.insert(0, TorchvisionOperators())
