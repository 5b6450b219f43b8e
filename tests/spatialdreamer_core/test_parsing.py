import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.parsing import parsing


@pytest.mark.parametrize(
    "error", [ValueError("bad\nmagic"), KeyError("x"), RecursionError(), OverflowError(), OSError("cut")]
)
def test_whatever_a_parser_raises_becomes_rule_value_remedy(error):
    with pytest.raises(
        InputError, match=r"^depth must be whole, got a\.npz \(.+\); save it again$"
    ) as caught:
        with parsing("a.npz", rule="depth must be whole", remedy="save it again"):
            raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_an_input_error_and_an_interrupt_pass_as_they_are():
    for error in (InputError("said already"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, parsing("a", rule="", remedy=""):
            raise error
        assert caught.value is error


def test_running_out_of_memory_says_so():
    with pytest.raises(InputError, match="more memory than is free"), parsing("a", rule="", remedy=""):
        raise MemoryError
