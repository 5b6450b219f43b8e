"""What each public function takes: one table, checked in one place.

A shape is written as in signatures. A letter is a size that all arguments of a call share; `C` is any number
of channels, `N` a number of frames or pairs that may be 0, small letters are sizes of their own. All floats
are welcome, float16, bfloat16, float32 and float64, also mixed; a function computes in float32 where they are
shorter (`working_dtype`) and gives its first argument's type back, unless its text says otherwise.

Values are looked at once a call, with one synchronisation on a GPU. What works on the frames of a film calls
the functions beneath the public ones, whose arguments it has made itself.

`tests/…/test_contracts.py` tries every entry, and that every public function has one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .checks import InputError, check_finite, check_tensor

_ANY = (-float("inf"), float("inf"))
_FAR = 1e6  # px; wider than any frame, and float32 still tells neighbouring columns apart


@dataclass(frozen=True)
class Takes:
    """What a function takes for one argument."""

    shape: str  # sizes, outermost first
    what: str = "finite"  # the rule for values, for the message
    remedy: str = "repair it, or check what made it"
    low: float = _ANY[0]  # values beyond are refused; a little wider than the rule, as resampling overshoots
    high: float = _ANY[1]
    finite: bool = True  # whether values are checked
    bytes_too: bool = False  # whether it may be uint8
    bools_too: bool = False  # whether it may be bool
    columns: bool = False  # int64 columns of a frame, or `NO_SOURCE`
    optional: bool = False  # whether it may be None
    misfit: str = ""  # the wording of the shape's rule in the message


_PICTURE_REMEDY = "divide 8-bit values by 255, and clamp or tone-map what is brighter than white"
_FLOW_REMEDY = "estimate it from the same frames"
_FLOW_RULE = "must hold one flow for each pair of neighbouring frames, shape"


def _picture(shape: str = "F 3 H W") -> Takes:
    return Takes(shape, "in [0, 1]", _PICTURE_REMEDY, -1.0, 2.0)


def _hole(shape: str = "F 1 H W") -> Takes:
    return Takes(shape, remedy="repair the mask: 1 = hole, 0 = known")


def _depth(shape: str = "F 1 H W") -> Takes:
    remedy = "normalise it over the scene first (metres: use 1 / depth)"
    return Takes(shape, "inverse depth in [0, 1]", remedy, -1e-3, 1 + 1e-3)


def _disparity(shape: str = "F 1 H W") -> Takes:
    return Takes(shape, "pixels of the frame", "repair the depth it was made from", -_FAR, _FAR)


def _flow(shape: str = "F-1 2 H W") -> Takes:
    misfit = _FLOW_RULE if shape.startswith("F-1") else ""
    return Takes(shape, "pixels of the frame", _FLOW_REMEDY, -_FAR, _FAR, misfit=misfit)


def _confidence(shape: str) -> Takes:
    misfit = "must be" if shape.startswith("F-1") else ""
    return Takes(shape, "in [0, 1]", "use flow_confidence on the same flow", -1e-3, 1 + 1e-3, misfit=misfit)


def _optional(rule: Takes) -> Takes:
    return replace(rule, optional=True)


_VIEW = replace(_picture(), bytes_too=True)
_ANYTHING = Takes("F C H W")
_RGB = Takes("F 3 H W")
_MASK = Takes("F 1 H W", finite=False, bools_too=True)
_COLUMNS = Takes("F 1 H W", "columns of the frame", "use what source_columns gives", columns=True)
_LATENTS = Takes("F 4 h w", remedy="sample in bfloat16 or float32, or with less guidance")
_LOSS = replace(_LATENTS, shape="F C H W", finite=False)

TABLE: dict[str, dict[str, Takes]] = {
    # dvg
    "depth_to_disparity": {"depth": _depth()},
    "looks_inverted": {"depth": _depth()},
    "ease_borders": {"disparity": _disparity()},
    "forward_warp": {"image": _picture(), "disparity": _disparity()},
    "forward_warp_with_disparity": {"image": _picture(), "disparity": _disparity()},
    "source_columns": {"disparity": _disparity()},
    "gather_columns": {"values": _ANYTHING, "columns": _COLUMNS},
    "refine_hole_mask": {
        "hole": _hole(),
        "disparity": _disparity(),
    },
    "refine_one_mask": {"hole": _hole("1 1 H W")},
    "refine_one_mask: a neighbour": {
        "hole": replace(_hole("1 1 H W"), finite=False),
        "mask": _hole("1 1 H W"),
    },
    "carry_motion": {
        "motion.flow": _flow("2 H W"),
        "motion.confidence": _confidence("1 H W"),
        "columns": replace(_COLUMNS, shape="1 1 H W"),
    },
    "dilate_hole": {"hole": _hole()},
    "soft_hole_mask": {"hole": _hole()},
    # fill
    "composite": {
        "warped": _picture(),
        "filled": replace(_picture(), finite=False),  # outside of holes it may hold anything
        "hole": _hole(),
    },
    "composite: in holes": {"filled": _picture()},
    "fill_holes": {
        "warped": _picture(),
        "hole": _hole(),
        "left": _picture(),
        "disparity": _optional(_disparity()),
    },
    "FastFill.push": {
        "warped": replace(_picture("3 H W"), bytes_too=True),
        "hole": replace(_hole("1 H W"), bools_too=True),
        "disparity": _optional(_disparity("1 H W")),
    },
    "Inpainter": {"warped": _picture(), "hole": _hole()},
    "render_pair": {"frames": _picture(), "depth": _depth()},
    "render_back": {"reference": _picture(), "reference_disparity": _disparity()},
    # stereo
    "pack": {"left": _VIEW, "right": _VIEW, "depth": _optional(_depth())},
    "pack_quilt": {"views": replace(_VIEW, shape="N F 3 H W")},
    "anaglyph": {"left": _picture(), "right": _picture()},
    "measure_comfort": {"disparity": _disparity()},
    "floating_window": {"disparity": _disparity()},
    "FloatingWindowTracker.step": {"disparity": _disparity("1 1 H W")},
    "apply_floating_window": {"left": _picture(), "right": _picture()},
    "apply_floating_window: bars": {"window.left": _disparity("N"), "window.right": _disparity("N")},
    # flow
    "Flow": {
        "frames": replace(_ANYTHING, finite=False),
        "flow.forward": _flow(),
        "flow.backward": _flow(),
        "flow.forward_confidence": _confidence("F-1 1 H W"),
        "flow.backward_confidence": _confidence("F-1 1 H W"),
    },
    "Flow.between": {"forward": _flow("N 2 H W"), "backward": _flow("N 2 H W")},
    "Motion": {"motion.flow": _flow("2 h w"), "motion.confidence": _confidence("1 h w")},
    "estimate_flow": {"frames": _picture()},
    "find_cuts": {"frames": _picture()},
    "to_rgb": {"frame": replace(_picture("3 H W"), bytes_too=True)},
    "flow_confidence": {"flow": _flow("N 2 H W"), "flow_back": _flow("N 2 H W")},
    "sample_at_flow": {"values": replace(_ANYTHING, shape="N C H W"), "flow": _flow("N 2 H W")},
    "resize_flow": {"flow": _flow("N 2 H W")},
    # depth
    "estimate_depth": {"frames": _picture()},
    "DepthStabiliser.step": {
        "depth": Takes("1 H W", remedy="repair the depth, or check the estimator that made it"),
        "motion.flow": _flow("2 H W"),
        "motion.confidence": _confidence("1 H W"),
    },
    "guide_depth": {"frames": _picture(), "depth": _depth("F 1 h w")},
    "shape_depth": {"depth": _depth()},
    "apply_scene_ranges": {"depth": Takes("F 1 H W")},
    "measure_statistics": {"frames": _picture(), "depth": _depth("F 1 h w")},
    # pipeline
    "convert_frames": {"frame": _picture("3 H W")},
    "convert_frames: depth": {"depth": _depth("1 h w")},
    # metrics
    "view_regions": {"disparity": _disparity()},
    "hole_regions": {"hole": _hole()},
    "masked_psnr": {"result": _ANYTHING, "truth": _ANYTHING, "mask": _optional(_MASK)},
    "sharpness": {"result": _RGB, "truth": _RGB, "mask": _MASK},
    "gradient_ratio": {"result": _RGB, "truth": _RGB, "mask": _MASK},
    "ssim": {"result": _ANYTHING, "truth": _ANYTHING, "mask": _optional(_MASK)},
    "lpips": {"result": _picture(), "truth": _picture()},
    "warping_error": {"frames": _ANYTHING},
    "temporal_error": {"result": _ANYTHING, "truth": _ANYTHING, "mask": _optional(_MASK)},
    "mask_flicker": {"hole": _hole(), "disparity": _disparity()},
    "colour_shift": {"result": _RGB, "reference": _RGB, "mask": _optional(_MASK)},
    "siou": {"source": _picture(), "result": _picture(), "truth": _picture()},
    "match_views": {"source": _picture(), "other": _picture()},
    "matchability": {"source": _picture(), "result": _picture(), "truth": _picture()},
    "Comparison.add": {
        "result": _picture("3 H W"),
        "truth": _optional(_picture("3 H W")),
        "source": _optional(_picture("3 H W")),
        "disparity": _optional(_disparity("1 H W")),
        "hole": _optional(_hole("1 H W")),
    },
    "disparity_error": {"disparity": _disparity("1 H W")},
    "consistency": {"source": _picture(), "result": _picture(), "disparity": _disparity()},
    "round_trip": {"source": _picture(), "result": _picture(), "disparity": _disparity()},
    "round_trip_psnr": {"source": _picture(), "result": _picture(), "disparity": _disparity()},
    # svd and spatialdreamer; a loss hands on what is not finite, as scalers of losses expect
    "pad_to_multiple": {"frames": replace(_ANYTHING, finite=False)},
    "crop_to": {"frames": replace(_ANYTHING, finite=False)},
    "pool_mask": {"mask": _hole()},
    "embed_images": {"frames": _picture()},
    "deviation_strength": {
        "latents": _LOSS,
        "reference_latents": _LOSS,
        "known": Takes("F 1 H W", finite=False, bools_too=True),
    },
    "missing_deviation": {
        "latents": _LOSS,
        "reference_latents": _LOSS,
        "known": Takes("F 1 H W", finite=False, bools_too=True),
    },
    "stereo_aware_loss": {"estimate": _LOSS, "latents": _LOSS, "reference_latents": _LOSS},
}


def check_call(function: str, **arguments: Tensor | None) -> None:
    """Check a call's tensors by the function's entry of the table.

    Args:
        function: Its key.
        arguments: Every argument of the entry; a dot in a name is written as two underscores.

    Raises:
        InputError: For the first rule that is broken.
    """
    rules = TABLE[function]
    given = {name.replace("__", "."): value for name, value in arguments.items()}
    sizes: dict[str, tuple[int, str]] = {}  # letter -> size, and the argument that has set it
    present: dict[str, Tensor] = {}
    for name, rule in rules.items():
        value = given[name]
        if value is None and rule.optional:
            continue
        _check_kind(name, value, rule)
        assert value is not None
        _check_shape(name, value, rule, sizes)
        for other, first in present.items():
            if value.device != first.device:
                raise InputError(
                    f"`{name}` must be on the device of `{other}` ({first.device}), got {value.device}; "
                    f'move it by .to("{first.device}")'
                )
            break
        present[name] = value
    _check_values(present, rules)


def working_dtype(values: Tensor) -> torch.dtype:
    """Return the type to compute in: float64 for values of that type, else float32."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def _check_kind(name: str, value: object, rule: Takes) -> None:
    """Check that an argument is a tensor of a type that the function takes."""
    wanted = torch.int64 if rule.columns else torch.bool if rule.bools_too else None
    if isinstance(value, Tensor) and value.dtype == wanted and value.layout == torch.strided:
        if value.device.type != "meta":
            return
    check_tensor(name, value, allow_8_bit=rule.bytes_too)
    if rule.columns:
        assert isinstance(value, Tensor)
        raise InputError(f"`{name}` must hold int64, got {value.dtype}; {rule.remedy}")


def _check_shape(name: str, value: Tensor, rule: Takes, sizes: dict[str, tuple[int, str]]) -> None:
    """Check an argument's sizes against those of the arguments before it."""
    letters = rule.shape.split()
    shape = list(value.shape)
    layout = f"[{', '.join(letters)}]"
    if rule.misfit or "F-1" in letters:
        expected = [_known(letter, sizes) for letter in letters]
        if shape != expected:
            raise InputError(f"`{name}` {rule.misfit} {layout} = {expected}, got {shape}; {rule.remedy}")
        return
    kind = "video tensor" if len(letters) == 4 else "tensor"
    empty = any(size == 0 and letter != "N" for size, letter in zip(shape, letters, strict=False))
    if len(shape) != len(letters) or empty:
        least = "at least one frame" if letters[0] == "F" else "pixels"
        raise InputError(f"`{name}` must be a {kind} {layout} with {least}, got shape {shape}")
    for axis, (letter, size) in enumerate(zip(letters, shape, strict=True)):
        if letter.isdigit() and size != int(letter):
            noun = "frame(s)" if axis == 0 and len(letters) == 4 else "channel(s)"
            raise InputError(f"`{name}` must have {letter} {noun}, got {size} (shape {shape})")
        before, other = sizes.get(letter, (size, name))
        if size == before:
            continue
        if letter in "FN":
            raise InputError(
                f"`{name}` must have as many frames as `{other}` ({before}), got {size}; give one per frame"
            )
        if letter == "C":
            raise InputError(f"`{name}` must have as many channels as `{other}` ({before}), got {size}")
        height, width = (sizes.get(side, (size, ""))[0] for side in letters[-2:])
        raise InputError(
            f"`{name}` must have the size of `{other}` ({width}x{height}), got {shape[-1]}x{shape[-2]}; "
            "resize it first"
        )
    for letter, size in zip(letters, shape, strict=True):
        if not letter.isdigit():
            sizes.setdefault(letter, (size, name))


def _known(letter: str, sizes: dict[str, tuple[int, str]]) -> int:
    """Return the size that a letter stands for."""
    if letter.isdigit():
        return int(letter)
    return sizes["F"][0] - 1 if letter == "F-1" else sizes[letter][0]


def _check_values(present: dict[str, Tensor], rules: dict[str, Takes]) -> None:
    """Check what tensors hold, reading all their extremes at once."""
    looked_at = {
        name: value.detach()
        for name, value in present.items()
        if rules[name].finite and value.numel() and value.dtype != torch.uint8
    }
    if not looked_at:
        return
    # NaN is the least and the largest. Metal has no float64.
    wide = torch.float32 if next(iter(looked_at.values())).device.type == "mps" else torch.float64
    extremes = torch.cat([torch.stack(value.aminmax()).to(wide) for value in looked_at.values()]).tolist()
    for i, (name, value) in enumerate(looked_at.items()):
        rule, low, high = rules[name], extremes[2 * i], extremes[2 * i + 1]
        if rule.columns:
            least, most = -1.0, float(value.shape[-1] - 1)
        else:
            least, most = rule.low, rule.high
        if least <= low and high <= most and abs(low) < _ANY[1] and abs(high) < _ANY[1]:
            continue
        # An image's remedy for a wrong range is none for NaN.
        check_finite(name, value, rule.remedy if rule.low == _ANY[0] else _repair(rule))
        raise InputError(
            f"`{name}` must be {rule.what}, got values from {low:.4g} to {high:.4g}; {rule.remedy}"
        )


def _repair(rule: Takes) -> str:
    """Say what helps against values that are not finite."""
    if rule.what == "inverse depth in [0, 1]":
        return "repair the depth map or use another depth estimator"
    if rule.remedy == _PICTURE_REMEDY:
        return "repair the frames, or check the node that made them"
    return rule.remedy
