"""Each scene's strength and place: chosen once, by every way that frames and depth come."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

import spatialdreamer_core as sd
from spatialdreamer_core import cli
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import BuiltinStream, SceneStatistics, measure_statistics
from spatialdreamer_core.flow import open_flow
from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.pipeline import StageClock
from spatialdreamer_core.pipeline.chain import stereo_frames
from spatialdreamer_core.pipeline.job import Job
from spatialdreamer_core.pipeline.placement import measure_estimated
from spatialdreamer_core.pipeline.prefetch import StageThreads
from spatialdreamer_core.video.reader import VideoFrame, read_frames

SIZE = (60, 96)
AUTO = sd.ConvertConfig(depth="builtin", auto_convergence=True, divergence=5.0, edge_width=0)
LIMITED = replace(AUTO, auto_convergence=False, comfort=True, max_crossed=0.4, max_uncrossed=0.6)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def two_scenes():
    """Frames and depth of two scenes of twelve frames each; the second one's subject is less near."""
    clips = [make_clip(name, size=SIZE, frames=12) for name in ("translate_right", "walker")]
    frames = torch.cat([clips[0].frames, 1 - clips[1].frames])
    return (frames * 255).round() / 255, torch.cat([clip.inverse_depth for clip in clips])


def placements(pairs, caplog):
    """Convert; return what the log says of each scene."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="spatialdreamer_core.pipeline.placement"):
        pairs = list(pairs)
    return pairs, [record.getMessage() for record in caplog.records if "scene from" in record.getMessage()]


def disparities(frames, job):
    """Give the disparity that each frame was rendered with, through the whole chain."""
    film = (VideoFrame(image, t, Fraction(1, 25)) for t, image in enumerate(frames))
    with StageThreads() as threads:
        return [each.rendered.analysed.frame.placement for each in stereo_frames(film, job, threads=threads)]


def test_one_line_a_scene_says_what_it_got(two_scenes, caplog):
    frames, depth = two_scenes
    _, said = placements(sd.convert_frames(frames, AUTO, depth=depth), caplog)
    assert len(said) == 2
    assert said[0].startswith(
        "scene from 0.00 s: divergence 5.00 %, convergence 0.85 (was 0.5); subject at depth 0.85; "
        "nearest: 0.0 %"
    )
    assert said[1].startswith("scene from 12.00 s: divergence 5.00 %, convergence 0.70 (was 0.5)")


def test_each_scene_is_as_if_it_were_alone(two_scenes):
    frames, depth = two_scenes
    both = list(sd.convert_frames(frames, AUTO, depth=depth))
    second = list(sd.convert_frames(frames[12:], AUTO, depth=depth[12:]))
    for pair, alone in zip(both[12:], second, strict=True):
        assert torch.equal(pair.right, alone.right)


@pytest.mark.parametrize("eye", ["right", "left", "both"])
def test_the_chain_warps_by_it(two_scenes, eye):
    """With the same numbers given by hand the pictures are the same, bit for bit."""
    frames, depth = (part[:4] for part in two_scenes)
    (scene,) = measure_statistics(frames, depth)
    config = replace(AUTO, eye=eye)
    by_hand = replace(config, auto_convergence=False, convergence=scene.subject)
    for pair, expected in zip(
        sd.convert_frames(frames, config, depth=depth),
        sd.convert_frames(frames, by_hand, depth=depth),
        strict=True,
    ):
        assert torch.equal(pair.left, expected.left)
        assert torch.equal(pair.right, expected.right)


def test_one_value_holds_for_a_scene_and_changes_at_the_cut_alone(two_scenes):
    """Through the chain of films, with the builtin estimator, whose scenes are measured by a first pass."""
    frames = (two_scenes[0] * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    flow = open_flow("dis_fast")
    scenes = measure_estimated(
        (VideoFrame(image, t, Fraction(1, 25)) for t, image in enumerate(frames)),
        estimator=BuiltinStream(),
        flow=flow,
        shaping=AUTO.shaping(builtin=True),
        total=None,
        on_progress=None,
        clock=StageClock(),
    )
    job = Job(AUTO, CPU, BuiltinStream(), flow, sd.FastFill(), StageClock(), scenes=scenes)
    got = disparities(frames, job)
    assert [len({*got[:12]}), len({*got[12:]})] == [1, 1]
    assert [got[0].convergence, got[-1].convergence] == [scene.subject for scene in scenes]
    assert got[0] != got[-1]


def test_a_generator_is_placed_by_its_first_frames(two_scenes, caplog):
    """What can be read once has no first pass: 8 frames are held back, and its range is taken as 0 to 1."""
    frames, depth = two_scenes
    twice, _ = placements(sd.convert_frames(frames[:8], LIMITED, depth=depth[:8]), caplog)
    assert "divergence 1.4 % would fill the limits of 0.4 and 0.6 % in most scenes" in caplog.text
    once, said = placements(sd.convert_frames(iter(frames[:8]), LIMITED, depth=iter(depth[:8])), caplog)
    for pair, expected in zip(once, twice, strict=True):
        assert torch.equal(pair.right, expected.right), "a scene of 8 frames is seen whole"
    assert "(was 5)" in said[0]
    once, said = placements(sd.convert_frames(iter(frames), LIMITED, depth=iter(depth)), caplog)
    assert len(once) == 24
    assert "would fill" not in caplog.text, "the film's scenes are not known beforehand"
    assert all("divergence 1.00 % (was 5), convergence 0.60 (was 0.5)" in line for line in said)


@pytest.mark.parametrize("config", [AUTO, LIMITED], ids=["auto", "limited"])
def test_a_film_and_its_frames_in_memory_agree(two_scenes, tmp_path, make_video, config):
    """Written without loss and converted from the file, and from memory: the same scenes, the same values."""
    film = make_video("clip.mkv", codec="ffv1", size=(96, 60), frames=10)
    images = [frame.image for frame in read_frames(film)]
    frames = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    sd.convert(film, tmp_path / "out.mkv", replace(config, crf=0))
    pairs = sd.convert_frames(frames, config)
    for frame, pair in zip(read_frames(tmp_path / "out.mkv"), pairs, strict=True):
        expected = (torch.cat([pair.left, pair.right], -1) * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(frame.image.astype(float) - expected).mean() < 3


def test_a_model_is_placed_by_its_first_pass(two_scenes, caplog):
    class Given:
        """A model whose depth is that of the clip, in a unit of its own."""

        def __init__(self):
            from spatialdreamer_core.depth.models import find_model

            self.spec = find_model("midas")
            self.modules = (torch.nn.Linear(1, 1),)

        def inverse_depth(self, frames):
            return 300 * frames[:, :1] + 20

    frames = torch.cat([two_scenes[1], two_scenes[0][:, :2]], 1)  # red is depth
    config = replace(AUTO, depth_stability=0.0)
    _, twice = placements(sd.convert_frames(frames, config, depth_model=Given()), caplog)
    assert "subject at depth 1.00" in twice[0], "the ellipse is the nearest, and fills more than 2 %"
    _, once = placements(sd.convert_frames(iter(frames), config, depth_model=Given()), caplog)
    assert len(once) == len(twice)


@pytest.mark.parametrize("name", ["photo.png", "large.png"])
def test_a_photo_is_placed_too(tmp_path, name, caplog, monkeypatch):
    monkeypatch.setattr("spatialdreamer_core.pipeline.photo.needs_strips", lambda image: name == "large.png")
    clip = make_clip("still", size=(120, 192), frames=1)
    image = (clip.frames[0] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(image).save(tmp_path / name)
    depth = (clip.inverse_depth[0, 0] * 65535).round().numpy().astype(np.uint16)
    Image.fromarray(depth).save(tmp_path / "depth.png")
    config = replace(AUTO, depth_file=str(tmp_path / "depth.png"), depth_kind="normalised")
    _, said = placements((sd.convert(tmp_path / name, out, config) for out in [tmp_path / "out.png"]), caplog)
    assert "subject at depth 0.85" in said[0]
    by_hand = replace(config, auto_convergence=False, convergence=0.85)
    sd.convert(tmp_path / name, tmp_path / "by_hand.png", by_hand)
    got, expected = (np.asarray(Image.open(tmp_path / file)) for file in ("out.png", "by_hand.png"))
    assert np.abs(got.astype(int) - expected).mean() < 0.5


def test_the_floating_window_sees_what_is_warped(two_scenes):
    """All behind the screen, nothing pops out of it: there is no bar."""
    frames, depth = (part[:3] for part in two_scenes)
    config = replace(LIMITED, max_crossed=0.0, max_uncrossed=3.0, border="floating_window")
    flat = replace(config, border="none")
    for pair, expected in zip(
        sd.convert_frames(frames, config, depth=depth),
        sd.convert_frames(frames, flat, depth=depth),
        strict=True,
    ):
        assert torch.equal(pair.left, expected.left)
        assert torch.equal(pair.right, expected.right)


def test_one_colour_and_one_depth_go_through():
    frames, depth = torch.full((2, 3, *SIZE), 0.5), torch.full((2, 1, *SIZE), 0.3)
    for config in (AUTO, LIMITED):
        for pair in sd.convert_frames(frames, config, depth=depth):
            torch.testing.assert_close(pair.right, frames[0])
    assert len(list(sd.convert_frames(frames[:1], AUTO))) == 1


def test_depth_that_is_not_finite_is_refused_before_the_work(two_scenes):
    frames, depth = two_scenes
    broken = depth.clone()
    broken[20, 0, 3, 3] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        next(sd.convert_frames(frames, AUTO, depth=broken))


def run(*arguments):
    return cli.main(["convert", *map(str, arguments), "--quiet"])


def test_the_command_knows_auto_and_devices(make_video, tmp_path, capsys):
    film = make_video("clip.mkv", frames=3)
    common = (film, "--depth", "builtin", "--overwrite", "-o", tmp_path / "out.mkv")
    assert run(*common, "--convergence", "auto") == 0
    assert "scene from 0.00 s: divergence 2.50 %, convergence" in capsys.readouterr().err
    assert run(*common, "--device-profile", "quest") == 0
    assert "divergence 1.50 %" in capsys.readouterr().err
    assert run(*common, "--device-profile", "quest", "--divergence", "2.5", "--max-crossed", "3") == 0
    assert "divergence 2.50 %" in capsys.readouterr().err, "what is given wins, also if it is the default"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--convergence", "nearest"), "invalid float value: 'nearest'"),
        (("--convergence", "1.5"), "convergence must be between 0 and 1, got 1.5"),
        (("--device-profile", "imax"), "invalid choice: 'imax'"),
        (("--comfort", "--max-crossed", "-1"), "max_crossed must be between 0 and 20 (% of width), got -1"),
        (("--comfort", "--max-crossed", "0", "--max-uncrossed", "0"), "must leave room for depth"),
        (("--convergence", "auto", "--comfort", "--max-uncrossed", "0"), "with automatic convergence"),
    ],
)
def test_wrong_values_are_told(make_video, tmp_path, capsys, arguments, message):
    film = make_video("clip.mkv", frames=2)
    try:
        code = run(film, "-o", tmp_path / "out.mkv", *arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_statistics_are_plain_numbers():
    """A film's manifest holds them."""
    assert SceneStatistics(*SceneStatistics(0.5, 0.1, 0.9)) == (0.5, 0.1, 0.9)
