from __future__ import annotations

import numpy as np
import pytest

from spatialdreamer_core.depth.camera_motion import centred_grid
from spatialdreamer_core.depth.expansion import fit_expansion, measure_rates

HEIGHT, WIDTH = 120, 320
X, Y = centred_grid(HEIGHT, WIDTH)
SURE = np.ones((HEIGHT, WIDTH), np.float32)


def street():
    """Give inverse depth of a road under a sky, with an upright block on it."""
    depth = np.maximum(2 * Y, 0)
    depth[40:110, 200:260] = 0.3
    return depth


def flow_of(depth, *, speed=40.0, focus=(0.03, -0.02), turn=(0.0, 0.0), roll=0.0):
    """Make the flow of a camera that moves towards the focus, in pixels."""
    rate = speed * depth
    u, v = rate * (X - focus[0]) + turn[0] - roll * Y, rate * (Y - focus[1]) + turn[1] + roll * X
    return np.stack([u, v], -1).astype(np.float32)


@pytest.mark.parametrize("speed", [40.0, -40.0, 8.0])
@pytest.mark.parametrize("focus", [(0.0, 0.0), (0.2, -0.05), (-0.3, 0.02)])
def test_the_focus_and_the_direction_are_found(speed, focus):
    fit = fit_expansion(flow_of(street(), speed=speed, focus=focus), SURE, X, Y)
    np.testing.assert_allclose(fit.focus, focus, atol=0.02)
    assert fit.sign == np.sign(speed)
    assert fit.share > 0.9
    assert fit.contrast > 0.5


@pytest.mark.parametrize(("turn", "roll"), [((1.5, 0.0), 0.0), ((-1.0, 0.5), 0.0), ((0.0, 0.0), 2.0)])
def test_a_turn_on_the_way_is_told_from_the_focus(turn, roll):
    fit = None
    for _ in range(4):  # it is followed from frame to frame
        fit = fit_expansion(flow_of(street(), turn=turn, roll=roll), SURE, X, Y, start=fit)
    np.testing.assert_allclose(fit.focus, (0.03, -0.02), atol=0.03)
    np.testing.assert_allclose(fit.turn, turn, atol=0.3)
    assert fit.share > 0.9


def test_vectors_that_went_astray_do_not_move_the_focus():
    flow = flow_of(street())
    generator = np.random.default_rng(0)
    astray = generator.random((HEIGHT, WIDTH)) < 0.15
    flow[astray] = generator.normal(0, 10, (int(astray.sum()), 2))
    np.testing.assert_allclose(fit_expansion(flow, SURE, X, Y).focus, (0.03, -0.02), atol=0.03)


def test_the_mirror_image_has_the_mirrored_focus():
    flow = flow_of(street(), focus=(0.2, -0.05))
    mirrored = np.ascontiguousarray(flow[:, ::-1]) * np.array([-1, 1], np.float32)
    np.testing.assert_allclose(fit_expansion(mirrored, SURE, X, Y).focus, (-0.2, -0.05), atol=0.02)


def test_a_zoom_has_no_contrast():
    fit = fit_expansion(flow_of(np.full((HEIGHT, WIDTH), 0.3)), SURE, X, Y)
    assert fit.share > 0.9
    assert fit.contrast < 0.1


def test_what_passes_sideways_does_not_radiate():
    flow = np.stack([-10 * (0.2 + street()), np.zeros((HEIGHT, WIDTH))], -1).astype(np.float32)
    fit = fit_expansion(flow, SURE, X, Y)
    assert fit is None or fit.share < 0.55


def test_a_turn_alone_does_not_radiate():
    flow = np.tile(np.float32([6, 1]), (HEIGHT, WIDTH, 1))
    fit = fit_expansion(flow, SURE, X, Y)
    assert fit is None or fit.share < 0.55 or fit.moving < 0.3


def test_one_object_before_a_resting_scene_is_no_expansion():
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[40:110, 100:150] = 5
    assert fit_expansion(flow, SURE, X, Y) is None


def test_nothing_is_fitted_to_flow_without_confidence():
    assert fit_expansion(flow_of(street()), 0 * SURE, X, Y) is None


@pytest.mark.parametrize("speed", [40.0, -40.0])
def test_rates_are_nearness(speed):
    depth = street()
    flow = flow_of(depth, speed=speed)
    fit = fit_expansion(flow, SURE, X, Y)
    layers = measure_rates([flow, flow], fit, X, Y)
    far = np.hypot(X - 0.03, Y + 0.02) > 0.12
    expected = 0.3 * 40 * depth
    assert len(layers.amounts) == 2
    for amount in layers.amounts:
        np.testing.assert_allclose(amount[far], expected[far], atol=0.4)
    assert layers.reliable[far].min() > 0.6
    assert layers.reliable[58, 169] < 0.1  # at the focus nothing can be told


def test_what_crosses_the_rays_is_not_relied_on():
    flow = flow_of(street())
    fit = fit_expansion(flow, SURE, X, Y)
    flow[90:110, 30:60] += np.float32([-6, 6])
    reliable = measure_rates([flow], fit, X, Y).reliable
    assert reliable[92:108, 32:58].max() < 0.6 < reliable[92:108, 250:300].min()
