"""Small films of several scenes, and a dataset that is built of one once."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from spatialdreamer_core.training.dataset import DatasetConfig, build_dataset

SIZE = (64, 96)  # height, width


def picture(scene: int, t: int, *, speed: float = 1.5, size=SIZE) -> np.ndarray:
    """Draw a frame of a scene: coarse noise that moves sideways, in colours of the scene's own."""
    height, width = size
    noise = np.random.default_rng(scene).integers(0, 200, (height // 4, width, 3), dtype=np.uint8)
    noise[..., scene % 3] //= 4
    coarse = cv2.resize(noise, (4 * width, height), interpolation=cv2.INTER_NEAREST)
    move = np.float32([[1, 0, -speed * t], [0, 1, 0]])
    return cv2.warpAffine(coarse, move, (width, height), flags=cv2.INTER_LINEAR)


def write_film(path: Path, frames: list[np.ndarray], *, rate: int = 25) -> Path:
    """Write a video with PyAV itself."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index, frame in enumerate(frames):
            encoded = av.VideoFrame.from_ndarray(frame)
            encoded.pts = index
            container.mux(stream.encode(encoded))
        container.mux(stream.encode())
    return path


def scenes_of(*lengths: int, **look) -> list[np.ndarray]:
    """Draw the frames of scenes of such lengths."""
    return [picture(scene, t, **look) for scene, length in enumerate(lengths) for t in range(length)]


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """A film of three scenes, of 10, 3 and 9 frames."""
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", scenes_of(10, 3, 9))


@pytest.fixture(scope="session")
def config() -> DatasetConfig:
    """Settings for small films, whose work is done in this process."""
    return DatasetConfig(frames=4, workers=1, depth="builtin", least_sharpness=0, least_flow_confidence=0)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, film, config) -> Path:
    """The dataset of the film; not to be changed."""
    folder = tmp_path_factory.mktemp("dataset") / "made"
    build_dataset([film], folder, config)
    return folder


@pytest.fixture
def films():
    """Return the functions that draw scenes and write them as a film."""
    return scenes_of, write_film
