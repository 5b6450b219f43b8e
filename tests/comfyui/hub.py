"""A hub of models on this machine, as Hugging Face's answers: the files of one folder in one repository."""

from __future__ import annotations

import hashlib
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_hub(folder: Path):
    """Serve a folder's files as any repository at any revision; gives its address and the paths fetched."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            asked.append(self.path)
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            """Send the headers of a file and return its content."""
            revision, name = self.path.split("/resolve/")[1].split("/", 1)
            content = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", revision)
            self.send_header("ETag", f'"{_checksum(name, content)}"')
            self.end_headers()
            return content

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def _checksum(name: str, content: bytes) -> str:
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
