"""What the hub refuses or cannot give: one sentence with the rule, the value and the remedy."""

import ast
import hashlib
import multiprocessing
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights import add_model_folder, download_snapshot, find_snapshot, remote
from spatialdreamer_core.weights.remote import DownloadError

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = ("config.json", "sub/model.safetensors")
CONTENT = {"config.json": b"{}", "sub/model.safetensors": bytes(range(256)) * 8_000}  # about 2 MB


def path_of(file):
    return f"/owner/name/resolve/{REVISION}/{file}"


@pytest.fixture
def hub(file_server, monkeypatch, own_models):
    """Let the server be a hub with one repository, and nobody be logged in."""
    monkeypatch.setenv("HF_ENDPOINT", file_server.url)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.modules["huggingface_hub"].constants, "HF_TOKEN_PATH", str(own_models / "token"))
    file_server.files = {path_of(file): content for file, content in CONTENT.items()}
    return file_server


def fetch(**options):
    return download_snapshot("depth", "owner/name", FILES, revision=REVISION, **options)


def run_apart(count, **options):
    """Fetch the model in processes of their own, all at once; returns them when they have ended."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fetch, kwargs=options) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return processes


def arrived(folder):
    return {file: (folder / file).read_bytes() for file in FILES}


def test_a_model_arrives_in_the_folder_that_comfyui_has_for_it(hub, tmp_path):
    add_model_folder("depth", tmp_path / "ComfyUI" / "models" / "depth")
    folder = fetch()
    assert folder == tmp_path / "ComfyUI" / "models" / "depth" / "name"
    assert arrived(folder) == CONTENT
    here = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert here == sorted(FILES), "nothing of the download stays"


def test_a_connection_that_is_cut_once_is_resumed_at_once(hub):
    hub.cut_at, hub.cuts = 500_000, 2  # also the small file's, which is whole before that
    assert arrived(fetch()) == CONTENT
    assert hub.requests[-2:] == [(path_of(FILES[1]), None), (path_of(FILES[1]), "bytes=500000-")]


def test_an_interrupt_in_the_middle_is_resumed_by_the_next_call(hub, own_models):
    def stop(done, total):
        if done > 600_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(on_progress=stop)
    partial = own_models / "depth" / "name" / "sub" / "model.safetensors.part"
    assert partial.stat().st_size == 750_000
    assert not partial.with_suffix("").exists()
    assert arrived(fetch()) == CONTENT
    assert hub.requests[-1] == (path_of(FILES[1]), "bytes=750000-")


def test_a_kill_in_the_middle_leaves_no_half_file_and_is_resumed(hub, own_models):
    def die(done, total):
        if done > 600_000:
            os._exit(9)

    (process,) = run_apart(1, on_progress=die)
    assert process.exitcode == 9
    folder = own_models / "depth" / "name"
    assert find_snapshot("depth", "owner/name", FILES).missing == ("sub/model.safetensors",)
    assert arrived(fetch()) == CONTENT
    assert hub.requests[-1][1] is not None
    assert sorted(path.name for path in (folder / "sub").iterdir()) == ["model.safetensors"]


def test_what_came_of_an_earlier_revision_is_not_continued(hub, own_models):
    folder = own_models / "depth" / "name" / "sub"
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").write_bytes(b"older")
    (folder / "model.safetensors.part.etag").write_text("0" * 64)
    assert arrived(fetch()) == CONTENT
    assert hub.requests[-1] == (path_of(FILES[1]), None)


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_a_gated_model_names_the_page_with_its_terms_and_how_to_give_a_token(hub, monkeypatch, token):
    hub.token = "hf_right"
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DownloadError) as raised:
        fetch()
    given = "no token was given" if token is None else "the token that was given has no access"
    for part in (
        f"{hub.url}/owner/name is gated",
        given,
        "answered 401",
        "HF_TOKEN",
        "hf auth login",
        "accept",
    ):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "hf_wrong" not in str(raised.value)
    assert raised.value.reason.endswith(given)


def test_a_token_that_has_expired_is_named_as_what_is_wrong(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    headers = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.refusals[path_of("config.json")] = (401, headers, b"")
    with pytest.raises(
        DownloadError, match=r"refuses the token that was given, which may have expired \(.* 401"
    ):
        fetch()


def test_a_gated_model_arrives_with_a_token_of_the_environment_or_a_login(hub, monkeypatch, own_models):
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    folder = fetch()
    assert arrived(folder) == CONTENT
    (folder / "config.json").unlink()
    monkeypatch.delenv("HF_TOKEN")
    (own_models / "token").write_text("hf_right")
    assert arrived(fetch()) == CONTENT
    hub.location = f"http://localhost:{hub.url.rsplit(':', 1)[1]}/else"
    hub.files["/else"] = CONTENT["config.json"]
    moved = (302, {"Location": hub.location, "X-Repo-Commit": REVISION, "X-Linked-Size": "2"}, b"")
    moved[1]["X-Linked-Etag"] = '"' + hashlib.sha1(b"blob 2\0{}").hexdigest() + '"'
    hub.refusals[path_of("config.json")] = moved
    (folder / "config.json").unlink()
    hub.token, before = None, len(hub.headers)
    assert arrived(fetch()) == CONTENT
    elsewhere = [headers for headers in hub.headers[before:] if headers["Host"].startswith("localhost")]
    assert elsewhere
    assert not any("Authorization" in headers for headers in elsewhere), "the token stays with the hub"


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (
            401,
            {},
            r"is private or does not exist, and no token was given \(.* answered 401\); give a token in HF_",
        ),
        (403, {}, r"is private or does not exist, and no token was given \(.* answered 403\)"),
        (
            403,
            {"X-Error-Code": "GatedRepo"},
            r"is gated: its terms must be accepted, and no token .* answered 403",
        ),
        (
            404,
            {"X-Error-Code": "RepoNotFound"},
            r"answered 404 Not Found; .*by hand; revision .* may be gone",
        ),
        (
            404,
            {"X-Error-Code": "RevisionNotFound"},
            r"answered 404 Not Found; .*by hand; revision .* may be go",
        ),
        (
            404,
            {"X-Error-Code": "EntryNotFound"},
            r"must hold config.*, but lacks config\.json; update Spatial",
        ),
        (
            429,
            {"Retry-After": "3600"},
            r"answered 429 Too Many Requests and asks for a pause \(Retry-After: 3600\); ",
        ),
        (500, {}, r"answered 500 Internal Server Error; check the connection, or put"),
        (
            200,
            {"Content-Type": "text/html"},
            r"must answer with size, checksum and revision .* login page may be",
        ),
        (
            200,
            {"X-Repo-Commit": "f" * 40, "ETag": '"1"', "X-Linked-Size": "2"},
            r"got none or others; a proxy",
        ),
        (
            302,
            {"Location": "http://portal.invalid/login"},
            r"got none or others; a proxy or a login page may be",
        ),
        (
            302,
            {"Location": "file:///etc/passwd"},
            r"cannot be reached \(it redirects to an address of file\)",
        ),
    ],
)
def test_a_refusal_is_one_sentence_and_takes_no_time(hub, own_models, status, headers, words):
    hub.refusals[path_of("config.json")] = (status, headers, b"<html>log in</html>" if status == 200 else b"")
    begun = time.monotonic()
    with pytest.raises(InputError, match=words) as raised:
        fetch()
    assert time.monotonic() - begun < 2
    assert "\n" not in str(raised.value)
    assert hub.requests == []
    assert not (own_models / "depth").exists()


def test_a_page_in_the_place_of_a_file_is_not_kept(hub, own_models):
    hub.contents[path_of(FILES[1])] = b"<html>Log in first</html>"
    with pytest.raises(InputError, match=r"model\.safetensors must have|was cut"):
        fetch()
    assert find_snapshot("depth", "owner/name", FILES).missing == (FILES[1],)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_is_what_the_user_wants(hub, monkeypatch, variable):
    monkeypatch.setenv(variable, "yes")
    with pytest.raises(
        InputError, match=rf"switched off by {variable}; unset it, or put config\.json, sub/model"
    ):
        fetch()
    monkeypatch.delenv(variable)
    monkeypatch.setattr(
        sys.modules["huggingface_hub"].constants, "HF_HUB_OFFLINE", True
    )  # when it was imported
    with pytest.raises(InputError, match="switched off by HF_HUB_OFFLINE; unset it, or put"):
        fetch()
    assert hub.heads == []


def test_a_hub_that_is_not_there_is_named(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        DownloadError, match=r"127\.0\.0\.1:9/owner.* cannot be reached \(.*refused\); check the"
    ):
        fetch()

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"cannot be reached \(.*Name or service not known\)"):
        fetch()


def test_a_hub_that_is_deaf_is_left_in_time(hub, monkeypatch):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(DownloadError, match=r"cannot be reached \(no answer within 0\.2 s\)"):
            fetch(patience=0.2)
        assert time.monotonic() - begun < 1


def test_a_hub_that_falls_silent_can_be_interrupted(hub, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(remote, "_POLL", 0.01)
    monkeypatch.setattr(
        sys.modules["huggingface_hub"].file_download, "http_get", lambda *_, **__: released.wait(5)
    )
    calls = []

    def impatient(done, total):
        calls.append(done)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(on_progress=impatient)
    released.set()


def test_a_disk_that_fills_up_is_named_and_what_came_is_kept(hub, own_models, monkeypatch):
    real = Path.open

    def open_full(path, mode="r", *args, **options):
        stream = real(path, mode, *args, **options)
        if mode == "ab" and path.name.startswith("model"):
            stream.close()
            stream = real("/dev/full", "ab")
        return stream

    if not Path("/dev/full").exists():
        pytest.skip("no device here that is always full")
    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(
        InputError, match=r"the disk of .*sub is full; make room for model\.safetensors and try"
    ):
        fetch()
    assert find_snapshot("depth", "owner/name", FILES).missing == (FILES[1],)


def test_two_processes_that_want_the_same_model_share_one_download(hub, own_models):
    assert [process.exitcode for process in run_apart(2)] == [0, 0]
    assert arrived(own_models / "depth" / "name") == CONTENT
    assert len(hub.requests) <= 2 * len(FILES)
    assert not list((own_models / "depth" / "name").rglob("*.part*"))


def test_it_is_imported_by_downloads_alone():
    """Tokens, endpoints and being offline are read at its import, which must not come before they are set."""
    for file in (Path(__file__).parents[3] / "spatialdreamer_core").rglob("*.py"):
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            imports = isinstance(statement, (ast.Import, ast.ImportFrom))
            assert not (imports and "huggingface_hub" in ast.unparse(statement)), file


def test_a_missing_library_is_named(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        InputError, match=r"need the Python package huggingface_hub, .* install it with: pip inst"
    ):
        fetch()
