"""An option is written once: what is read, checked and said of it comes from its field."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, make_dataclass
from inspect import signature
from typing import Literal, get_origin, get_type_hints

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthShaping
from spatialdreamer_core.dvg import DILATION, FEATHER, depth_to_disparity
from spatialdreamer_core.fill import FastFill, FastFillConfig, fast_fill, render_pair
from spatialdreamer_core.options import (
    OptionConflict,
    check_options,
    option,
    option_of,
    options_of,
)
from spatialdreamer_core.pipeline import FILLERS, ConvertConfig
from spatialdreamer_core.spatialdreamer.sampler_config import SamplerConfig
from spatialdreamer_core.stereo import pack
from spatialdreamer_core.video import FRAME_RATE, VideoWriter, write_clip

SETTINGS = (
    ConvertConfig,
    DepthShaping,
    SamplerConfig,
    *(entry.settings for entry in FILLERS.values()),
)
EVERY = [(cls, name) for cls in SETTINGS for name in options_of(cls)]


@dataclass(frozen=True)
class Lamp:
    brightness: float = option(40.0, 0.0, 100.0, "% of the sun", help="How bright it is.")
    bulbs: int = option(1, 1, 9, help="How many bulbs it has.")
    tint: Literal["warm", "cold"] = option("warm", help="Its colour.")
    shade: str = option("none", choices=lambda: ("none", "paper"), help="What is around it.")
    timer: float | None = option(None, 1.0, 60.0, "s", none_as=-1, none_means="never", help="When it ends.")
    side: int = option(0, 64, 512, "px; 0 for none", also=(0,), help="Of its plate.")
    label: str = option("", help="What is written on it.")
    lit: bool = option(True, help="Whether it is on.")
    socket: str = field(default="E27", init=False)


def test_an_option_is_read_with_its_name_kind_and_choices():
    options = options_of(Lamp)
    assert list(options) == ["brightness", "bulbs", "tint", "shade", "timer", "side", "label", "lit"]
    assert [entry.kind for entry in options.values()] == [float, int, str, str, float, int, str, bool]
    assert [name for name, entry in options.items() if entry.nullable] == ["timer"]
    assert options["tint"].list_choices() == ("warm", "cold")
    assert options["shade"].list_choices() == ("none", "paper")
    assert options["label"].list_choices() == ()
    assert options["brightness"].line == "How bright it is. Range: 0 to 100 % of the sun."
    assert options["side"].line == "Of its plate. Range: 64 to 512 px; 0 for none."
    assert options["lit"].line == "Whether it is on."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"brightness": 101}, r"brightness must be between 0 and 100 \(% of the sun\), got 101$"),
        ({"brightness": float("nan")}, "brightness must be between 0 and 100 .*, got nan"),
        ({"brightness": "40"}, "brightness must be of type float, got '40'"),
        ({"brightness": True}, "brightness must be of type float, got True"),
        ({"bulbs": 0}, "bulbs must be between 1 and 9, got 0"),
        ({"bulbs": 2.0}, r"bulbs must be of type int, got 2\.0"),
        ({"tint": "green"}, "tint must be one of warm, cold, got 'green'"),
        ({"shade": "wood"}, "shade must be one of none, paper, got 'wood'"),
        ({"timer": 0.5}, r"timer must be between 1 and 60 \(s\), got 0\.5"),
        ({"side": 63}, r"side must be between 64 and 512 \(px; 0 for none\), got 63"),
        ({"lit": 1}, "lit must be of type bool, got 1"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_with_the_rule(changes, message):
    with pytest.raises(InputError, match=message):
        check_options(Lamp(**changes))


def test_a_value_of_another_type_is_refused_by_the_options_name():
    with pytest.raises(InputError, match=r"^depth_gamma must be of type float, got 'abc'"):
        DepthShaping(gamma="abc").check()


@pytest.mark.parametrize(
    "changes", [{}, {"timer": None}, {"timer": 60}, {"side": 0}, {"side": 64}, {"label": "any"}]
)
def test_what_is_allowed_passes(changes):
    check_options(Lamp(**changes))


def test_a_field_that_is_no_option_is_the_contributors_mistake():
    with pytest.raises(TypeError, match=r"Wire.length must be declared by option\(…\)"):
        options_of(make_dataclass("Wire", [("length", float, 1.0)]))
    with pytest.raises(TypeError, match=r"Wire.length must have a range"):
        options_of(make_dataclass("Wire", [("length", float, option(1.0, help="How long it is."))]))
    with pytest.raises(TypeError, match="help"):
        option(1.0, 0.0, 2.0)


def test_none_may_stand_first_in_a_type():
    lamp = make_dataclass("Lamp", [("timer", None | float, option(None, 1.0, 60.0, help="When it ends."))])
    assert option_of(lamp, "timer").kind is float
    check_options(lamp(timer=None))


def test_another_class_may_have_the_same_option_otherwise():
    longer = option_of(Lamp, "timer").as_field(high=90.0, default=70.0)
    check_options(make_dataclass("Lantern", [("timer", float, longer)], frozen=True)())
    assert DILATION.line.endswith("Range: 0 to 64 px.")


@pytest.mark.parametrize("settings", SETTINGS)
def test_one_more_field_is_checked_as_all_others(settings):
    more = ("glow", float, option(0.2, 0.0, 1.0, "% of light", help="How much near things glow."))
    extended = make_dataclass("Extended", [more], bases=(settings,), frozen=True)
    needed = {"checkpoint": "svd.safetensors"} if "checkpoint" in options_of(settings) else {}
    extended(**needed).check()
    with pytest.raises(InputError, match=r"glow must be between 0 and 1 \(% of light\), got 2"):
        extended(glow=2.0, **needed).check()


@pytest.mark.parametrize(("settings", "name"), EVERY, ids=lambda value: getattr(value, "__name__", value))
def test_every_option_says_what_it_does_and_what_it_may_be(settings, name):
    described = option_of(settings, name)
    declared = get_type_hints(settings)[name]
    assert re.fullmatch(r"[A-Za-z0-9].+\.", described.help), "sentences"
    if described.kind in (float, int):
        assert described.low is not None
        assert described.high is not None
        limits = rf"{described.low:g} (to|and) {described.high:g}\b"
        assert not re.search(limits, described.help), "the range is added where it is shown"
    if get_origin(declared) is Literal:
        assert described.choices
    if described.nullable and described.kind in (float, int):
        assert described.none_as is not None
        assert described.none_means, "on a widget, which is never empty"
        assert not (described.low or 0) < described.none_as <= (described.high or 0)
    if described.default is not None:
        described.check(described.default)


def test_every_name_is_written_with_one_underscore_at_most_between_its_words():
    for settings, name in EVERY:
        described = option_of(settings, name)
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", described.name)


def test_the_options_of_depth_are_options_of_a_conversion():
    for described in options_of(DepthShaping).values():
        assert described.name in options_of(ConvertConfig), "give it its line there"


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (depth_to_disparity, ("divergence", "convergence")),
        (render_pair, ("divergence", "convergence")),
        (pack, ("format",)),
        (write_clip, ("codec", "crf", "preset")),
        (VideoWriter, ("crf", "preset")),
        (fast_fill, ("texture",)),
        (FastFill, ("texture",)),
    ],
)
def test_functions_have_the_defaults_of_the_options(function, names):
    options = {**options_of(ConvertConfig), **options_of(FastFillConfig)}
    for name in names:
        assert signature(function).parameters[name].default == options[name].default


@pytest.mark.parametrize("described", [DILATION, FEATHER, FRAME_RATE], ids=lambda value: value.name)
def test_an_option_without_settings_is_checked_by_the_same_rule(described):
    described.check(described.default)
    with pytest.raises(InputError, match=rf"{described.name} must be between {described.low:g} and"):
        described.check(described.high + 1)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (ConvertConfig(start=5.0, end=5.0), {"start", "end"}, r"end must be later than start \(5 s\), got 5"),
        (DepthShaping(near=0.3, far=0.3), {"depth_near", "depth_far"}, "depth_near must be at least 0.01"),
        (SamplerConfig(window=4), {"window", "overlap"}, r"overlap must be between 0 and window - 1 \(3"),
    ],
)
def test_a_rule_of_two_options_names_both(settings, options, message):
    with pytest.raises(OptionConflict, match=message) as refusal:
        settings.check()
    assert set(refusal.value.options) == options
