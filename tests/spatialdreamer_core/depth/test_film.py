"""A film converted with a depth model: the real loading code and a tiny model of the real class."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import ConvertConfig, VideoWriter, convert, probe, read_frames


@pytest.fixture
def film(tmp_path):
    """Give a film of noise, 5 frames."""
    path = tmp_path / "film.mp4"
    generator = np.random.default_rng(0)
    size = {"width": 96, "height": 64}
    with VideoWriter(path, **size, frame_rate=Fraction(25), time_base=Fraction(1, 25)) as writer:
        for t in range(5):
            writer.write(generator.integers(0, 256, (64, 96, 3), dtype=np.uint8), t)
    return path


def test_a_film_is_converted_with_the_model_that_is_asked_for(install, film, tmp_path):
    install("depth_anything_v2_small")
    pictures = {}
    for name in ("depth_anything_v2_small", "builtin"):
        output = tmp_path / f"{name}.mp4"
        assert convert(film, output, ConvertConfig(depth=name)) == 5
        assert probe(output).width == 192
        pictures[name] = np.stack([frame.image for frame in read_frames(output)])
    assert (pictures["builtin"] != pictures["depth_anything_v2_small"]).any()


def test_missing_weights_end_before_anything_is_written(models_folder, film, tmp_path):
    with pytest.raises(InputError, match="depth_anything_v2_small"):
        convert(film, tmp_path / "out.mp4", ConvertConfig(depth="depth_anything_v2_small"))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".mp4"] == ["film.mp4"]
