"""What `auto` runs where its model cannot be had, what is said about it, and when that is looked at again."""

import importlib
import socket
import time

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import (
    DEFAULT_MODEL,
    EstimatorChoice,
    choose_estimator,
    describe_choice,
    estimate_depth,
    state_of_choice,
)
from spatialdreamer_core.depth import choice as choosing
from spatialdreamer_core.depth.models import find_model

SPEC = find_model(DEFAULT_MODEL)


def path_of(name):
    """Return where the hub has a file of the default model."""
    return f"/{SPEC.repository}/resolve/{SPEC.revision}/{name}"


@pytest.fixture(autouse=True)
def _nothing_failed_before(monkeypatch):
    monkeypatch.setattr(choosing, "_failure", None)


@pytest.fixture
def online(monkeypatch, huggingface_hub):
    """Return a function that lets an address be that of the hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("no_proxy", "*")

    def use(address: str) -> None:
        monkeypatch.setenv("HF_ENDPOINT", address)

    return use


@pytest.fixture
def deaf_hub(online):
    """A hub that takes connections and never answers; returns it, to be asked who has called."""
    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        hub.listen()
        hub.setblocking(False)
        online(f"http://127.0.0.1:{hub.getsockname()[1]}")
        yield hub


def test_a_published_model_is_brought_for_auto(install, file_server, online):
    folder = install(DEFAULT_MODEL)
    content = {file.name: file.read_bytes() for file in folder.iterdir()}
    for file in folder.iterdir():
        file.unlink()
    for name, data in content.items():
        file_server.files[path_of(name)] = data
    online(file_server.url)
    assert choose_estimator("auto").name == "builtin"
    assert file_server.heads == []
    seen = []
    choice = choose_estimator("auto", download=True, on_progress=lambda *progress: seen.append(progress))
    assert choice == EstimatorChoice(DEFAULT_MODEL)
    total = sum(map(len, content.values()))
    assert seen[-1] == (total, total)
    assert describe_choice(choice, how="-") == "depth: Depth Anything V2 Small."
    assert choose_estimator("auto") == choice


def test_a_deaf_hub_is_left_in_seconds_and_not_asked_again_at_once(deaf_hub, monkeypatch):
    monkeypatch.setattr(choosing, "_PATIENCE", 0.3)
    monkeypatch.setattr(choosing, "_SLOW", 0.2)
    before = state_of_choice("auto", download=True)
    begun = time.monotonic()
    choice = choose_estimator("auto", download=True)
    assert time.monotonic() - begun < 2
    assert choice.failed
    assert choice.obstacle.endswith("cannot be reached (no answer within 0.3 s)")
    deaf_hub.accept()
    assert choose_estimator("auto", download=True) == choice
    with pytest.raises(BlockingIOError):
        deaf_hub.accept()
    after = state_of_choice("auto", download=True)
    assert after not in (before, state_of_choice("auto"))
    later = time.monotonic() + 301
    monkeypatch.setattr(choosing.time, "monotonic", lambda: later)
    assert state_of_choice("auto", download=True) != after
    choose_estimator("auto", download=True)
    deaf_hub.accept()


def test_the_patience_is_a_few_seconds():
    assert 2 <= choosing._PATIENCE <= 6


def test_a_name_that_is_looked_up_for_ever_is_given_up(online, monkeypatch):
    online("http://hub.invalid")
    monkeypatch.setattr(choosing, "_PATIENCE", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1))
    begun = time.monotonic()
    assert choose_estimator("auto", download=True).obstacle == (
        "could not be downloaded: hub.invalid cannot be reached (no answer within 0.2 s)"
    )
    assert time.monotonic() - begun < 0.9


def test_what_failed_at_once_is_tried_at_once(online, file_server):
    online(file_server.url)  # which has nothing
    host = file_server.url.removeprefix("http://")
    for _ in range(2):
        choice = choose_estimator("auto", download=True)
        assert choice.obstacle == f"could not be downloaded: {host} answered 404 Not Found"
    assert len(file_server.heads) == 2
    file_server.refusals[path_of("config.json")] = (200, {}, b"<html>Log in first</html>")
    choice = choose_estimator("auto", download=True)
    assert choice.obstacle.endswith(f"{host} answered with something else, as a proxy may")


@pytest.mark.parametrize("broken", ["file", "link", "parent"])
def test_a_folder_that_cannot_be_written_is_told_before_the_hub_is_asked(
    models_folder, online, file_server, broken
):
    online(file_server.url)
    models_folder.parent.mkdir(parents=True)
    if broken == "parent":
        models_folder.write_text("in the way")
    else:
        models_folder.mkdir()
        folder = models_folder / "Depth-Anything-V2-Small-hf"
        if broken == "file":
            folder.write_text("in the way")
        else:
            folder.symlink_to(models_folder.parent / "gone" / "away")
    choice = choose_estimator("auto", download=True)
    assert choice.failed
    assert f"{models_folder}" in choice.obstacle
    assert "must be writable for config.json: " in choice.obstacle
    assert choice.obstacle.endswith(" is no folder")
    assert file_server.heads == []
    with pytest.raises(InputError, match=r"must be writable for config\.json"):
        choose_estimator(DEFAULT_MODEL, download=True)


def test_a_read_only_folder_is_told_before_the_hub_is_asked(models_folder, online, file_server, monkeypatch):
    online(file_server.url)
    models_folder.mkdir(parents=True)
    downloading = importlib.import_module("spatialdreamer_core.weights.download")
    monkeypatch.setattr(downloading.os, "access", lambda path, mode: False)  # root may write everywhere
    choice = choose_estimator("auto", download=True)
    assert f"must be writable for config.json: {models_folder} is read-only" in choice.obstacle
    assert file_server.heads == []


def test_a_disk_without_room_is_told(models_folder, online, file_server):
    online(file_server.url)
    for name in SPEC.files:
        file_server.files[path_of(name)] = b""
        file_server.sizes[path_of(name)] = 10**15
    obstacle = choose_estimator("auto", download=True).obstacle
    folder = models_folder / "Depth-Anything-V2-Small-hf"
    assert obstacle.startswith(f"could not be downloaded: config.json needs 1000000.00 GB more in {folder}")


def test_a_missing_package_is_told_before_anything_is_downloaded(online, file_server, monkeypatch):
    online(file_server.url)
    monkeypatch.setattr(choosing, "package_installed", lambda model: False)
    choice = choose_estimator("auto", download=True)
    assert describe_choice(choice, how="-") == (
        "depth: builtin, preview grade. Depth Anything V2 Small needs the Python package transformers. "
        "For better depth: pip install transformers."
    )
    assert file_server.heads == []


def test_half_a_model_is_told(install):
    folder = install(DEFAULT_MODEL)
    (folder / "model.safetensors").rename(folder / "model.safetensors.part")
    choice = choose_estimator("auto")
    assert describe_choice(choice, how="add --download") == (
        f"depth: builtin, preview grade. Depth Anything V2 Small lacks model.safetensors in {folder}. "
        "For better depth add --download (Depth Anything V2 Small, 99 MB, Apache-2.0)."
    )


def test_an_installed_model_is_recommended_to_who_chose_the_builtin_one(install):
    install(DEFAULT_MODEL)
    assert describe_choice(EstimatorChoice("builtin"), how="-").endswith(
        "For better depth choose auto: Depth Anything V2 Small is installed."
    )


def test_a_choice_by_name_stays_an_error(online, deaf_hub):
    with pytest.raises(InputError, match="needs its weights"):
        choose_estimator("midas")
    deaf_hub.close()
    with pytest.raises(InputError, match=r"cannot download .* cannot be reached") as raised:
        choose_estimator("midas", download=True)
    assert "may be gone" not in str(raised.value)  # which only a hub that answers can know


@pytest.mark.parametrize("value", ["false", "", 1, None])
def test_download_is_true_or_false(value):
    for call in (
        lambda: choose_estimator("auto", download=value),
        lambda: estimate_depth(torch.rand(1, 3, 8, 8), download=value),
    ):
        with pytest.raises(InputError, match=r"`download` must be True or False, got "):
            call()


def test_a_state_changes_when_a_file_is_replaced(install):
    assert state_of_choice("midas") == "midas"
    assert state_of_choice("no such model") == "no such model"
    folder = install("midas")
    before = state_of_choice("midas")
    content = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(content + b" ")
    assert state_of_choice("midas") != before


@pytest.mark.parametrize("name", ["models and more", "Modèle 深度 🎬", "100% #1 ?a=b&c;d", 'it\'s "so"'])
def test_folders_of_any_name_hold_models(install, models_folder, tmp_path, monkeypatch, name):
    install(DEFAULT_MODEL)
    (tmp_path / name).mkdir()
    models_folder.rename(tmp_path / name / models_folder.name)
    monkeypatch.setenv("SPATIALDREAMER_MODELS", str(tmp_path / name))
    frames = torch.rand(1, 3, 32, 48)
    assert estimate_depth(frames, estimator="auto").isfinite().all()
    assert choose_estimator("auto").name == DEFAULT_MODEL
