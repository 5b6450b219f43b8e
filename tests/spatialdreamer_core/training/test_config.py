import dataclasses

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.options import options_of
from spatialdreamer_core.training.config import (
    FREE_TO_CHANGE,
    PRESETS,
    TrainConfig,
    check_resumable,
    from_preset,
)


def test_the_defaults_are_the_papers():
    first, second = (from_preset("paper", stage) for stage in ("1", "2"))
    assert (first.height, first.width, first.batch, first.steps) == (1024, 1024, 8, 100_000)
    assert (second.height, second.width, second.batch, second.steps) == (1024, 1024, 2, 10_000)
    assert (first.clip_frames, second.clip_frames) == (1, 8)
    for config in (first, second):
        assert (config.optimizer, config.learning_rate, config.stereo_weight) == ("adamw", 1e-5, 1e-3)
        assert (config.til_weight, config.til_neighbours) == (0.6, 8)
        assert not config.deviation_map


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stage", ["1", "2"])
def test_presets_are_valid_and_what_is_given_comes_first(preset, stage):
    assert from_preset(preset, stage).stage == stage
    assert from_preset(preset, stage, steps=7).steps == 7


def test_settings_survive_json_and_strange_ones_are_named():
    config = from_preset("test", "2")
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="must be those of this version, got others: colour"):
        TrainConfig.from_dict({**config.to_dict(), "colour": 1})
    with pytest.raises(InputError, match="got others: seed"):
        TrainConfig.from_dict({name: value for name, value in config.to_dict().items() if name != "seed"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 1.0}, "learning_rate must be between 1e-09 and 0.1, got 1"),
        ({"learning_rate": float("nan")}, "learning_rate must be between"),
        ({"batch": 6, "accumulation": 4}, "batch must be a multiple of accumulation, .* got 6 and 4"),
        ({"whole_unet": True}, "whole_unet belongs to stage 2"),
        ({"stage": "3"}, "stage must be one of 1, 2, got '3'"),
        ({"drop_reference": 1.5}, "drop_reference must be between 0 and 1"),
        ({"tracker": "paper"}, "tracker must be one of auto, none"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings).check()


def test_a_run_goes_on_with_the_settings_that_decide_its_result():
    before = TrainConfig()
    check_resumable(before, dataclasses.replace(before, steps=5, keep=9, learning_rate=1e-6), where="run")
    with pytest.raises(InputError, match=r"settings it began with, .* for run: batch 8 \(now 4\), seed 0"):
        check_resumable(before, dataclasses.replace(before, batch=4, seed=1), where="run")
    assert set(FREE_TO_CHANGE) <= set(options_of(TrainConfig))


def test_the_learning_rate_rises_in_equal_steps():
    config = TrainConfig(learning_rate=1e-2, warmup=3)
    rates = [config.rate_at(step) for step in range(5)]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert TrainConfig(learning_rate=1e-2).rate_at(0) == 1e-2
