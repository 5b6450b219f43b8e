"""The whole conversion, stage by stage: `python -m benchmarks.film [--against FOLDER] [--cuda]`.

Films of 1280x720 and 1920x1080 are made from the demo clip, its first frames forth and back. They are
converted with built-in depth, with a depth file of the film's size, and with Depth Anything V2 Small as it is
built, with random weights: what it sees means nothing, what it costs is right. Each is timed in turn with
decoding and encoding alone. Stages run side by side, so their times add up to more than the film's. On
the CPU the film with given depth takes ten seconds: a film's first ones are slower, as its memory grows.

--against converts the films by the command of another checkout of this project in turn with this one's; what
a command takes to start, that is a film of two frames, is taken off. --cuda uses a GPU, and longer films, and
tells the rate with all encoding but the first frame's left out, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median
from unittest.mock import patch

import av
import cv2
import numpy as np
import torch

from benchmarks.demo import CLIP, decode_and_encode
from benchmarks.report import format_table, write_result
from spatialdreamer_core.depth import DepthModel, estimate_depth
from spatialdreamer_core.depth.loading import TransformersDepth
from spatialdreamer_core.depth.models import DEFAULT_MODEL, find_model
from spatialdreamer_core.depth.preprocess import Preprocessing
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert
from spatialdreamer_core.video import VideoWriter, read_frames

PICTURES = 24  # different ones in a film
RATE = 25
SIZES = {"720p": (720, 1280), "1080p": (1080, 1920)}
SOURCES = {"builtin_720p": "720p", "builtin_1080p": "1080p", "file_1080p": "1080p", "model_1080p": "1080p"}
CPU_FRAMES = {"builtin_720p": 48, "builtin_1080p": 48, "file_1080p": 240, "model_1080p": 4}
CUDA_FRAMES = 96
START = 2  # frames of the film that shows what a command takes to start


@dataclass(frozen=True)
class Film:
    """A film with what gives its depth."""

    path: Path
    frames: int
    depth_file: Path | None = None
    model: DepthModel | None = None

    def config(self, device: str) -> ConvertConfig:
        """Return the settings of its conversion: the defaults."""
        return ConvertConfig(depth="builtin", depth_file=self.depth_file, device=device)


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout of this project")
    parser.add_argument("--cuda", action="store_true", help="convert on a GPU")
    parser.add_argument("--films", nargs="+", choices=list(SOURCES), default=list(SOURCES), help="which")
    parser.add_argument("--frames", type=int, help="of each film but with a model on the CPU, always 4")
    parser.add_argument("--repetitions", type=int, default=1)
    options = parser.parse_args()
    device = "cuda" if options.cuda else "cpu"
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in options.films:
            length = options.frames or CUDA_FRAMES
            if not options.cuda and (options.frames is None or source.startswith("model")):
                length = CPU_FRAMES[source]
            film = make_film(source, length, folder, device)
            measured = measure(film, folder, device, options.repetitions)
            if options.against is not None and film.model is None:
                start = make_film(source, START, folder, device)
                measured |= compare(film, start, folder, options.against, device, options.repetitions)
            metrics |= {f"{source}_{key}": value for key, value in measured.items()}
            print(format_table((source, "value"), list(measured.items())), flush=True)
            print(f"slowest stage: {slowest_stage(measured)}\n", flush=True)
    notes = f"{CLIP.name}, enlarged; full_sbs, default settings; `cpu` is processor time of all threads"
    print(write_result("film-cuda" if options.cuda else "film", metrics, notes))


def make_film(source: str, frames: int, folder: Path, device: str) -> Film:
    """Make a film of a length, and its depth."""
    height, width = SIZES[SOURCES[source]]
    path = folder / f"{source}_{frames}.mp4"
    pictures = [
        cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_CUBIC)
        for frame in islice(read_frames(CLIP), PICTURES)
    ]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}
        for index in forth_and_back(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[index], format="rgb24")))
        file.mux(stream.encode())
    if source.startswith("file"):
        return Film(path, frames, depth_file=save_depth(pictures, frames, folder))
    model = random_model() if source.startswith("model") else None
    if model is not None:
        model.modules[0].to(device)
    return Film(path, frames, model=model)


def forth_and_back(frames: int) -> list[int]:
    """List which picture each frame of a film shows."""
    return list(islice(cycle(chain(range(PICTURES), range(PICTURES - 2, 0, -1))), frames))


def save_depth(pictures: list[np.ndarray], frames: int, folder: Path) -> Path:
    """Save a film's depth, the built-in estimator's, as 16-bit values."""
    video = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)
    depth = estimate_depth(video, estimator="builtin")[:, 0].mul(65535).round().numpy().astype(np.uint16)
    path = folder / f"depth_{frames}.npy"
    np.save(path, depth[forth_and_back(frames)])
    return path


def random_model() -> TransformersDepth:
    """Build Depth Anything V2 Small with random weights."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        out_indices=[3, 6, 9, 12],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
        head_hidden_size=32,
    )
    network = DepthAnythingForDepthEstimation(config).eval().requires_grad_(False)
    preprocessing = Preprocessing(
        height=518,
        width=518,
        keep_aspect_ratio=True,
        multiple=14,
        mode="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        pad=False,
        family="depth_anything",
    )
    return TransformersDepth(find_model(DEFAULT_MODEL), network, preprocessing, Path("random weights"))


def measure(film: Film, folder: Path, device: str, repetitions: int) -> dict[str, float]:
    """Time a conversion, decoding plus encoding alone and, on a GPU, the conversion without the encoder."""
    totals, processor, copies, unencoded = [], [], [], []
    clocks: list[StageClock] = []
    for _ in range(repetitions):
        clock = StageClock()
        start, used = time.perf_counter(), time.process_time()
        convert_film(film, folder, device, clock)
        totals.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
        clocks.append(clock)
        start = time.perf_counter()
        decode_and_encode(film.path, folder / "copy.mp4")
        copies.append(time.perf_counter() - start)
        if device == "cuda":
            start = time.perf_counter()
            with encoding_one_frame():
                convert_film(film, folder, device, StageClock())
            unencoded.append(time.perf_counter() - start)
    each = 1000 / film.frames
    result = {
        "frames": float(film.frames),
        "frames_per_second": film.frames / median(totals),
        "ms_per_frame": median(totals) * each,
        "cpu_ms_per_frame": median(processor) * each,
        "decode_encode_ms_per_frame": median(copies) * each,
        "total_over_decode_encode": median(totals) / median(copies),
    }
    if unencoded:
        result["frames_per_second_without_encoder"] = film.frames / median(unencoded)
    for stage in clocks[0].seconds:
        result[f"stage_{stage}_ms_per_frame"] = median(clock.busy(stage) for clock in clocks) * each
    return result


def convert_film(film: Film, folder: Path, device: str, clock: StageClock) -> None:
    """Convert a film."""
    convert(
        film.path,
        folder / "stereo.mp4",
        film.config(device),
        depth_model=film.model,
        clock=clock,
        overwrite=True,
    )


@contextmanager
def encoding_one_frame() -> Iterator[None]:
    """Throw a film's frames away but the first one, which makes the file a video."""
    write = VideoWriter.write

    def write_first(writer: VideoWriter, frame: np.ndarray, pts: int) -> None:
        if pts == 0:
            write(writer, frame, pts)

    with patch.object(VideoWriter, "write", write_first):
        yield


def slowest_stage(measured: dict[str, float]) -> str:
    """Name the stage that is busy for the longest time; what else takes time can wait for it."""
    stages = [key for key in measured if key.startswith("stage_")]
    return max(stages, key=measured.__getitem__).removeprefix("stage_").removesuffix("_ms_per_frame")


def compare(
    film: Film, start: Film, folder: Path, other: Path, device: str, repetitions: int
) -> dict[str, float]:
    """Time another checkout's command and this one's in turn; what they take to start is taken off."""
    spent: dict[Path, list[np.ndarray]] = {Path.cwd(): [], other.resolve(): []}
    for _ in range(repetitions):
        for checkout, times in spent.items():
            whole, least = (run_command(checkout, part, folder, device) for part in (film, start))
            times.append((whole - least) * 1000 / (film.frames - start.frames))
    (ours, our_cpu), (others, other_cpu) = (np.median(times, axis=0) for times in spent.values())
    return {
        "command_ms_per_frame": ours,
        "other_command_ms_per_frame": others,
        "times_as_fast_as_the_other": others / ours,
        "command_cpu_ms_per_frame": our_cpu,
        "other_command_cpu_ms_per_frame": other_cpu,
        "cpu_of_the_other_over_ours": other_cpu / our_cpu,
    }


def run_command(checkout: Path, film: Film, folder: Path, device: str) -> np.ndarray:  # [2]
    """Return the seconds, passed and of the processor, that a checkout's command takes for a film."""
    output = folder / "command.mp4"
    output.unlink(missing_ok=True)
    depth = str(film.depth_file or "builtin")
    arguments = [str(film.path), "-o", str(output), "--depth", depth, "--device", device, "--quiet"]
    command = [sys.executable, "-m", "spatialdreamer_core.cli", "convert", *arguments]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)})
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return np.array([time.perf_counter() - start, used])


if __name__ == "__main__":
    main()
