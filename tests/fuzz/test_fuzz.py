"""Damaged files and odd settings by the thousand: done or refused in one line, soon, in bounded memory."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
START_SECONDS = 180  # imports and making the sound files, on a busy machine
CASE_SECONDS = 20
PEAK_BYTES = 4 << 30
CASES = {  # by kind: in each run, and with --slow
    "films": (60, 900),
    "photos": (60, 800),
    "depth_files": (60, 800),
    "model_folders": (15, 300),
    "weights": (15, 250),
    "settings": (40, 400),
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the worker limits itself by setrlimit")


def fuzz(kind, first, count, folder):
    """Run cases in workers, a new one after each that crashes or hangs; returns what went wrong."""
    wrong, index, peak = [], first, 0
    while index < first + count:
        command = [sys.executable, str(WORKER), kind, str(index), str(first + count - index), str(folder)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }
        log = folder / "stderr.txt"
        with log.open("w") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        lines = queue.Queue()
        reader = threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True)
        reader.start()
        begun, limit = None, START_SECONDS
        while True:
            try:
                line = lines.get(timeout=limit)
            except queue.Empty:
                process.kill()
                wrong.append(f"{kind} {begun}: no end after {limit} s")
                break
            if line is None:
                if process.wait() != 0:
                    wrong.append(f"{kind} {begun}: exit {process.returncode} {log.read_text()[-500:]}")
                break
            limit = CASE_SECONDS
            if "begin" in line:
                begun = line["begin"]
                continue
            if line["outcome"] == "raw":
                wrong.append(f"{kind} {line['index']}: {line['text']} {line.get('where', '')}")
            if line["peak"] > max(PEAK_BYTES, peak):
                wrong.append(f"{kind} {line['index']}: a peak of {line['peak'] / 2**30:.2f} GB")
            peak = max(peak, line["peak"])
        process.wait()
        if begun is None:
            raise AssertionError("\n".join(wrong))
        index = begun + 1
    return wrong


def read_lines(stream, lines):
    """Pass a worker's lines on, then None."""
    for line in stream:
        lines.put(json.loads(line))
    lines.put(None)


def check(kind, first, count, folder):
    wrong = fuzz(kind, first, count, folder)
    assert not wrong, f"{len(wrong)} of {count} cases went wrong (see worker.py):\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", CASES)
def test_a_few_cases_of_each_kind(kind, tmp_path):
    check(kind, 0, CASES[kind][0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_thousands_of_cases(kind, tmp_path):
    check(kind, CASES[kind][0], CASES[kind][1], tmp_path)
