"""The whole conversion of the demo clip: `python -m benchmarks.demo [--loops 10]`.

Rate end to end against decoding and encoding alone, measured in turn in one process; the share of each stage;
and the peak memory of the command for the clip and for the clip repeated.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import psutil

from benchmarks.report import format_table, write_result
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert
from spatialdreamer_core.video import VideoWriter, probe, read_frames

CLIP = Path(__file__).resolve().parent.parent / "assets" / "bigbuckbunny.mp4"


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--loops", type=int, default=10, help="length of the long clip, in clips")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        metrics = measure_rate(options.clip, Path(folder), options.repetitions)
        metrics |= measure_memory(options.clip, Path(folder), options.loops)
    print(format_table(("measure", "value"), list(metrics.items())))
    notes = f"{options.clip.name}, full_sbs, default settings; stages overlap, so their sum exceeds the total"
    print(write_result("demo", metrics, notes))


def measure_rate(clip: Path, folder: Path, repetitions: int) -> dict[str, float]:
    """Time the conversion, and decoding plus encoding alone, in turn."""
    totals, copies, clocks = [], [], []
    frames = 0
    for _ in range(repetitions):
        clock = StageClock()
        start = time.perf_counter()
        frames = convert(clip, folder / "stereo.mp4", clock=clock, overwrite=True)
        totals.append(time.perf_counter() - start)
        clocks.append(clock)
        start = time.perf_counter()
        decode_and_encode(clip, folder / "copy.mp4")
        copies.append(time.perf_counter() - start)
    total, copy = statistics.median(totals), statistics.median(copies)
    result = {
        "frames": float(frames),
        "frames_per_second": frames / total,
        "ms_per_frame": total / frames * 1000,
        "decode_encode_ms_per_frame": copy / frames * 1000,
        "total_over_decode_encode": total / copy,
    }
    for stage in clocks[0].seconds:
        seconds = statistics.median(clock.busy(stage) for clock in clocks)
        result[f"stage_{stage}_ms_per_frame"] = seconds / frames * 1000
    return result


def decode_and_encode(clip: Path, output: Path) -> None:
    """Write each frame beside itself: the work that any converter has, at the same size and settings."""
    info, config = probe(clip), ConvertConfig()
    with VideoWriter(
        output,
        width=2 * info.width,
        height=info.height,
        source=info,
        crf=config.crf,
        preset=config.preset,
        audio_from=clip,
        overwrite=True,
    ) as writer:
        for frame in read_frames(clip):
            writer.write(np.hstack([frame.image, frame.image]), frame.pts)


def measure_memory(clip: Path, folder: Path, loops: int) -> dict[str, float]:
    """Run the command on the clip and on the clip repeated, and compare the peak of resident memory."""
    repeated = folder / f"loop{clip.suffix}"
    repeat_clip(clip, repeated, loops)
    once, many = peak_memory(clip, folder), peak_memory(repeated, folder)
    return {
        "peak_memory_mib": once / 2**20,
        f"peak_memory_{loops}_loops_mib": many / 2**20,
        "peak_memory_growth": many / once,
    }


def repeat_clip(clip: Path, output: Path, loops: int) -> None:
    """Repeat a clip without encoding it again."""
    with av.open(str(clip)) as source, av.open(str(output), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        length = max(stream.duration * stream.time_base for stream in source.streams)
        for loop in range(loops):
            source.seek(0)
            for packet in source.demux():
                if packet.size == 0:
                    continue
                shift = round(loop * length / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                target.mux(packet)


def peak_memory(clip: Path, folder: Path) -> int:
    """Return the peak resident memory, in bytes, of converting a clip with the command."""
    command = [
        sys.executable,
        "-m",
        "spatialdreamer_core.cli",
        "convert",
        str(clip),
        "-o",
        str(folder),
        "--overwrite",
        "--quiet",
    ]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.05)
    if process.wait() != 0:
        raise SystemExit(f"converting {clip} failed")
    return peak


if __name__ == "__main__":
    main()
