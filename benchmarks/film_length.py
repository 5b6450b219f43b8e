"""Whether a film's length costs memory, and what a kill costs: whole films through the command itself.

Peak memory of `spatialdreamer convert` on films of one picture size and different lengths, made by looping
the demo clip. Then a film is converted again and again, each run ended by kill -9 at a random moment and the
next one going on; the film in the end is compared with that of an uninterrupted run, frame by frame and
packet of sound by packet, and the frames that are finished are counted before and after each kill.

    python -m benchmarks.film_length [--memory | --kills]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil

from benchmarks.report import format_table, write_result
from spatialdreamer_core.video import read_frames

_ROOT = Path(__file__).resolve().parent.parent
_CLIP = _ROOT / "assets" / "bigbuckbunny.mp4"
_RATE = 25
_LENGTHS = (((426, 240), 24, 240), ((1280, 720), 30, 60))  # size, seconds of the short and the long film
_KILLS = 20
_KILLED = (160, 90), 60  # size and seconds of the film that is killed
_POLL = 0.02  # s


def main() -> None:
    """Print the tables and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="Memory alone; no result is written.")
    parser.add_argument("--kills", action="store_true", help="Kills alone; no result is written.")
    options = parser.parse_args()
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if not options.kills:
            metrics |= measure_memory(Path(folder))
        if not options.memory:
            metrics |= measure_kills(Path(folder))
    notes = "fast fill, builtin depth; the demo clip looped; memory is the resident set of the process"
    if not (options.memory or options.kills):
        print(write_result("film_length", metrics, notes))


def measure_memory(folder: Path) -> dict[str, float]:
    """Convert films of different lengths and compare the peaks of memory."""
    rows, metrics = [], {}
    for size, *lengths in _LENGTHS:
        peaks = []
        for seconds in lengths:
            source = write_loop(folder / f"{size[1]}p_{seconds}s.mp4", size, seconds)
            process = start(source, folder / "out.mp4", "--overwrite")
            peak = 0
            while process.poll() is None:
                peak = max(peak, _resident(process))
                time.sleep(_POLL)
            assert process.returncode == 0, process.returncode
            source.unlink()
            peaks.append(peak / 2**20)
            metrics[f"{size[1]}p_{seconds}s_peak_mib"] = peaks[-1]
        metrics[f"{size[1]}p_peak_ratio"] = peaks[1] / peaks[0]
        rows.append([f"{size[0]}x{size[1]}", *lengths, *peaks, peaks[1] / peaks[0]])
        print(format_table(["size", "short s", "long s", "short MiB", "long MiB", "ratio"], rows[-1:]))
    return metrics


def measure_kills(folder: Path) -> dict[str, float]:
    """Kill conversions at random moments, and compare the film with that of an uninterrupted run."""
    source = write_loop(folder / "killed.mp4", *_KILLED)
    out, whole = folder / "killed" / "out.mp4", folder / "whole.mp4"
    begin = time.monotonic()
    assert start(source, whole).wait() == 0
    length = time.monotonic() - begin
    expected, chance = digest(whole), random.Random(0)
    kills = films = equal = 0
    lost, begun_twice, kept = 0, 0, 0
    while kills < _KILLS:
        process = start(source, out, "--verbose", errors=folder / "errors.txt")
        time.sleep(chance.uniform(0.1, 0.6) * length)
        if process.poll() is None:
            process.kill()
            process.wait()
            kills += 1
            now = finished(out)
            lost += now < kept
            begun_twice = max(
                begun_twice, len(list(out.with_name("out.mp4.parts").glob(".segment-*partial*")))
            )
            kept = now
            continue
        films, equal, kept = films + 1, equal + (digest(out) == expected), 0
        said = (folder / "errors.txt").read_text()
        assert process.returncode == 0, said
        print(f"{kills} kills, film {films}: {re.findall('going on after .*', said)}", flush=True)
        out.unlink()
    assert start(source, out).wait() == 0
    films, equal = films + 1, equal + (digest(out) == expected)
    rows = [[kills, films, equal, lost, begun_twice]]
    print(format_table(["kills", "films", "equal", "segments lost", "segments begun and lost"], rows))
    return {
        "kills": kills,
        "films_finished": films,
        "films_equal_to_uninterrupted": equal,
        "finished_segments_lost": lost,
        "most_segments_repeated": begun_twice,
    }


def start(source: Path, output: Path, *more: str, errors: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a conversion that keeps its finished segments."""
    command = [sys.executable, "-m", "spatialdreamer_core.cli", "convert", str(source), "-o", str(output)]
    log = open(errors, "wb") if errors is not None else subprocess.DEVNULL
    return subprocess.Popen(
        [*command, "--depth", "builtin", "--resume", "on", "--quiet", *more],
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )


def finished(output: Path) -> int:
    """Count the frames of the finished segments of a film."""
    records = output.with_name(f"{output.name}.parts").glob("segment-*.json")
    return sum(json.loads(record.read_text())["frames"] for record in records)


def write_loop(path: Path, size: tuple[int, int], seconds: int) -> Path:
    """Write a film of a length: the demo clip again and again, with noise for sound."""
    frames = [
        av.VideoFrame.from_ndarray(frame.image).reformat(*size, format="yuv420p")
        for frame in read_frames(_CLIP)
    ]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast", "crf": "20"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        sound.codec_context.open()
        samples = sound.codec_context.frame_size
        for number in range(seconds * 48000 // samples):
            tone = av.AudioFrame.from_ndarray(_noise(number, samples), format="fltp", layout="stereo")
            tone.sample_rate, tone.time_base, tone.pts = 48000, Fraction(1, 48000), number * samples
            container.mux(sound.encode(tone))
        container.mux(sound.encode())
        for number in range(seconds * _RATE):
            frame = frames[number % len(frames)]
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


def digest(path: Path) -> str:
    """Return a checksum of a film's decoded frames with their times, and of its packets of sound."""
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(f"{frame.pts} {frame.time_base}".encode())
            digest.update(frame.to_ndarray().tobytes())
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            digest.update(f"{packet.pts} {packet.dts}".encode())
            digest.update(bytes(packet))
    return digest.hexdigest()


def _noise(number: int, samples: int) -> np.ndarray:  # [2, samples] float32
    """Make sound whose packets all differ."""
    return (np.random.default_rng(number).normal(size=(2, samples)) * 0.05).astype(np.float32)


def _resident(process: subprocess.Popen[bytes]) -> int:
    """Return the bytes that a process holds, 0 if it has just ended."""
    try:
        return psutil.Process(process.pid).memory_info().rss
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
