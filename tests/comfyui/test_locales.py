"""The texts of the page's languages: English is that of schemas and scripts, no other has more or less.

After a change of a name, of a tooltip or of `web/js/shared/words.mjs`:
`bash scripts/test.sh tests/comfyui/test_locales.py --update-contract` rewrites the English files; the tests
then name what is to be translated.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter

import pytest

from .server import REPOSITORY
from .test_contract import flatten
from .test_image import photo  # noqa: F401

LOCALES = REPOSITORY / "locales"
LANGUAGES = ("zh", "ja")
FILES = ("main.json", "nodeDefs.json", "settings.json")
OF_THIS_MACHINE = (  # say which models are not installed; in English the page has them from the server
    "SpatialDreamerDepthEstimator.inputs.estimator.tooltip",
    "SpatialDreamerOpticalFlow.inputs.method.tooltip",
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
PLACEHOLDER = re.compile(r"%([a-z]+)%")  # of a text of our scripts
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


def test_english_of_our_elements_is_what_the_scripts_say(request):
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("no node")
        pytest.skip("no node; run: sudo apt-get install nodejs")
    words = (REPOSITORY / "web" / "js" / "shared" / "words.mjs").as_uri()
    script = f"console.log(JSON.stringify((await import({json.dumps(words)})).ENGLISH))"
    command = [node, "--input-type=module", "-e", script]
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    file = LOCALES / "en" / "main.json"
    texts = json.loads(file.read_text(encoding="utf-8"))
    expected = {**texts, "spatialdreamer": json.loads(printed)}
    if request.config.getoption("--update-contract"):
        file.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        texts = expected
    assert texts == expected, "rerun with --update-contract"


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
        assert set(NUMBER.findall(english)) <= set(NUMBER.findall(text)), f"{path}: {text}"
        signs = re.findall(r"%[a-zA-Z][^%]*%", english) + [unit for unit in ("%", "px") if unit in english]
        assert [sign for sign in signs if sign not in text] == [], f"{path}: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_our_elements_keep_each_placeholder_once(language):
    translated = texts_of(language, "main.json")
    for path, english in texts_of("en", "main.json").items():
        text = translated[path]
        assert Counter(PLACEHOLDER.findall(text)) == Counter(PLACEHOLDER.findall(english)), f"{path}: {text}"
        assert PLACEHOLDER.sub("", text).count("%") == PLACEHOLDER.sub("", english).count("%"), (
            f"{path}: {text}"
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_our_elements_name_widgets_as_nodes_do(language):
    names = {text for path, text in texts_of(language, "nodeDefs.json").items() if path.endswith(".name")}
    quoted = re.findall("「(.*?)」", (LOCALES / language / "main.json").read_text(encoding="utf-8"))
    assert quoted
    assert set(quoted) <= names


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


STEREO = "SpatialDreamerImageToStereo"  # has a viewer, a live preview, and a button that asks for one
KEYS = {"Shift ← →", "Home, End", "Page ↑ ↓"}  # as they are written on keyboards
OF_OUR_ELEMENTS = """type => {
  const node = app.graph.nodes.find(each => each.type === type)
  const named = name => node?.widgets.find(widget => widget.name === name)?.element
  const roots = ['spatialdreamer_viewer', 'spatialdreamer_parallax'].map(named).filter(root => root)
  const elements = roots.flatMap(root => [root, ...root.querySelectorAll('*')])
  return elements.flatMap(element => [
    ...['title', 'alt', 'aria-label', 'aria-valuetext'].map(name => element.getAttribute(name)),
    ...[...element.childNodes].filter(child => child.nodeType === Node.TEXT_NODE).map(child => child.data),
  ]).filter(text => text?.trim())
}"""


def words_of(language: str) -> dict[str, str]:
    """Return the texts of our own elements by their keys."""
    mark = "spatialdreamer."
    texts = texts_of(language, "main.json")
    return {path[len(mark) :]: text for path, text in texts.items() if path.startswith(mark)}


def wait_for_words(frontend, wanted: set[str]) -> list[str]:
    """Wait until our elements on the node show some texts; return all that they show."""
    missing, shown = wanted, []
    for _ in range(100):
        shown = frontend.page.evaluate(OF_OUR_ELEMENTS, STEREO)
        missing = {text for text in wanted if not any(text in each for each in shown)}
        if not missing:
            break
        frontend.page.wait_for_timeout(200)
    assert missing == set(), "\n".join(shown)
    return shown


@pytest.mark.browser
@pytest.mark.parametrize("language", ["ja", pytest.param("zh", marks=pytest.mark.slow)])
def test_our_elements_speak_the_pages_language(frontend, photo, language):  # noqa: F811
    """As the page is loaded, and chosen in the open page, which makes its nodes anew."""
    words, english = words_of(language), words_of("en")
    page = frontend.page

    def of(*parts: str, words: dict[str, str] = words) -> set[str]:
        return {text for key, text in words.items() if key.split(".")[0] in parts and "%" not in text}

    always = ("mode", "mode_hint", "key", "key_help")
    set_language(frontend, language)
    try:
        frontend.reload()
        frontend.clear()
        page.evaluate(
            """async ([type, file, divergence]) => {
              const [image, stereo, shown] = ['LoadImage', type, 'PreviewImage'].map(each => {
                const node = LiteGraph.createNode(each)
                app.graph.add(node)
                return node
              })
              stereo.pos = [400, 0]
              shown.pos = [900, 0]
              image.widgets[0].value = file
              for (const [name, value] of Object.entries({depth: 'builtin', divergence}))
                stereo.widgets.find(widget => widget.name === name).value = value
              image.connect(0, stereo, 0)
              stereo.connect(0, shown, 0)
              app.canvas.ds.scale = 0.4
              app.canvas.ds.offset = [300, 100]
              await app.loadGraphData(app.graph.serialize()) // else the page drops it with the language
            }""",
            [STEREO, photo[0], {"ja": 19, "zh": 20}[language]],  # else one result came from the cache
        )
        wait_for_words(frontend, of(*always))
        assert frontend.queue() is None
        preview = {words[f"preview.{key}"] for key in ("title", "toggle", "views", "holes", "holes_hint")}
        own = {words["viewer.title"], words["vr.enter"], words["ask.frame"], words["ask.number_hint"]}
        wait_for_words(frontend, of("view", "view_hint") | preview | own)
        frontend.set_widget(STEREO, "edge_width", 7)
        label = texts_of(language, "nodeDefs.json")[f"{STEREO}.inputs.edge_width.name"]
        shown = wait_for_words(frontend, {words["preview.waiting"].replace("%names%", label)})
        left = {text for text in shown if re.search("[A-Za-z]{2}", text) and not CJK.search(text)}
        assert left <= KEYS
        frontend.set_widget(STEREO, "depth_far", 1.0)
        wait_for_words(frontend, {words["preview.depth_range"].replace("%least%", "0.01")})
        set_language(frontend, "en")
        wait_for_words(frontend, of(*always, words=english))
        set_language(frontend, language)
        wait_for_words(frontend, of(*always))
    finally:
        set_language(frontend, "en")


@pytest.mark.slow
@pytest.mark.browser
def test_our_elements_speak_english_where_the_texts_cannot_be_loaded(frontend):
    set_language(frontend, "ja")
    try:
        frontend.page.route("**/i18n", lambda route: route.abort())
        frontend.reload()
        frontend.clear()
        assert frontend.add_node(STEREO)
        english = words_of("en")
        wait_for_words(frontend, {english["viewer.title"], english["mode.whole"], english["ask.frame"]})
    finally:
        frontend.page.unroute("**/i18n")
        set_language(frontend, "en")
