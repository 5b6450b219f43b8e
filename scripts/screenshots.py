"""Draw docs/images: the README's pictures, and ComfyUI's page with each template after a run.

`PYTHONPATH=.:tests/comfyui/server_site .venv/bin/python scripts/screenshots.py [NAME ...]` in the .venv of
scripts/test.sh draws all, or those named. Everything is made of the bundled clip; what needs weights runs
with tiny random ones, so what these fill is noise.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image
from template_pictures import BACKGROUND, MARGIN, ROOT, convert_clip, draw_tiles, picture

from spatialdreamer_core.stereo import pack
from tests.comfyui.frontend import CHROMIUM_ARGUMENTS, Frontend
from tests.comfyui.server import WORKFLOWS, ComfyServer
from tests.spatialdreamer_core import tiny_m2svid, tiny_svd

IMAGES = ROOT / "docs" / "images"
LARGEST = 200_000  # bytes of a picture
PAGE = {"width": 1800, "height": 1400}  # px
SHORTER = {  # widgets that make a template quicker, where networks run on a CPU
    "m2svid": {
        "ImageFromBatch": {"length": 4},
        "SpatialDreamerM2SVidRefiner": {"max_side": 256, "keep_known": True},
    },
    "frame_matrix": {
        "ImageFromBatch": {"length": 4},
        "SpatialDreamerFrameMatrixSampler": {"max_side": 256, "steps": 2},
    },
    "spatialdreamer": {
        "ImageFromBatch": {"length": 4},
        "SpatialDreamerRefinerNetEncode": {"max_side": 256},
        "SpatialDreamerTILSVDSampler": {"steps": 5},
    },
}
QUIET = {  # settings of the page: nothing but the graph is in the picture
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
}

_SET = """async settings => {
  for (const [name, value] of Object.entries(settings)) await app.extensionManager.setting.set(name, value)
  await app.extensionManager.command.execute('Workspace.ToggleFocusMode')
}"""
# Moves all nodes and groups into sight, as large as the canvas takes; returns their box in px of the page.
_FIT = """() => {
  const margin = 24, canvas = app.canvas.canvas.getBoundingClientRect(), ds = app.canvas.ds
  app.canvas.deselectAll()
  const boxes = app.graph.nodes.map(node => [...node.getBounding()])
  boxes.push(...app.graph.groups.map(group => [...group._bounding]))
  const left = Math.min(...boxes.map(box => box[0])), right = Math.max(...boxes.map(box => box[0] + box[2]))
  const top = Math.min(...boxes.map(box => box[1])), bottom = Math.max(...boxes.map(box => box[1] + box[3]))
  const scales = [(canvas.width - 2 * margin) / (right - left), (canvas.height - 2 * margin) / (bottom - top)]
  ds.scale = Math.min(...scales, 1.2)
  ds.offset[0] = margin / ds.scale - left
  ds.offset[1] = margin / ds.scale - top
  app.canvas.setDirty(true, true)
  return [canvas.left, canvas.top, canvas.left + (right - left) * ds.scale + 2 * margin,
          canvas.top + (bottom - top) * ds.scale + 2 * margin]
}"""

# Returns an element on a node, which is moved into sight.
_ELEMENT = """([type, widget]) => {
  const node = app.graph.nodes.find(n => n.type === type)
  app.canvas.deselectAll()
  app.canvas.ds.scale = 1.2
  app.canvas.ds.offset = [100 - node.pos[0], 100 - node.pos[1]]
  app.canvas.setDirty(true, true)
  return node.widgets.find(w => w.name === widget).element
}"""
_MOVE = """([x, y]) => {
  const ds = app.canvas.ds
  ds.offset = [ds.offset[0] + x / ds.scale, ds.offset[1] + y / ds.scale]
  app.canvas.setDirty(true, true)
}"""


_GRAPH = """() => {
  const add = (type, x, values) => {
    const node = LiteGraph.createNode(type)
    node.pos = [x, 0]
    app.graph.add(node)
    for (const [name, value] of Object.entries(values)) node.widgets.find(w => w.name === name).value = value
    return node
  }
  const nodes = [
    add('SpatialDreamerLoadDemoClip', -1600, {}),
    add('GetVideoComponents', -1200, {}),
    add('ImageFromBatch', -800, {length: 8}),
    add('SpatialDreamerImageToStereo', -400, {depth: 'builtin'}),
    add('SpatialDreamerSaveStereoVideo', 100, {fps: 24}),
  ]
  nodes.slice(1).forEach((node, index) => nodes[index].connect(0, node, 0))
  nodes.at(-1).setSize([520, nodes.at(-1).size[1]])
}"""


def main() -> None:
    """Draw the pictures that are asked for."""
    readme = {"what_it_does": draw_what_it_does, "anaglyph": draw_anaglyph}
    page = {f"comfyui_{path.stem}": partial(run_template, path=path) for path in WORKFLOWS}
    page |= {"comfyui_live_preview": show_live_preview, "comfyui_viewer": show_viewer}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*readme, *page]))
    names = parser.parse_args().names or [*readme, *page]
    if unknown := set(names) - set(readme) - set(page):
        parser.error(f"NAME must be one of {', '.join([*readme, *page])}, got {', '.join(sorted(unknown))}")
    for name in names:
        if name in readme:
            save(readme[name](), name)
    if shots := {name: page[name] for name in names if name in page}:
        photograph(shots)


def save(image: Image.Image, name: str) -> None:
    """Save a picture as JPEG, as good as its size allows."""
    file = IMAGES / f"{name}.jpg"
    for quality in range(90, 30, -5):
        image.convert("RGB").save(file, quality=quality, optimize=True, subsampling=0)
        if file.stat().st_size <= LARGEST:
            return
    raise ValueError(f"{file} must have at most {LARGEST} bytes, got {file.stat().st_size}; draw it smaller")


def draw_what_it_does() -> Image.Image:
    """Draw a frame on its way to the other eye."""
    stages = convert_clip(960, 540, divergence=2.5)
    tiles = {
        "your video: the left eye": picture(stages.frames),
        "its depth": picture(stages.depth.expand(-1, 3, -1, -1)),
        "what the right eye would see, and its holes": picture(stages.holes),
        "the right eye, holes filled": picture(stages.right),
    }
    sheet = Image.new("RGB", (1280, 720), BACKGROUND)
    draw_tiles(sheet, tiles, (MARGIN, MARGIN, sheet.width - MARGIN, sheet.height - MARGIN))
    return sheet


def draw_anaglyph() -> Image.Image:
    """Draw a frame for red-cyan glasses."""
    stages = convert_clip(960, 540, divergence=2.5)
    return picture(pack(stages.frames, stages.right, format="anaglyph"))


def photograph(shots: dict[str, Callable[[Frontend], Image.Image]]) -> None:
    """Open ComfyUI's page on a server of its own and take the pictures of it."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, ComfyServer(Path(folder)) as server:
        tiny_svd.save_checkpoint(model_file(server, "checkpoints/svd_xt.safetensors"))
        tiny_m2svid.save_official(tiny_m2svid.make_model(), model_file(server, "m2svid/m2svid_weights.pt"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=CHROMIUM_ARGUMENTS
            )
            frontend = Frontend(browser.new_page(viewport=PAGE), server.url)
            frontend.page.evaluate(_SET, QUIET)
            for name, take in shots.items():
                print(name, flush=True)
                save(take(frontend), name)


def model_file(server: ComfyServer, name: str) -> Path:
    """Return the path of a file of weights in a server's folder, which is made."""
    file = server.base / "models" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def run_template(frontend: Frontend, path: Path) -> Image.Image:
    """Run a template and return the picture of its whole graph."""
    frontend.clear()
    frontend.open_workflow(path)
    for node_type, values in SHORTER.get(path.stem, {}).items():
        for widget, value in values.items():
            frontend.set_widget(node_type, widget, value)
    if error := frontend.queue(timeout=1200):
        raise RuntimeError(f"{path.name} must run, got: {error}")
    frontend.wait_for_results(60)
    return picture_of_the_graph(frontend)


def picture_of_the_graph(frontend: Frontend) -> Image.Image:
    """Return the picture of all nodes and groups."""
    page = frontend.page
    page.mouse.move(PAGE["width"] - 2, PAGE["height"] - 2)  # onto nothing
    left, top, right, bottom = page.evaluate(_FIT)
    page.wait_for_timeout(1500)  # until all is drawn in its new place
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return Image.open(io.BytesIO(page.screenshot(clip=clip)))


def show_live_preview(frontend: Frontend) -> Image.Image:
    """Run the template for photos and return the live preview of its frame, the strength turned up since."""
    run_template(frontend, ROOT / "workflows" / "photo.json")
    frontend.set_widget("SpatialDreamerImageToStereo", "divergence", 5)
    return picture_of_widget(frontend, "SpatialDreamerImageToStereo", "spatialdreamer_parallax")


def show_viewer(frontend: Frontend) -> Image.Image:
    """Run a small graph and return four modes of the viewer on its last node."""
    frontend.clear()
    frontend.page.evaluate(_GRAPH)
    if error := frontend.queue(timeout=600):
        raise RuntimeError(f"the viewer's graph must run, got: {error}")
    frontend.wait_for_results(60)
    frontend.page.evaluate(_FIT, "SpatialDreamerSaveStereoVideo")
    viewer = frontend.page.locator(".spatialdreamer-viewer:visible").last
    shots = []
    for mode in ("anaglyph", "sbs", "interlaced", "difference"):
        viewer.locator("select.spatialdreamer-viewer-mode").select_option(mode)
        frontend.page.wait_for_timeout(500)
        shots.append(Image.open(io.BytesIO(viewer.screenshot())))
    width, height = shots[0].size
    sheet = Image.new("RGB", (2 * width + 3 * MARGIN, 2 * height + 3 * MARGIN), BACKGROUND)
    for index, shot in enumerate(shots):
        column, row = index % 2, index // 2
        sheet.paste(shot, (MARGIN + column * (width + MARGIN), MARGIN + row * (height + MARGIN)))
    return sheet


def picture_of_widget(frontend: Frontend, node_type: str, widget: str) -> Image.Image:
    """Return the picture of an element on a node."""
    page = frontend.page
    page.mouse.move(PAGE["width"] - 2, PAGE["height"] - 2)
    element = page.evaluate_handle(_ELEMENT, [node_type, widget]).as_element()
    page.wait_for_timeout(1500)  # until it is drawn where it is now
    box = element.bounding_box()
    page.evaluate(_MOVE, [MARGIN - box["x"], MARGIN - box["y"]])
    page.wait_for_timeout(1500)
    box = element.bounding_box()
    box["height"] = element.evaluate("e => Math.max(e.scrollHeight, e.offsetHeight)") * (
        box["width"] / element.evaluate("e => e.offsetWidth")
    )
    return Image.open(io.BytesIO(page.screenshot(clip=box)))


if __name__ == "__main__":
    main()
