"""Options of settings classes: default, range, choices, unit and help line, each written once, in its field.

    @dataclass(frozen=True)
    class Settings:
        divergence: float = option(2.5, 0.0, 20.0, "% of width", help="Strength of the 3D effect.")

        def check(self) -> None:
            check_options(self)

Checks, the command's arguments (`arguments`) and ComfyUI's widgets (`nodes/widgets.py`) are made from what
`options_of(Settings)` reads. A field with `init=False` is a constant of its class, not an option.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .checks import InputError, check_choice, check_range, check_types

_KEY = "option"  # in a field's metadata
_NO_LIMIT = 1_000_000  # texts leave out an upper limit from here on, which nobody will meet


@dataclass(frozen=True, kw_only=True)
class Option:
    """Everything there is to know about an option.

    Attributes:
        default: The value if none is given.
        help: What it does, in a sentence or two, for the command's help and ComfyUI's tooltip; range and
            default are added there.
        low: Smallest number, or None if it is not a number.
        high: Largest number.
        unit: Unit of the number; a hint for the error message may follow it.
        also: Values outside the range or the choices that are valid too.
        choices: The valid texts, or a function that lists those of this machine; empty for any text.
        synonyms: Other texts by which the command knows a choice, each with that choice.
        other_name: A second name of the command's argument; empty for none.
        step: How far one click on a widget's arrow goes; None leaves it to ComfyUI.
        advanced: Whether most users leave it alone.
        metavar: Placeholder in the command's help; empty to derive it from the unit.
        none_as: The number by which a widget, which is never empty, shows None.
        none_means: What None does, in a few words.
        name: What messages and widgets call it; empty for the field's name.
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
    synonyms: Mapping[str, str] = field(default_factory=dict)
    other_name: str = ""
    step: float | None = None
    advanced: bool = False
    metavar: str = ""
    none_as: float | None = None
    none_means: str = ""
    name: str = ""
    kind: type = str
    nullable: bool = False

    def as_field(self, **changes: Any) -> Any:
        """Make a dataclass field of it.

        Args:
            changes: Attributes that differ there.
        """
        changed = replace(self, **changes)
        return field(default=changed.default, metadata={_KEY: changed})

    def check(self, value: Any) -> None:
        """Check the range or the choice; `check_options` checks the type before.

        Raises:
            InputError: If the value is out of range, or not one of the choices.
        """
        if (value is None and self.nullable) or value in self.also:
            return
        if self.choices:
            check_choice(self.name, value, self.list_choices())
        elif self.low is not None and self.high is not None:
            check_range(self.name, value, self.low, self.high, self.unit, whole=self.kind is int)

    def resolve(self, text: str) -> str:
        """Return the choice that a text means to the command; what is no synonym is returned as it is."""
        return self.synonyms.get(text, text)

    def list_choices(self) -> tuple[str, ...]:
        """List the valid texts on this machine."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def range(self) -> str:
        """The range with its unit; empty if it is not a number."""
        if self.low is None or self.high is None:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        if self.high >= _NO_LIMIT:
            return f"{self.low:g}{unit} and up"
        return f"{self.low:g} to {self.high:g}{unit}"

    @property
    def line(self) -> str:
        """The help line with the range."""
        return f"{self.help} Range: {self.range}." if self.range else self.help


def option(
    default: Any, low: float | None = None, high: float | None = None, unit: str = "", **described: Any
) -> Any:
    """Declare a dataclass field that is an option.

    Args:
        default: Its default.
        low: Smallest number.
        high: Largest number.
        unit: Unit of the number.
        described: The other attributes of `Option`; `help` is required.
    """
    return Option(default=default, low=low, high=high, unit=unit, **described).as_field()


def options_of(settings: type) -> dict[str, Option]:
    """Read the options of a settings class, by field name.

    Raises:
        TypeError: If a field is not declared by `option`, or is a number without a range.
    """
    declared = get_type_hints(settings)
    return {
        entry.name: _read(entry, declared[entry.name], settings) for entry in fields(settings) if entry.init
    }


def option_of(settings: type, name: str) -> Option:
    """Read one option of a settings class, by field name."""
    return options_of(settings)[name]


def check_options(settings: Any) -> None:
    """Check the type of each option of a settings object, then its range or choice.

    Raises:
        InputError: For the first one that breaks its rule.
    """
    options = options_of(type(settings))
    check_types(settings, {field_name: described.name for field_name, described in options.items()})
    for name, described in options.items():
        described.check(getattr(settings, name))


class OptionConflict(InputError):
    """Options that are valid by themselves but not together.

    Args:
        message: The rule, the value, the remedy.
        options: Their names.
    """

    def __init__(self, message: str, *options: str) -> None:
        super().__init__(message)
        self.options = options


def _read(entry: Field[Any], declared: Any, settings: type) -> Option:
    """Read the option of one field."""
    described, where = entry.metadata.get(_KEY), f"{settings.__name__}.{entry.name}"
    if described is None:
        raise TypeError(f"{where} must be declared by option(…), with its help line")
    members = get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)
    first = next(member for member in members if member is not type(None))
    if first in (float, int) and (described.low is None or described.high is None):
        raise TypeError(f"{where} must have a range: option(default, low, high, unit, help=…)")
    choices = get_args(first) if get_origin(first) is Literal else ()
    return replace(
        described,
        default=entry.default,
        name=described.name or entry.name,
        kind=first if first in (float, int, bool) else str,
        nullable=type(None) in members,
        choices=described.choices or choices,
    )
