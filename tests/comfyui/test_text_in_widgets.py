"""Widgets that a shared workflow sets to text, to nothing or to an unknown choice: told when it is queued."""

from __future__ import annotations

import pytest

from .clips import write_clip
from .server import ExecutionFailed, RequestRefused
from .test_interrupt_and_errors import convert_prompt, images, mask

SAMPLED = {"model": ["model", 0], "warped": ["image", 0], "hole": ["mask", 0]}
SOURCES = {
    "SpatialDreamerConvertVideo": {"video": ["video", 0], "depth": "builtin"},
    "SpatialDreamerImageToStereo": {"image": ["image", 0], "depth": "builtin"},
    "SpatialDreamerOpticalFlow": {"image": ["image", 0]},
    "SpatialDreamerDVGForwardWarp": {"image": ["image", 0], "depth": ["image", 0]},
    "SpatialDreamerFastFill": {"left": ["image", 0], "warped": ["image", 0], "hole": ["mask", 0]},
    "SpatialDreamerComposite": {"warped": ["image", 0], "filled": ["image", 0], "hole": ["mask", 0]},
    "SpatialDreamerSBSPacker": {"left": ["image", 0], "right": ["image", 0]},
    "SpatialDreamerSaveStereoVideo": {"images": ["image", 0]},
    "SpatialDreamerDepthEstimator": {"image": ["image", 0], "estimator": "builtin"},
    "SpatialDreamerRefineHoleMask": {"hole": ["mask", 0], "flow": ["flow", 0], "disparity": ["warp", 2]},
    "SpatialDreamerFiller": {"model": ["model", 0]},
    "SpatialDreamerRefinerNetEncode": {"model": ["model", 0], "left": ["image", 0]},
    "SpatialDreamerTILSVDSampler": SAMPLED | {"reference": ["reference", 0]},
}


@pytest.fixture(scope="module")
def node_prompt(comfy_server, svd_checkpoint, tmp_path_factory):
    """A function that makes a prompt of one node, its widgets at their defaults or as given."""
    info = comfy_server.pack_info()
    clip = comfy_server.upload(write_clip(tmp_path_factory.mktemp("text") / "text.mp4", frames=2))

    def node(node_id: str, **inputs) -> dict:
        required = info[node_id]["input"]["required"]
        defaults = {name: rest[0]["default"] for name, (_, *rest) in required.items() if "default" in rest[0]}
        return {"class_type": node_id, "inputs": defaults | SOURCES.get(node_id, {}) | inputs}

    def shown(kind: str, slot: int) -> dict:
        """Make the nodes that bring an output to an end."""
        link = ["node", slot]
        if kind == "SPATIALDREAMER_FILLER":
            return {"film": node("SpatialDreamerConvertVideo", filler=link)}
        views = {}
        if kind == "MASK":
            views = {"picture": {"class_type": "MaskToImage", "inputs": {"mask": link}}}
        elif kind == "SPATIALDREAMER_REFERENCE":
            views = {"picture": node("SpatialDreamerTILSVDSampler", reference=link)}
        link = ["picture", 0] if views else link
        return views | {"preview": {"class_type": "PreviewImage", "inputs": {"images": link}}}

    def make(node_id: str, **widgets) -> dict:
        prompt = {
            "video": {"class_type": "LoadVideo", "inputs": {"file": clip}},
            "image": images((64, 48)),
            "mask": mask((64, 48)),
            "flow": node("SpatialDreamerOpticalFlow"),
            "warp": node("SpatialDreamerDVGForwardWarp"),
            "model": node(
                "SpatialDreamerModelLoader", checkpoint=svd_checkpoint.name, weights="none (untrained)"
            ),
            "reference": node("SpatialDreamerRefinerNetEncode"),
            "node": node(node_id, **widgets),
        }
        if info[node_id]["output_node"]:
            return prompt
        kinds = info[node_id]["output"]
        slot = next((index for index, kind in enumerate(kinds) if kind in ("IMAGE", "MASK")), 0)
        return prompt | shown(kinds[slot], slot)

    return make


@pytest.mark.parametrize("node_id", SOURCES)
def test_each_widget_is_named_when_it_holds_something_else(comfy_server, node_prompt, node_id):
    sections = comfy_server.pack_info()[node_id]["input"]
    widgets = sections.get("required", {}) | sections.get("optional", {})
    values = {"FLOAT": ("abc", None, "nan"), "INT": ("abc", None, "7.5"), "COMBO": ("no such", 3, {})}
    tried = 0
    for name, (kind, _) in widgets.items():
        for value in values.get(kind, ()):
            with pytest.raises(RequestRefused) as caught:
                comfy_server.queue(node_prompt(node_id, **{name: value}))
            assert f'"{name}' in str(caught.value) or f": {name} must" in str(caught.value), (name, value)
            tried += 1
    assert tried or not any(kind in values for kind, _ in widgets.values())


def test_numbers_as_text_are_numbers(comfy_server, node_prompt):
    prompt = node_prompt("SpatialDreamerSBSPacker")
    assert comfy_server.run(prompt)
    prompt = convert_prompt("none", divergence="2.5", crf="30", filename_prefix="text/film")
    prompt["1"] = node_prompt("SpatialDreamerConvertVideo")["video"]
    assert comfy_server.run(prompt)["2"]["text"][0].startswith("saved as text/film")


def test_a_choice_of_nothing_ends_in_a_sentence(comfy_server, node_prompt):
    for node_id, name in (("SpatialDreamerConvertVideo", "format"), ("SpatialDreamerSBSPacker", "format")):
        with pytest.raises((ExecutionFailed, RequestRefused), match=f"{name} must be") as caught:
            comfy_server.run(node_prompt(node_id, **{name: None}))
        assert "Traceback" not in str(caught.value)
