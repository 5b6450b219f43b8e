"""The stereo viewer in ComfyUI's own page: every mode, in both renderers, against pictures made in Python."""

from __future__ import annotations

import base64
import io

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from spatialdreamer_core.stereo import anaglyph, pack

from .clips import psnr
from .conftest import open_frontend

pytestmark = pytest.mark.browser
_SLOW = pytest.mark.slow
WIDTH, HEIGHT = 96, 64
PACKER, PHOTO = "SpatialDreamerSBSPacker", "SpatialDreamerSaveStereoPhoto"
MODES = ("sbs", "left", "right", "anaglyph", "interlaced", "difference", "whole")


def card() -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a test card, [1, 3, H, W] in [0, 1], for each eye: ramps, many colours and fine lines."""
    y, x = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    left = torch.stack([x, y, 1 - x])
    left[:, 20:30] = (torch.arange(WIDTH) // 2 % 2).float()
    right = left.roll(3, dims=2)
    right[:, 40:52, 30:60] = torch.rand(3, 12, 30, generator=torch.Generator().manual_seed(0))
    return tuple((view * 255).round()[None] / 255 for view in (left, right))


def expected(left: torch.Tensor, right: torch.Tensor, mode: str, whole: np.ndarray) -> np.ndarray:
    """Make the picture of a mode, [H, W, 3] uint8."""
    pictures = {
        "left": lambda: left,
        "right": lambda: right,
        "sbs": lambda: pack(left, right),
        "anaglyph": lambda: anaglyph(left, right),
        "interlaced": lambda: pack(left, right, format="row_interlaced"),
        "difference": lambda: (left - right).abs(),
    }
    return whole if mode == "whole" else to_bytes(pictures[mode]())


def to_bytes(frame: torch.Tensor) -> np.ndarray:
    return (frame[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()


def to_frame(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).movedim(-1, 0)[None] / 255


def largest_error(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.fixture(scope="module")
def page(profile, comfy_server):
    """One page for all tests of the viewer."""
    with open_frontend(profile, comfy_server) as frontend:
        yield frontend
        assert frontend.errors == []


@pytest.fixture(scope="module")
def card_files(comfy_server, tmp_path_factory) -> dict[str, str]:
    """Upload the card's two views."""
    files = {}
    for name, view in zip(("left", "right"), card(), strict=True):
        path = tmp_path_factory.mktemp("card") / f"{name}.png"
        Image.fromarray(to_bytes(view)).save(path)
        files[name] = comfy_server.upload(path)
    return files


def show_card(page, files: dict[str, str], **settings) -> None:
    """Pack the card, save it as a PNG and see it in the viewers of both nodes."""
    page.clear()
    page.page.evaluate(
        """([files, settings]) => {
          const add = (type, x, values) => {
            const node = LiteGraph.createNode(type)
            node.pos = [x, 40]
            app.graph.add(node)
            for (const [name, value] of Object.entries(values)) {
              const widget = node.widgets.find(w => w.name === name)
              if (widget) widget.value = value
            }
            return node
          }
          const pack = add('SpatialDreamerSBSPacker', 300, settings)
          const prefix = {filename_prefix: `viewer/<b>"card"`}
          const save = add('SpatialDreamerSaveStereoPhoto', 700, {...prefix, ...settings})
          add('LoadImage', 0, {image: files.left}).connect(0, pack, 0)
          add('LoadImage', 0, {image: files.right}).connect(0, pack, 1)
          pack.connect(0, save, 0)
          app.canvas.ds.scale = 1
          app.canvas.ds.offset = [0, 0]
        }""",
        [files, settings],
    )
    assert page.queue() is None
    page.wait_for_results()


def choose(page, mode: str, *, node: str = PHOTO, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Choose a mode in a node's viewer, and the size of its picture's place in pixels."""
    page.page.evaluate(
        """([type, mode, width, height]) => {
          const node = app.graph.nodes.find(n => n.type === type)
          const root = node.widgets.find(w => w.name === 'spatialdreamer_viewer').element
          const select = root.querySelector('select.spatialdreamer-viewer-mode')
          const {style} = root.querySelector('.spatialdreamer-viewer-stage')
          Object.assign(style, {flex: 'none', aspectRatio: 'auto'})
          Object.assign(style, {width: `${width}px`, height: `${height}px`})
          select.value = mode
          select.dispatchEvent(new Event('change'))
        }""",
        [node, mode, *size],
    )


def seen_on(page, node: str = PHOTO) -> np.ndarray:
    """Return what is on the canvas of a node's viewer after it has been drawn, [H, W, 3] uint8."""
    url = page.page.evaluate(
        """async type => {
          const node = app.graph.nodes.find(n => n.type === type)
          const root = node.widgets.find(w => w.name === 'spatialdreamer_viewer').element
          for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame)
          return root.querySelector('canvas').toDataURL('image/png')
        }""",
        node,
    )
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"))


def picture_of(page, mode: str, *, node: str = PHOTO, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Return the picture of a mode."""
    choose(page, mode, node=node, size=size)
    return seen_on(page, node)


def size_of(mode: str) -> tuple[int, int]:
    """Return the size at which a mode shows each pixel of the card's views once."""
    return (2 * WIDTH if mode in ("sbs", "whole") else WIDTH), HEIGHT


@pytest.mark.parametrize("renderer", [pytest.param("litegraph", marks=_SLOW), "vue"])
def test_every_mode_shows_the_test_card_as_python_makes_it(page, card_files, renderer):
    page.set_renderer(renderer)
    show_card(page, card_files, format="full_sbs")
    left, right = card()
    whole = to_bytes(pack(left, right))
    for mode in MODES:
        seen = picture_of(page, mode, size=size_of(mode))
        assert largest_error(seen, expected(left, right, mode, whole)) <= 1, mode
    choose(page, "wiggle")
    missing = {"left": left, "right": right}
    for _ in range(50):
        seen = seen_on(page)
        missing = {eye: view for eye, view in missing.items() if largest_error(seen, to_bytes(view)) > 1}
        if not missing:
            break
    assert not missing


@pytest.mark.parametrize(
    "settings",
    [
        {"format": "half_tb"},
        *(pytest.param({"format": format}, marks=_SLOW) for format in ("half_sbs", "full_tb", "cross_eyed")),
        pytest.param({"format": "cross_eyed", "swap_eyes": True}, marks=_SLOW),
    ],
)
def test_each_eye_is_found_in_every_packing(page, card_files, settings):
    show_card(page, card_files, **settings)
    layout = settings["format"]
    left, right = card()
    if settings.get("swap_eyes"):  # the file's first view, which Save Stereo Photo takes for the right eye's
        left, right = right, left
    packed = pack(left, right, format=layout)
    views = packed.chunk(2, dim=2 if layout.endswith("tb") else 3)
    for view, mode in zip(views[::-1] if layout == "cross_eyed" else views, ("left", "right"), strict=True):
        whole = F.interpolate(view, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        assert largest_error(picture_of(page, mode), to_bytes(whole)) <= 2
    if settings.get("swap_eyes"):  # the packer knows that they are swapped; its copy is not lossless
        assert psnr(picture_of(page, "left", node=PACKER), to_bytes(right)) > 28


@_SLOW
def test_what_cannot_be_split_is_shown_as_it_is(page, card_files):
    show_card(page, card_files, format="anaglyph")
    select = page.page.locator("select.spatialdreamer-viewer-mode")
    assert [element.is_visible() for element in select.all()] == [False, False]
    left, right = card()
    assert largest_error(picture_of(page, "whole"), to_bytes(anaglyph(left, right))) <= 1


@_SLOW
def test_a_tab_that_is_opened_again_shows_its_result(page, card_files):
    show_card(page, card_files, format="full_tb")
    page.page.evaluate("() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.page.wait_for_function("() => !app.graph.nodes.length")
    page.page.get_by_text("Unsaved Workflow", exact=True).first.click()
    page.page.wait_for_function("() => app.graph.nodes.length")
    page.wait_for_results()
    assert largest_error(picture_of(page, "left"), to_bytes(card()[0])) <= 1


@_SLOW
@pytest.mark.parametrize("renderer", ["litegraph", "vue"])
def test_every_mode_shows_frames_of_the_demo_clip_as_python_makes_them(page, comfy_server, renderer):
    """Browsers and FFmpeg make colours of half resolution into pixels a little differently, hence 36 dB."""
    page.set_renderer(renderer)
    page.clear()
    page.page.evaluate(
        """renderer => {
          const demo = LiteGraph.createNode('SpatialDreamerLoadDemoClip')
          const convert = LiteGraph.createNode('SpatialDreamerConvertVideo')
          for (const node of [demo, convert]) app.graph.add(node)
          convert.pos = [0, -500]
          const quality = {crf: renderer === 'vue' ? 5 : 4} // else one result came from the cache
          const wanted = {depth: 'builtin', end: .3, filename_prefix: 'viewer/demo', ...quality}
          for (const widget of convert.widgets) widget.value = wanted[widget.name] ?? widget.value
          demo.connect(0, convert, 0)
          app.canvas.ds.scale = 1
          app.canvas.ds.offset = [0, 0]
        }""",
        renderer,
    )
    assert page.queue() is None
    page.wait_for_results()
    path = max((comfy_server.base / "output" / "viewer").glob("demo_*.mp4"))
    with av.open(str(path)) as container:
        frames = [to_frame(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    for number in (0, 4):
        page.page.evaluate(
            """async time => {
              const {element} = app.graph.nodes.find(n => n.type === 'SpatialDreamerConvertVideo')
                .widgets.find(w => w.name === 'spatialdreamer_viewer')
              const film = element.querySelector('video')
              film.currentTime = time
              await new Promise(resolve => film.addEventListener('seeked', resolve, {once: true}))
            }""",
            (number + 0.5) / 24,
        )
        left, right = frames[number].chunk(2, dim=3)
        height, width = left.shape[-2:]
        for mode in MODES:
            size = (2 * width if mode in ("sbs", "whole") else width), height
            seen = picture_of(page, mode, node="SpatialDreamerConvertVideo", size=size)
            quality = psnr(seen, expected(left, right, mode, to_bytes(frames[number])))
            print(f"{renderer}, frame {number}, {mode}: {quality:.1f} dB")
            assert quality > 36, mode
