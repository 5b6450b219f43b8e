"""What a node says about its run, in ComfyUI's own page."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(params=["litegraph", "vue"])
def renderer(frontend, request):
    """The page with one of its two renderers; the choice is the server's, so it is taken back."""
    frontend.set_renderer(request.param)
    yield request.param
    frontend.set_renderer("litegraph")


def shown_text(frontend, words: str) -> str:
    """Wait until a node shows a text that holds some words, all of it, and return it."""
    text = frontend.page.wait_for_function(
        """words => {
          const holds = element => element.textContent.includes(words)
          const smallest = [...document.querySelectorAll('body *')].filter(holds)
            .filter(element => ![...element.children].some(holds)).pop()
          const node = smallest?.closest('.dom-widget, [data-node-id]')
          if (!node) return null
          const inner = smallest.getBoundingClientRect(), outer = node.getBoundingClientRect()
          return inner.height > 0 && inner.bottom <= outer.bottom + 1 ? smallest.textContent : null
        }""",
        arg=words,
        timeout=15_000,
    )
    return text.json_value()


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
    text = shown_text(frontend, "A second line.")
    assert text.startswith('film <img src=x onerror="window.ran = true"> & more.')
    assert not frontend.page.evaluate("() => window.ran")


def test_a_browser_without_h264_says_so(frontend, renderer):
    frontend.page.evaluate(
        """async () => {
          HTMLMediaElement.prototype.canPlayType = () => ''
          app.graph.clear()
          const node = LiteGraph.createNode('SpatialDreamerSaveStereoVideo')
          app.graph.add(node)
          const text = 'saved as film.mp4' // the server sends it twice, the second time as a result
          window.comfyAPI.api.api.dispatchCustomEvent('progress_text', {nodeId: String(node.id), text})
          node.onExecuted({text: [text]})
          await new Promise(resolve => setTimeout(resolve, 50))
        }"""
    )
    text = shown_text(frontend, "this browser plays no H.264")
    assert text.startswith("saved as film.mp4\n")
