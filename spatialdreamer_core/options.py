"""Options of settings classes: default, range, choices, unit and help line, each written once, in its field.

    @dataclass(frozen=True)
    class Settings:
        divergence: float = option(2.5, 0.0, 20.0, "% of width", help="Strength of the 3D effect.")

        def check(self) -> None:
            check_options(self)

Checks, the command's arguments (`arguments`) and ComfyUI's widgets (`nodes/widgets.py`) are made of what
`options_of(Settings)` reads. A field with `init=False` is fixed in its class, and no option of it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .checks import InputError, check_choice, check_range, check_types

_KEY = "option"  # in a field's metadata
_NO_LIMIT = 1_000_000  # a limit from which on nobody meets it, so that texts leave it out


@dataclass(frozen=True, kw_only=True)
class Option:
    """What can be said of an option in one place.

    Attributes:
        default: Its value where none is given.
        help: What it does, in one or two sentences, for the command and for ComfyUI's tooltip; its range and
            its default are added there.
        low: Least number, or None for what is no number.
        high: Largest number.
        unit: Of the number; what else the message of a wrong number is to say may follow it.
        also: Values that are taken besides.
        choices: What a text may be, or a function that lists that on this machine; empty for any text.
        step: What one click on a widget's arrow adds; None for ComfyUI's own.
        advanced: Whether most users leave it alone.
        metavar: What stands for its value in the command's help; empty for a word made of the unit.
        none_as: The number that a widget, which is never empty, shows for None.
        none_means: What None does, a few words.
        name: As messages and widgets call it; empty for its field's name.
        kind: float, int, bool or str; read from the field's type.
        nullable: Whether it may be None; read from the field's type.
    """

    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    also: tuple[Any, ...] = ()
    choices: Sequence[str] | Callable[[], Sequence[str]] = ()
    step: float | None = None
    advanced: bool = False
    metavar: str = ""
    none_as: float | None = None
    none_means: str = ""
    name: str = ""
    kind: type = str
    nullable: bool = False

    def as_field(self, **changes: Any) -> Any:
        """Make a dataclass's field of it.

        Args:
            changes: Attributes that are others there.
        """
        changed = replace(self, **changes)
        return field(default=changed.default, metadata={_KEY: changed})

    def check(self, value: Any) -> None:
        """Check a value; its type is `check_options`' to check.

        Raises:
            InputError: If it is out of range, or none of the choices.
        """
        if (value is None and self.nullable) or value in self.also:
            return
        if self.choices:
            check_choice(self.name, value, self.list_choices())
        elif self.low is not None and self.high is not None:
            check_range(self.name, value, self.low, self.high, self.unit, whole=self.kind is int)

    def list_choices(self) -> tuple[str, ...]:
        """List what a text may be, on this machine."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def range(self) -> str:
        """The range with its unit; empty for what is no number."""
        if self.low is None or self.high is None:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.low:g}{unit} and up" if self.high >= _NO_LIMIT else f"{self.low:g} to {self.high:g}{unit}"
        )

    @property
    def line(self) -> str:
        """The help line with the range."""
        return f"{self.help} Range: {self.range}." if self.range else self.help


def option(
    default: Any, low: float | None = None, high: float | None = None, unit: str = "", **described: Any
) -> Any:
    """Make a dataclass's field with what is to be said of it.

    Args:
        default: Its default.
        low: Least number.
        high: Largest number.
        unit: Of the number.
        described: The other attributes of `Option`; `help` must be among them.
    """
    return Option(default=default, low=low, high=high, unit=unit, **described).as_field()


def options_of(settings: type) -> dict[str, Option]:
    """Read the options of a settings class, by their fields' names.

    Raises:
        TypeError: If a field is none: each needs its help line, and its range or choices.
    """
    declared = get_type_hints(settings)
    return {
        entry.name: _read(entry, declared[entry.name], settings) for entry in fields(settings) if entry.init
    }


def option_of(settings: type, name: str) -> Option:
    """Read one option of a settings class, by its field's name."""
    return options_of(settings)[name]


def check_options(settings: Any) -> None:
    """Check the type of each option of a settings object, then its range or choice.

    Raises:
        InputError: For the first one that breaks its rule.
    """
    check_types(settings)
    for name, described in options_of(type(settings)).items():
        described.check(getattr(settings, name))


class OptionConflict(InputError):
    """Options that are right each for itself, and do not go together.

    Args:
        message: The rule, the value, the remedy.
        options: Their fields' names.
    """

    def __init__(self, message: str, *options: str) -> None:
        super().__init__(message)
        self.options = options


def _read(entry: Field[Any], declared: Any, settings: type) -> Option:
    """Read the option of one field."""
    described = entry.metadata.get(_KEY)
    if described is None:
        raise TypeError(f"{settings.__name__}.{entry.name} must be declared by option(…), with its help line")
    members = get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)
    first = members[0]
    choices = get_args(first) if get_origin(first) is Literal else ()
    return replace(
        described,
        default=entry.default,
        name=described.name or entry.name,
        kind=first if first in (float, int, bool) else str,
        nullable=type(None) in members,
        choices=described.choices or choices,
    )
