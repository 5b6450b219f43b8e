"""The nodes' help pages: each has its picture, its parts in order, and names that exist."""

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
