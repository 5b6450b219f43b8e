"""The formulas of the live preview against those of the library, over a grid of values."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialdreamer_core.depth import DepthShaping, SceneStatistics, shape_depth
from spatialdreamer_core.dvg import Placement, depth_to_disparity
from spatialdreamer_core.pipeline.parallax import PARALLAX_SETTINGS, make_sample, parallax_rules
from spatialdreamer_core.stereo import DUBOIS_RED_CYAN, StrengthConfig, measure_comfort, with_suggestions

WEB = Path(__file__).parents[2] / "web" / "js"
GEOMETRY = (WEB / "parallax" / "geometry.mjs").as_uri()
SHAPES = [
    dict(zip(("foreground_scale", "depth_gamma", "depth_near", "depth_far"), values, strict=True))
    for values in itertools.product((-3, -1.4, 0, 0.3, 2, 3), (0.1, 1, 2.5), (1.0, 0.8), (0.0, 0.35))
]
DEPTHS = np.linspace(0, 1, 42)  # none at a clipping depth, where float32 rounds to either side
WIDTH = 640


def in_node(script: str, data):
    """Run a script with `data` and the geometry module `g`; return what it returns."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("no node")
        pytest.skip("no node; run: sudo apt-get install nodejs")
    program = f"""import * as g from {json.dumps(GEOMETRY)}
      import {{ readFileSync }} from "node:fs"
      const data = JSON.parse(readFileSync(0, "utf-8"))
      {script}
      process.stdout.write(JSON.stringify(run(data)))"""
    done = subprocess.run(
        [node, "--input-type=module", "-e", program],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def settings_with(**settings):
    return {**parallax_rules()["defaults"], **settings}


def test_depth_is_shaped_alike():
    got = in_node(
        "const run = ({all, rules, depths}) => all.map(s => depths.map(d => g.shapeDepth(d, s, rules)))",
        {"all": [settings_with(**shape) for shape in SHAPES], "rules": parallax_rules(), "depths": [*DEPTHS]},
    )
    depth = torch.from_numpy(DEPTHS).float().view(1, 1, 1, -1)
    for values, shape in zip(got, SHAPES, strict=True):
        shaping = DepthShaping(**{name.removeprefix("depth_"): value for name, value in shape.items()})
        assert np.abs(shape_depth(depth, shaping).flatten().numpy() - values).max() < 2e-5, shape


def test_disparity_has_the_same_pixels():
    grid = list(
        itertools.product(((0.0, 0.5), (2.5, 0.5), (4.0, 0.0), (20.0, 1.0)), ("right", "left", "both"))
    )
    got = in_node(
        """const run = ({all, rules, width}) => all.map(s => {
          const table = g.disparityTable(s, s, width, rules)
          return [0, 1, 13107, 40000, 65535].map(value => table[value])
        })""",
        {
            "all": [settings_with(divergence=d, convergence=c, eye=eye) for (d, c), eye in grid],
            "rules": parallax_rules(),
            "width": WIDTH,
        },
    )
    depth = torch.zeros(1, 1, 1, WIDTH)
    depth[..., :5] = torch.tensor([0, 1, 13107, 40000, 65535]) / 65535
    for values, ((divergence, convergence), eye) in zip(got, grid, strict=True):
        share = divergence / (2 if eye == "both" else 1)
        pixels = depth_to_disparity(depth, divergence=share, convergence=convergence)
        assert np.abs(pixels[0, 0, 0, :5].numpy() - values).max() < 1e-4


def test_strength_and_place_are_chosen_alike():
    depths = [
        {"subject": subject, "percentiles": [*np.interp(np.arange(101), (0, 1, 99, 100), (0, low, high, 1))]}
        for subject, low, high in ((0.5, 0.1, 0.9), (0.9, 0.05, 0.95), (0.2, 0.15, 0.3))
    ]
    wanted = [
        settings_with(
            divergence=divergence,
            convergence=convergence,
            auto_convergence=automatic,
            comfort=comfort,
            max_crossed=limits[0],
            max_uncrossed=limits[1],
        )
        for divergence, convergence, automatic, comfort, limits in itertools.product(
            (1.0, 6.0), (0.0, 0.5, 1.0), (False, True), (False, True), ((3.0, 3.0), (1.0, 2.0), (0.5, 4.0))
        )
    ]
    got = in_node(
        """const run = ({all, depths, rules}) => all.map(s => depths.map(d => {
          const placement = g.choosePlacement(s, d, rules)
          return [placement.divergence, placement.convergence]
        }))""",
        {"all": wanted, "depths": depths, "rules": parallax_rules()},
    )
    for row, settings in zip(got, wanted, strict=True):
        names = ("auto_convergence", "comfort", "max_crossed", "max_uncrossed")
        strength = StrengthConfig(**{name: settings[name] for name in names})
        for values, depth in zip(row, depths, strict=True):
            scene = SceneStatistics(depth["subject"], depth["percentiles"][1], depth["percentiles"][99])
            chosen = strength.choose(scene, Placement(settings["divergence"], settings["convergence"], 0.0))
            assert values == pytest.approx(chosen[:2], abs=1e-9), settings


def test_devices_suit_the_same_settings():
    wanted = [
        {"device_profile": device, **given}
        for device in parallax_rules()["devices"]
        for given in ({}, {"divergence": 4.0}, {"convergence": 0.2, "max_crossed": 1.5})
    ]
    got = in_node(
        "const run = ({all, rules}) => all.map(settings => g.suitDevice(settings, rules))",
        {"all": [settings_with(**given) for given in wanted], "rules": parallax_rules()},
    )
    for suited, given in zip(got, wanted, strict=True):
        expected = {**parallax_rules()["defaults"], **with_suggestions(given)}
        for name in PARALLAX_SETTINGS:
            assert suited[name] == expected[name], (given, name)


def test_the_bar_shows_the_comfort_that_the_node_tells():
    depth = np.random.default_rng(0).beta(2, 5, (60, 80)).astype(np.float32)
    sample = make_sample(np.zeros((60, 80, 3), np.uint8), depth, time=0.0)
    got = in_node(
        "const run = ({settings, depths, rules}) => g.comfortOf(settings, settings, depths, rules)",
        {"settings": settings_with(divergence=6.0), "depths": sample.describe(), "rules": parallax_rules()},
    )
    plane = torch.from_numpy(depth)[None, None]
    comfort = measure_comfort(depth_to_disparity(plane, divergence=6.0, convergence=0.5))
    assert got["nearest"] == pytest.approx(comfort.p99, abs=0.02)
    assert got["farthest"] == pytest.approx(comfort.p1, abs=0.02)


def test_what_the_library_refuses_is_not_drawn():
    got = in_node(
        "const run = ({all, rules}) => all.map(s => g.fault(s, rules))",
        {
            "all": [settings_with(depth_near=near, depth_far=0.5) for near in (0.4, 0.505, 0.51, 1.0)],
            "rules": parallax_rules(),
        },
    )
    assert got == [*["depth_near must be at least 0.01 above depth_far"] * 2, "", ""]


def test_all_disparities_lie_within_the_reach_of_the_shaders():
    depth = np.random.default_rng(1).uniform(0.2, 0.7, (40, 50)).astype(np.float32)
    sample = make_sample(np.zeros((40, 50, 3), np.uint8), depth, time=0.0)
    low, high = in_node(
        """const run = ({settings, depths, rules}) =>
          g.reachOf(g.disparityTable(settings, settings, 50, rules), depths, 0)""",
        {"settings": settings_with(divergence=20.0), "depths": sample.describe(), "rules": parallax_rules()},
    )
    disparity = depth_to_disparity(torch.from_numpy(depth)[None, None], divergence=20.0)
    assert low <= disparity.min()
    assert high >= disparity.max()
    assert high - low < 10 * 0.55


def test_the_anaglyph_has_the_library_s_matrix():
    module = json.dumps((WEB / "shared" / "anaglyph.mjs").as_uri())
    got = in_node(f"const shared = await import({module})\nconst run = () => shared.DUBOIS_RED_CYAN", None)
    assert got == [list(row) for row in DUBOIS_RED_CYAN]
