import pytest
import torch

from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.metrics import make_clip, round_trip, round_trip_psnr

EYES = [("right", 0.05), ("left", -0.05)]


@pytest.mark.parametrize(("eye", "baseline"), EYES)
def test_the_true_view_comes_back(eye, baseline):
    clip = make_clip("strips_right", size=(48, 96), frames=2, baseline=baseline)
    back = round_trip(clip.frames, clip.other, clip.disparity, eye=eye)
    assert back.known.float().mean() > 0.85
    assert round_trip_psnr(clip.frames, clip.other, clip.disparity, eye=eye) > 30


@pytest.mark.parametrize(("eye", "baseline"), EYES)
def test_whole_pixels_come_back_as_they_were(eye, baseline):
    frames = torch.rand(1, 3, 20, 60, generator=torch.Generator().manual_seed(0))
    disparity = torch.full((1, 1, 20, 60), 4.0)
    warped, _ = forward_warp(frames, disparity, eye=eye)
    back = round_trip(frames, warped, disparity, eye=eye)
    known = torch.ones(60, dtype=torch.bool)
    known[slice(0, 4) if eye == "right" else slice(56, 60)] = False  # left the frame
    assert torch.equal(back.known[0, 0, 0], known)
    torch.testing.assert_close(back.view[..., known], frames[..., known])


@pytest.mark.parametrize(("eye", "baseline"), EYES)
def test_what_fills_holes_does_not_count(eye, baseline):
    clip = make_clip("strips_right", size=(48, 96), frames=1, baseline=baseline)
    warped, hole = forward_warp(clip.frames, clip.disparity, eye=eye)
    inside = torch.nn.functional.max_pool2d(1 - hole, (1, 3), 1, (0, 1)) < 0.5  # not beside what is known
    scores = [
        round_trip_psnr(
            clip.frames, torch.where(inside, torch.full_like(warped, value), warped), clip.disparity, eye=eye
        )
        for value in (0.0, 1.0)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    worse = (warped * 0.9).clamp(0, 1)
    assert round_trip_psnr(clip.frames, worse, clip.disparity, eye=eye) < scores[0] - 1
