"""The command's arguments are those of the settings' fields."""

from __future__ import annotations

import argparse
from dataclasses import make_dataclass

import pytest

from spatialdreamer_core import commands, pipeline
from spatialdreamer_core.arguments import add_filler_options, add_options, given_options
from spatialdreamer_core.cli import _build_parser, main
from spatialdreamer_core.options import option, options_of
from spatialdreamer_core.pipeline import FILLERS, ConvertConfig, FillerEntry

GLOW = ("glow_near", float, option(0.2, 0.0, 1.0, "px", help="How much near things glow."))


def convert_arguments() -> dict[str, argparse.Action]:
    (commands,) = (action for action in _build_parser()._actions if action.choices)
    return {name: action for action in commands.choices["convert"]._actions for name in action.option_strings}


def spaced(text: str) -> str:
    return " ".join(text.split())


def help_of(capsys, *command: str) -> str:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    return spaced(capsys.readouterr().out)


def test_one_more_setting_is_one_more_argument(monkeypatch, tmp_path, capsys):
    extended = make_dataclass("ConvertConfig", [GLOW], bases=(ConvertConfig,), frozen=True)
    monkeypatch.setattr(pipeline, "ConvertConfig", extended)
    monkeypatch.setattr(commands, "ConvertConfig", extended)
    shown = help_of(capsys, "convert")
    assert "--glow-near PX How much near things glow. Range: 0 to 1 px. (default: 0.2)" in shown
    assert main(["convert", str(tmp_path / "clip.mp4"), "--glow-near", "3"]) == 2
    assert "glow_near must be between 0 and 1 (px), got 3" in capsys.readouterr().err


def test_one_more_option_of_a_filler_is_one_more_argument_of_that_filler(monkeypatch, tmp_path, capsys):
    fast = FILLERS["fast"]
    extended = make_dataclass("FastFillConfig", [GLOW], bases=(fast.settings,), frozen=True)
    monkeypatch.setitem(FILLERS, "fast", FillerEntry(fast.help, extended, fast.load))
    assert "--glow-near PX fast: How much near things glow." in help_of(capsys, "convert")
    assert main(["convert", str(tmp_path / "clip.mp4"), "--glow-near", "3"]) == 2
    assert "glow_near must be between 0 and 1 (px), got 3" in capsys.readouterr().err
    arguments = ["convert", str(tmp_path / "clip.mp4"), "--filler", "stable_diffusion", "--glow-near", "1"]
    assert main(arguments) == 2
    assert "glow_near must go with the filler fast, got it with stable_diffusion" in capsys.readouterr().err


def test_every_option_is_an_argument_with_its_line_choices_and_no_default_of_its_own():
    arguments = convert_arguments()
    owners = [(settings, "") for settings in (ConvertConfig,)]
    owners += [(entry.settings, name) for name, entry in FILLERS.items()]
    for settings, filler in owners:
        for name, described in options_of(settings).items():
            if name in ("depth_file", "auto_convergence"):  # `--depth` and `--convergence` take them
                continue
            action = arguments[f"--{name.replace('_', '-')}"]
            said = action.help.replace("%%", "%")
            assert described.help in said
            assert described.line in said or name in ("depth", "allow_incomplete", "convergence"), (
                "with its range"
            )
            assert filler in said
            assert action.default is argparse.SUPPRESS
            if described.choices and name != "depth":
                assert action.choices == described.list_choices()


def test_what_fillers_share_is_said_once_where_it_is_the_same():
    seed = convert_arguments()["--seed"].help
    assert seed.startswith("stable_diffusion, spatialdreamer, frame_matrix: Seed of the noise.")
    steps = convert_arguments()["--steps"].help
    assert "stable_diffusion: Steps of denoising. Range: 1 to 1000. (default: 50)" in steps
    assert (
        "spatialdreamer: Sampling steps. 8 is the fast preset. Without `weights` the default is 10. " in steps
    )
    assert "Range: 1 to 200. (default: 25)" in steps


def test_fillers_do_not_share_a_name_for_a_number_and_a_text():
    other = make_dataclass("Other", [("steps", str, option("", help="Of the stairs."))])
    with pytest.raises(TypeError, match="steps must be of one type for stable_diffusion, other"):
        add_filler_options(
            argparse.ArgumentParser(),
            {"stable_diffusion": FILLERS["stable_diffusion"].settings, "other": other},
        )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {}),
        (["--no-audio"], {"audio": False}),
        (["--no-audio", "--audio"], {"audio": True}),
        (["--guided-upsampling", "--crf", "20"], {"guided_upsampling": True, "crf": 20}),
        (["--start", "1:30", "--end", "95"], {"start": 90.0, "end": 95.0}),
        (["--edge-width", "4", "--depth-gamma", "2"], {"edge_width": 4, "depth_gamma": 2.0}),
        (["--format", "anaglyph", "--depth", "any name"], {"format": "anaglyph", "depth": "any name"}),
    ],
)
def test_only_what_is_given_is_passed_on(given, expected):
    parser = argparse.ArgumentParser()
    add_options(parser, options_of(ConvertConfig).values())
    assert given_options(parser.parse_args(given), ConvertConfig) == expected


@pytest.mark.parametrize("name", ["--encoder", "--codec"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [("x264", "libx264"), ("libx264", "libx264"), ("x265", "libx265"), ("libx265", "libx265")],
)
def test_the_encoder_may_be_named_as_before_and_shorter(name, given, expected):
    parser = argparse.ArgumentParser()
    add_options(parser, options_of(ConvertConfig).values())
    assert given_options(parser.parse_args([name, given]), ConvertConfig) == {"codec": expected}


def test_an_encoder_that_is_none_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "clip.mp4", "--encoder", "h265"])
    said = capsys.readouterr().err
    assert "argument --encoder/--codec: invalid choice: 'h265' (choose from" in said
    assert "nvenc" in said


def test_the_defaults_that_are_shown_are_words_where_there_is_no_number():
    arguments = convert_arguments()
    assert arguments["--edge-width"].help.endswith("(default: 3 for depth models, 0 for builtin)")
    assert arguments["--end"].help.endswith("Range: 0 seconds and up. (default: to the end)")
    assert arguments["--audio"] is arguments["--no-audio"]
    assert arguments["--audio"].help.endswith("(default: on)")
    assert "None" not in "".join(action.help or "" for action in arguments.values())
