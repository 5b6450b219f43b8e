"""The pack's settings in ComfyUI's page: the values with which new nodes begin."""

from __future__ import annotations

import json

import pytest

from spatialdreamer_core.options import options_of
from spatialdreamer_core.pipeline import ConvertConfig

from .server import REPOSITORY

pytestmark = pytest.mark.browser
CHOSEN = {"Format": "half_sbs", "Divergence": 1.5, "Eye": "both"}
OPTIONS = {"Format": "format", "Divergence": "divergence", "Eye": "eye"}
SAVED = REPOSITORY / "tests" / "comfyui" / "saved_workflows"
WITHOUT = {"format": "wiggle"}  # which only photos have


@pytest.fixture
def chosen(frontend):
    """Choose other values than the nodes' own; the server keeps them, so they are put back."""
    options = options_of(ConvertConfig)
    choose(frontend, CHOSEN)
    yield CHOSEN
    choose(frontend, {name: options[option].default for name, option in OPTIONS.items()})


def choose(frontend, values: dict) -> None:
    frontend.page.evaluate(
        """async values => {
          for (const [name, value] of Object.entries(values)) {
            await app.extensionManager.setting.set(`SpatialDreamer.NewNodes.${name}`, value)
          }
        }""",
        values,
    )


def values_of_new(frontend, node_type: str) -> dict:
    """Make a node and return the values of its widgets."""
    return frontend.page.evaluate(
        """type => {
          const node = LiteGraph.createNode(type)
          app.graph.add(node)
          return Object.fromEntries(node.widgets.map(widget => [widget.name, widget.value]))
        }""",
        node_type,
    )


def test_the_settings_are_as_the_options_and_the_texts(frontend):
    """What the page's script says of a setting is what the library and the English texts say."""
    options = options_of(ConvertConfig)
    texts = json.loads((REPOSITORY / "locales" / "en" / "settings.json").read_text(encoding="utf-8"))
    assert sorted(texts) == sorted(f"SpatialDreamer_NewNodes_{name}" for name in OPTIONS)
    for name, option in ((name, options[option]) for name, option in OPTIONS.items()):
        setting = frontend.page.evaluate(
            "id => JSON.parse(JSON.stringify(app.ui.settings.settingsParamLookup[id]))",
            f"SpatialDreamer.NewNodes.{name}",
        )
        assert setting["defaultValue"] == option.default
        assert {key: setting[key] for key in ("name", "tooltip")} == texts[f"SpatialDreamer_NewNodes_{name}"]
        if option.choices:
            assert setting["options"] == [c for c in option.list_choices() if c != WITHOUT.get(option.name)]
        else:
            limits = setting["attrs"]
            assert [limits[key] for key in ("min", "max", "step")] == [option.low, option.high, option.step]


def test_new_nodes_begin_with_the_settings_and_opened_ones_keep_theirs(frontend, chosen):
    for renderer in ("litegraph", "vue"):  # in one page, which takes seconds to load
        check_new_and_opened_nodes(frontend, chosen, renderer)


def check_new_and_opened_nodes(frontend, chosen: dict, renderer: str) -> None:
    page, options = frontend.page, options_of(ConvertConfig)
    frontend.set_renderer(renderer)
    try:
        page.evaluate("() => app.graph.clear()")
        convert = values_of_new(frontend, "SpatialDreamerConvertVideo")
        assert {option: convert[option] for option in OPTIONS.values()} == {
            option: chosen[name] for name, option in OPTIONS.items()
        }
        warp = values_of_new(frontend, "SpatialDreamerDVGForwardWarp")
        assert (warp["divergence"], warp["eye"]) == (1.5, "right")  # it renders one eye alone
        assert values_of_new(frontend, "SpatialDreamerSBSPacker")["format"] == "half_sbs"
        if renderer == "vue":
            drawn = page.locator("[data-node-id]").first
            drawn.get_by_text("half_sbs").first.wait_for(timeout=10_000)
        prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
        (queued,) = (n["inputs"] for n in prompt.values() if n["class_type"] == "SpatialDreamerConvertVideo")
        assert (queued["format"], queued["divergence"], queued["eye"]) == ("half_sbs", 1.5, "both")

        saved = json.loads((SAVED / "quick_stereo.json").read_text(encoding="utf-8"))
        (node,) = (entry for entry in saved["nodes"] if entry["type"] == "SpatialDreamerConvertVideo")
        begun = [options[option].default for option in ("format", "divergence", "convergence", "eye")]
        assert node["widgets_values"][:4] == begun
        of_an_old_version = begun[:1]  # without the other widgets
        for kept in (node["widgets_values"], of_an_old_version):
            node["widgets_values"] = kept
            page.evaluate("workflow => app.loadGraphData(workflow)", saved)
            opened = page.evaluate(
                """() => app.graph.nodes.find(node => node.type === 'SpatialDreamerConvertVideo')
                  .widgets.slice(0, 4).map(widget => widget.value)"""
            )
            assert opened == begun
        copied = page.evaluate(
            """() => {
              const node = app.graph.nodes.find(entry => entry.type === 'SpatialDreamerConvertVideo')
              return node.clone().widgets.find(widget => widget.name === 'divergence').value
            }"""
        )
        assert copied == begun[1]
    finally:
        frontend.set_renderer("litegraph")
