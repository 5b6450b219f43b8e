import json

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.options import options_of
from spatialdreamer_core.spatialdreamer.config import SpatialDreamerConfig


def test_settings_survive_json():
    config = SpatialDreamerConfig(stage="stage2", blank_holes=True, til_neighbours=4, refiner_timestep=0.0)
    assert SpatialDreamerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_missing_settings_have_their_defaults():
    assert SpatialDreamerConfig.from_dict({"fps": 24}) == SpatialDreamerConfig(fps=24)


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_training_blanks_holes_and_an_untrained_network_does_not(stage):
    assert not SpatialDreamerConfig().blank_holes
    trained = SpatialDreamerConfig(fps=24).at_stage(stage)
    assert trained == SpatialDreamerConfig(fps=24, stage=stage, blank_holes=True)


def test_unknown_settings_are_named():
    with pytest.raises(InputError, match=r"got colour, taste; .* newer version"):
        SpatialDreamerConfig.from_dict({"taste": 1, "fps": 7, "colour": 2})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"til_neighbours": 65}, "til_neighbours must be between 1 and 64"),
        ({"til_neighbours": 0}, "til_neighbours must be between 1 and 64"),
        ({"til_weight": 1.5}, "til_weight must be between 0 and 1, got 1.5"),
        ({"deviation_scale": float("nan")}, "deviation_scale must be between"),
        ({"noise_augmentation": -1}, "noise_augmentation must be between 0 and 1, got -1"),
        ({"stage": "stage3"}, "stage must be one of untrained, stage1, stage2, got 'stage3'"),
        ({"fps": "fast"}, "fps must be of type int, got 'fast'"),
        ({"motion_bucket": True}, "motion_bucket must be of type int, got True"),
        ({"blank_holes": 1}, "blank_holes must be of type bool, got 1"),
    ],
)
def test_settings_that_break_their_rule_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SpatialDreamerConfig.from_dict(settings)


def test_every_setting_has_its_range_and_help_line_in_its_field():
    options = options_of(SpatialDreamerConfig)
    assert options.keys() == SpatialDreamerConfig().to_dict().keys()
    assert all(option.help.endswith(".") for option in options.values())
