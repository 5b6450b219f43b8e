"""A real ComfyUI server in a process of its own, with this pack installed, and what the tests ask it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import psutil
import websocket
from comfy_cli.workflow_to_api import convert_ui_to_api
from pathspec import GitIgnoreSpec

REPOSITORY = Path(__file__).parents[2]
COMFYUI = Path(os.environ.get("COMFYUI_DIR", REPOSITORY / ".cache" / "comfyui-0.3.75"))
# Another version of ComfyUI's page than its own, such as "1.58.1"; scripts/test.sh downloads it.
PAGE_VERSION = os.environ.get("COMFYUI_FRONTEND")
PACK = "ComfyUI-SpatialDreamer"  # dashes and capitals, as in a clone; the registry's name is tried elsewhere
NODE_IDS = (
    "SpatialDreamerBatchConvert",
    "SpatialDreamerBuildDVGClip",
    "SpatialDreamerCompareStereo",
    "SpatialDreamerComposite",
    "SpatialDreamerConvertVideo",
    "SpatialDreamerDVGForwardWarp",
    "SpatialDreamerDepthEstimator",
    "SpatialDreamerFastFill",
    "SpatialDreamerFiller",
    "SpatialDreamerFilmSettings",
    "SpatialDreamerFrameMatrixFiller",
    "SpatialDreamerFrameMatrixSampler",
    "SpatialDreamerImageToStereo",
    "SpatialDreamerLoadDemoClip",
    "SpatialDreamerLoadDepth",
    "SpatialDreamerM2SVidFiller",
    "SpatialDreamerM2SVidLoader",
    "SpatialDreamerM2SVidRefiner",
    "SpatialDreamerModelLoader",
    "SpatialDreamerOpticalFlow",
    "SpatialDreamerQuiltPacker",
    "SpatialDreamerRefineHoleMask",
    "SpatialDreamerRefinerNetEncode",
    "SpatialDreamerSBSPacker",
    "SpatialDreamerSaveStereoPhoto",
    "SpatialDreamerSaveStereoVideo",
    "SpatialDreamerTILSVDSampler",
)
_PREVIEW, _JPEG, _TEXT = 1, 1, 3  # how the server marks pictures and texts on the websocket
WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))
BLUEPRINTS = sorted((REPOSITORY / "subgraphs").glob("*.json"))


class RequestRefused(Exception):
    """The server answered with an error: its text (for a prompt, that of the validation)."""


class ExecutionFailed(Exception):
    """A node raised: the text that the user sees; `node_type` says which node."""

    def __init__(self, message: str, node_type: str):
        super().__init__(message)
        self.node_type = node_type


class ExecutionInterrupted(Exception):
    """The prompt was cancelled."""


def packaged_files() -> list[Path]:
    """List what the registry's package of this checkout holds, by the rules of `comfy node pack`."""
    rules = ["/.git/", *(REPOSITORY / ".gitignore").read_text().splitlines()]
    rules += (REPOSITORY / ".comfyignore").read_text().splitlines()
    ignored = GitIgnoreSpec.from_lines(rules).match_file
    files = []
    for folder, subfolders, names in os.walk(REPOSITORY):
        relative = Path(folder).relative_to(REPOSITORY)
        subfolders[:] = [name for name in subfolders if not ignored(f"{(relative / name).as_posix()}/")]
        files += [relative / name for name in names if not ignored((relative / name).as_posix())]
    return sorted(files)


def install_pack(base: Path, folder_name: str) -> None:
    """Install the pack into a base directory's custom_nodes, as the registry's package would be."""
    for file in packaged_files():
        target = base / "custom_nodes" / folder_name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, target)


def start_command(base: Path, *arguments: str) -> dict:
    """Build the arguments of `subprocess` that start ComfyUI on a base directory."""
    (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(COMFYUI / "main.py"), "--cpu", "--base-directory", str(base)]
    command += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes", "--disable-auto-launch"]
    command += ["--preview-method", "latent2rgb"]
    if PAGE_VERSION:
        package = REPOSITORY / ".cache" / f"comfyui-frontend-{PAGE_VERSION}" / "comfyui_frontend_package"
        command += ["--front-end-root", str(package / "static")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "server_site")}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {"args": [*command, *arguments], "env": environment, "cwd": base}


class ComfyServer:
    """The server and a client of it; use as a context manager.

    Args:
        base: An empty folder for the server's input, output, custom nodes and log.
    """

    def __init__(self, base: Path):
        self.base = base
        self.log_path = base / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ComfyServer:
        install_pack(self.base, PACK)
        settings = self.base / "user" / "default" / "comfy.settings.json"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            json.dumps({"Comfy.TutorialCompleted": True})
        )  # no template browser at first start
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                **start_command(self.base, "--port", str(self.port)), stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 180
        while True:
            try:
                self.get("/system_stats")
            except (URLError, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    raise RuntimeError(f"ComfyUI did not start:\n{self.log()[-4000:]}") from None
                time.sleep(0.2)
            else:
                return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def read(self, path: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
        request = Request(self.url + quote(path, safe="/?=&%"), body, {"Content-Type": content_type})
        try:
            with urlopen(request, timeout=60) as response:
                return response.read()
        except HTTPError as error:
            raise RequestRefused(f"{path}: {error} {error.read().decode(errors='replace')}") from None

    def get(self, path: str):
        return json.loads(self.read(path))

    def object_info(self) -> dict:
        return self.get("/object_info")

    def pack_info(self) -> dict:
        """Return the part of /object_info that is this pack's."""
        info = self.object_info().items()
        return {name: node for name, node in sorted(info) if node["python_module"] == f"custom_nodes.{PACK}"}

    def upload(self, file: Path) -> str:
        """Upload a file as the frontend does and return the name to give to a loader."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{file.name}"\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        return json.loads(self.read("/upload/image", body, f"multipart/form-data; boundary={boundary}"))[
            "name"
        ]

    def api_prompt(self, workflow: Path, video: str | None) -> dict:
        """Convert a workflow file into a prompt.

        Args:
            workflow: The file, as ComfyUI's page saves it.
            video: An uploaded file that takes the place of the workflow's videos; None leaves them. Templates
                begin with the pack's demo clip, which is too large for most tests.
        """
        prompt = convert_ui_to_api(json.loads(workflow.read_text()), self.object_info())
        for node in prompt.values():
            if video and node["class_type"] in ("LoadVideo", "SpatialDreamerLoadDemoClip"):
                node |= {"class_type": "LoadVideo", "inputs": {"file": video}}
        return prompt

    def queue(self, prompt: dict, **settings: str) -> str:
        """Queue a prompt and return its id."""
        body = json.dumps({"prompt": prompt, **settings}).encode()
        return json.loads(self.read("/prompt", body))["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 120) -> dict:
        """Wait for a prompt and return its outputs, by node id."""
        return self.wait_for_entry(prompt_id, timeout)["outputs"]

    def wait_for_entry(self, prompt_id: str, timeout: float = 120) -> dict:
        """Wait for a prompt and return its entry in the history: outputs by node id, and messages."""
        deadline = time.monotonic() + timeout
        while prompt_id not in (history := self.get(f"/history/{prompt_id}")):
            assert self.process.poll() is None, f"the server died:\n{self.log()[-4000:]}"
            assert time.monotonic() < deadline, f"no result after {timeout} s:\n{self.log()[-4000:]}"
            time.sleep(0.1)
        entry = history[prompt_id]
        messages = dict(entry["status"]["messages"])
        if "execution_interrupted" in messages:
            raise ExecutionInterrupted(prompt_id)
        if "execution_error" in messages:
            error = messages["execution_error"]
            raise ExecutionFailed(error["exception_message"].strip(), error["node_type"])
        assert entry["status"]["status_str"] == "success", entry["status"]
        return entry

    def watch_memory(self, prompt_id: str) -> list[int]:
        """Return the server's memory in MiB, every .2 s until a prompt is done."""
        memory = []
        while not self.get(f"/history/{prompt_id}"):
            memory.append(psutil.Process(self.process.pid).memory_info().rss >> 20)
            time.sleep(0.2)
        return memory

    def run(self, prompt: dict, timeout: float = 120) -> dict:
        return self.wait(self.queue(prompt), timeout)

    def run_and_watch(
        self, prompt: dict, timeout: float = 120
    ) -> tuple[dict, list[tuple[str, dict | bytes]]]:
        """Run a prompt as the page does; return its outputs and what the server told meanwhile.

        Told are the messages by type; those of type "preview" are pictures as bytes, those of type "text"
        what is written onto a node.
        """
        client = uuid.uuid4().hex
        told: list[tuple[str, dict | bytes]] = []
        address = f"ws://127.0.0.1:{self.port}/ws?clientId={client}"
        with closing(websocket.create_connection(address, timeout=timeout)) as connection:
            prompt_id = self.queue(prompt, client_id=client)
            while not told or told[-1] != ("executing", {"node": None, "prompt_id": prompt_id}):
                message = connection.recv()
                if isinstance(message, bytes):
                    kind, picture_format = struct.unpack(">II", message[:8])
                    if (kind, picture_format) == (_PREVIEW, _JPEG):
                        told.append(("preview", message[8:]))
                    elif kind == _TEXT:  # its second number is the length of the node's id
                        start = 8 + picture_format
                        node, text = message[8:start].decode(), message[start:].decode()
                        told.append(("text", {"node": node, "text": text}))
                else:
                    content = json.loads(message)
                    told.append((content["type"], content["data"]))
        return self.wait(prompt_id), told

    def wait_until_running(self, prompt_id: str, timeout: float = 60) -> None:
        """Wait until a prompt is no longer waiting in the queue."""
        deadline = time.monotonic() + timeout
        while not any(item[1] == prompt_id for item in self.get("/queue")["queue_running"]):
            assert time.monotonic() < deadline, f"not running after {timeout} s"
            time.sleep(0.05)

    def interrupt(self) -> None:
        self.read("/interrupt", b"{}")

    def fetch(self, file: dict, folder: Path) -> Path:
        """Download an output file as the frontend does."""
        path = folder / file["filename"]
        path.write_bytes(self.read("/view?" + urlencode(file)))
        return path


def import_failure(log: str, folder_name: str) -> str:
    """Cut the traceback of a custom node's failed import out of a server's log; empty if there is none."""
    before, failed, after = log.partition(f"custom_nodes/{folder_name} module for custom nodes:")
    if not failed:
        return "" if re.search(rf"seconds: .*custom_nodes/{folder_name}$", log, re.MULTILINE) else log[-4000:]
    return before[before.rindex("Traceback") :] + failed + after.splitlines()[0]


def check_memory_stays(memory: list[int]) -> None:
    """Check that the last third of a run takes what the first one does, to 2 % of the medians."""
    third = len(memory) // 3
    first, last = (statistics.median(part) for part in (memory[:third], memory[-third:]))
    print(f"median memory of the film's first and last third, MiB: {first:.0f} and {last:.0f}")
    assert last < 1.02 * first


def texts_on(told: list[tuple[str, dict | bytes]], node: str) -> list[str]:
    """List the texts that were written onto a node, of what `run_and_watch` was told."""
    return [content["text"] for kind, content in told if kind == "text" and content["node"] == node]


def output_videos(outputs: dict) -> list[dict]:
    """List the video files that a prompt saved; previews in ComfyUI's temporary folder do not count."""
    files = [file for node in outputs.values() for file in node.get("images", []) if file["type"] == "output"]
    return [file for file in files if file["filename"].endswith((".mp4", ".mkv", ".webm", ".mov"))]
