"""Downloads from a server on this machine, which may be told to fail."""

import base64
import errno
import hashlib
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor

import platformdirs
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights import (
    add_model_folder,
    download,
    download_snapshot,
    find_snapshot,
    folders,
    remote,
    repository_address,
)

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

    with pytest.raises(InputError, match=r"the disk of .* is full; make room for model\.bin"):
        with downloading._writing(target):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file must be writable for model\.bin"):
        download(f"{server.url}/model.bin", tmp_path / "file" / "model.bin")


def test_a_file_that_does_not_stop_is_stopped_while_it_is_written(server, target):
    server.says_length = False
    seen = []
    with pytest.raises(InputError, match=r"must have 2000000 bytes, got \d+ from .* was removed"):
        download(
            f"{server.url}/model.bin", target, size=2_000_000, on_progress=lambda done, _: seen.append(done)
        )
    assert names(target) == []
    assert max(seen) <= 2_000_000
    with pytest.raises(InputError, match=r"must have at most 2000000 bytes, got"):
        download(f"{server.url}/model.bin", target, limit=2_000_000)
    server.says_length = True
    with pytest.raises(InputError, match=rf"must have at most 2000000 bytes, got {len(CONTENT)}"):
        download(f"{server.url}/model.bin", target, limit=2_000_000)
    assert names(target) == []


def test_a_file_that_changed_on_the_server_is_not_continued(server, target):
    server.etag, server.cut_at = '"first"', 1_500_000
    with pytest.raises(InputError, match="was cut"):
        download(f"{server.url}/model.bin", target)
    server.cut_at = None
    download(f"{server.url}/model.bin", target)
    assert server.requests[-1] == ("/model.bin", "bytes=1500000-")
    assert (target.read_bytes(), names(target)) == (CONTENT, ["model.bin"])
    server.cut_at = 1_500_000
    with pytest.raises(InputError, match="was cut"):
        download(f"{server.url}/model.bin", target)
    server.files["/model.bin"] = CONTENT[::-1]
    server.etag, server.cut_at = '"second"', None
    download(f"{server.url}/model.bin", target)
    assert (target.read_bytes(), names(target)) == (CONTENT[::-1], ["model.bin"])


def test_a_partial_file_that_nothing_vouches_for_is_not_continued(server, target):
    target.parent.mkdir()
    target.with_name("model.bin.part").write_bytes(b"something else")
    download(f"{server.url}/model.bin", target)
    assert (target.read_bytes(), server.requests) == (CONTENT, [("/model.bin", None)])


def test_a_link_in_the_partial_files_place_is_not_followed(server, target, tmp_path):
    target.parent.mkdir()
    (tmp_path / "mine").write_text("precious")
    try:
        target.with_name("model.bin.part").symlink_to(tmp_path / "mine")
    except OSError:
        pytest.skip("no symbolic links here")
    download(f"{server.url}/model.bin", target, sha256=SHA256)
    assert (tmp_path / "mine").read_text() == "precious"
    assert target.read_bytes() == CONTENT


def test_downloads_of_one_file_at_the_same_time_do_not_mix(server, target):
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda _: download(f"{server.url}/model.bin", target, sha256=SHA256), range(4)):
            assert target.read_bytes() == CONTENT
    assert len(server.requests) <= 4
    assert names(target) == ["model.bin"]


def test_waiting_for_another_download_ends_with_it_or_by_an_interrupt(server, target, monkeypatch):
    monkeypatch.setattr(downloading, "_POLL", 0.01)
    looks = []

    def other(done, total):
        """While the file comes, a second download waits for it and is interrupted."""
        if not looks:
            looks.append(done)
            with pytest.raises(KeyboardInterrupt):
                download(f"{server.url}/model.bin", target, on_progress=interrupt)

    def interrupt(done, total):
        raise KeyboardInterrupt

    download(f"{server.url}/model.bin", target, on_progress=other)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/model.bin", None)]
    assert names(target) == ["model.bin"]


def test_a_server_that_trickles_is_given_up_and_can_be_continued(server, target, monkeypatch):
    monkeypatch.setattr(downloading, "_GRACE", -1)
    monkeypatch.setattr(downloading, "_SLOWEST", 1e12)
    with pytest.raises(InputError, match=r"was cut \(was slower than .* kept as .*model\.bin\.part"):
        download(f"{server.url}/model.bin", target, sha256=SHA256)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "*")
    assert download(f"{server.url}/model.bin", target, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[-1][1] is not None


def test_a_redirect_never_leads_from_https_to_http():
    with pytest.raises(OSError, match="not encrypted"):
        remote.check_redirect("https://host/a", "http://host/a")
    for url, location in (
        ("https://host/a", "https://other/a"),
        ("https://host/a", "/b"),
        ("http://h", "http://o"),
    ):
        remote.check_redirect(url, location)


def test_a_password_goes_to_its_host_alone_and_is_told_nobody(hub, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    secret = hub.url.replace("http://", "http://me:se%3Acret@")
    monkeypatch.setenv("HF_ENDPOINT", secret)
    folder = download_snapshot("depth", "owner/name", FILES)
    assert (folder / "config.json").read_bytes() == b"{}"
    pair = base64.b64encode(b"me:se:cret").decode()
    assert {headers.get("Authorization") for headers in hub.headers} == {f"Basic {pair}"}
    texts = [repository_address("owner/name"), caplog.text]
    for missing in (("absent",), FILES):
        hub.files.pop("/owner/name/resolve/main/config.json", None)
        (folder / "config.json").unlink(missing_ok=True)
        with pytest.raises(InputError) as raised:
            download_snapshot("depth", "owner/name", missing)
        texts.append(str(raised.value))
    hub.files.clear()
    with pytest.raises(InputError) as raised:
        download_snapshot("depth", "owner/name", FILES)
    texts.append(str(raised.value))
    assert not any("cret" in text or pair in text for text in texts)
    hub.files["/model.bin"], hub.location = CONTENT, f"http://localhost:{hub.url.rsplit(':', 1)[1]}/model.bin"
    before = len(hub.headers)
    download(f"{secret}/moved", folder / "model.bin")
    assert (folder / "model.bin").read_bytes() == CONTENT
    sent = [headers for headers in hub.headers[before:] if headers["Host"].startswith("localhost")]
    assert sent
    assert not any("Authorization" in headers for headers in sent)


@pytest.mark.parametrize("endpoint", ["ftp://host", "http://[half", "host", "http://me:pa/ss@"])
def test_an_endpoint_that_is_none_is_named(monkeypatch, own_models, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(InputError, match=r"must begin with http|cannot be reached") as raised:
        download_snapshot("depth", "owner/name", FILES)
    assert "pa/ss" not in str(raised.value)


@pytest.fixture
def hub(server, monkeypatch, own_models):
    """Let the server be a hub with one repository."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server.files = {
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
    assert len(hub.requests) == before, "only the headers are asked for again"


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
    hub.files[f"/owner/name/resolve/{commit}/config.json"] = b'{"a": 1}'
    folder = download_snapshot("depth", "owner/name", ("config.json",), revision=commit)
    assert (folder / "config.json").read_bytes() == b'{"a": 1}'
    asked, unknown = len(hub.heads), commit[::-1]
    with pytest.raises(
        InputError, match=rf"{FILES[0]}, {FILES[1]} to .*/resolve/{unknown}/.* answered 404 .*by hand"
    ):
        download_snapshot("depth", "owner/name", FILES, revision=unknown)
    assert len(hub.heads) == asked + 1, "nothing is taken from another revision"
    with pytest.raises(InputError, match=rf"{unknown}, .* may be gone: .*/owner/name/tree/main has the pres"):
        download_snapshot("depth", "owner/name", FILES, revision=unknown)


def test_a_large_file_that_is_not_the_one_the_hub_lists_leaves_nothing(hub):
    hub.contents["/owner/name/resolve/main/sub/model.safetensors"] = CONTENT[:-1] + b"!"
    with pytest.raises(InputError, match=rf"model\.safetensors must have the SHA-256 checksum {SHA256}"):
        download_snapshot("depth", "owner/name", FILES)
    assert find_snapshot("depth", "owner/name", FILES).missing == ("sub/model.safetensors",)


def test_a_small_file_is_checked_by_its_checksum_of_git(hub):
    hub.contents["/owner/name/resolve/main/config.json"] = b"[]"
    with pytest.raises(
        InputError, match=r"config\.json must have the git checksum 9e26dfee.*, got [0-9a-f]{40}"
    ):
        download_snapshot("depth", "owner/name", FILES)


def test_a_hub_that_answers_something_else_is_named(hub):
    hub.refusals["/owner/name/resolve/main/config.json"] = (200, {}, b"<html>Please log in</html>")
    with pytest.raises(InputError, match=r"must answer with size, checksum and revision of a file, got none"):
        download_snapshot("depth", "owner/name", FILES)
    hub.refusals["/owner/name/resolve/main/config.json"] = (302, {"Location": "http://login.invalid/"}, b"")
    with pytest.raises(InputError, match=r"a proxy or a login page may be in the way"):
        download_snapshot("depth", "owner/name", FILES)
    missing = (404, {"X-Error-Code": "EntryNotFound"}, b"")
    hub.refusals = dict.fromkeys(hub.files, missing)
    with pytest.raises(InputError, match=r"lacks config\.json, sub/model\.safetensors"):
        download_snapshot("depth", "owner/name", FILES)


def test_downloads_can_be_switched_off(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"switched off by HF_HUB_OFFLINE; .*owner/name into .*name"):
        download_snapshot("depth", "owner/name", FILES)
    assert hub.heads == []


MODULES = {"linux": "unix", "win32": "windows", "darwin": "macos"}  # of platformdirs
CLASSES = {"linux": "Unix", "win32": "Windows", "darwin": "MacOS"}


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
    module = importlib.import_module(f"platformdirs.{MODULES[platform]}")
    if platform == "win32":  # the system's own call is missing elsewhere
        monkeypatch.setattr(module, "get_win_folder", module.get_win_folder_from_env_vars)
    monkeypatch.setattr(platformdirs, "PlatformDirs", getattr(module, CLASSES[platform]))
    monkeypatch.setenv("HOME", str(tmp_path / "HOME"))
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


def test_without_a_home_folder_nothing_is_written_into_one_called_tilde(monkeypatch):
    pwd = pytest.importorskip("pwd")

    def nobody(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(folders, "_REGISTERED", {})
    names = ("HOME", "SPATIALDREAMER_MODELS", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert find_snapshot("depth", "owner/name", FILES) is None
    assert folders.place_for("depth", "name") == "the folder that SPATIALDREAMER_MODELS names"
    with pytest.raises(InputError, match=r"has no home folder; set SPATIALDREAMER_MODELS to the pat"):
        download_snapshot("depth", "owner/name", FILES)
    monkeypatch.setenv("SPATIALDREAMER_MODELS", "~/models")
    with pytest.raises(InputError, match="has no home folder"):
        download_snapshot("depth", "owner/name", FILES)
