import numpy as np
import pytest

from spatialdreamer_core.depth.camera_motion import centred_grid, fit_camera_motion
from spatialdreamer_core.depth.guided_filter import ColourGuide, steepen_edges


def test_a_constant_stays_constant():
    image = np.random.default_rng(0).random((30, 40, 3), np.float32)
    result = ColourGuide(image, radius=3, epsilon=1e-3).filter(np.full((30, 40), 0.4, np.float32))
    assert np.allclose(result, 0.4, atol=1e-5)


def test_coefficients_equal_the_window_by_window_regression():
    generator = np.random.default_rng(1)
    image, values = generator.random((12, 14, 3), np.float32), generator.random((12, 14), np.float32)
    radius, epsilon = 2, 1e-2
    slopes = np.zeros((12, 14, 4))
    for row in range(12):
        for column in range(14):
            rows = [_reflect(row + k, 12) for k in range(-radius, radius + 1)]
            columns = [_reflect(column + k, 14) for k in range(-radius, radius + 1)]
            colours = image[np.ix_(rows, columns)].reshape(-1, 3)
            wanted = values[np.ix_(rows, columns)].ravel()
            covariance = np.cov(colours.T, bias=True) + epsilon * np.eye(3)
            shared = ((colours - colours.mean(0)) * (wanted - wanted.mean())[:, None]).mean(0)
            slope = np.linalg.solve(covariance, shared)
            slopes[row, column] = *slope, wanted.mean() - slope @ colours.mean(0)
    expected = np.zeros_like(slopes)
    for row in range(12):
        for column in range(14):
            rows = [_reflect(row + k, 12) for k in range(-radius, radius + 1)]
            columns = [_reflect(column + k, 14) for k in range(-radius, radius + 1)]
            expected[row, column] = slopes[np.ix_(rows, columns)].mean((0, 1))
    ours = ColourGuide(image, radius=radius, epsilon=epsilon).coefficients(values)
    assert np.allclose(ours, expected, atol=2e-4)


def _reflect(index, length):
    return -index - 1 if index < 0 else 2 * length - index - 1 if index >= length else index


def test_steps_are_made_and_slopes_kept():
    ramp = np.tile(np.clip((np.arange(40, dtype=np.float32) - 17) / 6, 0, 1), (10, 1))
    steep = steepen_edges(ramp, radius=3)
    assert np.abs(np.diff(steep, axis=1)).max() > 1.7 * np.abs(np.diff(ramp, axis=1)).max()
    assert np.array_equal(steep[:, :14], ramp[:, :14])
    slope = np.tile(np.linspace(0, 0.4, 100, dtype=np.float32), (10, 1))
    assert np.array_equal(steepen_edges(slope, radius=3), slope)


@pytest.mark.parametrize("zoom", [0.0, 6.0])
def test_camera_motion_is_recovered_beside_a_moving_object(zoom):
    x, y = centred_grid(180, 320)
    flow = np.stack([3 + zoom * x - 4 * y, -1 + zoom * y + 4 * x], -1).astype(np.float32)
    flow[40:150, 60:160] += (5, 2)
    motion = fit_camera_motion(flow, x, y)
    assert motion.shift == pytest.approx([3, -1], abs=0.05)
    assert motion.zoom == pytest.approx(zoom, abs=0.2)
    assert motion.roll == pytest.approx(4, abs=0.2)
    assert motion.weights.mean() > 0.6


def test_a_turn_of_the_camera_bends_the_field():
    x, y = centred_grid(180, 320)
    flow = np.stack([4 * (1 + x * x), 4 * x * y], -1).astype(np.float32)
    motion = fit_camera_motion(flow, x, y)
    assert motion.bend == pytest.approx(0.9, abs=0.1)
    assert np.abs(motion.field(x, y) - flow).max() < 0.1
