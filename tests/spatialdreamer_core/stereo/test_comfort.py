import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.stereo import measure_comfort


def test_by_hand():
    disparity = torch.linspace(-2, 4, 601).repeat(2, 1, 1, 1)  # 0.01 px apart: p1 = -1.94, p99 = 3.94
    comfort = measure_comfort(disparity)
    assert comfort.p1 == pytest.approx(100 * -1.94 / 601, rel=1e-3)
    assert comfort.p99 == pytest.approx(100 * 3.94 / 601, rel=1e-3)
    assert comfort.within_limit
    assert comfort.describe() == (
        "nearest: 0.7 % in front of the screen; farthest: 0.3 % behind the screen (% of the width)"
    )


def test_a_few_wrong_pixels_do_not_count():
    disparity = torch.zeros(1, 1, 100, 100)
    disparity[0, 0, 0, :50] = 1000
    assert measure_comfort(disparity).p99 == 0


@pytest.mark.parametrize(("pixels", "within"), [(2.9, True), (3.1, False), (-2.9, True), (-3.1, False)])
def test_the_limit_holds_on_both_sides_of_the_screen(pixels, within):
    comfort = measure_comfort(torch.full((1, 1, 4, 100), pixels))
    assert comfort.p1 == comfort.p99 == pytest.approx(pixels)
    assert comfort.within_limit is within


def test_a_scene_all_behind_the_screen_is_said_to_be_there():
    comfort = measure_comfort(torch.full((1, 1, 4, 100), -1.0))
    assert comfort.describe().count("1.0 % behind the screen") == 2


def test_long_clips_are_sampled_evenly():
    disparity = torch.zeros(30, 1, 200, 500)
    disparity[15:] = 5
    comfort = measure_comfort(disparity)
    assert (comfort.p1, comfort.p99) == (0, 1)


def test_errors():
    with pytest.raises(InputError, match="`disparity` must be finite, got 1 NaN"):
        measure_comfort(torch.tensor([0.0, float("nan")]).view(1, 1, 1, 2))
