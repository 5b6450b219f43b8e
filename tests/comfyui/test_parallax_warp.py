"""The live preview's shaders against the Python warp, in a real browser; no server is needed."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.depth import estimate_depth
from spatialdreamer_core.dvg import depth_to_disparity, ease_borders, forward_warp
from spatialdreamer_core.pipeline.parallax import make_sample, parallax_rules
from spatialdreamer_core.stereo import anaglyph

from .server import REPOSITORY

pytestmark = pytest.mark.browser
ORIGIN = "http://preview.test"
LEAST_PSNR = 50.0  # dB on pixels that both know; the picture is of 8 bits
LEAST_OVERLAP = 0.99  # of holes, intersection over union
RENDER = """async ({picture, depth, settings, depths, rules, mode}) => {
  const {borderWidth, disparityTable, reachOf} = await import("/js/parallax/geometry.mjs")
  const {acquireRenderer, releaseRenderer} = await import("/js/parallax/renderer.mjs")
  const load = async url => createImageBitmap(
    await (await fetch(url)).blob(), {colorSpaceConversion: "none", premultiplyAlpha: "none"})
  const renderer = acquireRenderer()
  const bitmap = await load(picture)
  const frame = renderer.open(bitmap, await load(depth), bitmap.width, bitmap.height)
  const table = disparityTable(settings, settings, frame.width, rules)
  const border = borderWidth(settings, frame.width)
  const eyes = settings.eye === "both" ? ["left", "right"] : [settings.eye]
  renderer.warp(frame, {table, reach: reachOf(table, depths, border), border, eyes})
  const drawn = [["black", [0, 0, 0]], ["tint", [1, 0, 1]], ["fill", [0, 0, 0]]].map(([holes, tint]) => {
    const canvas = document.createElement("canvas")
    const shown = renderer.present(frame, mode, holes, tint)
    canvas.width = shown.width
    canvas.height = shown.height
    canvas.getContext("2d").drawImage(shown, 0, 0)
    return canvas.toDataURL("image/png")
  })
  const error = renderer.gl.getError()
  renderer.close(frame)
  releaseRenderer()
  return {drawn, error}
}"""


class Drawn(NamedTuple):
    """What the page drew, each [H, W, 3] in [0, 255]."""

    black: np.ndarray
    tint: np.ndarray
    fill: np.ndarray

    @property
    def hole(self) -> np.ndarray:
        return (self.tint == (255, 0, 255)).all(-1)


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()

    def serve(route):
        file = route.request.url.removeprefix(f"{ORIGIN}/")
        if not file:
            route.fulfill(body="<!doctype html>", content_type="text/html")
        else:
            route.fulfill(path=REPOSITORY / "web" / file, content_type="text/javascript")

    page.route(f"{ORIGIN}/**", serve)
    page.goto(f"{ORIGIN}/")
    yield page
    page.close()


def draw(page, sample, *, mode: str, **settings) -> Drawn:
    rules = parallax_rules()
    result = page.evaluate(
        RENDER,
        {
            "picture": to_url(sample.picture),
            "depth": to_url(sample.packed_depth()),
            "settings": {**rules["defaults"], **settings},
            "depths": sample.describe(),
            "rules": rules,
            "mode": mode,
        },
    )
    assert result["error"] == 0
    return Drawn(*(from_url(url) for url in result["drawn"]))


def to_url(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def from_url(url: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def card(size=(120, 214)) -> tuple[np.ndarray, np.ndarray]:
    """A disc and a pole of soft outlines before a slanted, patterned wall."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    checks = ((x // 8 + y // 8) % 2) * 200 + 30
    picture = np.dstack([x * 7 % 256, y * 5 % 256, checks]).astype(np.uint8)
    depth = 0.1 + 0.2 * x / width
    disc, pole = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, abs(x - 40) < 2
    picture[disc], picture[pole] = (220, 60, 40), (250, 250, 250)
    depth = np.where(pole, 0.95, np.where(disc, 0.6 + 0.3 * y / height, depth))
    return cv2.GaussianBlur(picture, (0, 0), 0.7), depth.astype(np.float32)


def demo_frame() -> tuple[np.ndarray, np.ndarray]:
    """A frame of the demo clip and its depth."""
    film = cv2.VideoCapture(str(REPOSITORY / "assets" / "bigbuckbunny.mp4"))
    film.set(cv2.CAP_PROP_POS_FRAMES, 60)
    picture = cv2.resize(film.read()[1], (320, 180), interpolation=cv2.INTER_AREA)[..., ::-1].copy()
    return picture, estimate_depth(to_frames(picture))[0, 0].numpy()


def to_frames(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def warp(sample, eye: str, *, divergence: float, convergence: float, border: float = 0.0):
    """Warp a sample by the library: the view, [H, W, 3] in [0, 255], and its holes."""
    depth = torch.from_numpy(np.rint(sample.depth * 65535).astype(np.float32) / 65535)[None, None]
    disparity = depth_to_disparity(depth, divergence=divergence, convergence=convergence)
    disparity = ease_borders(disparity, width_percent=border)
    view, hole = forward_warp(to_frames(sample.picture), disparity, eye=eye)
    return 255 * view[0].permute(1, 2, 0).numpy(), hole[0, 0].numpy() > 0.5


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.square(first.astype(float) - second).mean(), 1e-6))


@pytest.mark.parametrize("eye", ["right", "left"])
@pytest.mark.parametrize(
    ("scene", "settings"),
    [
        (card, {"divergence": 4.0, "convergence": 0.4}),
        pytest.param(card, {"divergence": 20.0, "convergence": 0.0}, marks=pytest.mark.slow),
        (demo_frame, {"divergence": 2.5, "convergence": 0.5}),
    ],
    ids=["card", "strong", "demo"],
)
def test_the_shaders_warp_as_the_library_does(page, scene, settings, eye):
    sample = make_sample(*scene(), time=0.0)
    drawn = draw(page, sample, mode=eye, eye=eye, **settings)
    view, hole = warp(sample, eye, **settings)
    assert 0.001 < hole.mean() < 0.3
    assert (drawn.hole & hole).sum() / (drawn.hole | hole).sum() >= LEAST_OVERLAP
    assert psnr(drawn.black[~hole & ~drawn.hole], view[~hole & ~drawn.hole]) >= LEAST_PSNR
    assert psnr(sample.picture[~hole], view[~hole]) < 30, "the scene moves, else this shows nothing"


def test_borders_are_eased_as_by_the_library(page):
    sample = make_sample(*card(), time=0.0)
    settings = {"divergence": 6.0, "convergence": 0.0}
    drawn = draw(page, sample, mode="right", border="ease", border_width=10.0, **settings)
    view, hole = warp(sample, "right", border=10.0, **settings)
    assert (drawn.hole & hole).sum() / (drawn.hole | hole).sum() >= LEAST_OVERLAP
    assert psnr(drawn.black[~hole & ~drawn.hole], view[~hole & ~drawn.hole]) >= LEAST_PSNR
    assert not np.array_equal(hole, warp(sample, "right", **settings)[1])


def test_both_eyes_side_by_side_and_as_an_anaglyph(page):
    sample = make_sample(*card(), time=0.0)
    views = [warp(sample, eye, divergence=2.0, convergence=0.5)[0] for eye in ("left", "right")]
    settings = {"divergence": 4.0, "convergence": 0.5, "eye": "both"}  # each eye has half of it
    beside = draw(page, sample, mode="sbs", **settings)
    assert psnr(beside.black, np.hstack(views)) >= LEAST_PSNR
    mixed = anaglyph(*(torch.from_numpy(view).permute(2, 0, 1)[None] / 255 for view in views))
    shown = draw(page, sample, mode="anaglyph", **settings).black
    assert psnr(shown, 255 * mixed[0].permute(1, 2, 0).numpy()) >= LEAST_PSNR - 2


def test_holes_are_filled_from_the_background_beside_them(page):
    """A near square before a far wall: the hole takes the wall's colour, never the square's."""
    picture = np.full((40, 80, 3), (20, 40, 200), np.uint8)
    depth = np.zeros((40, 80), np.float32)
    picture[10:30, 30:50], depth[10:30, 30:50] = (230, 30, 30), 1.0
    sample = make_sample(picture, depth, time=0.0)
    for eye in ("right", "left"):
        drawn = draw(page, sample, mode=eye, eye=eye, divergence=10.0, convergence=0.0)
        assert drawn.hole[15:25].sum(axis=1).tolist() == [8] * 10
        assert (drawn.fill[drawn.hole] == (20, 40, 200)).all()
