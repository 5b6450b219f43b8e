"""Checks of what callers pass in; every message states the rule, then the value, then the remedy."""

from __future__ import annotations

import numbers
import types
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

_DEPTH_TOLERANCE = 1e-3  # overshoot of [0, 1] that resampling may leave


class InputError(ValueError):
    """A mistake in the input; its text is for the user (rule, value, remedy) and needs no traceback."""


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
    if video.ndim != 4 or 0 in video.shape:
        raise InputError(
            f"`{name}` must be a video tensor [F, C, H, W] with at least one frame, "
            f"got shape {list(video.shape)}"
        )
    if not (video.is_floating_point() or (allow_8_bit and video.dtype == torch.uint8)):
        raise InputError(f"`{name}` must hold floats, got {video.dtype}; divide 8-bit values by 255")
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


def check_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Check that a number lies in [low, high].

    Raises:
        InputError: If it does not, or is NaN.
    """
    if not low <= value <= high:
        suffix = f" ({unit})" if unit else ""
        raise InputError(f"{name} must be between {low:g} and {high:g}{suffix}, got {value:g}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a value is one of the choices.

    Raises:
        InputError: If it is not.
    """
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_finite(name: str, value: Tensor, remedy: str) -> None:
    """Check that a tensor holds neither NaN nor infinity.

    Raises:
        InputError: If it does, with the count of such values and the remedy.
    """
    extremes = torch.stack(value.aminmax()) if value.numel() else value  # NaN is the least and the largest
    if not bool(extremes.isfinite().all()):
        count = int((~value.isfinite()).sum())
        raise InputError(f"`{name}` must be finite, got {count} NaN or infinite values; {remedy}")


def one_line(error: object) -> str:
    """Put another package's error into one line that is not too long."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def check_inverse_depth(depth: Tensor) -> None:
    """Check that a tensor is a video [F, 1, H, W] of inverse depth in [0, 1], but for resampling's overshoot.

    Raises:
        InputError: If its shape is wrong, a value is not finite, or one is clearly outside [0, 1].
    """
    check_video("depth", depth, channels=1)
    low, high = (float(bound) for bound in depth.aminmax())
    if not (low >= -_DEPTH_TOLERANCE and high <= 1 + _DEPTH_TOLERANCE):  # NaN is neither
        check_finite("depth", depth, "repair the depth map or use another depth estimator")
        raise InputError(
            f"`depth` must be inverse depth in [0, 1], got values from {low:.4g} to {high:.4g}; "
            "normalise it over the scene first (metres: use 1 / depth)"
        )


def check_types(settings: Any) -> None:
    """Check that each field of a dataclass of settings is of its declared type; an int will do for a float.

    Raises:
        InputError: For the first field that does not, as when a program or a JSON file gives "2" for 2.
    """
    declared = get_type_hints(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not _is_a(value, declared[field.name]):
            raise InputError(
                f"{field.name} must be of type {_type_name(declared[field.name])}, got {value!r:.60}; "
                "give a value of that type"
            )


def _is_a(value: Any, declared: Any) -> bool:
    """Tell whether a value is of a declared type; True and False are no numbers here."""
    if get_origin(declared) in (Union, types.UnionType):
        return any(_is_a(value, option) for option in get_args(declared))
    if get_origin(declared) is Literal:
        return isinstance(value, type(get_args(declared)[0]))  # which of them is `check_choice`'s to say
    if declared in (float, int):
        number = numbers.Real if declared is float else numbers.Integral  # NumPy's, too
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, get_origin(declared) or declared)


def _type_name(declared: Any) -> str:
    """Name a declared type as Python does, short."""
    if get_origin(declared) in (Union, types.UnionType):
        return " or ".join(_type_name(option) for option in get_args(declared))
    if get_origin(declared) is Literal:
        return type(get_args(declared)[0]).__name__
    return "None" if declared is type(None) else getattr(declared, "__name__", str(declared))
