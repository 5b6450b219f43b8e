"""A folder of models of a test's own, a server on this machine, and RAFT models with random weights."""

import dataclasses
import hashlib
import http.server
import importlib.util
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from spatialdreamer_core.flow import FLOW_MODEL_KIND, FLOW_MODELS, raft_weights
from spatialdreamer_core.weights import folders

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
    def do_GET(self):
        state = self.server.state
        state.requests.append((self.path, self.headers.get("Range")))
        state.headers.append(dict(self.headers))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", state.location)
            self.end_headers()
            return
        content = state.files.get(self.path.split("?")[0])
        if content is None:
            self.send_error(404)
            return
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
        if state.etag is not None:
            self.send_header("ETag", state.etag)
        self.end_headers()
        stop = len(content) if state.cut_at is None else state.cut_at
        self.wfile.write(content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def file_server(monkeypatch):
    """Serve `files`, by path; may be told to cut connections, ignore ranges, or keep the length to itself."""
    monkeypatch.setenv("no_proxy", "*")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.state = SimpleNamespace(files={}, ranges=True, cut_at=None, requests=[], location="/model.bin")
    vars(httpd.state).update(headers=[], etag=None, says_length=True)
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
