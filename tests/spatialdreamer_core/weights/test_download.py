"""Downloads from a server on this machine, which may be told to fail."""

import errno
import hashlib
import importlib
import json

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights import add_model_folder, download, download_snapshot, find_snapshot, folders

downloading = importlib.import_module("spatialdreamer_core.weights.download")  # its function has its name
CONTENT = bytes(range(256)) * 12_000  # about 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(file_server):
    file_server.files["/model.bin"] = CONTENT
    return file_server


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


def test_the_beginning_of_a_checksum_is_checked_where_no_more_is_known(server, target):
    download(f"{server.url}/model.bin", target, sha256_prefix=SHA256[:8].upper())
    assert target.read_bytes() == CONTENT
    target.unlink()
    with pytest.raises(InputError, match=rf"checksum 00000000\.\.\., got {SHA256} from http.* was removed"):
        download(f"{server.url}/model.bin", target, sha256_prefix="0" * 8)
    with pytest.raises(InputError, match=rf"checksum {SHA256[:8]}, got {SHA256}"):
        download(f"{server.url}/model.bin", target, sha256=SHA256[:8])
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
def hub(server, monkeypatch, own_models):
    """Let the server be a hub with one repository."""
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


def test_a_pinned_revision_is_what_arrives_and_no_other(hub):
    commit = "0123456789abcdef0123456789abcdef01234567"
    listing = [{"type": "file", "path": "config.json", "size": 8, "oid": "1"}]
    hub.files[f"/api/models/owner/name/tree/{commit}"] = json.dumps(listing).encode()
    hub.files[f"/owner/name/resolve/{commit}/config.json"] = b'{"a": 1}'
    folder = download_snapshot("depth", "owner/name", ("config.json",), revision=commit)
    assert (folder / "config.json").read_bytes() == b'{"a": 1}'
    asked = len(hub.requests)
    unknown = commit[::-1]
    with pytest.raises(
        InputError, match=rf"{FILES[0]}, {FILES[1]} to .*/tree/{unknown}\?.* answered 404 .*by hand"
    ):
        download_snapshot("depth", "owner/name", FILES, revision=unknown)
    assert len(hub.requests) == asked + 1, "nothing is taken from another revision"


def test_a_large_file_that_is_not_the_one_the_hub_lists_leaves_nothing(hub):
    hub.files["/owner/name/resolve/main/sub/model.safetensors"] = CONTENT[:-1] + b"!"
    with pytest.raises(InputError, match=rf"model\.safetensors must have the SHA-256 checksum {SHA256}"):
        download_snapshot("depth", "owner/name", FILES)
    assert find_snapshot("depth", "owner/name", FILES).missing == ("sub/model.safetensors",)


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
