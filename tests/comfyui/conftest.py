"""One server and one browser for all tests of this folder."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def missing(what: str):
    """Skip a test for want of something; in CI, where nothing may be wanting, fail it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.comfyui)


@pytest.fixture(scope="session")
def comfyui():
    """Make sure that a ComfyUI is there."""
    from .server import COMFYUI

    if not (COMFYUI / "main.py").is_file():
        missing("no ComfyUI in .cache; run the tests with: bash scripts/test.sh")


@pytest.fixture(scope="session")
def comfy_server(comfyui, tmp_path_factory):
    from .server import PACK, ComfyServer, import_failure

    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    for nodes in ("fault_nodes.py", "edit_nodes.py", "option_nodes.py"):
        shutil.copyfile(FOLDER / nodes, base / "custom_nodes" / nodes)
    with ComfyServer(base) as server:
        failure = import_failure(server.log(), PACK)
        assert not failure, f"the pack does not load:\n{failure}"
        yield server


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    from .clips import write_clip

    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="session")
def uploaded_clip(comfy_server, clip) -> str:
    return comfy_server.upload(clip)


@pytest.fixture(scope="session")
def tiny_svd():
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from ..spatialdreamer_core import tiny_svd

    return tiny_svd


@pytest.fixture(scope="module")
def svd_checkpoint(comfy_server, tiny_svd):
    """Put a tiny SVD with random weights into ComfyUI's folder, under the name of the published one."""
    file = comfy_server.base / "models" / "checkpoints" / "svd_xt.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    tiny_svd.save_checkpoint(file)
    yield file
    file.unlink()


@pytest.fixture(scope="module")
def m2svid_checkpoint(comfy_server, tiny_svd):
    """Put a tiny M2SVid with random weights into ComfyUI's folder, as its authors publish it."""
    from ..spatialdreamer_core import tiny_m2svid

    file = comfy_server.base / "models" / "m2svid" / "m2svid_weights.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    tiny_m2svid.save_official(tiny_m2svid.make_model(), file)
    yield file
    file.unlink()


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("no chromium; run: sudo apt-get install chromium")
    from playwright.sync_api import sync_playwright

    from .frontend import CHROMIUM_ARGUMENTS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def profile(browser):
    """What the pages of ComfyUI share: with the browser's caches one loads in a quarter of the time."""
    profile = browser.new_context(viewport={"width": 1600, "height": 1000})
    yield profile
    profile.close()


@contextmanager
def open_frontend(profile, comfy_server, *, script: str = ""):
    """Load ComfyUI's page; a script is run in it before all others."""
    from .frontend import Frontend

    page = profile.new_page()
    page.add_init_script(script)
    # Else the page would open what an earlier one has left.
    stored = {"origin": comfy_server.url, "storageTypes": "local_storage,indexeddb"}
    page.context.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    yield Frontend(page, comfy_server.url)
    page.close()


@pytest.fixture
def frontend(profile, comfy_server):
    """ComfyUI's page, loaded; fails the test if the pack's scripts logged an error."""
    with open_frontend(profile, comfy_server) as frontend:
        yield frontend
    assert frontend.errors == []


@pytest.fixture(scope="module")
def loaded_page(profile, comfy_server):
    with open_frontend(profile, comfy_server) as frontend:
        yield frontend


@pytest.fixture
def reused_frontend(loaded_page):
    """The page as the module's tests before have left it, emptied: a new one takes seconds to load."""
    loaded_page.clear()
    yield loaded_page
    errors, loaded_page.errors = loaded_page.errors, []
    assert errors == []
