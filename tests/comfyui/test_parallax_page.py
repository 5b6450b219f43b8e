"""The live preview in ComfyUI's own page, in both renderers: what it shows, queues and leaves behind."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.depth import DepthShaping, shape_depth
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp

from .clips import psnr
from .test_image import photo  # noqa: F401

pytestmark = pytest.mark.browser
WARP, FILM = "SpatialDreamerDVGForwardWarp", "SpatialDreamerConvertVideo"
LEAST_PSNR = 50.0  # dB, of pixels that both know
PANEL = """type => app.graph.nodes.find(n => n.type === type)
  .widgets.find(w => w.name === 'spatialdreamer_parallax').element"""
LOOK = f"""type => {{
  const canvas = ({PANEL})(type).querySelector('canvas')
  return canvas?.ariaLabel && canvas.offsetHeight ? canvas.toDataURL('image/png') : null
}}"""
COUNT_CONTEXTS = """() => {
  const original = HTMLCanvasElement.prototype.getContext
  window.contexts = []
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    if (kind.startsWith('webgl') && window.withoutWebGL) return null
    const context = original.call(this, kind, ...rest)
    if (kind === 'webgl2' && context && !window.contexts.some(known => known.deref() === context))
      window.contexts.push(new WeakRef(context))
    return context
  }
}"""
LIVE_CONTEXTS = "() => window.contexts.filter(each => each.deref() && !each.deref().isContextLost()).length"


@pytest.fixture(scope="module")
def shared_page(profile, comfy_server):
    """One page for all tests, with a list of the prompts that it queues and a count of its contexts."""
    from .conftest import open_frontend

    with open_frontend(profile, comfy_server) as page:
        page.page.evaluate(COUNT_CONTEXTS)
        page.prompts = []

        def note(request):
            if request.method == "POST" and request.url.endswith("/prompt"):
                page.prompts.append(request.post_data_json)

        page.page.on("request", note)
        yield page
        assert page.errors == []


@pytest.fixture
def page(shared_page):
    shared_page.clear()
    shared_page.prompts.clear()
    return shared_page


@pytest.fixture(params=["litegraph", "vue"])
def renderer(page, request):
    page.set_renderer(request.param)
    yield request.param
    page.set_renderer("litegraph")


def build_warp(page, photo, **values):  # noqa: F811
    """Put DVG Forward Warp with a photo and its depth on an empty canvas, all of it in sight."""
    page.page.evaluate(
        """([picture, depth, values]) => {
          const add = (type, pos, widgets) => {
            const node = LiteGraph.createNode(type)
            node.pos = pos
            app.graph.add(node)
            for (const [name, value] of Object.entries(widgets))
              node.widgets.find(w => w.name === name).value = value
            return node
          }
          const image = add('LoadImage', [50, 100], {image: picture})
          const map = add('LoadImage', [50, 600], {image: depth})
          const warp = add('SpatialDreamerDVGForwardWarp', [450, 100], values)
          const shown = add('PreviewImage', [950, 100], {})
          image.connect(0, warp, 0)
          map.connect(0, warp, 1)
          warp.connect(0, shown, 0)
          app.canvas.ds.scale = 0.7
          app.canvas.ds.offset = [50, 50]
          app.canvas.setDirty(true, true)
        }""",
        [photo[0], photo[1], {"edge_width": 0, **values}],
    )


def look(page, node_type: str, *, unlike: str | None = None) -> str:
    """Wait until the preview's picture is drawn, and is another one than before."""
    return page.page.wait_for_function(
        f"([type, before]) => {{ const now = ({LOOK})(type); return now && now !== before ? now : null }}",
        arg=[node_type, unlike],
        timeout=20_000,
    ).json_value()


def decode(url: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def warp(server, photo, *, divergence, convergence, **shaping):  # noqa: F811
    """Warp the photo by the library: the right view, [H, W, 3] in [0, 255], and its holes."""
    depth = np.asarray(Image.open(server.base / "input" / photo[1]).convert("L")) / np.float32(255)
    shaped = shape_depth(torch.from_numpy(depth)[None, None], DepthShaping(**shaping))
    disparity = depth_to_disparity(shaped, divergence=divergence, convergence=convergence)
    image = torch.from_numpy(photo[2].copy()).permute(2, 0, 1)[None] / 255
    view, hole = forward_warp(image, disparity)
    return 255 * view[0].permute(1, 2, 0).numpy(), hole[0, 0].numpy() > 0.5


def agrees(shown: np.ndarray, expected) -> bool:
    view, hole = expected
    tinted = (shown == (255, 0, 255)).all(-1)
    return np.array_equal(tinted, hole) and psnr(shown[~hole], view[~hole]) >= LEAST_PSNR


def test_the_picture_follows_the_sliders_without_a_prompt(page, renderer, comfy_server, photo):  # noqa: F811
    divergence = {"litegraph": 6.0, "vue": 6.5}[renderer]  # else the second one came from the cache
    build_warp(page, photo, divergence=divergence, convergence=0.2)
    assert page.queue() is None
    before = look(page, WARP)
    assert len(page.prompts) == 1
    assert agrees(decode(before), warp(comfy_server, photo, divergence=divergence, convergence=0.2))
    for name, value, settings in (
        ("divergence", 12.0, {"divergence": 12.0, "convergence": 0.2}),
        ("convergence", 0.6, {"divergence": 12.0, "convergence": 0.6}),
        ("depth_near", 0.5, {"divergence": 12.0, "convergence": 0.6, "near": 0.5}),
    ):
        page.set_widget(WARP, name, value)
        if name == "depth_near":  # nothing of this depth lies between: the picture stays
            page.page.wait_for_timeout(300)
        else:
            before = look(page, WARP, unlike=before)
        assert agrees(decode(before), warp(comfy_server, photo, **settings))
    assert "more than is comfortable" in page.page.evaluate(f"({PANEL})('{WARP}').innerText")
    page.page.evaluate(
        f"""() => [...({PANEL})('{WARP}').querySelectorAll('button')]
          .find(button => button.textContent === 'Left').click()"""
    )
    left = look(page, WARP, unlike=before)
    assert np.array_equal(decode(left), photo[2]), "the left eye sees the picture itself"
    (request,) = page.prompts
    assert not any("spatialdreamer_parallax" in node["inputs"] for node in request["prompt"].values())


@pytest.mark.slow
def test_what_cannot_be_seen_is_said(page, photo):  # noqa: F811
    build_warp(page, photo, divergence=5.0)
    assert page.queue() is None
    look(page, WARP)
    page.set_widget(WARP, "edge_width", 7)
    page.set_widget(WARP, "depth_far", 1.0)
    words = f"() => ({PANEL})('{WARP}').innerText"
    page.page.wait_for_function(f"() => ({words})().includes('must be at least 0.01 above depth_far')")
    page.set_widget(WARP, "depth_far", 0.0)
    page.page.wait_for_function(f"() => ({words})().includes('seen after the next run: edge_width')")


def test_a_button_previews_a_frame_alone(page, uploaded_clip):
    page.page.evaluate(
        """file => {
          const [loader, film] = ['LoadVideo', 'SpatialDreamerConvertVideo']
            .map(type => LiteGraph.createNode(type))
          film.pos = [450, 100]
          for (const node of [loader, film]) app.graph.add(node)
          loader.widgets.find(w => w.name === 'file').value = file
          loader.connect(0, film, 0)
          film.widgets.find(w => w.name === 'depth').value = 'builtin'
          app.canvas.ds.scale = 0.45
          app.canvas.ds.offset = [0, 50]
          app.canvas.setDirty(true, true)
        }""",
        uploaded_clip,
    )
    page.page.wait_for_function(f"() => ({PANEL})('{FILM}').querySelector('button')")
    page.page.evaluate(
        f"""() => {{
          const panel = ({PANEL})('{FILM}')
          panel.querySelector('input[type=number]').value = '0.5'
          panel.querySelector('button').click()
        }}"""
    )
    frame = decode(look(page, FILM))
    assert frame.shape == (180, 320, 3)
    assert "frame at 0.50 s" in page.page.evaluate(f"() => ({PANEL})('{FILM}').innerText")
    (request,) = page.prompts
    assert request["partial_execution_targets"] == ["spatialdreamer_preview_shown"]


@pytest.mark.slow
def test_a_preview_inside_a_subgraph_gets_its_frame(page, photo):  # noqa: F811
    build_warp(page, photo, divergence=5.5)
    page.page.evaluate(
        f"""() => {{
          const warp = app.graph.nodes.find(n => n.type === '{WARP}')
          const {{node}} = app.graph.convertToSubgraph(new Set([warp]))
          app.canvas.setGraph(node.subgraph)
        }}"""
    )
    assert page.queue() is None
    page.page.evaluate(
        """() => {
          app.canvas.ds.scale = 0.6
          app.canvas.ds.offset = [-300, 0]
          app.canvas.setDirty(true, true)
        }"""
    )
    page.page.wait_for_function(
        f"""() => app.canvas.graph.nodes.find(n => n.type === '{WARP}').widgets
          .find(w => w.name === 'spatialdreamer_parallax').element.querySelector('canvas')?.width === 160""",
        timeout=15_000,
    )
    page.page.evaluate("() => app.canvas.setGraph(app.rootGraph ?? app.graph)")


@pytest.mark.slow
def test_a_node_that_goes_leaves_no_context(page, photo):  # noqa: F811
    build_warp(page, photo, divergence=4.5)
    assert page.queue() is None
    look(page, WARP)
    before = page.page.evaluate(LIVE_CONTEXTS)
    assert before >= 1
    page.page.evaluate(f"() => app.graph.remove(app.graph.nodes.find(n => n.type === '{WARP}'))")
    page.page.wait_for_function(f"before => ({LIVE_CONTEXTS})() === before - 1", arg=before, timeout=5_000)


@pytest.mark.slow
def test_without_webgl_the_preview_is_absent(page, photo):  # noqa: F811
    page.page.evaluate("() => { window.withoutWebGL = true }")
    build_warp(page, photo, divergence=3.5)
    assert page.queue() is None
    page.page.wait_for_function(
        f"() => ({PANEL})('{WARP}').innerText.includes('no live preview: this browser has no WebGL2')",
        timeout=15_000,
    )
    assert page.page.evaluate(f"({LOOK})('{WARP}')") is None
    page.page.evaluate("() => { window.withoutWebGL = false }")
