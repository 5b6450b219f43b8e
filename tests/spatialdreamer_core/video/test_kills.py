"""The command killed at random moments: outputs are absent or whole, and what is left over goes away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pytest

KILLS = 60
FRAMES = 40


def picture(index):
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(40, 140, (12, 20, 3), np.uint8), (160, 96))
    wall[30:80, 10 + 2 * index : 50 + 2 * index] = (230, 210, 60)
    return av.VideoFrame.from_ndarray(wall)


def start(source, out):
    """Start a conversion; Ctrl-C reaches it even if it does not reach this process."""
    command = [sys.executable, "-m", "spatialdreamer_core.cli", "convert", str(source), "-o", str(out)]
    return subprocess.Popen(
        [*command, "--depth", "builtin", "--overwrite", "--preview", str(out.with_suffix(".png")), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def is_whole(path):
    with av.open(str(path)) as container:
        return len(list(container.decode(video=0))) == FRAMES


def is_sheet(path):
    return cv2.imread(str(path)) is not None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_kills_at_random_moments(make_video, tmp_path):
    source = make_video(frames=FRAMES, size=(160, 96), picture=picture, audio=("aac",))
    folder = tmp_path / "out"
    folder.mkdir()
    out, sheet = folder / "film.mp4", folder / "film.png"
    begin = time.monotonic()
    assert start(source, out).wait() == 0
    length = time.monotonic() - begin
    chance = random.Random(10)
    interrupted = finished = 0
    for index in range(KILLS):
        kind = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[index % 3]
        earlier = index % 2 == 1
        for path in (out, sheet):
            path.unlink(missing_ok=True)
            if earlier:
                path.write_bytes(b"an earlier file")
        before = set(os.listdir(folder))
        process = start(source, out)
        time.sleep(chance.uniform(0.2, 1.1) * length)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=60)
        for path, check in ((out, is_whole), (sheet, is_sheet)):
            untouched = (
                path.exists() and path.read_bytes() == b"an earlier file" if earlier else not path.exists()
            )
            assert untouched or check(path), errors
        if process.returncode == 0:
            finished += 1
            assert is_whole(out)
            continue
        interrupted += 1
        assert process.returncode == (-9 if kind == signal.SIGKILL else 128 + kind), errors
        if kind != signal.SIGKILL:
            lines = [line for line in errors.splitlines() if "preview grade" not in line]
            assert lines == [f"spatialdreamer: interrupted by {kind.name}; no partial file was left"]
            left = {name for name in os.listdir(folder) if name.startswith(".")}
            assert left <= before
    assert interrupted > KILLS / 3, (interrupted, finished)
    assert start(source, out).wait() == 0
    assert sorted(os.listdir(folder)) == ["film.mp4", "film.png"]
