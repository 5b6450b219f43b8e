import numpy as np

from spatialdreamer_core.depth.guided_filter import ColourGuide


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
