"""The texts of the page's languages: English is the schemas' own, the others miss none and add none.

After a change of a name or tooltip: `bash scripts/test.sh tests/comfyui/test_locales.py --update-contract`
rewrites the English file; the tests then name what is to be translated.
"""

from __future__ import annotations

import json
import re

import pytest

from .server import REPOSITORY
from .test_contract import flatten

LOCALES = REPOSITORY / "locales"
LANGUAGES = ("zh", "ja")
FILES = ("main.json", "nodeDefs.json", "settings.json")
OF_THIS_MACHINE = (  # say which models are not installed; in English the page has them from the server
    "SpatialDreamerDepthEstimator.inputs.estimator.tooltip",
    "SpatialDreamerOpticalFlow.inputs.method.tooltip",
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
KEPT_IN_LATIN = {"SVD", "UNet", "M2SVid", "Quilt", "SpatialDreamer"}  # names that have no other


def texts_of(language: str, file: str) -> dict[str, str]:
    """Return the texts of a file by their path."""
    content = json.loads((LOCALES / language / file).read_text(encoding="utf-8"))
    return {path[1:]: json.loads(text) for path, text in flatten(content).items()}


def english_of(node: dict) -> dict:
    """Return a node's texts as ComfyUI's page looks them up."""
    inputs = {
        name: {"name": about.get("display_name", name), "tooltip": about["tooltip"]}
        for section in ("required", "optional")
        for name, (_, about) in node["input"].get(section, {}).items()
    }
    outputs = {
        str(index): {"name": name, "tooltip": node["output_tooltips"][index]}
        for index, name in enumerate(node["output_name"])
    }
    texts = {"display_name": node["display_name"], "description": node["description"]}
    return texts | ({"inputs": inputs} if inputs else {}) | ({"outputs": outputs} if outputs else {})


def choices_of(nodes: dict) -> dict[str, list[str]]:
    """Return the values of each choice by the path of its tooltip, but for those that the machine decides."""
    return {
        f"{name}.inputs.{entry}.tooltip": [str(option) for option in about["options"]]
        for name, node in nodes.items()
        for section in ("required", "optional")
        for entry, (kind, about) in node["input"].get(section, {}).items()
        if kind == "COMBO" and f"{name}.inputs.{entry}.tooltip" not in OF_THIS_MACHINE
    }


def test_english_is_what_the_schemas_say(comfy_server, request):
    file = LOCALES / "en" / "nodeDefs.json"
    expected = {name: english_of(node) for name, node in comfy_server.pack_info().items()}
    for path in OF_THIS_MACHINE:
        node, _, entry, field = path.split(".")
        del expected[node]["inputs"][entry][field]
    if request.config.getoption("--update-contract"):
        file.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8")) == expected, "rerun with --update-contract"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing_or_left_over(language, file):
    wanted = texts_of("en", file).keys() | (OF_THIS_MACHINE if file == "nodeDefs.json" else set())
    texts = texts_of(language, file)
    assert sorted(wanted - texts.keys()) == []
    assert sorted(texts.keys() - wanted) == []


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_numbers_units_and_placeholders(language, file):
    translated = texts_of(language, file)
    for path, english in texts_of("en", file).items():
        text = translated[path]
        placeholders = re.findall(r"%[a-zA-Z][^%]*%", english)
        for kept in [
            *NUMBER.findall(english),
            *placeholders,
            *(unit for unit in ("%", "px") if unit in english),
        ]:
            assert kept in text, f"{path} lacks {kept}: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_name_each_choice_as_the_widget_shows_it(comfy_server, language):
    english, translated = texts_of("en", "nodeDefs.json"), texts_of(language, "nodeDefs.json")
    for path, options in choices_of(comfy_server.pack_info()).items():
        for option in options:
            if re.search(rf"\b{re.escape(option)}(?=[:,])", english[path]):
                assert option in translated[path], path


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_the_same_in_english_is_the_same_in_a_translation(language):
    """One tooltip that several nodes share is translated once: readers would look for a difference."""
    translated = texts_of(language, "nodeDefs.json")
    first: dict[str, str] = {}
    for path, english in texts_of("en", "nodeDefs.json").items():
        if path.endswith(("tooltip", "description")):
            assert translated[path] == translated[first.setdefault(english, path)], path


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_left_in_english(language):
    left = [
        f"{path}: {text}"
        for file in FILES
        for path, text in texts_of(language, file).items()
        if not CJK.search(text) and text not in KEPT_IN_LATIN
    ]
    assert left == []


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_texts_hold_no_signs_of_the_pages_own_syntax(language):
    """Some versions of the page compile tooltips as messages of vue-i18n, others show them as they are."""
    for file in FILES:
        for path, text in texts_of(language, file).items():
            assert not set("{}@|") & set(text), path


def test_each_folder_holds_the_same_files():
    for language in ("en", *LANGUAGES):
        assert sorted(path.name for path in (LOCALES / language).iterdir()) == sorted(FILES)


def set_language(frontend, language: str) -> None:
    """Choose the page's language, as in its settings; nodes that are open are drawn anew."""
    frontend.page.evaluate("language => app.extensionManager.setting.set('Comfy.Locale', language)", language)


def shown_of_node(frontend) -> str:
    """Return the title, and the names of the widgets and sockets, of the one node on the canvas."""
    return frontend.page.evaluate(
        """() => {
          const drawn = document.querySelector('[data-node-id]')
          if (LiteGraph.vueNodesMode) return drawn?.textContent ?? ''
          const node = app.graph.nodes[0]
          const slots = [...node.inputs, ...node.outputs].map(slot => slot.localized_name)
          return [node.title, ...node.widgets.map(widget => widget.label), ...slots].join(' ')
        }"""
    )


def tooltip_of_widget(frontend, widget: str, label: str) -> str:
    """Point at a widget of the one node on the canvas and return the tooltip that comes up."""
    page = frontend.page
    if page.evaluate("() => LiteGraph.vueNodesMode"):
        page.locator("[data-node-id]").get_by_text(label, exact=True).first.hover()
    else:
        x, y = page.evaluate(
            """name => {
              const node = app.graph.nodes[0], widget = node.widgets.find(entry => entry.name === name)
              return app.canvas.convertOffsetToCanvas([node.pos[0] + 90, node.pos[1] + widget.last_y + 10])
            }""",
            widget,
        )
        box = page.locator("#graph-canvas").bounding_box()
        page.mouse.move(box["x"] + x - 9, box["y"] + y)
        page.mouse.move(box["x"] + x, box["y"] + y)
    tooltip = page.wait_for_function(  # each renderer, and the newer pages, have elements of their own
        """() => [...document.querySelectorAll('.node-tooltip, .p-tooltip-text, [role=tooltip]')]
          .map(element => element.textContent.trim()).find(text => text)""",
        timeout=10_000,
    )
    return tooltip.json_value()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("renderer", ["litegraph", "vue"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_a_chosen_language(frontend, renderer, language):
    """Chosen in the open page, which keeps the titles of node types, then as it is loaded anew."""
    name, page = "SpatialDreamerSBSPacker", frontend.page
    texts = {key: text for key, text in texts_of(language, "nodeDefs.json").items() if key.startswith(name)}
    names = [text for key, text in texts.items() if key.endswith(".name")]
    label, tooltip = (texts[f"{name}.inputs.pad.{field}"] for field in ("name", "tooltip"))
    frontend.set_renderer(renderer)
    try:
        for choose, title in (
            (lambda: set_language(frontend, language), []),
            (frontend.reload, [texts[f"{name}.display_name"]]),
        ):
            choose()
            page.wait_for_function(
                "([type, label]) => LiteGraph.createNode(type).widgets.some(entry => entry.label === label)",
                arg=[name, label],
            )
            page.evaluate(
                """type => {
                  app.graph.clear()
                  app.canvas.ds.reset()
                  const node = LiteGraph.createNode(type)
                  node.pos = [500, 250] // beside the page's side bar
                  app.graph.add(node)
                }""",
                name,
            )
            missing = names + title
            for _ in range(50):  # it is drawn by and by
                page.wait_for_timeout(200)
                shown = shown_of_node(frontend)
                missing = [text for text in missing if text not in shown]
                if not missing:
                    break
            assert missing == []
            assert tooltip_of_widget(frontend, "pad", label) == tooltip
    finally:
        set_language(frontend, "en")
        frontend.set_renderer("litegraph")
