import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.flow import (
    CutDetector,
    dis_flow,
    estimate_flow,
    find_cuts,
    flow_confidence,
    resize_flow,
    sample_at_flow,
)


def textured(height: int, width: int, *, seed: int = 0) -> torch.Tensor:
    """A smooth random texture [1, 3, height, width]."""
    noise = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)


def panning(frames: int, step: int) -> torch.Tensor:
    """A clip whose content moves `step` px to the right each frame."""
    wide = textured(96, 160 + frames * abs(step))
    starts = [(frames - 1 - t) * step if step > 0 else -t * step for t in range(frames)]
    return torch.cat([wide[..., start : start + 160] for start in starts])


@pytest.mark.parametrize("method", ["dis_ultrafast", "dis_fast", "dis_medium"])
@pytest.mark.parametrize("step", [3, -3])
def test_flow_follows_a_pan(method, step):
    flow = estimate_flow(panning(3, step), method=method)
    forward, backward = flow.forward, flow.backward
    assert forward.shape == backward.shape == (2, 2, 96, 160)
    inner = (slice(None), 0, slice(16, -16), slice(16, -16))
    assert (forward[inner] - step).abs().median() < 0.3
    assert (backward[inner] + step).abs().median() < 0.3


def test_one_frame_has_no_flow():
    flow = estimate_flow(textured(64, 64))
    assert flow.forward.shape == flow.backward.shape == (0, 2, 64, 64)
    assert flow.forward_confidence.shape == flow.backward_confidence.shape == (0, 1, 64, 64)
    assert flow_confidence(flow.forward, flow.backward).shape == (0, 1, 64, 64)
    assert flow.to_next(0) is flow.to_previous(0) is None


def test_tiny_frames_are_padded_inside():
    flow = estimate_flow(torch.rand(2, 3, 1, 1))
    assert flow.forward.shape == (1, 2, 1, 1)


def test_flow_can_be_interrupted():
    class Stopped(Exception):
        pass

    def stop(done):
        raise Stopped

    with pytest.raises(Stopped):
        estimate_flow(panning(3, 1), on_frame=stop)


def test_unknown_method_is_named():
    with pytest.raises(InputError, match="method must be one of dis_ultrafast"):
        estimate_flow(textured(64, 64), method="raft")


def test_confidence_by_hand():
    flow = torch.zeros(1, 2, 4, 8)
    flow[:, 0] = 2
    back = -flow
    back[..., 5] = 3  # disagrees: |2 + 3|² = 25 >= 0.01 (4 + 9) + 0.5
    confidence = flow_confidence(flow, back)
    assert confidence[0, 0, 0].tolist() == [1, 1, 1, 0, 1, 1, 0, 0]  # the last two leave the frame


def test_sampling_at_zero_flow_is_the_identity():
    values = torch.rand(2, 3, 5, 7)
    assert torch.allclose(sample_at_flow(values, torch.zeros(2, 2, 5, 7)), values, atol=1e-6)


def test_sampling_takes_the_pixel_that_flow_points_to():
    values = torch.arange(6.0).view(1, 1, 1, 6)
    flow = torch.zeros(1, 2, 1, 6)
    flow[:, 0] = 2
    sampled = sample_at_flow(values, flow, mode="nearest", outside="zeros")
    assert sampled.flatten().tolist() == [2, 3, 4, 5, 0, 0]


def test_resized_flow_keeps_its_meaning():
    flow = torch.ones(1, 2, 8, 10)
    resized = resize_flow(flow, (16, 40))
    assert resized.shape == (1, 2, 16, 40)
    assert torch.allclose(resized[:, 0], torch.tensor(4.0))
    assert torch.allclose(resized[:, 1], torch.tensor(2.0))


def test_cuts_are_found_where_scenes_change():
    first, second = textured(64, 96, seed=1) * 0.3, 1 - textured(64, 96, seed=2) * 0.3
    clip = torch.cat([first] * 4 + [second] * 3 + [first] * 2)
    assert find_cuts(clip) == [4, 7]


def test_the_first_frame_is_no_cut():
    frame = (textured(64, 96)[0].permute(1, 2, 0) * 255).byte().numpy()
    assert CutDetector().step(frame) is False


def test_flow_does_not_depend_on_frames_of_other_sizes_before():
    rng = np.random.default_rng(0)
    first = cv2.resize(rng.integers(0, 255, (12, 20), np.uint8), (160, 96), interpolation=cv2.INTER_CUBIC)
    second = np.roll(first, 3, axis=1)
    alone = dis_flow(first, second)
    dis_flow(first[:32, :32], second[:32, :32])
    np.testing.assert_array_equal(dis_flow(first, second), alone)
