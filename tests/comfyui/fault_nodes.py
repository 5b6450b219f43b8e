"""Nodes for the tests alone: they let a stage of the next conversion fail, change the environment, or tell
what is left open and which networks are in memory.

ComfyUI loads this file as a pack of its own; it finds ours among the loaded modules. Loading it makes the
log show what SpatialDreamer does window by window.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

_ORIGINAL: list = []
_PACK = str(Path(__file__).with_name("ComfyUI-SpatialDreamer")).replace(".", "_x_")  # ComfyUI's name for it

logging.getLogger(f"{_PACK}.spatialdreamer_core.spatialdreamer").setLevel(logging.DEBUG)


def stage_clock() -> type:
    """Find the pack's class through which all stages pass."""
    name = next(name for name in sys.modules if name.endswith("spatialdreamer_core.pipeline.clock"))
    return sys.modules[name].StageClock


class FailAt:
    """Let a stage fail at a frame, once; the video passes."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "arm", ("VIDEO",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"video": ("VIDEO",), "stage": ("STRING", {}), "frame": ("INT", {})}}

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def arm(self, video, stage: str, frame: int):
        clock = stage_clock()
        if not _ORIGINAL:
            _ORIGINAL.append(clock.__call__)
        count: dict[str, int] = {}

        @contextmanager
        def call(self, name):
            count[name] = count.get(name, -1) + 1
            with _ORIGINAL[0](self, name):
                if name == stage and count[name] == frame:
                    clock.__call__ = _ORIGINAL[0]
                    raise MemoryError if frame == 1 else RuntimeError(f"{stage} broke at {frame}")
                yield

        clock.__call__ = call
        return (video,)


class OpenThings:
    """Tell how many of the pack's threads run and which videos are open."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "look", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls):
        return float("nan")

    def look(self):
        threads = [thread.name for thread in threading.enumerate() if "spatialdreamer" in thread.name]
        files = []
        if sys.platform.startswith("linux"):
            for link in Path("/proc/self/fd").iterdir():
                try:
                    files.append(os.readlink(link))
                except OSError:
                    continue
        return {"ui": {"open": [*threads, *(file for file in files if ".mp4" in file or ".lock-" in file)]}}


class Networks:
    """Tell which objects of a class are in memory."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "look", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING", {})}}

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def look(self, name: str):
        return {"ui": {"networks": [id(thing) for thing in gc.get_objects() if type(thing).__name__ == name]}}


class Environment:
    """Set a variable of the server's environment; an empty value removes it."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "set", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING", {}), "value": ("STRING", {})}}

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def set(self, name: str, value: str):
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
        if (
            name == "HF_HUB_OFFLINE" and "huggingface_hub" in sys.modules
        ):  # which reads it once, at its import
            sys.modules["huggingface_hub"].constants.HF_HUB_OFFLINE = bool(value)
        return {"ui": {"set": [value]}}


class RecognisedAsModel:
    """Tell whether ComfyUI's cache recognises what holds a model, and how large that says it is."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "look", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("*",), "reference": ("*",)}}

    def look(self, model, reference):
        from comfy import model_patcher

        def recognised(value):  # as newer ComfyUI has it
            return isinstance(getattr(value, "patcher", None), model_patcher.ModelPatcher)

        recognised = getattr(model_patcher, "is_model_patcher_output", recognised)
        values = (model, reference)
        sizes = [value.get_ram_usage() for value in values if not isinstance(value, (list, tuple))]
        return {"ui": {"recognised": [bool(recognised(value)) for value in values], "bytes": sizes}}


class ShortOfMemory:
    """Let main memory have no room for RefinerNet's features, or have it again; the picture passes."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "set", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "short": ("BOOLEAN", {})}}

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def set(self, image, short: bool):
        core = stage_clock().__module__.removesuffix(".pipeline.clock")
        module = importlib.import_module(f"{core}.spatialdreamer.reference")
        module._FREE_SHARE = 0.0 if short else 0.5
        return (image,)


class OthersFiller:
    """Fills holes with grey, as another pack might; from its third frame on it does what it is told to."""

    def __init__(self, deed: str):
        self.deed, self.count = deed, 0

    def open(self, *, eye, size):
        return self

    def push(self, frame):
        self.count += 1
        filled = frame.warped.masked_fill(frame.hole > 0.5, 0.5)
        if self.count < 3:
            return [filled]
        if self.deed == "fail":
            raise RuntimeError("it broke")
        return {"lose": [], "cut": [filled[:, 1:]], "spoil": [1 - filled], "fill": [filled]}[self.deed]

    def finish(self):
        return []


class MakeFiller:
    """Make a filler that breaks the contract; "class" gives what is none."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "make", ("SPATIALDREAMER_FILLER",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"deed": ("STRING", {})}}

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def make(self, deed: str):
        return (OthersFiller if deed == "class" else OthersFiller(deed),)


NODE_CLASS_MAPPINGS = {
    "TestsFailAt": FailAt,
    "TestsOpenThings": OpenThings,
    "TestsNetworks": Networks,
    "TestsEnvironment": Environment,
    "TestsRecognisedAsModel": RecognisedAsModel,
    "TestsShortOfMemory": ShortOfMemory,
    "TestsMakeFiller": MakeFiller,
}
