"""What becomes of a viewer: its film, its keys, what it remembers, and what is freed with its node."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from .conftest import open_frontend
from .frontend import Frontend

pytestmark = pytest.mark.browser
SAVE = "SpatialDreamerSaveStereoVideo"
ADD = """([type, at]) => {
  const node = LiteGraph.createNode(type)
  node.pos = [100 + at, 40]
  app.graph.add(node)
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [0, 60]
  return String(node.id)
}"""
# A result as a node tells of it, without a run; the page takes it as from the server.
SHOW = """([id, file, settings]) => {
  const layout = {format: 'full_sbs', swap: false, aspect: 1.5}
  const entry = {file, name: file.filename, note: '', kind: 'video', rate: 24, ...layout, ...settings}
  const output = {stereo: [entry], images: [file], animated: [true]}
  const detail = {node: id, display_node: id, output, prompt_id: 'none'}
  window.comfyAPI.api.api.dispatchEvent(new CustomEvent('executed', {detail}))
}"""

# Counts what the viewer holds of the browser: GL contexts, and timers that run on.
WATCH = """
  const [contexts, timers] = [[], new Set()]
  const getContext = HTMLCanvasElement.prototype.getContext
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    const context = getContext.call(this, kind, ...rest)
    const isNew = context && !contexts.some(known => known.deref() === context)
    if (kind === 'webgl2' && isNew) contexts.push(new WeakRef(context))
    return context
  }
  const [set, clear] = [window.setInterval, window.clearInterval]
  window.setInterval = (...given) => {
    const timer = set(...given)
    if (new Error().stack.includes('/js/viewer/')) timers.add(timer)
    return timer
  }
  window.clearInterval = timer => {
    timers.delete(timer)
    clear(timer)
  }
  window.heldByViewers = () => ({
    contexts: contexts.filter(known => known.deref() && !known.deref().isContextLost()).length,
    timers: timers.size,
  })"""

NO_WEBGL = """
  const original = HTMLCanvasElement.prototype.getContext
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    return /webgl|webgpu/.test(kind) ? null : original.call(this, kind, ...rest)
  }"""


def write_film(path: Path, *, frames: int, width: int = 96, height: int = 32) -> Path:
    """Write H.264 whose frames are grey as their number says, the right half lighter by 40."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "10", "g": "24"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            image = np.full((height, width, 3), 40 + 8 * (index % 20), np.uint8)
            image[:, width // 2 :] += 40
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def page(profile, comfy_server):
    """One page for all tests of the viewer."""
    with open_frontend(profile, comfy_server, script=WATCH) as frontend:
        yield frontend
        assert frontend.errors == []


@pytest.fixture(scope="module")
def film(comfy_server, tmp_path_factory) -> dict[str, str]:
    """A film of 2 s in the server's output folder, under a name that HTML would take for its own."""
    path = write_film(tmp_path_factory.mktemp("film") / "film.mp4", frames=48)
    return put(comfy_server, path, "<img src=x onerror='alert(1)'>\".mp4")


def put(server, path: Path, name: str) -> dict[str, str]:
    """Put a file into the server's output folder."""
    folder = server.base / "output"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(path.read_bytes())
    return {"filename": name, "subfolder": "", "type": "output"}


def add_viewer(page: Frontend, file: dict[str, str], *, at: int = 0, **settings) -> str:
    """Add a node that shows a file, and wait until it does; return its id."""
    node = page.page.evaluate(ADD, [SAVE, at])
    page.page.evaluate(SHOW, [node, file, settings])
    page.page.wait_for_function(f"id => {viewed('id')}.querySelector('video')?.readyState >= 2", arg=node)
    return node


def viewed(node: str) -> str:
    """Write the JavaScript for the viewer's element on a node, given as JavaScript too."""
    return f"app.graph.getNodeById({node}).widgets.find(w => w.name === 'spatialdreamer_viewer').element"


def state(page: Frontend, node: str) -> dict:
    """Return what a viewer's film does."""
    return page.page.evaluate(
        f"""async id => {{
          for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame)
          const root = {viewed("id")}
          const video = root.querySelector('video')
          const canvas = root.querySelector('canvas')
          const pixels = canvas.width && canvas.getContext('2d').getImageData(3, 3, 1, 1).data
          return {{
            paused: video.paused, frame: Math.floor(video.currentTime * 24 + .001), muted: video.muted,
            loop: video.loop, speed: video.playbackRate, level: pixels && pixels[1],
            message: root.querySelector('.spatialdreamer-viewer-message').textContent,
            slider: root.querySelector('.spatialdreamer-viewer-scrub').max,
            properties: app.graph.getNodeById(id).properties.spatialdreamer_viewer ?? null,
          }}
        }}""",
        node,
    )


def press(page: Frontend, *keys: str) -> None:
    for key in keys:
        page.page.keyboard.press(key)
    page.page.wait_for_timeout(150)  # a seek takes a moment


def test_keys_play_step_and_choose_while_the_viewer_has_the_focus(page, film):
    page.clear()
    node = add_viewer(page, film)
    press(page, "2", "m")
    assert state(page, node)["properties"] is None  # the page has the focus, not the viewer
    page.page.evaluate(f"id => {viewed('id')}.focus()", node)
    press(page, "2", "m", "]", "l")
    now = state(page, node)
    assert now["properties"] == {"mode": "left", "muted": True, "speed": 1.5, "loop": False}
    assert (now["muted"], now["speed"], now["loop"], now["slider"]) == (True, 1.5, False, "47")
    for frame in range(1, 4):
        press(page, "ArrowRight")
        now = state(page, node)
        assert now["frame"] == frame
        assert now["level"] == pytest.approx(40 + 8 * frame, abs=2)
    press(page, "ArrowLeft", "3")
    assert state(page, node)["level"] == pytest.approx(40 + 8 * 2 + 40, abs=2)
    press(page, "End")
    assert state(page, node)["frame"] == 47
    press(page, "Home", "Space")
    assert not state(page, node)["paused"]
    press(page, "Space")
    assert state(page, node)["paused"]
    press(page, "?")
    assert page.page.locator(".spatialdreamer-viewer-keys").is_visible()
    press(page, "Escape")
    assert not page.page.locator(".spatialdreamer-viewer-keys").is_visible()
    saved = page.page.evaluate("() => app.graph.serialize().nodes[0].properties")
    assert saved["spatialdreamer_viewer"]["mode"] == "right"
    prompt = page.page.evaluate("async () => (await app.graphToPrompt()).output")
    assert not any("viewer" in name for name in prompt[node]["inputs"])


def test_a_name_of_brackets_and_quotes_is_text_and_a_film_that_is_gone_is_said(
    page, film, comfy_server, tmp_path
):
    page.clear()
    node = add_viewer(page, film, note="a note")
    shown = page.page.locator(".spatialdreamer-viewer-name")
    assert shown.inner_text() == film["filename"]
    gone = put(comfy_server, write_film(tmp_path / "gone.mp4", frames=2), "<b>gone.mp4")
    (comfy_server.base / "output" / gone["filename"]).unlink()
    page.page.evaluate(SHOW, [node, gone, {}])
    page.page.get_by_text("<b>gone.mp4 is gone: it has been deleted or moved.").wait_for(timeout=5_000)
    page.page.evaluate(SHOW, [node, film, {}])  # and a new run shows its own
    page.page.wait_for_function(f"id => {viewed('id')}.querySelector('video')?.readyState >= 2", arg=node)
    assert state(page, node)["message"] == ""


def test_a_film_of_one_frame_has_no_slider_and_two_viewers_are_two(page, film, comfy_server, tmp_path):
    page.clear()
    one = add_viewer(page, put(comfy_server, write_film(tmp_path / "one.mp4", frames=1), "one.mp4"))
    two = add_viewer(page, film, at=500)
    page.page.wait_for_timeout(300)
    sliders = page.page.locator(".spatialdreamer-viewer-scrub")
    assert [slider.is_visible() for slider in sliders.all()] == [False, True]
    page.page.evaluate(f"id => {viewed('id')}.focus()", two)
    press(page, "3", "ArrowRight")
    assert state(page, one)["properties"] is None
    assert state(page, one)["level"] == pytest.approx(40, abs=2)
    assert state(page, two)["level"] == pytest.approx(88, abs=2)
    assert page.page.evaluate("heldByViewers()") == {"contexts": 1, "timers": 0}


def test_an_undo_leaves_the_result_and_another_workflow_has_none(page, film):
    page.clear()
    node = add_viewer(page, film)
    load = "clean => app.loadGraphData(app.graph.serialize(), clean, false)"
    page.page.evaluate(load, False)  # as an undo does
    page.page.wait_for_function(f"id => {viewed('id')}.querySelector('video')?.readyState >= 2", arg=node)
    assert page.page.evaluate("heldByViewers()") == {"contexts": 1, "timers": 0}
    kept = page.page.evaluate("id => app.graph.getNodeById(id) && Object.keys(app.nodeOutputs[id])", node)
    assert kept == ["stereo"]  # not `images`, or the page would show them too
    page.page.evaluate(load, True)
    page.page.wait_for_timeout(300)
    assert page.page.evaluate(f"id => {viewed('id')}.hidden", node)
    assert page.page.evaluate("heldByViewers()") == {"contexts": 0, "timers": 0}


def test_a_node_that_is_deleted_while_its_film_plays_frees_all(page, film):
    page.clear()
    node = add_viewer(page, film)
    page.page.evaluate(f"id => {viewed('id')}.focus()", node)
    press(page, "6", "Space")
    assert not state(page, node)["paused"]
    assert page.page.evaluate("heldByViewers()") == {"contexts": 1, "timers": 1}
    video = page.page.evaluate_handle(f"id => {viewed('id')}.querySelector('video')", node)
    page.page.evaluate("id => app.graph.remove(app.graph.getNodeById(id))", node)
    assert page.page.evaluate("heldByViewers()") == {"contexts": 0, "timers": 0}
    page.page.wait_for_timeout(200)
    assert video.evaluate("film => [film.paused, film.networkState, film.isConnected]") == [True, 0, False]
    assert page.page.evaluate("() => document.querySelectorAll('.spatialdreamer-viewer').length") == 0


@pytest.mark.slow
def test_a_browser_without_webgl_shows_the_file_itself(profile, comfy_server, film):
    with open_frontend(profile, comfy_server, script=NO_WEBGL) as frontend:
        frontend.clear()
        node = add_viewer(frontend, film)
        frontend.page.wait_for_timeout(300)
        assert not frontend.page.locator("select.spatialdreamer-viewer-mode").is_visible()
        box = frontend.page.locator("video.spatialdreamer-viewer-media").bounding_box()
        assert box["width"] > 200
        frontend.page.evaluate(f"id => {viewed('id')}.focus()", node)
        press(frontend, "ArrowRight")
        now = state(frontend, node)
        assert (now["frame"], now["message"]) == (1, "")
        assert frontend.errors == []


@pytest.mark.slow
@pytest.mark.parametrize("renderer", ["litegraph", "vue"])
def test_a_hundred_viewers_that_come_and_go_leave_nothing(page, film, renderer):
    """Nodes 2.0 of ComfyUI 0.3.75 keeps .8 MB of every deleted node, of any pack; a viewer adds nothing."""
    page.set_renderer(renderer)
    page.clear()
    devtools = page.page.context.new_cdp_session(page.page)
    devtools.send("Performance.enable")

    def measure() -> np.ndarray:
        for _ in range(3):
            devtools.send("HeapProfiler.collectGarbage")
            page.page.wait_for_timeout(300)
        metrics = {item["name"]: item["value"] for item in devtools.send("Performance.getMetrics")["metrics"]}
        return np.array([metrics[name] for name in ("JSHeapUsedSize", "Nodes", "JSEventListeners")])

    def growth(times: int, *, shows: bool) -> np.ndarray:
        before = measure()
        for _ in range(times):
            if shows:
                node = add_viewer(page, film)
            else:
                node = page.page.evaluate(ADD, [SAVE, 0])
                page.page.wait_for_timeout(100)
            page.page.evaluate("id => app.graph.remove(app.graph.getNodeById(id))", node)
        return measure() - before

    growth(20, shows=True)  # the page's caches fill
    bare = growth(20, shows=False) * 5 if renderer == "vue" else np.zeros(3)
    grown = growth(100, shows=True) - bare
    print(renderer, "bytes, elements and listeners that 100 viewers left:", grown, "without them:", bare)
    assert page.page.evaluate("heldByViewers()") == {"contexts": 0, "timers": 0}
    assert (grown < [3e6, 300, 300]).all()
    page.set_renderer("litegraph")


@pytest.mark.slow
def test_a_film_of_ten_thousand_frames_is_streamed(page, comfy_server, tmp_path):
    path, noise = tmp_path / "long.mp4", np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=24, options={"qp": "24", "g": "12", "preset": "ultrafast"}
        )
        stream.width, stream.height, stream.pix_fmt = 192, 96, "yuv420p"
        planes = [noise.integers(0, 256, (144, 192), np.uint8) for _ in range(16)]
        for index in range(10_000):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes[index % 16], format="yuv420p")))
        container.mux(stream.encode())
    size = path.stat().st_size
    page.clear()
    devtools = page.page.context.new_cdp_session(page.page)
    devtools.send("Network.enable")
    received = []
    devtools.on("Network.dataReceived", lambda event: received.append(event["dataLength"]))
    node = add_viewer(page, put(comfy_server, path, "long.mp4"))
    page.page.evaluate(f"id => {viewed('id')}.focus()", node)
    press(page, "End")
    page.page.wait_for_timeout(3000)
    assert state(page, node)["frame"] == 9_999
    print(f"{sum(received):,} of {size:,} bytes were received")
    assert sum(received) < size / 3
    page.clear()
    for file in (path, comfy_server.base / "output" / "long.mp4"):
        file.unlink()
