"""What is fuzzed: small sound files of each kind, made here, and what the library is asked to do with them.

A kind is a function `(folder) -> Kind`; the folder takes the sound files. All are of 48x32 pixels and a few
frames, so that a case takes some tens of milliseconds.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import mutations
import numpy as np
import OpenEXR
from PIL import Image

from spatialdreamer_core.pipeline import ConvertConfig, convert

SIZE = (48, 32)  # width, height
FRAMES = 4
_TESTS = Path(__file__).parents[1]
_EXR_HEADER = {"compression": OpenEXR.DWAA_COMPRESSION, "type": OpenEXR.scanlineimage}
_FAST = ConvertConfig(preset="ultrafast", crf=30)


@dataclasses.dataclass
class Kind:
    """Runs one case: damages a sound file in the `work` folder and gives it to the library."""

    run: Callable[[random.Random, Path], None]


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Draw a picture with edges and texture."""
    width, height = size
    values = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    values[height // 3 :, width // 4 + seed % 7 : width // 2] += 150
    return values.astype(np.uint8)


def film(
    path: Path, *, codec: str, pixel_format: str, audio: str | None = None, frames: int = FRAMES
) -> Path:
    """Write a film."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pixel_format
        track = container.add_stream(audio, rate=48000) if audio else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index)).reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            context = track.codec_context
            context.open(strict=False)
            resampler = av.AudioResampler(context.format, "stereo", 48000, context.frame_size or 1024)
            samples = np.random.default_rng(0).normal(0, 0.1, (2, 48000 * frames // 25)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            sound.sample_rate, sound.pts = 48000, 0
            for part in (*resampler.resample(sound), *resampler.resample(None)):
                container.mux(track.encode(part))
            container.mux(track.encode())
    return path


def films(folder: Path) -> Kind:
    """Whole films of seven containers, converted."""
    made = [
        film(folder / "a.mp4", codec="libx264", pixel_format="yuv420p", audio="aac"),
        film(folder / "b.mkv", codec="libx264", pixel_format="yuv444p", audio="libopus"),
        film(folder / "c.avi", codec="mpeg4", pixel_format="yuv420p", audio="mp2"),
        film(folder / "d.ts", codec="mpeg2video", pixel_format="yuv420p", audio="mp2"),
        film(folder / "e.webm", codec="libvpx-vp9", pixel_format="yuv420p", audio="libopus"),
        film(folder / "f.mov", codec="prores_ks", pixel_format="yuv422p10le", audio="pcm_s16le"),
        film(folder / "g.gif", codec="gif", pixel_format="rgb8"),
    ]

    def run(rng: random.Random, work: Path) -> None:
        source = damaged(rng.choice(made), rng, work)
        config = dataclasses.replace(
            _FAST, start=rng.choice((None, None, 0.04)), end=rng.choice((None, None, 0.1))
        )
        convert(source, work / "out" / rng.choice(("o.mp4", "o.mkv")), config)

    return Kind(run)


def photos(folder: Path) -> Kind:
    """Photos of all kinds, bombs among them, converted."""
    image, deep = Image.fromarray(picture()), (picture().astype(np.uint16) * 257)
    made = []
    for name, options in (
        *(("a.png", {}), ("b.jpg", {"exif": _exif(6)}), ("c.webp", {}), ("d.tif", {}), ("e.bmp", {})),
        *(
            ("f.ppm", {}),
            ("g.tga", {}),
            ("h.jp2", {}),
            ("i.gif", {}),
            ("j.tiff", {"compression": "tiff_lzw"}),
        ),
    ):
        image.save(folder / name, **options)
        made.append(folder / name)
    others = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    for name in ("k.png", "l.webp", "m.tif", "n.gif"):
        image.save(folder / name, save_all=True, append_images=others)
        made.append(folder / name)
    import cv2

    for name in ("o.png", "p.tif"):
        cv2.imwrite(str(folder / name), deep)
        made.append(folder / name)
    for mode, name in (("P", "q.png"), ("LA", "r.png"), ("1", "s.png"), ("CMYK", "t.jpg"), ("I;16", "u.png")):
        (Image.fromarray(deep[..., 0]) if mode == "I;16" else image.convert(mode)).save(folder / name)
        made.append(folder / name)

    def run(rng: random.Random, work: Path) -> None:
        if rng.random() < 0.05:
            source = work / "bomb.png"
            source.write_bytes(
                _png_bomb(*rng.choice(((30000, 30000), (10**6, 1), (1, 10**6), (20000, 20000))))
            )
        else:
            source = damaged(rng.choice(made), rng, work)
        convert(source, work / "out" / rng.choice(("o.png", "o.jpg", "o.tif", "o.webp")), _FAST)

    return Kind(run)


def _exif(orientation: int) -> bytes:
    """Make an EXIF block that turns the picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _png_bomb(width: int, height: int) -> bytes:
    """Make a small PNG of one colour whose pixels take gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, parts = zlib.compressobj(1), []
    row = bytes(1 + 3 * width)
    for _ in range(min(height, 2000)):
        parts.append(packer.compress(row))
    parts.append(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(parts)) + chunk(b"IEND", b"")


def depth_files(folder: Path) -> Kind:
    """Depth of every kind of file, for the same film."""
    import cv2

    source = film(folder / "film.mp4", codec="libx264", pixel_format="yuv420p")
    depth = np.linspace(0, 1, FRAMES * SIZE[0] * SIZE[1], dtype=np.float32).reshape(FRAMES, SIZE[1], SIZE[0])
    np.save(folder / "a.npy", depth)
    np.savez_compressed(folder / "b.npz", depth=depth)
    np.savez(folder / "c.npz", depths=depth.astype(np.float16))
    made = [folder / "a.npy", folder / "b.npz", folder / "c.npz"]
    made.append(film(folder / "d.mp4", codec="libx264", pixel_format="gray"))
    made.append(film(folder / "e.mkv", codec="ffv1", pixel_format="gray16le"))
    for name in ("f", "g", "h", "i"):
        (folder / name).mkdir()
        for index in range(FRAMES):
            values = depth[index]
            if name == "f":
                cv2.imwrite(str(folder / name / f"{index}.png"), (values * 65535).astype(np.uint16))
            elif name == "g":
                Image.fromarray(values).save(folder / name / f"{index}.tif")
            elif name == "h":
                path = folder / name / f"{index}.exr"
                path.write_bytes(_exr(values))
                if index % 2:
                    OpenEXR.File(_EXR_HEADER, {"Z": values.astype(np.float32)}).write(str(path))
            else:
                np.save(folder / name / f"{index}.npy", values)
        made.append(folder / name)

    def run(rng: random.Random, work: Path) -> None:
        given = damaged(rng.choice(made), rng, work)
        kind = rng.choice(("inverse", "depth", "metres", "normalised"))
        convert(
            source, work / "out" / "o.mkv", dataclasses.replace(_FAST, depth_file=str(given), depth_kind=kind)
        )

    return Kind(run)


def _exr(values: np.ndarray) -> bytes:
    """Write an EXR file of one float channel Z, not compressed."""
    height, width = values.shape

    def attribute(name: str, kind: str, data: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(data)) + data

    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = b"\x76\x2f\x31\x01" + struct.pack("<i", 2)
    header += attribute("channels", "chlist", b"Z\0" + struct.pack("<iB3xii", 2, 0, 1, 1) + b"\0")
    header += attribute("compression", "compression", b"\0") + attribute("dataWindow", "box2i", window)
    header += attribute("displayWindow", "box2i", window) + attribute("lineOrder", "lineOrder", b"\0")
    header += attribute("pixelAspectRatio", "float", struct.pack("<f", 1))
    header += attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0))
    header += attribute("screenWindowWidth", "float", struct.pack("<f", 1)) + b"\0"
    first, size = len(header) + 8 * height, 8 + 4 * width
    table = b"".join(struct.pack("<Q", first + row * size) for row in range(height))
    rows = b"".join(
        struct.pack("<ii", row, 4 * width) + values[row].astype("<f4").tobytes() for row in range(height)
    )
    return header + table + rows


def model_folders(folder: Path) -> Kind:
    """Folders of depth models and of an inpainting pipeline, loaded and used."""
    import torch

    from spatialdreamer_core.depth import estimate_depth, load_model
    from spatialdreamer_core.depth.models import MODEL_KIND, find_model
    from spatialdreamer_core.fill import InpaintConfig, load_inpainter

    tests = _TESTS / "spatialdreamer_core"
    tiny_diffusion = _module("tiny_diffusion", tests / "tiny_diffusion.py")
    tiny_models = _module("tiny_models", tests / "depth" / "tiny_models.py")
    names = ("depth_anything_v2_small", "midas", "zoedepth", "depth_pro", "marigold")
    for name in names:
        place = folder / find_model(name).repository.split("/")[-1]
        place.mkdir(parents=True)
        tiny_models.save_model(place, find_model(name).family)
    tiny_diffusion.save_inpainting(folder / "inpainting")
    frames = torch.rand(1, 3, SIZE[1], SIZE[0])

    def run(rng: random.Random, work: Path) -> None:
        name = rng.choice((*names, "inpainting"))
        if name == "inpainting":
            given = damaged(folder / "inpainting", rng, work)
            inpaint = load_inpainter(given, config=InpaintConfig(steps=1))
            inpaint(frames, (frames[:, :1] > 0.8).float())
            return
        repository = find_model(name).repository.split("/")[-1]
        copy = damaged(folder / repository, rng, work)
        models = work / "models" / MODEL_KIND
        models.mkdir(parents=True)
        copy.rename(models / repository)
        model = load_model(name)
        estimate_depth(frames, estimator=model)

    return Kind(run)


def weights(folder: Path) -> Kind:
    """Single files of weights: SVD's, SpatialDreamer's, RAFT's."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models.optical_flow import raft_small

    from spatialdreamer_core.flow import load_flow_model
    from spatialdreamer_core.flow.raft_weights import FLOW_MODEL_KIND
    from spatialdreamer_core.spatialdreamer import SpatialDreamer, load_spatialdreamer, save_spatialdreamer
    from spatialdreamer_core.svd import load_svd

    tiny_svd = _module("tiny_svd", _TESTS / "spatialdreamer_core" / "tiny_svd.py")
    tiny_svd.save_checkpoint(folder / "svd.safetensors")
    save_spatialdreamer(SpatialDreamer.from_svd(tiny_svd.make_model()), folder / "trained")
    state = raft_small(weights=None).state_dict()
    save_file(state, folder / "raft_small.safetensors")
    torch.save(state, folder / "raft_small.pth")

    def run(rng: random.Random, work: Path) -> None:
        name = rng.choice(("svd.safetensors", "trained", "raft_small.safetensors", "raft_small.pth"))
        given = damaged(folder / name, rng, work)
        if name == "svd.safetensors":
            load_svd(given)
        elif name == "trained":
            load_spatialdreamer(tiny_svd.make_model(), given)
        else:
            place = work / "models" / FLOW_MODEL_KIND
            place.mkdir(parents=True)
            given.rename(place / name)
            load_flow_model("raft_small")

    return Kind(run)


def settings(folder: Path) -> Kind:
    """Settings of wrong type or out of range, given by a program rather than by the command line."""
    source = film(folder / "film.mp4", codec="libx264", pixel_format="yuv420p", frames=2)
    names = [field.name for field in dataclasses.fields(ConvertConfig)]

    def run(rng: random.Random, work: Path) -> None:
        changes = {rng.choice(names): mutations.odd_value(rng) for _ in range(rng.choice((1, 1, 2)))}
        convert(source, work / "out" / "o.mkv", dataclasses.replace(_FAST, **changes))

    return Kind(run)


def damaged(source: Path, rng: random.Random, work: Path) -> Path:
    """Copy a file or folder and damage it, or one of the folder's files."""
    target = work / source.name
    if source.is_dir():
        shutil.copytree(source, target)
        file = rng.choice(sorted(path for path in target.rglob("*") if path.is_file()))
    else:
        file = target
        shutil.copyfile(source, target)
    data = file.read_bytes()
    file.write_bytes(mutations.mutate(file.name, data, rng))
    return target


def _module(name: str, path: Path) -> ModuleType:
    """Load a module of the tests, as no folder of tests is a package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


KINDS: dict[str, Callable[[Path], Kind]] = {
    "films": films,
    "photos": photos,
    "depth_files": depth_files,
    "model_folders": model_folders,
    "weights": weights,
    "settings": settings,
}
