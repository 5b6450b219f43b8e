import pytest
import torch

from spatialdreamer_core.spatialdreamer.bank import FeatureBank


def test_a_bank_gives_back_what_was_loaded_last_until_it_is_cleared():
    bank = FeatureBank()
    first, second = torch.rand(2, 6, 4), torch.rand(3, 6, 4)
    bank.load({"a": first, "b": first})
    bank.load({"a": second})
    assert bank.read("a") is second
    assert bank.read("b") is None
    bank.clear()
    assert bank.read("a") is None


def test_what_clips_drop_goes_with_the_features():
    bank, features = FeatureBank(), {"a": torch.rand(4, 2, 3)}
    assert bank.dropped is None
    dropped = torch.tensor([True, False])
    bank.load(features, dropped=dropped)
    assert bank.dropped is dropped
    bank.load(features)
    assert bank.dropped is None
    bank.load(features, dropped=dropped)
    bank.clear()
    assert bank.dropped is None


def test_a_disabled_bank_reads_as_empty_also_nested_and_after_an_error():
    bank = FeatureBank()
    bank.load({"a": torch.rand(1, 2, 3)})
    with bank.disabled():
        with bank.disabled():
            assert bank.read("a") is None
        assert bank.read("a") is None
    with pytest.raises(KeyError), bank.disabled():
        raise KeyError
    assert bank.read("a") is not None


def test_the_size_is_that_of_the_features():
    bank = FeatureBank()
    assert bank.nbytes == 0
    bank.load({"a": torch.rand(2, 6, 4), "b": torch.rand(2, 3, 8)})
    assert bank.nbytes == 4 * (48 + 48)
    bank.clear()
    assert bank.nbytes == 0
