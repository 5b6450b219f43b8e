import torch

from spatialdreamer_core.depth.inverse import to_inverse_depth


def test_metres_become_their_inverse_and_nonsense_nothing():
    raw = torch.tensor([2.0, 0.5, 0.0, -1.0, float("inf"), float("nan"), 1e-9]).view(1, 1, 1, 7)
    expected = [0.5, 2.0, 0.0, 0.0, 0.0, 0.0, 100.0]
    torch.testing.assert_close(to_inverse_depth(raw, "metric").flatten(), torch.tensor(expected))


def test_affine_outputs_keep_their_straight_line():
    raw = torch.tensor([0.0, 0.25, 1.0, float("nan")]).view(1, 1, 1, 4)
    assert to_inverse_depth(raw, "affine_depth").flatten().tolist() == [1, 0.75, 0, 0]
    assert to_inverse_depth(raw, "affine_inverse").flatten().tolist() == [0, 0.25, 1, 0]
