"""Checks of what callers pass in; every message states the rule, then the value, then the remedy."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

_MAX_PIXELS = 2**31  # of a picture
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class InputError(ValueError):
    """A mistake in the input; its text is for the user (rule, value, remedy) and needs no traceback."""


def check_tensor(name: str, value: object, *, allow_8_bit: bool = False) -> None:
    """Check that a value is an ordinary tensor of floats: no array, no 8-bit float, not sparse, not `meta`.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(value, Tensor):
        raise InputError(
            f"`{name}` must be a tensor, got {type(value).__name__}; convert arrays by torch.from_numpy"
        )
    if value.is_nested or value.layout != torch.strided or value.device.type == "meta":
        kind = "nested" if value.is_nested else f"{value.layout} on {value.device}"
        raise InputError(f"`{name}` must be a dense tensor with values, got one that is {kind}; convert it")
    if value.dtype not in FLOATS and not (allow_8_bit and value.dtype == torch.uint8):
        rule = "floats or 8-bit values" if allow_8_bit else "floats"
        raise InputError(
            f"`{name}` must hold {rule}, got {value.dtype}; divide 8-bit values by 255, and convert others "
            "by .float()"
        )


def check_video(
    name: str,
    video: Tensor,
    *,
    channels: int | None = None,
    like: Tensor | None = None,
    like_name: str = "image",
    allow_8_bit: bool = False,
) -> None:
    """Check that a tensor is a video `[F, C, H, W]` of floats, of the same length and size as another one.

    Args:
        name: Argument name for the message.
        video: The tensor to check.
        channels: Required number of channels, or None for any.
        like: A video whose F, H and W must be the same, or None.
        like_name: Argument name of `like` for the message.
        allow_8_bit: Whether uint8 will do as well as floats.

    Raises:
        InputError: If a rule is broken.
    """
    check_tensor(name, video, allow_8_bit=allow_8_bit)
    if video.ndim != 4 or 0 in video.shape:
        raise InputError(
            f"`{name}` must be a video tensor [F, C, H, W] with at least one frame, "
            f"got shape {list(video.shape)}"
        )
    if channels is not None and video.shape[1] != channels:
        raise InputError(
            f"`{name}` must have {channels} channel(s), got {video.shape[1]} (shape {list(video.shape)})"
        )
    if like is None:
        return
    if video.shape[0] != like.shape[0]:
        raise InputError(
            f"`{name}` must have as many frames as `{like_name}` ({like.shape[0]}), got {video.shape[0]}; "
            "give one per frame"
        )
    if video.shape[-2:] != like.shape[-2:]:
        raise InputError(
            f"`{name}` must have the size of `{like_name}` ({like.shape[-1]}x{like.shape[-2]}), "
            f"got {video.shape[-1]}x{video.shape[-2]}; resize it first"
        )


def check_range(
    name: str, value: float, low: float, high: float, unit: str = "", *, whole: bool = False
) -> None:
    """Check that a number lies in [low, high].

    Args:
        name: Option's name for the message.
        value: The number.
        low: Least value.
        high: Largest value.
        unit: For the message.
        whole: Whether it must be a whole number.

    Raises:
        InputError: If it does not, is NaN or no number.
    """
    suffix = f" ({unit})" if unit else ""
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be a number from {low:g} to {high:g}{suffix}, got {value!r:.80}")
    if not low <= value <= high:
        raise InputError(f"{name} must be between {low:g} and {high:g}{suffix}, got {_digits(value)}")
    if whole and value != math.floor(value):
        raise InputError(f"{name} must be a whole number{suffix}, got {_digits(value)}")


def _digits(value: Real) -> str:
    """Write a number shortly; whole numbers of JSON and Python may be too large for a float."""
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "one of more than 300 digits"


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a value is one of the choices.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r:.200}")


def check_type(name: str, value: object, kind: type) -> None:
    """Check that an argument is of the class that it must be of.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(value, kind):
        raise InputError(f"`{name}` must be a {kind.__name__}, got {type(value).__name__}")


def check_flag(name: str, value: object) -> None:
    """Check that an argument is True or False: a text would count as True, "false" too.

    Raises:
        InputError: If it is neither.
    """
    if not isinstance(value, bool):
        raise InputError(f"`{name}` must be True or False, got {value!r:.60}; give one of the two")


def check_size(name: str, size: object) -> None:
    """Check that a value is a picture's (height, width): two whole numbers above 0, not too large for memory.

    Raises:
        InputError: If it is not.
    """
    sides = list(size) if isinstance(size, (tuple, list, torch.Size)) else []
    if len(sides) != 2 or not all(isinstance(s, (int, np.integer)) and 0 < s < 2**31 for s in sides):
        raise InputError(f"{name} must be (height, width), two whole numbers above 0, got {size!r:.80}")
    if int(sides[0]) * int(sides[1]) > _MAX_PIXELS:
        raise InputError(
            f"{name} must be at most {_MAX_PIXELS / 1e9:.1f} gigapixels, got {sides[1]}x{sides[0]}; "
            "choose a smaller one"
        )


def check_cuts(cuts: Sequence[int], frames: int | None = None) -> None:
    """Check that each cut is the number of a frame.

    Args:
        cuts: The cuts.
        frames: The number of frames; None if it is not known yet.

    Raises:
        InputError: If one is not, or they are no sequence of whole numbers.
    """
    try:
        are_whole = all(isinstance(cut, (int, np.integer)) for cut in cuts)
    except TypeError:
        are_whole = False
    if not are_whole or isinstance(cuts, (str, bytes)):
        raise InputError(
            f"`cuts` must be a list of frames' numbers, got {cuts!r:.200}; use find_cuts on the same frames"
        )
    if frames is not None and not all(0 <= cut < frames for cut in cuts):
        raise InputError(
            f"`cuts` must lie between 0 and {frames - 1} for {frames} frames, got {list(cuts)!r:.200}; "
            "use find_cuts on the same frames"
        )


def check_picture(
    name: str, picture: object, *, channels: int | None = 3, allow_16_bit: bool = False
) -> None:
    """Check that an array is an 8-bit (or 16-bit) picture, [H, W, channels], or [H, W] for None.

    Raises:
        InputError: If it is not.
    """
    shape = "[H, W]" if channels is None else f"[H, W, {channels}]"
    dtypes = ("uint8", "uint16") if allow_16_bit else ("uint8",)
    if not isinstance(picture, np.ndarray) or picture.dtype not in dtypes:
        got = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        kinds = " or ".join(dtypes)
        raise InputError(f"`{name}` must be a NumPy array {shape} of {kinds}, got {got}; convert it first")
    if picture.ndim != (2 if channels is None else 3) or 0 in picture.shape:
        raise InputError(f"`{name}` must be a picture {shape}, got shape {list(picture.shape)}")
    if channels is not None and picture.shape[2] != channels:
        raise InputError(f"`{name}` must have {channels} channels, got {picture.shape[2]}; convert it to RGB")


def check_finite(name: str, value: Tensor, remedy: str) -> None:
    """Check that a tensor holds neither NaN nor infinity.

    Raises:
        InputError: If it does, with the count of such values and the remedy.
    """
    value = value.detach()
    extremes = torch.stack(value.aminmax()) if value.numel() else value  # NaN is the least and the largest
    if not bool(extremes.isfinite().all()):
        count = int((~value.isfinite()).sum())
        raise InputError(f"`{name}` must be finite, got {count} NaN or infinite values; {remedy}")


def one_line(error: object) -> str:
    """Put another package's error into one line that is not too long."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def check_types(settings: Any, names: Mapping[str, str] | None = None) -> None:
    """Check that each field of a dataclass of settings is of its declared type; an int will do for a float.

    Args:
        settings: The dataclass.
        names: What the message is to call a field, where that is not the field's name.

    Raises:
        InputError: For the first field that does not, as when a program or a JSON file gives "2" for 2.
    """
    declared = get_type_hints(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not _is_a(value, declared[field.name]):
            name = (names or {}).get(field.name, field.name)
            raise InputError(
                f"{name} must be of type {_type_name(declared[field.name])}, got {value!r:.60}; "
                "give a value of that type"
            )


def _is_a(value: Any, declared: Any) -> bool:
    """Tell whether a value is of a declared type; True and False are no numbers here."""
    if get_origin(declared) in (Union, types.UnionType):
        return any(_is_a(value, option) for option in get_args(declared))
    if get_origin(declared) is Literal:
        return isinstance(value, type(get_args(declared)[0]))  # which of them is `check_choice`'s to say
    if declared in (float, int):
        number = Real if declared is float else Integral  # NumPy's, too
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, get_origin(declared) or declared)


def _type_name(declared: Any) -> str:
    """Name a declared type as Python does, short."""
    if get_origin(declared) in (Union, types.UnionType):
        return " or ".join(_type_name(option) for option in get_args(declared))
    if get_origin(declared) is Literal:
        return type(get_args(declared)[0]).__name__
    return "None" if declared is type(None) else getattr(declared, "__name__", str(declared))
