"""One frame and its depth, without a conversion: what a live preview of the warp starts from."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from ..depth import BuiltinStream, DepthModel, DepthStream, ModelPhoto
from ..video.reader import VideoFrame, read_frames
from .analysis import analyse
from .clock import StageClock
from .config import ConvertConfig
from .depth_source import choose_depth, open_depth
from .device import choose_device
from .given_maps import GivenMaps
from .parallax import DepthSample, sample_of
from .pictures import cut_pictures
from .stages import estimate


def sample_film(
    path: Path | str,
    config: ConvertConfig,
    *,
    depth_model: DepthModel | None = None,
) -> DepthSample:
    """Take the frame at `config.start` of a film, and estimate the depth of that frame alone.

    A model's depth is normalised by the frame's own range: the scene's is known only after a first pass.

    Args:
        path: The film.
        config: The settings.
        depth_model: A model from `load_model` to be used instead of what `config.depth` names.

    Raises:
        InputError: If the film has no frame there, or it or its depth cannot be used.
    """
    source = choose_depth(config, depth_model, choose_device(config.device))
    with closing(_read(path, config, end=None)) as frames:
        found = next(frames)
    end = found.time + float(found.time_base) / 2
    instant = replace(config, start=found.time, end=end, auto_convergence=False, comfort=False)
    reading = open_depth(
        source, Path(path), instant, photo=False, total=1, on_first_pass=None, clock=StageClock()
    )
    with reading as depth, closing(_read(path, instant, end=end)) as frames:
        return _sample_one(frames, depth.stream, config)


def sample_picture(
    picture: np.ndarray,  # [H, W, 3] uint8 RGB
    config: ConvertConfig,
    *,
    depth: np.ndarray | None = None,  # [H, W] float32 in [0, 1], 1 = near
    depth_model: DepthModel | None = None,
) -> DepthSample:
    """Take a picture in memory with the depth that is given for it, or estimate it.

    Args:
        picture: The picture.
        config: The settings.
        depth: Its inverse depth; None: it is estimated.
        depth_model: A model from `load_model`; None: the builtin estimator.

    Raises:
        InputError: If the depth is not of the picture's shape, or not in [0, 1].
    """
    stream: DepthStream
    if depth is not None:
        stream = GivenMaps([torch.from_numpy(depth)[None]], (picture.shape[0], picture.shape[1]))
    else:
        stream = BuiltinStream() if depth_model is None else ModelPhoto(depth_model)
    return _sample_one(iter([VideoFrame(picture, 0, Fraction(1))]), stream, config)


def _sample_one(frames: Iterator[VideoFrame], stream: DepthStream, config: ConvertConfig) -> DepthSample:
    """Take the first of some frames."""
    clock = StageClock()
    pictures = cut_pictures(frames, black_bars=config.black_bars, clock=clock)
    frame = next(estimate(analyse(pictures, flow=None, clock=clock), estimator=stream, clock=clock))
    shaping = config.shaping(builtin=isinstance(stream, BuiltinStream))
    return sample_of(frame, shaping=shaping, guided=config.guided_upsampling)


def _read(path: Path | str, config: ConvertConfig, *, end: float | None) -> Generator[VideoFrame, None, None]:
    """Read frames of a film from `config.start` on, as a conversion does."""
    deinterlace = config.deinterlace == "auto"
    return read_frames(path, start=config.start, end=end, deinterlace=deinterlace, report=False)
