"""Every public function with every kind of argument: any precision works, and what is wrong is named."""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spatialdreamer_core import depth, dvg, fill, flow, metrics, pipeline, stereo
from spatialdreamer_core.checks import FLOATS, InputError
from spatialdreamer_core.contracts import TABLE
from spatialdreamer_core.depth import DepthShaping, DepthStabiliser, SceneRange
from spatialdreamer_core.fill import FastFill, InpaintConfig, Inpainter, RenderedFrame
from spatialdreamer_core.flow import Flow, Motion
from spatialdreamer_core.flow.motion import check_flow
from spatialdreamer_core.metrics import ComparedFrame, Comparison
from spatialdreamer_core.pipeline import ConvertConfig
from spatialdreamer_core.stereo import FloatingWindow, FloatingWindowTracker

FRAMES, HEIGHT, WIDTH = 3, 9, 14
HALVES = (torch.float16, torch.bfloat16)
FRAMES_TO_PAIRS = ("convert_frames", "convert_frames: depth")
LATENTS = ("deviation_strength", "missing_deviation", "stereo_aware_loss")  # their results are float32


def embed_images(frames):
    transformers = pytest.importorskip("transformers")
    from spatialdreamer_core.svd import embed_images

    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        projection_dim=8,
    )
    return embed_images(transformers.CLIPVisionModelWithProjection(config).eval(), frames)


def of_svd(name):
    def call(**arguments):
        pytest.importorskip("diffusers")
        from spatialdreamer_core.spatialdreamer import deviation
        from spatialdreamer_core.svd import padding

        options = {"crop_to": {"height": 2, "width": 3}, "missing_deviation": {"factor": 2}}.get(name, {})
        return getattr(padding if hasattr(padding, name) else deviation, name)(**arguments, **options)

    return call


def inpaint(warped, hole):
    pipeline = SimpleNamespace(unet=None, vae=None, text_encoder=None)  # not needed where nothing is missing
    return Inpainter(pipeline, InpaintConfig())(warped, hole)


def push(frame):
    stream = FastFill().open(eye="right", size=(HEIGHT, WIDTH))
    return [*stream.push(frame), *stream.push(frame), *stream.finish()][-1]


def motion_of(given):
    return Motion(given["motion.flow"], given["motion.confidence"])


def push_along(**given):
    warped, hole, seen = (part[0] for part in make("F 3 H W", "F 1 H W", "F 1 H W"))
    return push(RenderedFrame(warped, warped, hole, seen, motion_of(given)))


def fill_along(frames, **given):
    """Fill a clip along its flow."""
    parts = ("forward", "backward", "forward_confidence", "backward_confidence")
    whole = Flow(*(given[f"flow.{part}"] for part in parts))
    check_flow(whole, like=frames)
    hole = (torch.arange(frames.shape[-1]) % 5 < 2).float().expand(len(frames), 1, *frames.shape[-2:])
    return fill.fast_fill(frames[:, :3], hole, disparity=hole * 2, flow=whole)


def stabilise(depth, **given):
    """Take a second frame like the first one."""
    stabiliser = DepthStabiliser()
    stabiliser.step(depth)
    return stabiliser.step(depth, motion_of(given))


def add_bars(**bars):
    window = FloatingWindow(bars["window.left"], bars["window.right"])
    return stereo.apply_floating_window(*make("F 3 H W", "F 3 H W"), window)


def count_frames(video):
    return len(video) if isinstance(video, Tensor) and video.ndim else FRAMES


def composite_in_holes(filled):
    warped, hole = make("F 3 H W", "F 1 H W")
    return fill.composite(warped, filled, torch.ones_like(hole))


def grow(video):
    """Make frames large enough for LPIPS, if they are frames."""
    usable = isinstance(video, Tensor) and video.ndim == 4 and video.numel() and not video.is_sparse
    return video.repeat(1, 1, 32, 32) if usable else video


def mean_difference(result, truth):
    """Stand in for LPIPS's network."""
    return (result - truth).abs().mean((1, 2, 3))


def still_flow(mask):
    """The flow between as many frames, in which nothing moves."""
    usable = isinstance(mask, Tensor) and mask.ndim == 4 and mask.numel()
    mask = mask if usable else make("F 1 H W")[0]
    return torch.zeros(max(0, len(mask) - 1), 2, *mask.shape[-2:])


def still(mask):
    """The motion of a frame in which nothing moves."""
    size = mask.shape[-2:] if isinstance(mask, Tensor) and mask.ndim == 4 else (HEIGHT, WIDTH)
    return Motion(torch.zeros(2, *size), torch.ones(1, *size))


def convert_frames(frames, **given):
    """Give all that there is of the pairs."""
    config = ConvertConfig(depth="builtin", black_bars="off")
    return list(pipeline.convert_frames(frames, config, **given))


RANGES = [SceneRange(0.1, 0.9)]
CALLS: dict[str, Any] = {
    **{name: getattr(dvg, name) for name in dvg.__all__ if name in TABLE},
    **{name: getattr(fill, name) for name in fill.__all__ if name in TABLE},
    **{name: getattr(stereo, name) for name in stereo.__all__ if name in TABLE},
    **{name: getattr(flow, name) for name in flow.__all__ if name in TABLE},
    **{name: getattr(depth, name) for name in depth.__all__ if name in TABLE},
    **{name: getattr(metrics, name) for name in metrics.__all__ if name in TABLE},
    "ssim": lambda **given: metrics.ssim(**given, window="uniform"),  # 7x7, which fits
    "lpips": lambda result, truth: metrics.lpips(grow(result), grow(truth), network=mean_difference),
    "warping_error": lambda frames: metrics.warping_error(frames, Flow.between(*2 * [still_flow(frames)])),
    "mask_flicker": lambda hole, disparity: metrics.mask_flicker(
        hole, Flow.between(*2 * [still_flow(hole)]), disparity=disparity
    ),
    "colour_shift": lambda **given: metrics.colour_shift(**given, chunk=1),
    "match_views": lambda source, other: len(metrics.match_views(source, other)[0][0].found),
    "Comparison.add": lambda **given: list(Comparison().add(ComparedFrame(**given)).values()),
    "disparity_error": lambda disparity: metrics.disparity_error(
        metrics.ViewMatches(torch.zeros(1, 2), torch.zeros(1, 2)), disparity
    ),
    "consistency": lambda **given: min(metrics.consistency(**given), 99.0),
    **{name: of_svd(name) for name in ("pad_to_multiple", "crop_to", "pool_mask", *LATENTS)},
    "dilate_hole": lambda hole: dvg.dilate_hole(hole, 2),
    "soft_hole_mask": lambda hole: dvg.soft_hole_mask(hole, feather=3),
    "ease_borders": lambda disparity: dvg.ease_borders(disparity, width_percent=20),
    "refine_one_mask": lambda hole: dvg.refine_one_mask(hole, []),
    "refine_one_mask: a neighbour": lambda hole, mask: dvg.refine_one_mask(hole, [(mask, still(mask))]),
    "refine_hole_mask": lambda hole, disparity: dvg.refine_hole_mask(
        hole, Flow.between(*2 * [still_flow(hole)]), disparity=disparity
    ),
    "carry_motion": lambda columns, **given: dvg.carry_motion(motion_of(given), columns),
    "composite": lambda **given: fill.composite(**given, dilate=1, feather=2),
    "composite: in holes": composite_in_holes,
    "fill_holes": lambda **given: fill.fill_holes(FastFill(), **given),
    "FastFill.push": lambda warped, hole, disparity: push(RenderedFrame(warped, warped, hole, disparity)),
    "Flow": fill_along,
    "Flow.between": Flow.between,
    "Motion": push_along,
    "convert_frames": lambda frame: convert_frames([frame]),
    "convert_frames: depth": lambda depth: convert_frames(make("F 3 H W")[0][:1, :, :8], depth=[depth]),
    "DepthStabiliser.step": stabilise,
    "Inpainter": inpaint,
    "pack_quilt": lambda views: stereo.pack_quilt(views, columns=count_frames(views), rows=1),
    "pack": lambda **given: stereo.pack(**given, format="half_sbs"),
    "FloatingWindowTracker.step": lambda disparity: FloatingWindowTracker().step(disparity),
    "apply_floating_window": lambda left, right: stereo.apply_floating_window(
        left, right, FloatingWindow(*torch.tensor([[1.5], [0.5]]).expand(2, count_frames(left)))
    ),
    "apply_floating_window: bars": add_bars,
    "resize_flow": lambda flow_: flow.resize_flow(flow_, (4, 7)),
    "shape_depth": lambda depth_: depth.shape_depth(depth_, DepthShaping(1.5, 2.0, 0.9, 0.1, 2, 1)),
    "estimate_depth": lambda frames: depth.estimate_depth(frames, estimator="builtin"),
    "apply_scene_ranges": lambda depth_: depth.apply_scene_ranges(depth_, RANGES),
    "measure_statistics": lambda frames, depth_: depth.measure_statistics(frames, depth_),
    "embed_images": embed_images,
    "render_back": lambda **given: fill.render_back(**given, side="right"),
}
SLOW = ("estimate_depth", "embed_images", "estimate_flow", "render_pair", "render_back", *FRAMES_TO_PAIRS)
MAY_FIND_NOTHING = (  # to measure, such as behind an empty mask: NaN
    *("masked_psnr", "sharpness", "gradient_ratio", "ssim", "warping_error", "temporal_error"),
    *("mask_flicker", "colour_shift", "consistency", "round_trip_psnr"),
)
CHECKED_BY_THEMSELVES = {  # with a model, frame by frame, or by `fill_holes`
    *("sample", "measure_deviation", "encode_reference", "build_bank", "encode_frames", "decode_latents"),
    *("stabilise_depth", "added_time_ids", "measure_scenes", "fast_fill", "load_depth"),
}


@dataclass
class Sizes:
    """Sizes that the letters of a shape stand for."""

    F: int = FRAMES
    H: int = HEIGHT
    W: int = WIDTH

    def of(self, shape):
        known = {"F": self.F, "N": self.F, "F-1": self.F - 1, "H": self.H, "W": self.W, "C": 4}
        small = {"h": max(1, self.H // 2), "w": max(1, self.W // 2)}
        return [int(s) if s.isdigit() else (known | small)[s] for s in shape.split()]


def make(*shapes, seed=0, sizes=None):
    """Make tensors in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand((sizes or Sizes()).of(shape), generator=generator) for shape in shapes]


def arguments_of(key, *, sizes=None):
    """Make a call's arguments, every one of them right."""
    given = {}
    for i, (name, rule) in enumerate(TABLE[key].items()):
        value = make(rule.shape, seed=i, sizes=sizes)[0]
        if rule.columns:
            value = (value * value.shape[-1]).floor().long() - 1
        elif "pixels" in rule.what:
            value = 4 * value - 2
        elif key == "Inpainter" and name == "hole":
            value = value / 4  # none: there is no model to fill it
        elif key in ("sharpness", "ssim") and name == "mask":
            value = torch.ones_like(value)
        elif "mask" in rule.remedy or name in ("mask", "known"):
            value = (value > 0.7).to(value.dtype)
        given[name] = value
    return given


def call(key, given):
    """Call a function; `flow` and `depth` are names of packages here."""
    rename = {"flow": "flow_", "depth": "depth_"} if key in _RENAMED else {}
    return CALLS[key](**{rename.get(name, name): value for name, value in given.items()})


_RENAMED = ("resize_flow", "shape_depth", "apply_scene_ranges", "measure_statistics")


def tensors_of(result):
    """List the tensors of a result; arrays and numbers become tensors."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, np.ndarray):
        return [torch.from_numpy(result)]
    if isinstance(result, (bool, int, float)):
        return [torch.tensor(float(result))]
    if hasattr(result, "__dataclass_fields__"):
        return tensors_of(list(vars(result).values()))
    return [tensor for part in result for tensor in tensors_of(part)]


def cast(given, dtype):
    return {k: v.to(dtype) if v is not None and v.is_floating_point() else v for k, v in given.items()}


def test_every_public_function_has_an_entry_and_every_entry_a_call():
    assert set(TABLE) == set(CALLS)
    public = {
        name
        for package in (dvg, fill, stereo, flow, depth, metrics)
        for name in package.__all__
        if callable(getattr(package, name))
        and name[0].islower()
        and "Tensor" in str(getattr(getattr(package, name), "__annotations__", {}).values())
    }
    public = {name for name in public if takes_tensors(name)}
    assert public - set(TABLE) - CHECKED_BY_THEMSELVES == set()


def takes_tensors(name):
    for package in (dvg, fill, stereo, flow, depth, metrics):
        if hasattr(package, name):
            hints = {k: v for k, v in getattr(package, name).__annotations__.items() if k != "return"}
            return any("Tensor" in str(hint) for hint in hints.values())
    return False


@pytest.mark.parametrize("key", TABLE)
def test_every_precision_gives_what_float32_gives(key):
    given = arguments_of(key)
    for dtype in FLOATS:
        low = cast(given, dtype)
        expected = tensors_of(call(key, cast(low, torch.float32)))
        results = tensors_of(call(key, low))
        tolerance = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}.get(dtype, 1e-4)
        for result, wanted in zip(results, expected, strict=True):
            assert result.double().isfinite().all()
            torch.testing.assert_close(result.double(), wanted.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "key", [key for key in TABLE if len(TABLE[key]) > 1 and key not in ("pack", "render_pair")]
)
def test_half_precision_of_one_argument_is_float32_rounded(key):
    given = arguments_of(key)
    first = next(iter(given))
    for dtype in HALVES:
        rounded = {**given, first: given[first].to(dtype)}
        expected = tensors_of(call(key, {**given, first: rounded[first].float()}))
        for result, wanted in zip(tensors_of(call(key, rounded)), expected, strict=True):
            assert torch.equal(result, wanted.to(result.dtype))


KEEP_THE_TYPE = (
    *("forward_warp", "ease_borders", "dilate_hole", "soft_hole_mask", "refine_hole_mask", "gather_columns"),
    *("composite", "fill_holes", "Flow", "FastFill.push", "pack", "anaglyph"),
    *("apply_floating_window", "sample_at_flow", "resize_flow", "flow_confidence", "pool_mask"),
)


@pytest.mark.parametrize("key", KEEP_THE_TYPE)
def test_results_have_the_type_of_the_first_argument(key):
    for dtype in FLOATS:
        results = tensors_of(call(key, cast(arguments_of(key), dtype)))
        assert {result.dtype for result in results} == {dtype}


def harmless(kind, value):
    """Give the same values another make."""
    if kind == "strided":
        return value.repeat_interleave(2, -1)[..., ::2]
    if kind == "flipped":
        return value.flip(-1).contiguous().flip(-1)
    if kind == "channels last" and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    if kind == "of an expression" and value.is_floating_point():
        return value.clone().requires_grad_() * 1
    if kind == "leaf" and value.is_floating_point():
        return value.clone().requires_grad_()
    if kind == "inference":
        with torch.inference_mode():
            return value.clone()
    return value


@pytest.mark.parametrize("key", TABLE)
def test_how_a_tensor_is_made_does_not_matter(key):
    given = arguments_of(key)
    expected = tensors_of(call(key, given))
    for kind in ("strided", "flipped", "channels last", "of an expression", "leaf", "inference"):
        made = {name: harmless(kind, value) for name, value in given.items()}
        for result, wanted in zip(tensors_of(call(key, made)), expected, strict=True):
            torch.testing.assert_close(result.detach(), wanted, rtol=1e-5, atol=1e-5)
        assert all(torch.equal(value, given[name]) for name, value in made.items()), "left as they were"


@pytest.mark.parametrize("key", [key for key in TABLE if key not in ("crop_to", "ssim", *SLOW)])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 9), (2, 7, 1), (1, 2, 2)])
def test_least_sizes(key, sizes):
    fixed = ("Motion", "apply_floating_window: bars", "composite: in holes")
    if key in fixed:
        sizes = (FRAMES, HEIGHT, WIDTH)
    for result in tensors_of(call(key, arguments_of(key, sizes=Sizes(*sizes)))):
        if key not in MAY_FIND_NOTHING:
            assert result.double().isfinite().all()


def broken(rule):
    """Give every way to break a rule, each a function of the right value."""
    axes = len(rule.shape.split())
    ways = {
        "array": lambda value: value.numpy(),
        "list": lambda value: value.tolist(),
        "text": lambda value: "frames",
        "another axis more or less": lambda value: value.flatten() if axes > 1 else value[:, None],
        "more axes": lambda value: value[None],
        "complex": lambda value: value.to(torch.complex64),
        "int32": lambda value: value.to(torch.int32),
        "8-bit float": lambda value: value.float().to(torch.float8_e4m3fn),
        "sparse": lambda value: value.to_sparse(),
        "meta": lambda value: value.to("meta"),
        "no pixel": lambda value: value[..., :0] if value.ndim > 1 else value[:0],
    }
    if not rule.optional:
        ways["none"] = lambda value: None
    if not rule.bytes_too:
        ways["uint8"] = lambda value: value.to(torch.uint8)
    if rule.finite and not rule.columns:
        for number in ("nan", "inf", "-inf"):
            ways[number] = lambda value, number=number: poison(value, float(number))
    if rule.columns or rule.high < 1e9:
        for number in (300.0, -300.0) if rule.high < 300 or rule.columns else (1e9, -1e9):
            ways[f"{number:g}"] = lambda value, number=number: poison(value, number)
    if rule.shape.split()[0] == "F":
        ways["no frame"] = lambda value: value[:0]
    if any(size.isdigit() for size in rule.shape.split()[-3:-2]):
        ways["one channel more"] = lambda value: torch.cat([value, value.narrow(-3, 0, 1)], -3)
    return ways


def poison(value, number):
    value = value.detach().clone()
    if not value.is_floating_point() and abs(number) not in (300.0,):
        return value
    value.view(-1)[value.numel() // 2] = number
    return value


@pytest.mark.parametrize("key", TABLE)
def test_what_breaks_a_rule_is_named(key):
    right = arguments_of(key)
    for name, rule in TABLE[key].items():
        for way, change in broken(rule).items():
            if key == "composite: in holes" and way not in ("nan", "inf", "-inf", "300", "-300"):
                continue
            given = {**right, name: change(right[name])}
            with pytest.raises(InputError) as caught:
                call(key, given)
            assert "\n" not in str(caught.value)
            bare = name.split(".")[0]
            assert f"`{bare}" in str(caught.value), (name, way)


@pytest.mark.parametrize("key", [key for key in TABLE if len(TABLE[key]) > 1])
@pytest.mark.parametrize("axis", [0, -1, -2])
def test_arguments_of_different_sizes_are_refused(key, axis):
    first = next(iter(TABLE[key]))
    for name, rule in TABLE[key].items():
        letters = rule.shape.split()
        if name == first or len(letters) < 2 or letters[axis] not in TABLE[key][first].shape.split():
            continue
        if letters[axis].isdigit():
            continue
        given = arguments_of(key)
        given[name] = torch.cat([given[name], given[name].narrow(axis, 0, 1)], axis)
        with pytest.raises(InputError, match=r"must (have|hold|be)"):
            call(key, given)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (dvg.forward_warp, {"eye": "both"}, "eye must be one of right, left, got 'both'"),
        (dvg.forward_warp, {"eye": None}, "eye must be one of right, left, got None"),
        (dvg.forward_warp, {"eye": 1}, "eye must be one of right, left, got 1"),
        (dvg.forward_warp, {"eye": "Right"}, "got 'Right'"),
    ],
)
def test_eyes(function, options, message):
    with pytest.raises(InputError, match=message):
        function(*make("F 3 H W", "F 1 H W"), **options)


@pytest.mark.parametrize("value", ["2", None, float("nan"), float("inf"), -1, 1.5, True, torch.ones(2), []])
def test_whole_numbers(value):
    for function in (dvg.dilate_hole, lambda hole, number: dvg.soft_hole_mask(hole, feather=number)):
        with pytest.raises(InputError, match=r"dilate|feather"):
            function(make("F 1 H W")[0], value)


@pytest.mark.parametrize(
    "size", [(0, 4), (-3, 4), (4,), (4, 4, 4), 4, "44", None, (4.0, 4.0), (4, "4"), (10**9, 10**9)]
)
def test_sizes(size):
    with pytest.raises(InputError, match="size must be"):
        flow.resize_flow(torch.zeros(2, 2, 5, 6), size)
    with pytest.raises(InputError, match="size must be"):
        depth.upsample_depth(np.zeros((3, 4), np.float32), size)
    with pytest.raises(InputError, match="size must"):
        depth.RowUpsampler(np.zeros((3, 4), np.float32), size)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda wrong: depth.RowUpsampler(wrong, (6, 8)), "depth"),
        (lambda wrong: depth.measure_scenes([torch.rand(1, 1, 2, 3)], wrong), "cuts"),
        (lambda wrong: depth.apply_scene_ranges(torch.rand(1, 1, 2, 3), [wrong]), "ranges"),
        (lambda wrong: depth.apply_scene_ranges(torch.rand(1, 1, 2, 3), wrong), "ranges"),
        (lambda wrong: depth.DepthFile(wrong), "depth"),
        (lambda wrong: dvg.refine_one_mask(torch.zeros(1, 1, 4, 5), wrong), "neighbours"),
        (lambda wrong: fill.fast_fill(torch.rand(2, 3, 4, 5), torch.zeros(2, 1, 4, 5), flow=wrong), "flow"),
    ],
)
@pytest.mark.parametrize("wrong", [3, True, torch.zeros(2), np.zeros(2)], ids=str)
def test_other_arguments_of_a_wrong_type_are_named(call, name, wrong):
    with pytest.raises(InputError, match=rf"\b{name}`? must"):
        call(wrong)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize("scale", [1.0, 200.0, 1e6])
def test_the_warp_takes_any_disparity_in_any_mix_of_precisions(dtype, eye, scale):
    """Columns beyond 2048 are not told apart in half precision, nor may bins overflow."""
    width = 3000
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 2, width, generator=generator)
    disparity = (2 * torch.rand(1, 1, 2, width, generator=generator) - 1) * scale
    expected = dvg.forward_warp(image.to(dtype).float(), disparity, eye=eye)
    result = dvg.forward_warp(image.to(dtype), disparity, eye=eye)
    for got, wanted in zip(result, expected, strict=True):
        assert got.isfinite().all()
        torch.testing.assert_close(got, wanted.to(dtype), rtol=1e-3, atol=1e-5)
    assert dvg.source_columns(disparity.to(dtype).clamp(-6e4, 6e4), eye=eye).max() < width


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("format", stereo.FORMATS)
def test_every_packing_in_half_precision(dtype, format):
    left, right = (view.to(dtype) for view in make("F 3 H W", "F 3 H W"))
    depth = make("F 1 H W")[0]
    packed = stereo.pack(left, right, format=format, depth=depth)
    assert packed.dtype == dtype
    expected = stereo.pack(left.float(), right.float(), format=format, depth=depth)
    assert torch.equal(packed, expected.to(dtype))


def test_flow_far_to_the_right_is_followed_in_half_precision():
    width = 3001
    values = torch.arange(width).float().expand(1, 1, 1, width) / width
    still = torch.zeros(1, 2, 1, width).half()
    assert torch.equal(flow.sample_at_flow(values, still), flow.sample_at_flow(values, still.float()))
    assert flow.flow_confidence(still, still).all()


DIFFERENTIABLE = {
    "forward_warp": ("image",),
    "gather_columns": ("values",),
    "composite": ("warped", "filled"),
    "fill_holes": ("warped",),
    "anaglyph": ("left", "right"),
    "apply_floating_window": ("left", "right"),
    "ease_borders": ("disparity",),
    "sample_at_flow": ("values", "flow"),
    "resize_flow": ("flow",),
    "crop_to": ("frames",),
}


@pytest.mark.parametrize("key", DIFFERENTIABLE)
def test_gradients(key):
    given = cast(arguments_of(key, sizes=Sizes(2, 3, 5)), torch.float64)
    names = DIFFERENTIABLE[key]
    inputs = [given[name].clone().requires_grad_() for name in names]

    def run(*values):
        return tensors_of(call(key, {**given, **dict(zip(names, values, strict=True))}))[0]

    assert torch.autograd.gradcheck(run, inputs, atol=1e-4)


def mutate(value, chance):
    """Change a tensor in one way of many, right or wrong."""
    axis = chance.randrange(value.ndim)
    ways = [
        lambda: value.to(chance.choice([*FLOATS, torch.uint8, torch.int64, torch.bool])),
        lambda: poison(value, chance.choice([float("nan"), float("inf"), 1e30, -1e30, 65504.0, -0.0])),
        lambda: value * chance.choice([0, -1, 255, 1e6, 1e38]),
        lambda: value.narrow(axis, 0, chance.randrange(value.shape[axis] + 1)),
        lambda: torch.cat([value, value], axis),
        lambda: value.movedim(axis, 0),
        lambda: value.expand(2, *value.shape),
        lambda: value.sum(axis),
        lambda: value.flip(axis),
        lambda: value[..., ::2],
        lambda: value.detach().clone().requires_grad_() if value.is_floating_point() else value,
        lambda: chance.choice([None, 3, "x", [], value.numpy(), value.to("meta"), value.to_sparse()]),
    ]
    return chance.choice(ways)()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_fuzz(seed):
    """Whatever is passed, a result is finite or the error is for the user."""
    chance = random.Random(seed)
    keys = [key for key in TABLE if key not in (*SLOW, *LATENTS, "Inpainter")]
    for _ in range(6000 if seed else 700):
        key = chance.choice(keys)
        given = arguments_of(key)
        for name in chance.sample(list(given), chance.randint(1, len(given))):
            given[name] = mutate(given[name], chance)
        described = {k: getattr(v, "shape", v) for k, v in given.items()}, key
        try:
            result = call(key, given)
        except InputError:
            continue
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error} of {described}") from error
        if key not in ("pad_to_multiple", "crop_to", *MAY_FIND_NOTHING):
            assert all(tensor.double().isfinite().all() for tensor in tensors_of(result)), described
