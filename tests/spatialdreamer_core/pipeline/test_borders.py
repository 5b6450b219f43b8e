"""What the sides of a film's frames cut: the stage equals the functions, and the bars are in the file."""

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import BuiltinStream
from spatialdreamer_core.dvg import ease_borders
from spatialdreamer_core.flow import open_flow
from spatialdreamer_core.pipeline import ConvertConfig, StageClock, convert
from spatialdreamer_core.pipeline.borders import treat_borders
from spatialdreamer_core.pipeline.stages import analyse, estimate, place
from spatialdreamer_core.stereo import floating_window
from spatialdreamer_core.video import read_frames

WIDTH, HEIGHT = 160, 96
CUT = 4  # the frame with which the second scene begins


def two_scenes(index):
    """A bright wall, then a dark one of another colour; neither is black anywhere."""
    rng = np.random.default_rng(int(index >= CUT))
    noise = rng.integers(0, 90, (12, 40, 3), np.uint8)
    wall = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return av.VideoFrame.from_ndarray(wall + np.uint8([160, 150, 140] if index < CUT else [40, 60, 90]))


@pytest.fixture
def clip(make_video):
    return make_video(frames=8, size=(WIDTH, HEIGHT), picture=two_scenes, options={"crf": "8"})


def convert_and_split(clip, folder, **settings):
    """Convert with everything in front of the screen; return the left and the right view, [F, H, W, 3]."""
    output = folder / "out.mp4"
    convert(
        clip,
        output,
        ConvertConfig(divergence=5, convergence=0, depth="builtin", crf=8, **settings),
        overwrite=True,
    )
    with av.open(str(output)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return frames[:, :, :WIDTH].astype(int), frames[:, :, WIDTH:].astype(int)


def placed_frames(clip, *, eyes=1):
    clock = StageClock()
    analysed = analyse(read_frames(clip), flow=open_flow("dis_fast"), clock=clock)
    estimated = estimate(analysed, estimator=BuiltinStream(), clock=clock)
    cpu = torch.device("cpu")
    return list(place(estimated, eyes=eyes, divergence=5, convergence=0.2, device=cpu, clock=clock))


def treated(frames, border, eyes=1):
    stage = treat_borders(iter(frames), border=border, width_percent=10, eyes=eyes, clock=StageClock())
    return list(stage)


def test_the_stage_equals_the_functions(clip):
    frames = placed_frames(clip)
    disparity = torch.cat([frame.disparity for frame in frames])
    assert [t for t, frame in enumerate(frames) if frame.analysed.starts_scene] == [0, CUT]

    eased = treated(frames, "ease")
    assert torch.equal(
        torch.cat([frame.disparity for frame in eased]), ease_borders(disparity, width_percent=10)
    )
    assert all((frame.small_disparity[..., 0] <= 0).all() for frame in eased)

    window = floating_window(disparity, cuts=[CUT])
    assert window.left.max() > 0
    for eyes, share in ((1, disparity), (2, disparity / 2)):
        halves = [replace(frame, disparity=share[t : t + 1]) for t, frame in enumerate(frames)]
        bars = [frame.window for frame in treated(halves, "floating_window", eyes)]
        assert torch.allclose(torch.cat([bar.left for bar in bars]), window.left)
        assert torch.allclose(torch.cat([bar.right for bar in bars]), window.right)

    assert all(a is b for a, b in zip(treated(frames, "none"), frames, strict=True))


@pytest.mark.parametrize("eye", ["right", "left", "both"])
def test_the_file_has_bars_at_the_outer_sides_of_both_views(clip, tmp_path, eye):
    plain = convert_and_split(clip, tmp_path, eye=eye)
    windowed = convert_and_split(clip, tmp_path, eye=eye, border="floating_window")
    for view, before, edge in zip(windowed, plain, (0, -1), strict=True):
        assert view[:, :, edge].mean() < 12 < 40 < before[:, :, edge].mean()
        untouched = view[:, :, 8:-8], before[:, :, 8:-8]
        assert np.abs(untouched[0] - untouched[1]).mean() < 2
        opposite = -1 - edge
        assert np.abs(view[:, :, opposite] - before[:, :, opposite]).mean() < 4


def test_eased_edges_meet_the_source(clip, tmp_path):
    for border, meets in (("none", False), ("ease", True)):
        left, right = convert_and_split(clip, tmp_path, border=border, border_width=15)
        at_the_edge = np.abs(left[:, :, :2] - right[:, :, :2]).mean()
        assert (at_the_edge < 4) == meets, at_the_edge
        assert np.abs(left - right)[:, :, 40:-40].mean() > 4, "the middle keeps its depth"


def test_errors():
    with pytest.raises(InputError, match=r"border must be one of none, ease, floating_window, got 'soft'"):
        ConvertConfig(border="soft").check()
    with pytest.raises(InputError, match=r"border_width must be between 0 and 25 \(% of width\), got 40"):
        ConvertConfig(border_width=40).check()
