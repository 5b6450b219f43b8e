"""From a video to its scenes, from a scene to the places of its clips.

The first look at a video decodes it once, cuts off black bars and finds the cuts, as a conversion does; what
it finds is a few numbers a scene. After that each scene is read by itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...bars import PictureBox
from ...checks import InputError
from ...depth import working_frame
from ...pipeline import StageClock
from ...pipeline.pictures import SceneDetector, cut_pictures
from ...video import IncompleteInput, VideoFrame, check_one_view, probe, read_frames
from ...video.projection import check_flat
from ...video.reader import until_broken
from .config import DatasetConfig

CHECKSUM_DIGITS = 10  # at the end of a video's name
_STEM = 40  # characters of a video's name in the names of its clips
_PART = 1 << 20  # bytes at both ends of a file that tell it from others


@dataclass(frozen=True)
class Scene:
    """A scene of a video.

    Attributes:
        name: Different for each scene of any video.
        frames: Number of its frames.
        start: Seconds; time of its first frame.
        end: Seconds; time of the next scene's first frame. None: the end of the video.
        size: (height, width) of the video's frames.
        box: Where the picture lies in them, as `PictureBox`.
    """

    name: str
    frames: int
    start: float
    end: float | None
    size: tuple[int, int]
    box: tuple[int, ...]


@dataclass(frozen=True)
class Video:
    """A video that has been looked at.

    Attributes:
        name: What its scenes' and clips' names begin with: the file's name and a checksum, so that it is
            the same in any folder.
        file: The file's name.
        fps: Frames a second.
        scenes: Its scenes, in order.
        fault: Why it is used only in part, if so.
    """

    name: str
    file: str
    fps: float
    scenes: tuple[Scene, ...]
    fault: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Video:
        """Take what JSON holds.

        Raises:
            TypeError: If it is something else.
            KeyError: Likewise.
        """
        scenes = (
            Scene(**{**scene, "size": tuple(scene["size"]), "box": tuple(scene["box"])})
            for scene in content["scenes"]
        )
        return cls(content["name"], content["file"], content["fps"], tuple(scenes), content["fault"])


class SceneChanged(InputError):
    """A scene that is no longer found as it was."""


def name_video(path: Path) -> str:
    """Name a video by its file's name and a checksum of its size and both ends.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(_PART))
        file.seek(max(0, size - _PART))
        digest.update(file.read(_PART))
    stem = re.sub(r"[^A-Za-z0-9-]+", "_", path.stem)[:_STEM].strip("_-") or "video"
    return f"{stem}-{digest.hexdigest()[:CHECKSUM_DIGITS]}"


def find_scenes(path: Path, config: DatasetConfig, *, on_frame: Callable[[], None] = lambda: None) -> Video:
    """Find the scenes of a video, in memory that does not grow with its length.

    Args:
        path: The video.
        config: The settings.
        on_frame: Called after each frame; may raise to interrupt.

    Raises:
        InputError: If it is no video, holds two views already, or is a panorama or fisheye picture.
    """
    info = probe(path)
    warning = check_one_view(path, stated=info.stereo)
    if warning is not None:
        raise InputError(warning)
    if config.projection == "auto":
        check_flat(path, stated=info.projection)
    name = name_video(path)
    scenes: list[Scene] = []
    faults: list[IncompleteInput] = []
    detector = SceneDetector()
    frames = read_frames(path, deinterlace=config.deinterlace == "auto", report=False)
    whole = until_broken(frames, faults.append)
    with closing(whole):
        pictures = cut_pictures(whole, black_bars=config.black_bars, clock=StageClock())
        for number, frame in enumerate(pictures):
            small = working_frame(frame.image, levels=frame.levels)
            if detector.step(frame, small) or number == 0:
                if scenes:
                    scenes[-1] = _end(scenes[-1], number, frame.time)
                scenes.append(_begin(f"{name}-{number:06d}", number, frame))
            on_frame()
    scenes[-1] = _end(scenes[-1], number + 1, None)
    return Video(name, path.name, float(info.frame_rate), tuple(scenes), str(faults[0]) if faults else None)


def _begin(name: str, number: int, frame: VideoFrame) -> Scene:
    """Begin a scene; `frames` is the number of its first frame until its end is known."""
    height, width = frame.image.shape[:2]
    if frame.surround is None:
        return Scene(name, number, frame.time, None, (height, width), (0, height, 0, width))
    height, width = frame.surround.frame.shape[:2]
    return Scene(name, number, frame.time, None, (height, width), (*frame.surround.box,))


def _end(scene: Scene, number: int, time: float | None) -> Scene:
    """End a scene with the number and time of the next one's first frame."""
    return Scene(scene.name, number - scene.frames, scene.start, time, scene.size, scene.box)


def place_clips(frames: int, config: DatasetConfig) -> list[int]:
    """Return the first frames of a scene's clips: without overlap, spread evenly if there are too many.

    Args:
        frames: Length of the scene.
        config: The settings.
    """
    fit = frames // config.span
    if fit <= config.clips_per_scene:
        return [config.span * place for place in range(fit)]
    places = np.linspace(0, fit - 1, config.clips_per_scene).round().astype(int)
    return [config.span * int(place) for place in places]


def read_scene(path: Path, scene: Scene, config: DatasetConfig, *, frames: int) -> Iterator[VideoFrame]:
    """Read the first frames of a scene, without their black bars.

    Args:
        path: The video.
        scene: The scene.
        config: The settings.
        frames: How many.

    Raises:
        SceneChanged: If the file has fewer of them, or of another size, than when it was looked at, or cannot
            be read any more.
    """
    rows, columns = PictureBox(*scene.box).slices
    count = 0
    reading = read_frames(
        path,
        start=scene.start,
        end=scene.end,
        deinterlace=config.deinterlace == "auto",
        report=False,
    )
    with closing(until_broken(reading, lambda error: None)) as whole:
        while count < frames:
            try:
                frame = next(whole, None)
            except InputError as error:
                raise SceneChanged(str(error)) from error
            if frame is None:
                break
            if frame.image.shape[:2] != scene.size:
                raise SceneChanged(
                    f"{path.name} must have frames of {scene.size[1]}x{scene.size[0]}, got "
                    f"{frame.image.shape[1]}x{frame.image.shape[0]} at {frame.time:g} s; copy it again"
                )
            yield frame._replace(image=np.ascontiguousarray(frame.image[rows, columns]))
            count += 1
    if count == frames:
        return
    raise SceneChanged(
        f"{path.name} must have {frames} frames from {scene.start:g} s on, got {count}; copy it again"
    )


def choose_held_out(scenes: set[str], *, share: float, seed: int) -> set[str]:
    """Choose the scenes that are held out.

    Each scene draws a number by its name: it does not matter what other scenes there are. Of two or more
    scenes at least one is held out, and at least one is not.

    Args:
        scenes: The names of the scenes that have clips.
        share: Of the scenes; 0: none.
        seed: Another one draws other numbers.
    """
    drawn = {name: _draw(f"{seed}/held out/{name}") for name in scenes}
    in_order = sorted(scenes, key=lambda name: (drawn[name], name))
    if share == 0 or len(scenes) < 2:
        return set()
    chosen = {name for name in in_order if drawn[name] < share} or {in_order[0]}
    return chosen - {in_order[-1]}


def _draw(text: str) -> float:
    """Draw a number in [0, 1) by a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
