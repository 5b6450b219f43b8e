"""What a node says about its run, in ComfyUI's own page."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser
TEXT = "$$node-text-preview"


@pytest.fixture(params=["litegraph", "vue"])
def renderer(frontend, request):
    """The page with one of its two renderers; the choice is the server's, so it is taken back."""
    frontend.set_renderer(request.param)
    yield request.param
    frontend.set_renderer("litegraph")


def shown_text(frontend, words: str) -> str | None:
    """Return the text of the smallest element that holds some words, if all of it can be seen in its node."""
    frontend.page.wait_for_timeout(500)  # nodes grow by what they show
    return frontend.page.evaluate(
        """words => {
          const holds = element => element.textContent.includes(words)
          const smallest = [...document.querySelectorAll('body *')].filter(holds)
            .filter(element => ![...element.children].some(holds)).pop()
          const outer = smallest?.closest('.overflow-y-auto, .comfy-markdown, [data-node-id]')
          if (!outer) return null
          const inner = smallest.getBoundingClientRect(), frame = outer.getBoundingClientRect()
          let box = outer.closest('.dom-widget, [data-node-id]')?.getBoundingClientRect() ?? frame
          return inner.bottom <= box.bottom + 1 && inner.height > 0 ? smallest.textContent : null
        }""",
        words,
    )


def test_the_depth_estimator_says_what_ran(frontend, renderer):
    frontend.page.evaluate(
        """color => {
          app.graph.clear()
          const add = (type, x) => {
            const node = LiteGraph.createNode(type); node.pos = [x, 150]; app.graph.add(node); return node
          }
          const image = add('EmptyImage', 100), depth = add('SpatialDreamerDepthEstimator', 450)
          const preview = add('PreviewImage', 900)
          const values = {width: 64, height: 48, color}
          for (const widget of image.widgets) widget.value = values[widget.name] ?? widget.value
          depth.size = [270, depth.size[1]]
          image.connect(0, depth, 'image')
          depth.connect(0, preview, 0)
        }""",
        {"litegraph": 0x102030, "vue": 0x302010}[renderer],  # a result from the cache would say nothing
    )
    assert frontend.queue() is None
    text = shown_text(frontend, "depth: builtin, preview grade.")
    assert text is not None
    assert "downloads are switched off by HF_HUB_OFFLINE" in text
    assert "into models/depth_estimation." in text


def test_a_text_of_the_cache_is_shown_and_holds_no_code(frontend, renderer):
    frontend.page.evaluate(
        """() => {
          app.graph.clear()
          const node = LiteGraph.createNode('SpatialDreamerConvertVideo')
          app.graph.add(node)
          node.onExecuted({text: ['film <img src=x onerror="window.ran = true"> & more.\\nA second line.']})
        }"""
    )
    text = shown_text(frontend, "A second line.") or ""
    assert text.startswith('film <img src=x onerror="window.ran = true"> & more.')
    assert not frontend.page.evaluate("() => window.ran")
