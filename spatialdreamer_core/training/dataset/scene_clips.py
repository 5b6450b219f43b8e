"""The clips of one scene: depth as in a conversion, forward-backward rendering, and their files."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from ...atomic import replacing, write_error
from ...checks import InputError
from ...depth import BuiltinStream, DepthStream, ModelStream, open_estimator, upsample_depth
from ...depth.shaping import shape_frames
from ...dvg.eyes import Eye
from ...fill import WAY_BACK, render_back, render_pair
from ...flow import fit_size, open_flow
from ...pipeline import ConvertConfig, FillerConfig, StageClock, choose_device
from ...pipeline.analysis import analyse
from ...pipeline.first_pass import measure_film
from ...pipeline.stages import Estimated, estimate, to_tensor
from ...video import VideoFrame, to_8_bit
from .clip_file import DVGClip, encode_clip, frame_checksums
from .config import DatasetConfig
from .folder import SceneClips
from .quality import NO_HOLES, FrameQuality, find_fault, measure_clip, measure_frame
from .reader import clip_path, find_damage
from .records import ClipRecord, check_version, from_record, read_json, to_record, with_version, write_json
from .scenes import Scene, Video, place_clips, read_scene


class _Frame(NamedTuple):
    """A frame of a clip that is being collected."""

    image: np.ndarray  # [H, W, 3] uint8
    depth: np.ndarray  # [H, W] in [0, 1]
    quality: FrameQuality


class SceneRenderer:
    """Renders the clips of scenes; it holds the models.

    Args:
        folder: The dataset.
        config: The settings.
        filler: What fills the holes of x2.
        on_step: Called now and then, with the clips finished since; may raise to interrupt.

    Raises:
        InputError: If a model cannot be loaded.
    """

    def __init__(
        self, folder: Path, config: DatasetConfig, filler: FillerConfig, on_step: Callable[[int], None]
    ) -> None:
        self.folder, self.config, self._on_step = folder, config, on_step
        self._device = choose_device(config.device)
        self._model = open_estimator(config.depth, device=self._device)
        self._flow = open_flow(config.flow, device=self._device)
        self._filler = filler.load(device=self._device, on_wait=lambda: on_step(0))
        self._shaping = ConvertConfig().shaping(builtin=self._model is None)

    def render(self, path: Path, video: Video, scene: Scene) -> SceneClips:
        """Make the clips of a scene; those that are there already are kept.

        Raises:
            InputError: If the video cannot be read, or a file not be written.
        """
        done = SceneClips([], Counter())
        starts = place_clips(scene.frames, self.config)
        waiting: list[_Frame] = []
        place = 0
        for number, frame in enumerate(self._estimate(path, scene, starts[-1] + self.config.span)):
            self._on_step(0)
            within = number - starts[place]
            if within < 0:
                continue
            if within % self.config.stride == 0:
                waiting.append(self._collect(frame))
            if len(waiting) == self.config.frames:
                with torch.inference_mode():
                    self._finish(video, scene, number - self.config.span + 1, waiting, done)
                waiting, place = [], place + 1
                self._on_step(1)
        return done

    def _estimate(self, path: Path, scene: Scene, frames: int) -> Iterator[Estimated]:
        """Analyse the first frames of a scene and estimate their depth, as a conversion does of the whole."""

        def read(count: int) -> Iterator[VideoFrame]:
            for frame in read_scene(path, scene, self.config, frames=count):
                self._on_step(0)
                yield frame

        clock = StageClock()
        depth: DepthStream = BuiltinStream()
        if self._model is not None:
            measured = measure_film(
                read(scene.frames), model=self._model, total=None, on_progress=None, clock=clock
            )
            depth = ModelStream(self._model, measured, strength=self.config.depth_stability)
        analysed = analyse(read(frames), flow=self._flow, clock=clock)
        return estimate(analysed, estimator=depth, clock=clock)

    def _collect(self, frame: Estimated) -> _Frame:
        """Bring a frame and its depth to the clips' size."""
        film_frame = frame.analysed.frame
        image = to_8_bit(film_frame.image, film_frame.color)
        height, width = fit_size(*image.shape[:2], longer_side=self.config.size)
        if image.shape[:2] != (height, width):
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        depth = frame.depth
        if height >= depth.shape[0]:
            depth = upsample_depth(depth, (height, width))
        else:  # values at edges are picked, not mixed
            small = F.interpolate(torch.from_numpy(depth)[None, None], (height, width), mode="nearest-exact")
            depth = small[0, 0].numpy()
        quality = measure_frame(frame.analysed.small, frame.analysed.to_previous)
        return _Frame(np.ascontiguousarray(image), depth, quality)

    def _finish(self, video: Video, scene: Scene, first: int, frames: list[_Frame], done: SceneClips) -> None:
        """Judge a clip, render it and write its files, and those of it rendered elsewhere."""
        name = f"{scene.name}-{first:05d}"
        quality = measure_clip([frame.quality for frame in frames])
        fault = find_fault(quality, self.config)
        if fault is not None:
            done.faults[fault] += 1
            return
        ways = draw_ways_back(name, self.config)
        finished = [record for clip in ways if (record := self._read_finished(clip)) is not None]
        if len(finished) == len(ways):
            done.clips.extend(finished)
            return
        side, divergence = draw_geometry(name, self.config)
        target = torch.stack([to_tensor(frame.image, torch.device("cpu")) for frame in frames])
        depth = torch.stack([torch.from_numpy(frame.depth)[None] for frame in frames])
        shaped = shape_frames(depth, self._shaping, on_device=False)
        refine = self.config.refine_masks
        pair = render_pair(
            target.to(self._device, copy=True),
            shaped.to(self._device),
            side=side,
            filler=self._filler,
            divergence=divergence,
            convergence=self.config.convergence,
            refine=refine,
            on_frame=lambda done: self._on_step(0),
        )
        if not bool(pair.hole.any()):
            done.faults[NO_HOLES] += 1
            return
        fps = video.fps / self.config.stride
        for clip, way_back in ways.items():
            warped, hole = pair.warped, pair.hole
            if way_back != WAY_BACK.default:
                reference = (pair.reference, pair.reference_disparity)
                warped, hole = render_back(*reference, side=side, refine=refine, way_back=way_back)
            data = encode_clip(DVGClip(target, pair.reference, warped, hole), fps=fps)
            record = ClipRecord(
                name=clip,
                source=video.file,
                scene=scene.name,
                first_frame=first,
                frames=len(frames),
                height=target.shape[-2],
                width=target.shape[-1],
                side=side,
                fps=fps,
                divergence=divergence,
                convergence=self.config.convergence,
                **quality._asdict(),
                hole=round(float(hole.mean()), 6),
                bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                checksums=frame_checksums(data),
                way_back=way_back,
            )
            self._write(record, data)
            done.clips.append(record)

    def _write(self, record: ClipRecord, data: bytes) -> None:
        """Write a clip's file, then its record, which says that the clip is finished."""
        path = clip_path(self.folder, record.name)
        try:
            with replacing(path) as partial:
                partial.write_bytes(data)
        except OSError as error:
            raise write_error(path, error, name="dataset") from error
        write_json(path.with_suffix(".json"), with_version({"clip": from_record(record)}))

    def _read_finished(self, name: str) -> ClipRecord | None:
        """Return the record of a clip that is finished, if it is."""
        path = clip_path(self.folder, name).with_suffix(".json")
        try:
            content = read_json(path)
            check_version(content, path)
            record = to_record(content.get("clip"), path)
        except InputError:
            return None
        return record if find_damage(self.folder, record, verify=True) is None else None


def draw_geometry(name: str, config: DatasetConfig) -> tuple[Eye, float]:
    """Draw the side and the divergence of a clip, by its own name: no other clip changes them."""
    drawn = random.Random(f"{config.seed}/{name}")
    side: Eye = "right" if drawn.random() < 0.5 else "left"
    spread = config.divergence_high - config.divergence_low
    return side, round(config.divergence_low + spread * drawn.random(), 3)


def draw_ways_back(name: str, config: DatasetConfig) -> dict[str, float]:
    """Draw how far x2 is rendered back in a clip and those beside it, by their names.

    A half is as likely as a double.
    """
    ways = {name: WAY_BACK.default}
    for end, limit in (("short", config.way_back_low), ("beyond", config.way_back_high)):
        if limit != WAY_BACK.default:
            clip = f"{name}-{end}"
            ways[clip] = round(limit ** random.Random(f"{config.seed}/{clip}").random(), 3)
    return ways
