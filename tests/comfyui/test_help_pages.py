"""The nodes' help pages: each has its picture, its parts in order, and names that exist.

Translated pages lie in a folder of the node's name. Their beginning is made of the texts in
`locales`: `bash scripts/test.sh tests/comfyui/test_help_pages.py --update-contract`.
"""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from .server import NODE_IDS, REPOSITORY

PAGES = REPOSITORY / "web" / "docs"
PARTS = ("Inputs", "Outputs", "Errors", "Example")
OTHERS = {  # named in the pages; ComfyUI's own nodes and what is no node
    *("Create Video", "Get Video Components", "Load Image", "Load Video", "Preview Any", "Preview Image"),
    *("Save Image", "Save Video", "Save Animated WEBP"),
}
WORDS = {  # of a translated page's beginning
    "zh": {
        "inputs": "输入",
        "outputs": "输出",
        "choice": "选项",
        "optional": "可选",
        "default": "默认",
        "and": "，",
    },
    "ja": {
        "inputs": "入力",
        "outputs": "出力",
        "choice": "選択",
        "optional": "省略可",
        "default": "既定値",
        "and": "、",
    },
}
TRANSLATED = (
    "SpatialDreamerConvertVideo",
    "SpatialDreamerImageToStereo",
    "SpatialDreamerSBSPacker",
)  # at least
BYTES = 100_000  # that a picture may have


def titles() -> set[str]:
    """Return the nodes' names as the pages write them: also without what stands before and behind them."""
    texts = json.loads((REPOSITORY / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    whole = {node["display_name"] for node in texts.values()}
    return whole | {re.sub(r"^Stereo 3D: | \(.*\)$", "", title) for title in whole}


@pytest.mark.parametrize("node", NODE_IDS)
def test_a_page_has_a_picture_and_its_parts_in_order(node):
    text = (PAGES / f"{node}.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0].startswith("# ")
    assert re.fullmatch(rf"!\[[^\]]+\]\(images/{node}\.jpg\)", lines[2]), "ComfyUI reads it from web/docs"
    heads = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert [head for head in heads if head in PARTS] == list(PARTS)


def test_pictures_are_small_and_each_is_shown():
    pictures = sorted(path.name for path in (PAGES / "images").iterdir())
    assert pictures == sorted(f"{node}.jpg" for node in NODE_IDS)
    for name in pictures:
        assert (PAGES / "images" / name).stat().st_size < BYTES, name
        with Image.open(PAGES / "images" / name) as picture:
            assert picture.width == 720, name


@pytest.mark.parametrize("node", NODE_IDS)
def test_nodes_that_an_example_names_are_there(node):
    """In an example each node stands in bold or as code, before brackets or an arrow."""
    text = (PAGES / f"{node}.md").read_text(encoding="utf-8")
    example = text.partition("## Example\n")[2]
    named = re.findall(r"(?:\*\*|`)([A-Z][A-Za-z0-9 ]+?(?: \([A-Za-z, ]+\))?)(?:\*\*|`)", example)
    assert named
    assert [name for name in named if name not in titles() | OTHERS] == []


def beginning_of(node: str, language: str) -> str:
    """Return what a translated page begins with: title, picture, purpose, inputs and outputs."""
    words = WORDS[language]
    schema = json.loads((PAGES.parents[1] / "tests/comfyui/node_schemas.json").read_text(encoding="utf-8"))[
        node
    ]
    file = REPOSITORY / "locales" / language / "nodeDefs.json"
    texts = json.loads(file.read_text(encoding="utf-8"))[node]
    inputs = []
    for section in ("required", "optional"):
        for name, (kind, about) in schema["input"].get(section, {}).items():
            facts = [words["choice"] if kind == "COMBO" else kind]
            facts += [words["optional"]] if section == "optional" else []
            default = about.get("default", "")
            if isinstance(default, bool):
                default = str(default).lower()
            elif isinstance(default, int | float):
                default = f"{default:g}"
            facts += [f"{words['default']} {default}"] if default else []
            text = texts["inputs"][name]
            inputs.append(f"- **{text['name']}** `{name}`（{words['and'].join(facts)}）：{text['tooltip']}")
    outputs = [
        f"- **{text['name']}**（{kind}）：{text['tooltip']}"
        for kind, text in zip(schema["output"], texts.get("outputs", {}).values(), strict=True)
    ]
    title = texts["display_name"]
    parts = [f"# {title}", f"![{title}](images/{node}.jpg)", texts["description"]]
    parts += [f"## {words['inputs']}", "\n".join(inputs), f"## {words['outputs']}", "\n".join(outputs)]
    return "\n\n".join(parts) + "\n\n"


@pytest.mark.parametrize("language", WORDS)
def test_translated_pages_begin_with_the_texts_of_the_nodes(language, request):
    pages = {path.parent.name: path for path in PAGES.glob(f"*/{language}.md")}
    assert pages.keys() == set(NODE_IDS)
    for node, page in pages.items():
        text, outputs = page.read_text(encoding="utf-8"), f"## {WORDS[language]['outputs']}\n\n"
        expected = beginning_of(node, language)
        if request.config.getoption("--update-contract"):
            written = text.partition(outputs)[2].partition("\n\n")[2] if outputs in text else text
            text = expected + written
            page.write_text(text, encoding="utf-8")
        assert text.startswith(expected), f"{node}: rerun with --update-contract"
        heads = re.findall(r"^## ", text.removeprefix(expected), re.MULTILINE)
        assert len(heads) >= 3, f"{node}: tips, errors and an example are written by hand"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("language", "node"), [("en", "SpatialDreamerFastFill"), ("zh", "SpatialDreamerConvertVideo")]
)
def test_the_page_shows_help_with_its_picture(frontend, language, node):
    """Opened by the button above a chosen node, in the panel that ComfyUI gives it."""
    page, file = frontend.page, f"{node}/{language}.md"
    written = PAGES / (f"{node}.md" if language == "en" else file)
    title = written.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    choose = "language => app.extensionManager.setting.set('Comfy.Locale', language)"
    try:
        page.evaluate(choose, language)
        frontend.reload()
        page.evaluate(
            """type => {
              app.graph.clear()
              app.canvas.ds.reset()
              const node = LiteGraph.createNode(type)
              node.pos = [700, 300]
              app.graph.add(node)
              app.canvas.selectNode(node)
            }""",
            node,
        )
        page.get_by_test_id("info-button").first.click()
        page.get_by_role("heading", name=title, level=1).wait_for()
        page.wait_for_function(
            "() => document.querySelector('img[src*=\"/docs/images/\"]')?.naturalWidth === 720"
        )
        assert page.locator(".markdown-content li, .node-help-content li").count() > 5
    finally:
        page.evaluate(choose, "en")
        page.wait_for_timeout(500)  # an open panel turns to English, too
    english = f"{node}/en.md"  # the page asks for it before it takes the one of no language
    frontend.errors[:] = [error for error in frontend.errors if english not in error]
