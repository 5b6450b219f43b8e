"""Widgets are made of the options of the settings classes: none states a default or range of its own."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from spatialdreamer_core.depth import EDGE_WIDTH, DepthShaping
from spatialdreamer_core.dvg import DILATION, FEATHER
from spatialdreamer_core.evaluation import EvaluateConfig
from spatialdreamer_core.fill import FastFillConfig, PairConfig
from spatialdreamer_core.frame_matrix.config import FrameMatrixConfig
from spatialdreamer_core.m2svid.config import SHIFT, RefinerConfig
from spatialdreamer_core.options import option_of, options_of
from spatialdreamer_core.pipeline import ConvertConfig
from spatialdreamer_core.spatialdreamer.sampler_config import FilmSamplerConfig, SamplerConfig
from spatialdreamer_core.stereo import DeviceConfig, QuiltGrid, StereoLayout
from spatialdreamer_core.video import FRAME_RATE, PHOTO_TYPE

from .server import REPOSITORY, ExecutionFailed, RequestRefused
from .test_interrupt_and_errors import convert_prompt

REFINER, MATRIX = options_of(RefinerConfig), options_of(FrameMatrixConfig)
CONVERT = options_of(ConvertConfig) | options_of(DeviceConfig)
FILM = options_of(FilmSamplerConfig)
SHAPING = {option.name: option for option in options_of(DepthShaping).values()}
EYE = replace(CONVERT["eye"], choices=("right", "left"))
PAIR = options_of(PairConfig)
WIDGETS = {  # each node's options; for some, what is meant to be another than in their field
    "SpatialDreamerBuildDVGClip": {
        **CONVERT,
        **SHAPING,
        **PAIR,
        "edge_width": replace(SHAPING["edge_width"], default=EDGE_WIDTH),
    },
    "SpatialDreamerCompareStereo": {"chunk": option_of(EvaluateConfig, "chunk")},
    "SpatialDreamerBatchConvert": CONVERT,
    "SpatialDreamerConvertVideo": CONVERT,
    "SpatialDreamerFilmSettings": {"resume": replace(CONVERT["resume"], advanced=False)},
    "SpatialDreamerImageToStereo": CONVERT,
    "SpatialDreamerDVGForwardWarp": {
        **CONVERT,
        **SHAPING,
        "eye": EYE,
        "edge_width": replace(SHAPING["edge_width"], default=EDGE_WIDTH),
        "border_width": replace(CONVERT["border_width"], default=0.0),
    },
    "SpatialDreamerRefineHoleMask": {"dilate": DILATION},
    "SpatialDreamerComposite": {"dilate": DILATION, "feather": FEATHER},
    "SpatialDreamerFastFill": options_of(FastFillConfig),
    "SpatialDreamerTILSVDSampler": options_of(SamplerConfig),
    "SpatialDreamerFiller": FILM,
    "SpatialDreamerFrameMatrixFiller": MATRIX,
    "SpatialDreamerFrameMatrixSampler": MATRIX | {"eye": EYE},
    "SpatialDreamerM2SVidFiller": REFINER,
    "SpatialDreamerM2SVidRefiner": REFINER | {"eye": EYE, "shift": SHIFT},
    "SpatialDreamerRefinerNetEncode": {"max_side": FILM["max_side"]},
    "SpatialDreamerQuiltPacker": options_of(QuiltGrid),
    "SpatialDreamerSBSPacker": options_of(StereoLayout),
    "SpatialDreamerSaveStereoPhoto": {**CONVERT, "file_type": PHOTO_TYPE},
    "SpatialDreamerSaveStereoVideo": {**CONVERT, "fps": FRAME_RATE},
    "SpatialDreamerDepthEstimator": {
        "estimator": CONVERT["depth"],
        "depth_stability": CONVERT["depth_stability"],
    },
    "SpatialDreamerOpticalFlow": {"method": replace(CONVERT["flow"], default="dis_medium")},
    "SpatialDreamerLoadDepth": {"kind": CONVERT["depth_kind"]},
}
KINDS = {float: "FLOAT", int: "INT", bool: "BOOLEAN", str: "COMBO"}


def widgets_of(node: dict) -> dict[str, tuple]:
    inputs = {name: entry for section in node["input"].values() for name, entry in section.items()}
    return {name: entry for name, entry in inputs.items() if entry[0] in KINDS.values()}


def test_widgets_are_as_their_options(comfy_server):
    nodes = comfy_server.pack_info()
    for node, options in WIDGETS.items():
        shown = widgets_of(nodes[node])
        matched = shown.keys() & options.keys()
        assert matched, node
        for name in matched:
            option, (kind, about) = options[name], shown[name]
            where = f"{node}.{name}"
            none = option.nullable and option.none_as is not None
            assert about["default"] == (option.none_as if option.default is None else option.default), where
            assert kind == KINDS[option.kind], where
            if option.kind in (float, int):
                least = min([option.low, *option.also, *([option.none_as] if none else [])])
                assert (about["min"], about["max"]) == (least, option.high), where
                assert about.get("step") == option.step, where
                assert option.line.removeprefix(option.help) in about["tooltip"], where
            if option.choices:
                assert about["options"] == list(option.list_choices()), where
            if none:
                assert about["tooltip"].endswith(f" {option.none_as:g}: {option.none_means}."), where


def test_the_sampler_offers_each_of_its_options(comfy_server):
    nodes = comfy_server.pack_info()
    for node, settings in (
        ("SpatialDreamerTILSVDSampler", SamplerConfig),
        ("SpatialDreamerFiller", FilmSamplerConfig),
        ("SpatialDreamerFrameMatrixFiller", FrameMatrixConfig),
        ("SpatialDreamerFrameMatrixSampler", FrameMatrixConfig),
        ("SpatialDreamerM2SVidFiller", RefinerConfig),
        ("SpatialDreamerM2SVidRefiner", RefinerConfig),
    ):
        assert options_of(settings).keys() <= widgets_of(nodes[node]).keys()


def test_numbers_have_their_widgets_from_options_alone():
    """A choice of files, or a switch of one node, has no option in the library; a number always has."""
    for file in (REPOSITORY / "nodes").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and file.name != "widgets.py":
                assert ast.unparse(call.func) not in ("io.Float.Input", "io.Int.Input"), file.name
                assert not {"min", "max", "step"} & {keyword.arg for keyword in call.keywords}, file.name


def test_one_more_setting_is_one_more_widget_the_last(comfy_server):
    node = comfy_server.object_info()["TestsConvertWithGlow"]
    kind, about = node["input"]["optional"]["glow"]
    assert node["input_order"]["optional"][-1] == "glow"
    assert (kind, about["default"], about["min"], about["max"], about["step"]) == ("FLOAT", 0.2, 0, 1, 0.1)
    assert about["tooltip"] == "How much near things glow. Range: 0 to 1 % of light."


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_one_more_setting_is_checked_when_it_is_queued(comfy_server, uploaded_clip, value):
    prompt = convert_prompt(uploaded_clip, glow=value)
    (convert,) = (node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")
    convert["class_type"] = "TestsConvertWithGlow"
    with pytest.raises(RequestRefused, match=r"glow must be between 0 and 1 \(% of light\), got"):
        comfy_server.queue(prompt)


def prompt_of(node: dict, name: str, **inputs) -> dict:
    """Return a prompt that ends at a node, with what its sockets and required widgets need."""
    size = {"width": 8, "height": 8}
    warp = {"image": ["IMAGE", 0], "depth": ["IMAGE", 0], "invert_depth": False, "eye": "right"}
    links = {
        "IMAGE": ("EmptyImage", size | {"batch_size": 1, "color": 0}),
        "MASK": ("SolidMask", size | {"value": 1.0}),
        "INT": ("PrimitiveInt", {"value": 1}),
        "SPATIALDREAMER_DISPARITY": (
            "SpatialDreamerDVGForwardWarp",
            warp | {"divergence": 2.0, "convergence": 0.5},
        ),
        "SPATIALDREAMER_FLOW": ("SpatialDreamerOpticalFlow", {"image": ["IMAGE", 0], "method": "dis_fast"}),
        "SPATIALDREAMER_MODEL": (
            "SpatialDreamerModelLoader",
            {"checkpoint": "svd_xt.safetensors", "weights": "none (untrained)"},
        ),
        "SPATIALDREAMER_REFERENCE": (
            "SpatialDreamerRefinerNetEncode",
            {"model": ["SPATIALDREAMER_MODEL", 0], "left": ["IMAGE", 0], "max_side": 64},
        ),
    }
    needed = {
        entry: about["default"] if "default" in about else [kind, 2 if kind.endswith("DISPARITY") else 0]
        for entry, (kind, about) in node["input"]["required"].items()
    }
    return {
        **{kind: {"class_type": of, "inputs": given} for kind, (of, given) in links.items()},
        "node": {"class_type": name, "inputs": needed | inputs},
        "out": {"class_type": "PreviewAny", "inputs": {"source": ["node", 0]}},
    }


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("Composite", {"dilate": 65}, "dilate must be between 0 and 64 (px), got 65"),
        ("Composite", {"feather": -1}, "feather must be between 0 and 64 (px), got -1"),
        ("RefineHoleMask", {"dilate": 99}, "dilate must be between 0 and 64 (px), got 99"),
        ("DVGForwardWarp", {"edge_width": -1}, "edge_width must be between 0 and 20 (px), got"),
        ("DVGForwardWarp", {"edge_dilation": 11}, "edge_dilation must be between 0 and 10"),
        ("DVGForwardWarp", {"eye": "both"}, "eye must be one of right, left, got 'both'"),
        ("DVGForwardWarp", {"depth": "map.png"}, "depth must come from another node"),
        ("RefinerNetEncode", {"max_side": 5000}, "max_side must be between 64 and 4096 (px)"),
        ("TILSVDSampler", {"steps": 0}, "steps must be between 1 and 200, got 0"),
        ("TILSVDSampler", {"seed": -1}, "seed must be between 0 and"),
        ("TILSVDSampler", {"windows": "all"}, "windows must be one of together, in_turn"),
    ],
)
def test_values_that_break_a_rule_are_refused_when_they_are_queued(comfy_server, name, inputs, message):
    node = comfy_server.pack_info()[f"SpatialDreamer{name}"]
    with pytest.raises(RequestRefused) as refusal:
        comfy_server.queue(prompt_of(node, f"SpatialDreamer{name}", **inputs))
    assert message in str(refusal.value)


def test_a_value_that_is_linked_is_not_at_odds_with_another_one_before_it_is_known(comfy_server):
    name = "SpatialDreamerTILSVDSampler"
    node = comfy_server.pack_info()[name]
    with pytest.raises(RequestRefused, match="overlap must be between 0 and window - 1"):
        comfy_server.queue(prompt_of(node, name, window=3))
    prompt_id = comfy_server.queue(prompt_of(node, name, window=3, overlap=["INT", 0]))
    with pytest.raises(ExecutionFailed):  # there is no such model
        comfy_server.wait(prompt_id)
