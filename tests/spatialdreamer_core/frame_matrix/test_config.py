"""The options of the frame matrix."""

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.frame_matrix.config import PRESETS, FrameMatrixConfig


def test_a_preset_says_what_is_not_chosen():
    fast, paper = (FrameMatrixConfig(matrix_preset=name).settled() for name in ("fast", "paper"))
    assert (fast.views, fast.steps, fast.passes, fast.rows, fast.outpaint) == (4, 10, 2, "one_way", "off")
    assert (paper.views, paper.passes, paper.rows, paper.outpaint) == (8, 6, "both_ways", "on")
    assert FrameMatrixConfig(views=3, reinjections=0).settled().views == 3
    assert (
        FrameMatrixConfig(matrix_preset="paper", reinjections=0, rows="one_way").settled().reinjections == 0
    )
    assert all(set(preset) == set(PRESETS["fast"]) for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, r"views must be between 1 and 32, got 0"),
        ({"views": 33}, "views"),
        ({"passes": 0}, "passes"),
        ({"matrix_preset": "best"}, "matrix_preset must be one of fast, paper"),
        ({"window": 4, "overlap": 4}, r"overlap must be between 1 and window - 1 \(3 frames\), got 4"),
        ({"last_view_from": -1.0}, "last_view_from"),
        ({"margin": 100}, "margin must be a multiple of 64 px, got 100; try 128"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        FrameMatrixConfig(**options).settled()
