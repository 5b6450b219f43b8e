"""What a node says about its run, in ComfyUI's own page."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def frontend(reused_frontend):
    return reused_frontend


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


def test_a_browser_without_h264_says_so(frontend, renderer, comfy_server):
    folder = comfy_server.base / "output"
    folder.mkdir(exist_ok=True)
    (folder / "unplayable.mp4").write_bytes(bytes(1000))  # what H.264 is to such a browser
    frontend.page.evaluate(
        """() => {
          window.canPlayType = HTMLMediaElement.prototype.canPlayType
          HTMLMediaElement.prototype.canPlayType = () => ''
          app.graph.clear()
          const node = LiteGraph.createNode('SpatialDreamerSaveStereoVideo')
          app.graph.add(node)
          const file = {filename: 'unplayable.mp4', subfolder: '', type: 'output'}
          const layout = {format: 'full_sbs', swap: false, aspect: 1.5}
          const entry = {file, name: file.filename, note: '', kind: 'video', rate: 24, ...layout}
          const detail = {node: String(node.id), output: {stereo: [entry]}, prompt_id: 'none'}
          window.comfyAPI.api.api.dispatchEvent(new CustomEvent('executed', {detail}))
        }"""
    )
    text = shown_text(frontend, "browser plays no H.264")
    frontend.page.evaluate("() => { HTMLMediaElement.prototype.canPlayType = canPlayType }")
    assert text == "This browser plays no H.264; open the file in a player."
