"""Enter VR on an emulated headset (iwer): what each eye sees is what follows from its pose and projection.

Most of it is tested in a bare page over the repository's files, which needs neither ComfyUI nor the viewer.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import urlparse

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from .clips import psnr
from .conftest import missing, open_frontend
from .server import REPOSITORY

pytestmark = pytest.mark.browser
ORIGIN = "http://localhost"  # where browsers offer WebXR
IWER = REPOSITORY / "node_modules" / "iwer" / "build" / "iwer.min.js"
HEIGHT, WIDTH = 160, 240  # of an eye's view, in pixels
SCREEN = (2.4, 1.6, 2.0)  # width, height and distance of its screen, in metres
BESIDE = {"left": (0, 0, 0.5, 1), "right": (0.5, 0, 0.5, 1)}
STACKED = {"left": (0, 0, 1, 0.5), "right": (0, 0.5, 1, 0.5)}
CROSSED = {"left": BESIDE["right"], "right": BESIDE["left"]}

COUNT_CONTEXTS = """
  window.contexts = []
  const getContext = HTMLCanvasElement.prototype.getContext
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    const context = getContext.call(this, kind, ...rest)
    if (kind === 'webgl2' && context) contexts.push(context)
    return context
  }
"""
HEADSET = """
  window.device = new IWER.XRDevice(IWER.metaQuest3, {stereoEnabled: true})
  device.installRuntime({forceInstall: true})
  const requestSession = navigator.xr.requestSession.bind(navigator.xr)
  navigator.xr.requestSession = async (...rest) => (window.session = await requestSession(...rest))
  window.ends = 0
  window.frames = async count => {
    for (let i = 0; i < count; i++) await new Promise(resolve => session.requestAnimationFrame(resolve))
  }
  window.enter = async (source, layout, eyes) => {
    const {enterVR} = await import('/web/js/vr/session.mjs')
    await enterVR({source, layout, eyes, onEnd: () => ends++})
    await begun()
  }
  window.begun = async () => {
    window.space = await session.requestReferenceSpace('local') // whose origin is the head's place of now
    await frames(3)
  }
  window.press = async button => {
    device.controllers.right.updateButtonValue(button, 1)
    await new Promise(resolve => setTimeout(resolve, 100))
    device.controllers.right.updateButtonValue(button, 0)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  window.views = () => new Promise(resolve => session.requestAnimationFrame((time, frame) => {
    resolve(frame.getViewerPose(space).views.map(view => ({
      eye: view.eye, projection: [...view.projectionMatrix], pose: [...view.transform.matrix],
    })))
  }))
"""


@pytest.fixture
def complaints() -> list[str]:
    """What the page has said of errors; a test that expects some clears it."""
    return []


@pytest.fixture
def page(browser, complaints):
    """A bare page; fails the test if it complains of anything."""
    page = browser.new_page(viewport={"width": 800, "height": 400})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)

    def serve(route):
        file = REPOSITORY / urlparse(route.request.url).path.lstrip("/")
        if file.is_file():
            route.fulfill(path=file, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>VR</title>", content_type="text/html")

    page.route(f"{ORIGIN}/**", serve)
    page.add_init_script(COUNT_CONTEXTS)
    page.goto(ORIGIN)
    yield page
    page.close()
    assert complaints == []


def is_complaint(message) -> bool:
    # What the driver warns of is how the screenshots of these tests are taken.
    return message.type in ("error", "warning") and "GL Driver Message" not in message.text


def plug_in(page) -> None:
    """Give the page's browser a headset."""
    if not IWER.is_file():
        missing("no iwer in node_modules; run: npm ci --ignore-scripts")
    for script in (IWER.read_text(), HEADSET):
        page.evaluate(
            """text => {
              const script = document.createElement('script')
              script.textContent = text
              document.head.append(script)
            }""",
            script,
        )


@pytest.fixture
def headset(page):
    """The page in a browser that has a headset."""
    plug_in(page)
    return page


def draw_views() -> dict[str, np.ndarray]:
    """Draw two views, reddish and bluish; a bright square is 12 pixels further left in the right one."""
    random = np.random.default_rng(0)
    texture = (
        random.integers(60, 200, (HEIGHT // 20, WIDTH // 20), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    )
    views = {}
    for eye, colour, x in (("left", (1, 0.5, 0.1), 100), ("right", (0.1, 0.5, 1), 88)):
        view = (texture[..., None] * np.array(colour)).astype(np.uint8)
        view[60:100, x : x + 40] = 240
        views[eye] = view
    return views


def pack(views: dict[str, np.ndarray], eyes: dict[str, tuple]) -> np.ndarray:
    """Put each eye's view where `eyes` says."""
    across, down = 1 / eyes["left"][2], 1 / eyes["left"][3]
    picture = np.zeros((round(HEIGHT * down), round(WIDTH * across), 3), np.uint8)
    for eye, (x, y, *_) in eyes.items():
        left, top = round(x * picture.shape[1]), round(y * picture.shape[0])
        picture[top : top + HEIGHT, left : left + WIDTH] = views[eye]
    return picture


def enter(page, picture: np.ndarray, *, format: str, eyes: dict[str, tuple], aspect: float = 1.5) -> None:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    rects = {eye: dict(zip(("x", "y", "width", "height"), rect, strict=True)) for eye, rect in eyes.items()}
    page.evaluate(
        """async ([png, layout, eyes]) => {
          const image = new Image()
          image.src = png
          await image.decode()
          await enter(image, layout, eyes)
        }""",
        [
            "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(),
            {"format": format, "swap": False, "aspect": aspect},
            rects,
        ],
    )


def seen(page) -> dict[str, np.ndarray]:
    """Return what each eye sees: the halves of the emulated display."""
    display = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    half = display.shape[1] // 2
    return {"left": display[:, :half], "right": display[:, half:]}


def rays(view: dict, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return where an eye is, and the direction in which each of its pixels looks [H, W, 3]."""
    height, width = size
    projection = np.array(view["projection"]).reshape(4, 4).T
    pose = np.array(view["pose"]).reshape(4, 4).T
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = 1 - (np.arange(height) + 0.5) / height * 2
    ahead = np.stack(
        [
            np.broadcast_to((x + projection[0, 2]) / projection[0, 0], (height, width)),
            np.broadcast_to(((y + projection[1, 2]) / projection[1, 1])[:, None], (height, width)),
            np.full((height, width), -1.0),
        ],
        axis=-1,
    )
    return pose[:3, 3], ahead @ pose[:3, :3].T


def sample(picture: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Sample a view bilinearly at places from 0 to 1; black where they lie outside."""
    grid = torch.from_numpy(np.stack([across, down], axis=-1) * 2 - 1)[None]
    values = torch.from_numpy(picture).double().movedim(-1, 0)[None]
    sampled = F.grid_sample(values, grid, padding_mode="border", align_corners=False)[0].movedim(0, -1)
    inside = (abs(across - 0.5) <= 0.5) & (abs(down - 0.5) <= 0.5)
    return (sampled.numpy() * inside[..., None]).round().astype(np.uint8)


def expected_on_screen(picture: np.ndarray, view: dict, size: tuple[int, int]) -> np.ndarray:
    origin, direction = rays(view, size)
    width, height, distance = SCREEN
    reach = (-distance - origin[2]) / direction[..., 2]
    point = origin + reach[..., None] * direction
    return sample(picture, point[..., 0] / width + 0.5, 0.5 - point[..., 1] / height)


def expected_on_half_sphere(picture: np.ndarray, view: dict, size: tuple[int, int]) -> np.ndarray:
    _, direction = rays(view, size)  # of something far away: the same from every place
    azimuth = np.arctan2(direction[..., 0], -direction[..., 2])
    elevation = np.arcsin(direction[..., 1] / np.linalg.norm(direction, axis=-1))
    return sample(picture, azimuth / np.pi + 0.5, 0.5 - elevation / np.pi)


@pytest.mark.parametrize(
    ("format", "eyes"),
    [
        ("full_sbs", BESIDE),
        ("vr180", BESIDE),
        pytest.param("cross_eyed", CROSSED, marks=pytest.mark.slow),
        pytest.param("full_tb", STACKED, marks=pytest.mark.slow),
    ],
)
def test_each_eye_sees_its_own_view(headset, format, eyes):
    views = draw_views()
    enter(headset, pack(views, eyes), format=format, eyes=eyes)
    expected = expected_on_half_sphere if format == "vr180" else expected_on_screen
    for turn in (0, 12):  # degrees; the room stays where it is while the head turns
        headset.evaluate(
            """async turn => {
              const half = turn / 2 * Math.PI / 180
              device.quaternion.set(0, Math.sin(half), 0, Math.cos(half))
              await frames(3)
            }""",
            turn,
        )
        pictures = seen(headset)
        for view in headset.evaluate("views()"):
            eye = view["eye"]
            picture = pictures[eye]
            assert psnr(picture, expected(views[eye], view, picture.shape[:2])) > 35
            red, _, blue = picture.reshape(-1, 3).mean(0)
            assert red > 2 * blue if eye == "left" else blue > 2 * red


def write_film(path: Path) -> Path:
    """Write two seconds: the left half red, the right half blue, brighter from frame to frame."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = 2 * WIDTH, HEIGHT, "yuv420p"
        for index in range(48):
            picture = np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)
            picture[:, :WIDTH, 0] = picture[:, WIDTH:, 2] = 100 + 3 * index
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return path


def test_a_film_is_seen_played_paused_and_left_by_the_controller(headset, tmp_path):
    film = base64.b64encode(write_film(tmp_path / "film.mp4").read_bytes()).decode()
    headset.evaluate(
        """async url => {
          window.film = document.createElement('video')
          Object.assign(film, {src: url, muted: true, loop: true})
          await new Promise(resolve => film.requestVideoFrameCallback(resolve)) // it comes once a frame
          const half = {x: 0, y: 0, width: .5, height: 1}
          const layout = {format: 'full_sbs', swap: false, aspect: 1.5}
          await enter(film, layout, {left: half, right: {...half, x: .5}})
        }""",
        f"data:video/mp4;base64,{film}",
    )

    def colours():
        return {
            eye: picture[150:250, 150:250].reshape(-1, 3).mean(0) for eye, picture in seen(headset).items()
        }

    first = colours()  # of a film that has not been played
    assert first["left"][0] > 80 > 20 > first["left"][2]
    assert first["right"][2] > 80 > 20 > first["right"][0]
    headset.evaluate("() => press('trigger')")
    assert not headset.evaluate("() => film.paused")
    headset.wait_for_function("() => film.currentTime > 0.5")
    headset.evaluate("() => press('trigger')")
    assert headset.evaluate("() => film.paused")
    headset.evaluate("() => frames(3)")
    later = colours()
    assert later["left"][0] > first["left"][0] + 20
    assert later["right"][2] > first["right"][2] + 20
    headset.evaluate("() => press('squeeze')")
    assert headset.evaluate("() => ends") == 1
    assert headset.evaluate("() => contexts.length === 1 && contexts[0].isContextLost()")


@pytest.mark.slow
def test_what_a_session_took_is_free_after_each_end(headset):
    picture = pack(draw_views(), BESIDE)
    body = headset.evaluate("() => document.body.outerHTML")
    for leave in ["() => press('b-button')", "() => press('squeeze')", "() => session.end()"] * 6:
        enter(headset, picture, format="full_sbs", eyes=BESIDE)
        headset.evaluate(leave)
    assert headset.evaluate("() => ends") == 18
    assert headset.evaluate("() => contexts.length") == 18  # browsers have 16 at once
    assert headset.evaluate("() => contexts.every(context => context.isContextLost())")
    assert headset.evaluate("() => document.body.outerHTML") == body


def test_without_a_headset_there_is_no_vr(page):
    supported = "async () => (await import('/web/js/vr/session.mjs')).isVRSupported()"
    assert page.evaluate(supported) is False
    page.evaluate("() => Object.defineProperty(navigator, 'xr', {value: undefined})")
    assert page.evaluate(supported) is False
    error = page.evaluate(
        "async () => (await import('/web/js/vr/session.mjs')).enterVR({}).catch(error => error.message)"
    )
    assert error == "this browser has no WebXR, which needs https:// or localhost"


def test_a_session_that_cannot_be_drawn_is_ended(headset, complaints):
    assert headset.evaluate("async () => (await import('/web/js/vr/session.mjs')).isVRSupported()")
    with pytest.raises(Exception, match="the picture has not been loaded"):
        headset.evaluate("() => enter(new Image(), {format: 'full_sbs', swap: false, aspect: 1}, {})")
    assert headset.evaluate("() => ends") == 1
    headset.evaluate("() => HTMLCanvasElement.prototype.getContext = () => null")
    with pytest.raises(Exception, match="WebGL"):
        enter(headset, pack(draw_views(), BESIDE), format="full_sbs", eyes=BESIDE)
    assert headset.evaluate("() => ends") == 2
    headset.evaluate("() => navigator.xr.requestSession('immersive-vr').then(again => again.end())")
    assert complaints == ["THREE.WebGLRenderer: THREE.WebGLRenderer: Error creating WebGL context."]
    complaints.clear()


@pytest.mark.parametrize("renderer", ["vue", pytest.param("litegraph", marks=pytest.mark.slow)])
def test_the_viewer_on_a_node_enters_vr(profile, comfy_server, renderer):
    views = draw_views()
    folder = comfy_server.base / "output"
    folder.mkdir(exist_ok=True)
    Image.fromarray(pack(views, BESIDE)).save(folder / "vr_card.png")
    with open_frontend(profile, comfy_server) as frontend:
        page = frontend.page
        page.set_viewport_size({"width": 1000, "height": 600})
        frontend.set_renderer(renderer)
        plug_in(page)
        frontend.clear()
        page.evaluate(
            """() => {
              const node = LiteGraph.createNode('SpatialDreamerSaveStereoPhoto')
              node.pos = [100, 40]
              node.size = [500, 300]
              app.graph.add(node)
              // Newer pages draw higher nodes, and their own toolbar over the lowest part.
              app.canvas.ds.scale = 0.6
              app.canvas.ds.offset = [50, 50]
              const file = {filename: 'vr_card.png', subfolder: '', type: 'output'}
              const layout = {format: 'full_sbs', swap: false, aspect: 1.5}
              const entry = {file, name: file.filename, note: '', kind: 'image', rate: 24, ...layout}
              const detail = {node: String(node.id), output: {stereo: [entry]}, prompt_id: 'none'}
              window.comfyAPI.api.api.dispatchEvent(new CustomEvent('executed', {detail}))
            }"""
        )
        button = page.get_by_role("button", name="Enter VR")
        button.wait_for(timeout=15_000)
        for swap in (False, True):
            button.click()
            page.wait_for_function("() => window.session")
            page.evaluate("() => begun()")
            pictures = seen(page)
            for view in page.evaluate("() => views()"):
                eye = view["eye"]
                picture = pictures[eye]
                own = views[{"left": "right", "right": "left"}[eye] if swap else eye]
                wanted = expected_on_screen(own, view, picture.shape[:2])
                assert psnr(picture[:480], wanted[:480]) > 35  # below there may be a message of the page
            page.evaluate("() => press('squeeze')")
            page.evaluate("() => { window.session = null }")
            page.get_by_role("button", name="Exchange the eyes").click()
        frontend.set_renderer("litegraph")
        assert frontend.errors == []
