"""Widgets made from the library's options, and the library's settings made from widgets' values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from comfy_api.latest import io

from ..spatialdreamer_core.options import Option, OptionConflict, options_of
from .presentation import ADVANCED

Settings = TypeVar("Settings")
Widget: TypeAlias = io.Boolean.Input | io.Combo.Input | io.Float.Input | io.Int.Input | io.String.Input
_NUMBERS: dict[type, type[io.Float.Input | io.Int.Input]] = {float: io.Float.Input, int: io.Int.Input}


def widget(
    option: Option, *, optional: bool = True, look: Mapping[str, Any] | None = None, **changes: Any
) -> Widget:
    """Make the widget of an option.

    Args:
        option: The option, see `options_of`.
        optional: Whether prompts may leave it out; ComfyUI puts required widgets first.
        look: Arguments of the input that only change its look.
        changes: Attributes of the option that differ on this node, such as its default.
    """
    option = replace(option, **changes)
    arguments: dict[str, Any] = {
        "default": option.default,
        "optional": optional,
        "tooltip": option.line,
        **(ADVANCED if option.advanced and optional else {}),
        **(look or {}),
    }
    if option.kind is bool:
        return io.Boolean.Input(option.name, **arguments)
    if option.choices:
        return io.Combo.Input(option.name, options=list(option.list_choices()), **arguments)
    if option.kind not in _NUMBERS:
        return io.String.Input(option.name, **arguments)
    low = option.low
    if option.nullable and option.none_as is not None:  # a widget is never empty
        arguments["tooltip"] += f" {option.none_as:g}: {option.none_means}."
        arguments["default"] = option.none_as if option.default is None else option.default
        low = min(option.none_as, low) if low is not None else None
    low = min((low, *option.also)) if low is not None else None
    return _NUMBERS[option.kind](option.name, min=low, max=option.high, step=option.step, **arguments)


def settings_inputs(settings: type, *, looks: Mapping[str, Mapping[str, Any]] | None = None) -> list[Widget]:
    """Describe the widgets of settings; those that most users leave alone are optional.

    Args:
        settings: A dataclass of options.
        looks: `look` of single ones, by the option's name, see `widget`.
    """
    looks = looks or {}
    return [
        widget(option, optional=option.advanced, look=looks.get(name))
        for name, option in options_of(settings).items()
    ]


def make_settings(settings: type[Settings], widgets: Mapping[str, Any]) -> Settings:
    """Make settings from widgets' values; widgets that are not options of theirs are ignored."""
    given = {}
    for field, option in options_of(settings).items():
        if option.name in widgets:
            value = widgets[option.name]
            given[field] = None if option.nullable and value == option.none_as else value
    return settings(**given)


def check_settings(settings: type[Any], widgets: Mapping[str, Any]) -> None:
    """Check widgets by the rules of a settings class, as `validate_inputs` does before anything runs.

    Args:
        settings: The class.
        widgets: Their values; None for one that is linked, whose value is not known yet. Widgets that are
            not options of the class are ignored.

    Raises:
        InputError: For the first value that is out of range, NaN, unknown, or at odds with another one.
    """
    linked = {name for name, value in widgets.items() if value is None}
    known = {name: value for name, value in widgets.items() if value is not None}
    try:
        make_settings(settings, known).check()
    except OptionConflict as conflict:
        if linked.isdisjoint(conflict.options):
            raise


def check_each(options: Iterable[Option], widgets: Mapping[str, Any]) -> None:
    """Check widgets one by one, by options that belong to no settings class or differ on a node.

    Args:
        options: The options.
        widgets: As for `check_settings`.

    Raises:
        InputError: For the first value that is out of range, NaN or unknown.
    """
    for option in options:
        value = widgets.get(option.name)
        if value is not None:
            option.check(value)
