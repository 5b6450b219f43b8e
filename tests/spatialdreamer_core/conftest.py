"""A folder of models of a test's own, a server on this machine, and RAFT models with random weights."""

import dataclasses
import hashlib
import http.server
import importlib.util
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from spatialdreamer_core.flow import FLOW_MODEL_KIND, FLOW_MODELS, raft_weights
from spatialdreamer_core.weights import folders

from .live_tensors import fake_half, live_tensors  # noqa: F401
from .small_videos import frame_number, make_video, packets, turned  # noqa: F401


@pytest.fixture
def own_models(tmp_path, monkeypatch) -> Path:
    """Look for models in an empty folder alone, whatever the machine holds; returns it."""
    monkeypatch.setattr(folders, "_REGISTERED", {})
    monkeypatch.setenv("SPATIALDREAMER_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def tiny_diffusion():
    """Load the module that makes tiny diffusion pipelines, as no folder of tests is a package."""
    path = Path(__file__).with_name("tiny_diffusion.py")
    spec = importlib.util.spec_from_file_location("tiny_diffusion", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_diffusion"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_svd():
    """Return the module that makes tiny parts of SVD."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from . import tiny_svd

    return tiny_svd


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as a server of files does, and below `/resolve/` as Hugging Face's hub does."""

    def do_HEAD(self):
        state = self.server.state
        state.heads.append(self.path)
        state.headers.append({name.title(): value for name, value in self.headers.items()})
        if self.refuse() or self.move():
            return
        content = state.files[self.path]
        self.send_response(200)
        for name, value in self.describe(content).items():
            self.send_header(name, value)
        if state.says_length:
            self.send_header("Content-Length", str(state.sizes.get(self.path, len(content))))
        self.end_headers()

    def do_GET(self):
        state = self.server.state
        state.requests.append((self.path, self.headers.get("Range")))
        state.headers.append({name.title(): value for name, value in self.headers.items()})
        if self.refuse() or self.move():
            return
        content = state.contents.get(self.path, state.files[self.path])
        same = self.headers.get("If-Range", state.etag) == state.etag
        start = int(self.headers["Range"][6:-1]) if state.ranges and same and "Range" in self.headers else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if state.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        for name, value in self.describe(content).items():
            self.send_header(name, value)
        self.end_headers()
        stop = len(content)
        if state.cut_at is not None and state.cuts > 0:
            stop, state.cuts = state.cut_at, state.cuts - 1
        self.wfile.write(content[start:stop])

    def describe(self, content: bytes) -> dict[str, str]:
        """Return the headers that tell of a file's content."""
        state = self.server.state
        if "/resolve/" not in self.path:
            return {} if state.etag is None else {"ETag": state.etag}
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        is_large = self.path.endswith(".safetensors")
        revision = self.path.split("/resolve/")[1].split("/")[0]
        return {
            "X-Repo-Commit": revision if len(revision) == 40 else "0" * 40,
            "ETag": f'"{hashlib.sha256(content).hexdigest() if is_large else blob}"',
        }

    def move(self) -> bool:
        if self.path != "/moved":
            return False
        self.send_response(302)
        self.send_header("Location", self.server.state.location)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def refuse(self) -> bool:
        """Refuse what is not there, what no token is allowed for, and what a test says."""
        state = self.server.state
        status, headers, body = state.refusals.get(self.path, (None, {}, b""))
        if state.token is not None and self.headers.get("Authorization") != f"Bearer {state.token}":
            status, headers = 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
        if status is None and self.path != "/moved" and self.path not in state.files:
            status = 404
        if status is None:
            return False
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def log_message(self, *_):
        pass


@pytest.fixture
def huggingface_hub(monkeypatch):
    """Import the library as if nothing had switched it off, which it reads once; returns it."""
    pytest.importorskip("huggingface_hub.file_download")
    library = sys.modules["huggingface_hub"]
    monkeypatch.setattr(library.constants, "HF_HUB_OFFLINE", False)
    return library


@pytest.fixture
def file_server(monkeypatch, huggingface_hub):
    """Serve `files`, by path; may be told to cut connections, ignore ranges, refuse, and more.

    `contents` are other than the headers say, as are `sizes`; `token` is the only one that is let in;
    `refusals` are statuses, headers and bodies by path.
    """
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 250_000)  # of small files, too
    at_once = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
    monkeypatch.setattr(huggingface_hub.file_download, "time", at_once)  # between its tries
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.state = SimpleNamespace(files={}, ranges=True, cut_at=None, requests=[], location="/model.bin")
    vars(httpd.state).update(headers=[], etag=None, says_length=True, heads=[], cuts=10**9)
    vars(httpd.state).update(contents={}, sizes={}, token=None, refusals={})
    httpd.state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield httpd.state
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def install_raft(own_models):
    """Return a function that saves a RAFT model with random weights as torchvision publishes it."""
    optical_flow = pytest.importorskip("torchvision").models.optical_flow

    def install(name: str, file: str | None = None) -> Path:
        spec = raft_weights.find_flow_model(name)
        path = own_models / FLOW_MODEL_KIND / (file or spec.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            state = getattr(optical_flow, name)(weights=None).state_dict()
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(state, path)
        else:
            torch.save(state, path)
        return path

    return install


@pytest.fixture
def published_raft(install_raft, file_server, monkeypatch):
    """Let the server publish random weights of raft_small; returns the server, the model, its content."""
    path = install_raft("raft_small")
    content = path.read_bytes()
    path.unlink()
    file = f"raft_small_C_T_V2-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    spec = dataclasses.replace(FLOW_MODELS[0], address=f"{file_server.url}/models/{file}")
    monkeypatch.setattr(raft_weights, "FLOW_MODELS", (spec, FLOW_MODELS[1]))
    file_server.files[f"/models/{file}"] = content
    return file_server, spec, content
