"""A node for the tests alone: Video to Stereo 3D where a conversion has one more setting.

The setting stands in the dataclass alone. The pack's modules are loaded once more for it, beside those that
run, below stand-ins for the packages.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import make_dataclass
from pathlib import Path
from types import ModuleType

PACK = Path(__file__).with_name("ComfyUI-SpatialDreamer")

for _name, _folder in {"option_pack": PACK, "option_pack.nodes": PACK / "nodes"}.items():
    sys.modules[_name] = ModuleType(_name)
    sys.modules[_name].__path__ = [str(_folder)]
pipeline = importlib.import_module("option_pack.spatialdreamer_core.pipeline")
options = importlib.import_module("option_pack.spatialdreamer_core.options")
glow = options.option(0.2, 0.0, 1.0, "% of light", step=0.1, help="How much near things glow.")
pipeline.ConvertConfig = make_dataclass(
    "ConvertConfig", [("glow", float, glow)], bases=(pipeline.ConvertConfig,), frozen=True
)
convert = importlib.import_module("option_pack.nodes.convert")


class TestsConvertWithGlow(convert.SpatialDreamerConvertVideo):
    """Video to Stereo 3D under a name of its own."""

    @classmethod
    def define_schema(cls):
        schema = super().define_schema()
        schema.node_id = "TestsConvertWithGlow"
        return schema


NODE_CLASS_MAPPINGS = {"TestsConvertWithGlow": TestsConvertWithGlow}
