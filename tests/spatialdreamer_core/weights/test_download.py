"""Downloads from a server on this machine, which may be told to fail."""

import errno
import hashlib
import http.server
import importlib
import json
import threading
from types import SimpleNamespace

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights import add_model_folder, download, download_snapshot, find_snapshot, folders

downloading = importlib.import_module("spatialdreamer_core.weights.download")  # its function has its name
CONTENT = bytes(range(256)) * 12_000  # about 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        state.requests.append((self.path, self.headers.get("Range")))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", state.location)
            self.end_headers()
            return
        content = state.files.get(self.path.split("?")[0])
        if content is None:
            self.send_error(404)
            return
        start = int(self.headers["Range"][6:-1]) if state.ranges and "Range" in self.headers else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content) if state.cut_at is None else state.cut_at
        self.wfile.write(content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.state = SimpleNamespace(
        files={"/model.bin": CONTENT}, ranges=True, cut_at=None, requests=[], location="/model.bin"
    )
    httpd.state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield httpd.state
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "deep" / "model.bin"


def names(target):
    return sorted(file.name for file in target.parent.iterdir())


def test_a_good_file_arrives_whole_and_reports_its_progress(server, target):
    seen = []
    download(
        f"{server.url}/model.bin",
        target,
        sha256=SHA256.upper(),
        size=len(CONTENT),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert target.read_bytes() == CONTENT
    assert names(target) == ["model.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) >= 3


def test_redirects_are_followed_but_only_to_http(server, target):
    assert download(f"{server.url}/moved", target).read_bytes() == CONTENT
    server.location = "ftp://127.0.0.1/model.bin"
    with pytest.raises(InputError, match=r"cannot download model\.bin"):
        download(f"{server.url}/moved", target)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/model.bin", "model.bin"])
def test_other_kinds_of_address_are_refused(target, url):
    with pytest.raises(InputError, match=r"must begin with http:// or https://, got "):
        download(url, target)
    assert not target.parent.exists()


def test_a_wrong_checksum_leaves_nothing(server, target):
    with pytest.raises(InputError, match=rf"checksum {'0' * 64}, got {SHA256} from http.* was removed"):
        download(f"{server.url}/model.bin", target, sha256="0" * 64)
    assert names(target) == []


def test_a_wrong_size_leaves_nothing(server, target):
    with pytest.raises(InputError, match=rf"must have 5 bytes, got {len(CONTENT)}"):
        download(f"{server.url}/model.bin", target, size=5)
    assert names(target) == []


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_cut_connection_is_resumed(server, target, size):
    server.cut_at = 1_500_000
    with pytest.raises(InputError, match=r"was cut .* kept as .*model\.bin\.part: try again to continue"):
        download(f"{server.url}/model.bin", target, sha256=SHA256, size=size)
    assert names(target) == ["model.bin.part"]
    server.cut_at = None
    download(f"{server.url}/model.bin", target, sha256=SHA256, size=size)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == ("/model.bin", "bytes=1500000-")
    assert names(target) == ["model.bin"]


def test_a_server_without_ranges_starts_again(server, target):
    server.ranges = False
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(b"something else")
    download(f"{server.url}/model.bin", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_partial_file_that_is_too_long_is_dropped(server, target, size):
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(CONTENT + b"more")
    download(f"{server.url}/model.bin", target, sha256=SHA256, size=size)
    assert target.read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_needs_no_server(target):
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(CONTENT)
    download("http://127.0.0.1:9/model.bin", target, sha256=SHA256, size=len(CONTENT))
    assert target.read_bytes() == CONTENT


def test_an_interrupt_keeps_what_came(server, target):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}/model.bin", target, on_progress=stop)
    assert names(target) == ["model.bin.part"]


def test_offline_and_refusals_name_file_folder_and_address(server, target):
    url = "http://127.0.0.1:9/model.bin"
    with pytest.raises(InputError) as raised:
        download(url, target)
    for part in ("model.bin", url, str(target.parent), "cannot be reached"):
        assert part in str(raised.value)
    with pytest.raises(InputError, match="/absent answered 404"):
        download(f"{server.url}/absent", target)


def test_a_full_disk_is_named_before_and_during(server, target):
    with pytest.raises(InputError, match=r"needs 1000000000\.00 GB more in .*; make room"):
        download(f"{server.url}/model.bin", target, size=10**18)
    assert server.requests == []

    class FullDisk:
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"the disk of .* is full; make room for model\.bin"):
        downloading._write(FullDisk(), b"x", target)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file must be writable for model\.bin"):
        download(f"{server.url}/model.bin", tmp_path / "file" / "model.bin")


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """Let the server be a hub with one repository."""
    monkeypatch.setattr(folders, "_REGISTERED", {})
    monkeypatch.setenv("SPATIALDREAMER_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    listing = [
        {"type": "directory", "path": "sub", "size": 0},
        {"type": "file", "path": "config.json", "size": 2, "oid": "1"},
        {"type": "file", "path": "sub/model.safetensors", "size": len(CONTENT), "lfs": {"oid": SHA256}},
    ]
    server.files = {
        "/api/models/owner/name/tree/main": json.dumps(listing).encode(),
        "/owner/name/resolve/main/config.json": b"{}",
        "/owner/name/resolve/main/sub/model.safetensors": CONTENT,
    }
    return server


FILES = ("config.json", "sub/model.safetensors")


def test_a_repository_arrives_and_is_found(hub, tmp_path):
    seen = []
    assert find_snapshot("depth", "owner/name", FILES) is None
    folder = download_snapshot("depth", "owner/name", FILES, on_progress=lambda *args: seen.append(args))
    assert folder == tmp_path / "models" / "depth" / "name"
    assert (folder / "sub" / "model.safetensors").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT) + 2, len(CONTENT) + 2)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    snapshot = find_snapshot("depth", "owner/name", FILES)
    assert (snapshot.folder, snapshot.missing) == (folder, ())
    before = len(hub.requests)
    download_snapshot("depth", "owner/name", FILES)
    assert len(hub.requests) == before + 1, "only the listing is asked for again"


def test_a_repository_cut_halfway_is_seen_as_such(hub):
    hub.cut_at = 1000
    with pytest.raises(InputError, match="was cut"):
        download_snapshot("depth", "owner/name", FILES)
    assert find_snapshot("depth", "owner/name", FILES).missing == ("sub/model.safetensors",)


def test_the_first_registered_folder_takes_downloads(hub, tmp_path):
    add_model_folder("depth", tmp_path / "mine")
    add_model_folder("depth", tmp_path / "other")
    assert download_snapshot("depth", "owner/name", FILES) == tmp_path / "mine" / "name"
    assert folders.model_folders("depth") == [
        tmp_path / "mine",
        tmp_path / "other",
        tmp_path / "models" / "depth",
    ]


def test_a_hub_that_answers_something_else_is_named(hub):
    hub.files["/api/models/owner/name/tree/main"] = b"<html>Please log in</html>"
    with pytest.raises(InputError, match=r"must answer with a list of files, got '<html>"):
        download_snapshot("depth", "owner/name", FILES)
    hub.files["/api/models/owner/name/tree/main"] = b"[]"
    with pytest.raises(InputError, match=r"lacks config\.json, sub/model\.safetensors"):
        download_snapshot("depth", "owner/name", FILES)


def test_downloads_can_be_switched_off(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"switched off by HF_HUB_OFFLINE; .*owner/name into .*name"):
        download_snapshot("depth", "owner/name", FILES)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "CACHE"}, "CACHE/spatialdreamer/models"),
        ("win32", {"LOCALAPPDATA": "LOCAL"}, "LOCAL/spatialdreamer/models"),
        ("darwin", {}, "HOME/Library/Caches/spatialdreamer/models"),
        ("linux", {"SPATIALDREAMER_MODELS": "MINE"}, "MINE"),
    ],
)
def test_the_users_own_folder(monkeypatch, tmp_path, platform, variables, expected):
    monkeypatch.setattr(folders, "_REGISTERED", {})
    monkeypatch.setattr(folders.sys, "platform", platform)
    monkeypatch.setattr(folders.Path, "home", lambda: tmp_path / "HOME")
    for name in ("SPATIALDREAMER_MODELS", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert folders.download_folder("depth") == tmp_path / expected / "depth"


def test_hugging_faces_cache_is_where_its_tools_put_it(monkeypatch, tmp_path):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folders.hub_cache() == tmp_path / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert folders.hub_cache() == tmp_path / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert folders.hub_cache() == tmp_path / "cache"
