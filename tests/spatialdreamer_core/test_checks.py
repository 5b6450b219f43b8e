import pytest
import torch

from spatialdreamer_core.checks import InputError, check_choice, check_finite, check_range, check_video


def test_range_error_states_rule_value_and_unit():
    with pytest.raises(InputError, match=r"divergence must be between 0 and 20 \(% of width\), got 35"):
        check_range("divergence", 35, 0, 20, "% of width")


def test_range_refuses_nan():
    with pytest.raises(InputError, match="got nan"):
        check_range("convergence", float("nan"), 0, 1)


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
