import numpy as np
import torch

from spatialdreamer_core.evaluation.plots import draw_curves, draw_scanlines
from spatialdreamer_core.evaluation.tracks import Curves, Scanlines


def test_a_long_films_curve_has_a_mean_of_several_frames_a_point():
    curves = Curves()
    for t in range(10_001):
        curves.add({"psnr": float(t), **({"ssim": 1.0} if t % 2 else {})})
    values = curves.values()
    assert curves.step == 4
    assert len(values["psnr"]) == 2501
    assert values["psnr"][:2] == [1.5, 5.5]
    assert values["psnr"][-1] == 10_000
    assert set(values["ssim"][:-1]) == {1.0}
    assert values["ssim"][-1] is None


def test_a_long_films_scanlines_stay_few():
    scanlines = Scanlines(50)
    for t in range(3000):
        scanlines.add(result=torch.full((3, 2, 4), t % 256 / 255), truth=None)
    rows = scanlines.pictures()["result"]
    assert list(scanlines.pictures()) == ["result"]
    assert 512 <= len(rows) <= 1024
    step = 4
    assert np.array_equal(rows[:, 0, 0], [t % 256 for t in range(0, 3000, step)])


def test_the_row_is_within_the_picture():
    view = torch.arange(5).view(1, 5, 1).expand(3, 5, 2) / 255
    for percent, row in ((0, 0), (50, 2), (100, 4)):
        scanlines = Scanlines(percent)
        scanlines.add(result=view)
        assert (scanlines.pictures()["result"] == row).all()


def test_plots_of_too_little_are_none():
    assert draw_curves({"psnr": [1.0]}, 1) is None
    assert draw_curves({"psnr": [None, 1.0]}, 1) is None
    assert draw_curves({"psnr": [1.0, None, 2.0, 2.0]}, 1) is not None
    assert draw_scanlines({}) is None
    assert draw_scanlines({"result": np.zeros((1, 8, 3), np.uint8)}) is None
    assert draw_scanlines({"result": np.zeros((2, 8, 3), np.uint8)}).size[0] == 8
