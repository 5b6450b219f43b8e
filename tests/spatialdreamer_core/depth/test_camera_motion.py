import numpy as np
import pytest

from spatialdreamer_core.depth.camera_motion import centred_grid, fit_camera_motion


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
