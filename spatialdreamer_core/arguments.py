"""Arguments of the command line, made from the options of settings classes.

An option that is not given is absent from the parsed arguments, so that the settings class supplies its
default; the help shows that default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from .options import Option, options_of

_METAVARS = {"%": "PERCENT", "px": "PX", "seconds": "TIME", "frames": "FRAMES", "frames/s": "RATE"}


def add_options(parser: argparse._ActionsContainer, options: Iterable[Option]) -> None:
    """Add an argument for each option: `border_width` becomes `--border-width`.

    A flag that is on by default gets a second name that turns it off: `--audio` and `--no-audio`.

    Args:
        parser: A parser, or a group of its arguments.
        options: What `options_of` returns.
    """
    for described in options:
        _add(parser, described, _describe(described))


def add_filler_options(
    parser: argparse._ActionsContainer, fillers: Mapping[str, type], *, leave_out: Collection[str] = ()
) -> None:
    """Add the options of all fillers: one argument for each name, whose help says which fillers take it.

    Args:
        parser: A parser, or a group of its arguments.
        fillers: The settings class of each filler.
        leave_out: Options that are not offered, such as those whose names mean something else there.

    Raises:
        TypeError: If fillers share a name for options of different types.
    """
    takers: dict[str, dict[str, Option]] = {}
    for filler, settings in fillers.items():
        for name, described in options_of(settings).items():
            if name in leave_out:
                continue
            takers.setdefault(name, {})[filler] = described
    for name, by_filler in takers.items():
        first, *others = by_filler.values()
        if any(other.kind is not first.kind for other in others):
            raise TypeError(f"{name} must be of one type for {', '.join(by_filler)}")
        said: dict[str, list[str]] = {}
        for filler, described in by_filler.items():
            said.setdefault(_describe(described), []).append(filler)
        _add(parser, first, " ".join(f"{', '.join(names)}: {text}" for text, names in said.items()))


def add_fillers(
    parser: argparse.ArgumentParser,
    fillers: Mapping[str, Any],
    *,
    default: str,
    purpose: str,
    help: str,
    leave_out: Collection[str] = (),
) -> None:
    """Add the choice of a filler and the options of all, as a group.

    Args:
        parser: The parser.
        fillers: `FILLERS` of the pipeline.
        default: The filler if none is named.
        purpose: What the group is for, a sentence.
        help: Of the choice; the default is added.
        leave_out: As of `add_filler_options`.
    """
    group = parser.add_argument_group("filling", f"{purpose} Each option says which fillers take it.")
    group.add_argument(
        "--filler", choices=tuple(fillers), default=default, help=f"{help} (default: %(default)s)"
    )
    settings = {name: entry.settings for name, entry in fillers.items()}
    add_filler_options(group, settings, leave_out=leave_out)


def add_common(
    parser: argparse.ArgumentParser, run: Callable[..., int], *, quiet: str | None = "No progress bar."
) -> None:
    """Add what all commands have, and what runs the command.

    Args:
        parser: The command's parser.
        run: Called with the parsed arguments and the signals.
        quiet: What `--quiet` says; None leaves it out.
    """
    if quiet is not None:
        parser.add_argument("--quiet", action="store_true", help=quiet)
    parser.add_argument("--verbose", action="store_true", help="Show where an error comes from.")
    parser.set_defaults(run=run)


def given_options(arguments: argparse.Namespace, *settings: type) -> dict[str, Any]:
    """Return those options of settings classes that were given, by field name."""
    return {
        field: getattr(arguments, described.name)
        for each in settings
        for field, described in options_of(each).items()
        if hasattr(arguments, described.name)
    }


def seconds(text: str) -> float:
    """Read a moment: seconds, m:s or h:m:s.

    Raises:
        argparse.ArgumentTypeError: If the text is not a moment.
    """
    try:
        parts = [float(part) for part in text.split(":")]
        if not 1 <= len(parts) <= 3:
            raise ValueError(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be seconds, m:s or h:m:s, got {text!r}; for example 90, 1:30 or 0:01:30"
        ) from None
    total = 0.0
    for part in parts:
        total = total * 60 + part
    return total


def _or_a_word(read: Callable[[str], Any], words: Collection[Any]) -> Callable[[str], Any]:
    """Read a number, but leave a word that is valid, too."""

    def read_text(text: str) -> Any:
        return text if text in words else read(text)

    read_text.__name__ = read.__name__  # argparse names it in its message
    return read_text


class _Switch(argparse.Action):
    """A flag that `--name` turns on and `--no-name` turns off."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Store which of the two was given."""
        setattr(namespace, self.dest, not str(option_string).startswith("--no-"))


def _add(parser: argparse._ActionsContainer, described: Option, text: str) -> None:
    """Add one argument."""
    name = described.name.replace("_", "-")
    flags = [f"--{each}" for each in (described.other_name, name) if each]
    about: dict[str, Any] = {
        "dest": described.name,
        "default": argparse.SUPPRESS,
        "help": text.replace("%", "%%"),
    }
    if described.kind is bool:
        names = [f"--no-{name}", f"--{name}"] if described.default else [f"--{name}"]
        parser.add_argument(*names, action=_Switch, nargs=0, **about)
    elif described.choices and not callable(described.choices):  # listing those of a machine takes time
        choices = described.list_choices()
        parser.add_argument(*flags, type=described.resolve, choices=choices, **about)
    else:
        unit = described.unit.split(" ")[0].rstrip(";")
        read: Callable[[str], Any] = seconds if unit == "seconds" else described.kind
        if described.also:
            read = _or_a_word(read, described.also)
        metavar = described.metavar or _METAVARS.get(unit, "TEXT" if described.kind is str else "NUMBER")
        parser.add_argument(*flags, type=read, metavar=metavar, **about)


def _describe(described: Option) -> str:
    """Write an option's help with its range and its default."""
    default = described.default
    if described.kind is bool:
        shown = "on" if default else ""
    elif default is None:
        shown = described.none_means
    else:
        shown = f"{default:g}" if isinstance(default, (int, float)) else str(default)
    return f"{described.line} (default: {shown})" if shown else described.line
