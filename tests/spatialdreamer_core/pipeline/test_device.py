"""Where a film's views are rendered, by the memory of the GPU: what is said of it, and what fits."""

from __future__ import annotations

import logging
import re

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import choose_device, device

CUDA = torch.device("cuda:0")


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that gives the GPU so many GB, some of them free."""

    def give(total, free):
        monkeypatch.setattr(device, "free_memory", lambda _: int(free * 2**30))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, int(total * 2**30)))

    return give


@pytest.mark.parametrize(
    ("size", "total", "free", "where", "narrow", "said"),
    [
        ((1080, 1920), 24, 22, "cuda:0", False, r"1\.\d GB at the peak, 22\.0 GB of 24\.0 GB are free$"),
        ((1080, 1920), 4, 3.5, "cuda:0", False, r"1\.\d GB at the peak, 3\.5 GB of 4\.0 GB are free$"),
        (
            (2160, 3840),
            4,
            3.5,
            "cuda:0",
            True,
            r"3\.\d GB at .* are free: one frame at a time is on its way$",
        ),
        ((4320, 7680), 8, 7.5, "cpu", False, r"1\d\.\d GB at .*: their views are rendered on the CPU$"),
        ((4320, 7680), 24, 14, "cuda:0", True, r"1\d\.\d GB at .*: one frame at a time is on its way$"),
    ],
)
def test_the_log_says_what_a_film_takes(gpu, caplog, size, total, free, where, narrow, said):
    gpu(total, free)
    with caplog.at_level(logging.INFO):
        assert device.choose_place(CUDA, size, eyes=1) == (torch.device(where), narrow)
    (record,) = caplog.records
    said = rf"^cuda:0: frames of {size[1]}x{size[0]} take about {said}"
    assert re.search(said, record.getMessage()), record.getMessage()


def test_the_cpu_is_asked_nothing(caplog):
    with caplog.at_level(logging.INFO):
        assert device.choose_place(torch.device("cpu"), (10**5, 10**5), eyes=2) == (
            torch.device("cpu"),
            False,
        )
    assert caplog.records == []


def test_the_estimate_grows_with_what_is_rendered():
    one, two, narrow = (
        device.estimate_peak((1080, 1920), eyes=eyes, narrow=narrow)
        for eyes, narrow in ((1, False), (2, False), (1, True))
    )
    assert narrow < one < two < 2 * one


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"device must be auto or one that is supported .*got 'cuda:7'"):
        choose_device("cuda:7")
