from pathlib import Path

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import (
    InputError,
    check_choice,
    check_cuts,
    check_finite,
    check_range,
    check_types,
    check_video,
)
from spatialdreamer_core.pipeline import ConvertConfig


def test_range_error_states_rule_value_and_unit():
    with pytest.raises(InputError, match=r"divergence must be between 0 and 20 \(% of width\), got 35"):
        check_range("divergence", 35, 0, 20, "% of width")


def test_range_refuses_nan():
    with pytest.raises(InputError, match="got nan"):
        check_range("convergence", float("nan"), 0, 1)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_range_refuses_numbers_too_large_for_a_float(value):
    with pytest.raises(InputError, match="got one of more than 300 digits"):
        check_range("convergence", value, 0, 1)


@pytest.mark.parametrize("cuts", [None, 3, "12", [1.5], [None], [[1]], torch.zeros(2), [-1], [4]])
def test_cuts_are_numbers_of_frames(cuts):
    with pytest.raises(InputError, match="`cuts` must"):
        check_cuts(cuts, 4)
    check_cuts([0, np.int64(3)], 4)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 8, 8), torch.float32, r"\[F, C, H, W\]"),
        ((0, 3, 8, 8), torch.float32, "at least one frame"),
        ((2, 3, 8, 8), torch.uint8, "divide 8-bit values by 255"),
        ((2, 4, 8, 8), torch.float32, r"3 channel\(s\), got 4"),
        ((1, 3, 8, 8), torch.float32, "as many frames as `image`"),
        ((2, 3, 8, 9), torch.float32, "got 9x8; resize it first"),
    ],
)
def test_video_errors(shape, dtype, message):
    with pytest.raises(InputError, match=message):
        check_video("right", torch.zeros(shape, dtype=dtype), channels=3, like=torch.zeros(2, 3, 8, 8))


def test_choice_lists_the_choices():
    with pytest.raises(InputError, match="eye must be one of right, left, got 'up'"):
        check_choice("eye", "up", ("right", "left"))


def test_finite_counts_what_is_wrong():
    with pytest.raises(InputError, match="got 2 NaN or infinite values; mend it"):
        check_finite("depth", torch.tensor([0.0, float("nan"), float("inf")]), "mend it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divergence": "2"}, "divergence must be of type float, got '2'"),
        ({"divergence": True}, "divergence must be of type float, got True"),
        ({"crf": 18.0}, r"crf must be of type int, got 18\.0"),
        ({"audio": 1}, "audio must be of type bool, got 1"),
        ({"eye": ["right"]}, r"eye must be of type str, got \['right'\]"),
        ({"start": "0:10"}, "start must be of type float or None, got '0:10'"),
        ({"depth_file": 7}, "depth_file must be of type str or PathLike or None, got 7"),
    ],
)
def test_settings_of_another_type_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        ConvertConfig(**changes).check()


def test_settings_take_ints_for_floats_numpys_numbers_and_paths():
    check_types(
        ConvertConfig(divergence=2, start=np.float32(1), crf=np.int64(20), depth_file=Path("depth.npz"))
    )


def test_a_moment_must_be_finite():
    with pytest.raises(InputError, match=r"start must be between 0 and 1e\+07 \(seconds\), got inf"):
        ConvertConfig(start=float("inf")).check()
