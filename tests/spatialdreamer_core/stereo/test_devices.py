"""What is suggested for a viewing device."""

from __future__ import annotations

from math import atan, degrees
from pathlib import Path

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.options import option_of
from spatialdreamer_core.stereo import DeviceConfig, suggest_settings, with_suggestions
from spatialdreamer_core.stereo.devices import VIEWINGS


def test_by_hand():
    """2.06 m from 1.22 m: 100 · tan(1°) · 2.06 / 1.22 = 2.9 % of the width."""
    limits = {"comfort": True, "max_crossed": 2.9, "max_uncrossed": 2.9}
    assert suggest_settings("tv") == {"divergence": 2.9, **limits}
    assert suggest_settings("cinema")["max_uncrossed"] == 1.7, "0.21 m of 12 m"


@pytest.mark.parametrize("device", VIEWINGS)
def test_no_device_gets_more_than_a_degree(device):
    width, distance = VIEWINGS[device]
    settings = suggest_settings(device)
    for name in ("divergence", "max_crossed", "max_uncrossed"):
        assert degrees(atan(settings[name] / 100 * width / distance)) <= 1.02


def test_each_choice_gives_settings():
    for device in option_of(DeviceConfig, "device_profile").list_choices():
        assert (suggest_settings(device) == {}) == (device == "none")
    assert suggest_settings("paper") == {"divergence": 2.5, "convergence": 1.0}


def test_what_is_given_stays():
    given = {"device_profile": "phone", "divergence": 2.5, "max_crossed": 1.0, "eye": "left"}
    assert with_suggestions(given) == {
        "divergence": 2.5,
        "comfort": True,
        "max_crossed": 1.0,
        "max_uncrossed": 4.1,
        "eye": "left",
    }
    assert with_suggestions({"divergence": 1.0}) == {"divergence": 1.0}


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match=r"device_profile must be one of none, quest, .*got 'imax'"):
        suggest_settings("imax")


def test_the_page_says_what_devices_get():
    page = Path(__file__).parents[3].joinpath("docs", "comfort.md").read_text(encoding="utf-8")
    for device, viewing in VIEWINGS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{device}` ")]
        settings = suggest_settings(device)
        said = [settings[name] for name in ("divergence", "max_crossed", "max_uncrossed")]
        assert [float(cell.split(" %")[0]) for cell in row.split("|")[3:6]] == said
        assert viewing.uncrossed <= viewing.crossed
