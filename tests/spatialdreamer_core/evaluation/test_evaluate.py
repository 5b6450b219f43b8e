"""`spatialdreamer evaluate` end to end on tiny clips."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.cli import main
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.evaluation import EvaluateConfig
from spatialdreamer_core.evaluation.disparity import read_disparity
from spatialdreamer_core.evaluation.views import ViewReader
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.metrics import MEASURES, masked_psnr, ssim

from .clips import FRAMES, SIZE, packed, scene, to_8_bit, write_folder, write_video


@pytest.fixture(scope="module")
def clip():
    return scene()


@pytest.fixture(scope="module")
def result(clip):
    """The right view as a user gets it: rendered, filled, and stored in 8 bits."""
    warped, hole = forward_warp(clip.frames, clip.disparity)
    filled = fast_fill(warped, hole, left=clip.frames, disparity=clip.disparity)
    return to_8_bit(filled).float() / 255


@pytest.fixture
def depth(clip, tmp_path):
    """Depth in [0, 1] that gives the true disparity with a divergence of 10 % and a convergence of 0."""
    path = tmp_path / "depth.npz"
    np.savez(path, depth=clip.inverse_depth[:, 0].numpy())
    return path


def run(*arguments):
    return main(["evaluate", *map(str, arguments), "--quiet"])


def figures_of(folder, index=0):
    return json.loads((folder / "evaluation.json").read_text())["results"][index]["figures"]


def test_a_result_against_the_truth(clip, result, tmp_path, capsys):
    video = write_video(tmp_path / "film.mkv", result)
    truth = write_folder(tmp_path / "truth", clip.other)
    assert run(video, "--truth", truth, "-o", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "PSNR, whole (dB, higher is better)" in said.out
    assert said.out.splitlines()[-1] == str(tmp_path / "out" / "evaluation.json")
    assert "film: not measured: colour_shift (needs two chunks of frames" in said.err
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    figures = written["results"][0]["figures"]
    true = to_8_bit(clip.other).float() / 255
    assert figures["psnr"] == pytest.approx(masked_psnr(result, true), abs=1e-3)
    assert figures["ssim"] == pytest.approx(ssim(result, true), abs=1e-5)
    assert written["mean"] == figures
    assert written["results"][0]["frames"] == FRAMES
    assert len(written["results"][0]["curves"]["psnr"]) == FRAMES
    assert written["measures"]["psnr"]["unit"] == "dB"
    assert set(os.listdir(tmp_path / "out")) == {
        "evaluation.json",
        "film_curves.png",
        "film_scanlines.png",
    }
    scanlines = Image.open(tmp_path / "out" / "film_scanlines.png")
    assert scanlines.width == SIZE[1]


def test_all_measures_of_a_stereo_file_with_its_depth(clip, result, depth, tmp_path):
    stereo = write_video(tmp_path / "film_LRF_Full_SBS.mkv", packed(clip.frames, result))
    truth = write_video(tmp_path / "truth_LRF_Full_SBS.mkv", packed(clip.frames, clip.other))
    given = ("--depth", depth, "--depth-kind", "normalised", "--divergence", 10, "--convergence", 0)
    assert run(stereo, "--truth", truth, *given, "--edge-width", 0, "--chunk", 2, "-o", tmp_path / "out") == 0
    figures = figures_of(tmp_path / "out")
    assert set(figures) == set(MEASURES) - {"lpips", "lpips_holes", "fvd"}
    assert figures["psnr_visible"] > figures["psnr"] > figures["psnr_border"]
    assert figures["consistency"] > 50, "known pixels are the warp's, but for 8 bits"
    assert figures["round_trip"] > 30
    assert figures["disparity_error"] < 0.6


def test_a_stereo_file_alone_gives_what_needs_no_truth(clip, result, tmp_path):
    stereo = write_video(tmp_path / "film_LRF_Full_SBS.mkv", packed(clip.frames, result))
    assert run(stereo, "-o", tmp_path / "out", "--depth", "builtin") == 0
    figures = figures_of(tmp_path / "out")
    assert {"match_rate", "warping_error", "round_trip", "consistency", "disparity_error"} <= set(figures)
    assert "psnr" not in figures


@pytest.mark.parametrize(
    ("name", "format", "options"),
    [
        ("a_LR.mkv", "half_sbs", ()),
        ("a_TBF_fulltb.mkv", "full_tb", ()),
        ("a_TB.mkv", "half_tb", ()),
        ("a_RLF_cross.mkv", "cross_eyed", ()),
        ("plain.mkv", "full_sbs", ("--format", "full_sbs")),
    ],
)
def test_every_way_to_share_a_frame(clip, result, tmp_path, name, format, options):
    stereo = write_video(tmp_path / name, packed(clip.frames, result, format))
    truth = write_folder(tmp_path / "truth", result)
    assert run(stereo, "--truth", truth, *options, "-o", tmp_path / "out") == 0
    least = 30 if format.startswith("half") else 99
    assert figures_of(tmp_path / "out")["psnr"] > least


@pytest.mark.parametrize(
    ("mode", "aspect", "format"),
    [
        ("left_right", None, "full_sbs"),
        ("left_right", 2, "half_sbs"),
        ("right_left", None, "cross_eyed"),
        ("top_bottom", None, "full_tb"),
    ],
)
def test_metadata_tells_the_format(clip, result, tmp_path, mode, aspect, format):
    frames = packed(clip.frames, result, format)
    stereo = write_video(tmp_path / "plain.mkv", frames, aspect=aspect, metadata={"stereo_mode": mode})
    assert run(stereo, "--truth", write_folder(tmp_path / "t", result), "-o", tmp_path / "out") == 0
    assert figures_of(tmp_path / "out")["psnr"] > (30 if format.startswith("half") else 99)


def test_the_left_eyes_view_can_be_judged(tmp_path):
    clip = scene(baseline=-0.1)
    result = to_8_bit(clip.other).float() / 255
    stereo = write_video(tmp_path / "film_LRF_Full_SBS.mkv", packed(result, clip.frames))
    np.savez(tmp_path / "depth.npz", depth=clip.inverse_depth[:, 0].numpy())
    given = ("--depth", tmp_path / "depth.npz", "--depth-kind", "normalised", "--divergence", 10)
    arguments = (*given, "--convergence", 0, "--edge-width", 0, "--eye", "left")
    assert run(stereo, *arguments, "-o", tmp_path / "out") == 0
    figures = figures_of(tmp_path / "out")
    assert figures["disparity_error"] < 0.6
    assert figures["consistency"] > 25


def test_several_methods_against_one_truth_and_folders_by_name(clip, result, tmp_path, capsys):
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad, tmp_path / "truth"):
        folder.mkdir()
    write_video(good / "film_LRF_Full_SBS.mkv", packed(clip.frames, result))
    write_video(bad / "film_LRF_Full_SBS.mkv", packed(clip.frames, clip.frames))
    write_video(tmp_path / "truth" / "film.mkv", clip.other)
    write_video(tmp_path / "truth" / "another.mkv", clip.frames)
    assert run(good, bad, "--truth", tmp_path / "truth", "-o", tmp_path / "out") == 0
    header = capsys.readouterr().out.splitlines()[0].split()
    assert header == ["good_film_LRF_Full_SBS", "bad_film_LRF_Full_SBS", "mean"]
    first, second = (figures_of(tmp_path / "out", index) for index in (0, 1))
    assert first["psnr"] > second["psnr"] + 3
    assert first["siou"] > second["siou"]


def test_photos_have_no_measure_over_time(clip, result, tmp_path, capsys):
    for name, frames in (("result.png", result), ("truth.png", clip.other)):
        Image.fromarray(to_8_bit(frames[0]).permute(1, 2, 0).numpy()).save(tmp_path / name)
    assert run(tmp_path / "result.png", "--truth", tmp_path / "truth.png", "-o", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "result: not measured: warping_error, temporal_error (needs two frames of one scene)" in said
    assert os.listdir(tmp_path / "out") == ["evaluation.json"], "no plots of one frame"


def test_odd_sides_that_a_video_made_even(tmp_path):
    clip = scene(size=(35, 49), frames=2)
    even = torch.nn.functional.pad(clip.other, (0, 1, 0, 1), mode="replicate")
    video = write_video(tmp_path / "film.mkv", even)
    assert run(video, "--truth", write_folder(tmp_path / "t", clip.other), "-o", tmp_path / "out") == 0
    assert figures_of(tmp_path / "out")["psnr"] > 50


def test_what_is_there_is_replaced_only_on_demand(clip, tmp_path, capsys):
    truth = write_folder(tmp_path / "truth", clip.other)
    arguments = (truth, "--truth", truth, "-o", tmp_path / "out")
    assert run(*arguments) == 0
    before = (tmp_path / "out" / "evaluation.json").read_bytes()
    assert run(*arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "must be a new file" in error
    assert "--overwrite" in error
    assert run(*arguments, "--overwrite") == 0
    assert (tmp_path / "out" / "evaluation.json").read_bytes() == before, "the same figures each time"


def test_networks_are_loaded_from_the_users_files(clip, tmp_path, capsys):
    truth = write_folder(tmp_path / "truth", clip.other)
    (tmp_path / "i3d.pt").write_bytes(b"none")
    arguments = (truth, "--truth", truth, "-o", tmp_path / "out")
    assert run(*arguments, "--i3d", tmp_path / "i3d.pt") == 2
    assert "i3d must be a TorchScript file" in capsys.readouterr().err
    assert run(*arguments, "--lpips", tmp_path / "missing.pth") == 2
    assert "missing.pth" in capsys.readouterr().err


def test_missing_models_are_told_and_downloaded_on_demand(
    clip, result, tmp_path, own_models, monkeypatch, capsys
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stereo = write_video(tmp_path / "film_LRF_Full_SBS.mkv", packed(clip.frames, result))
    arguments = (stereo, "-o", tmp_path / "out", "--depth", "midas")
    assert run(*arguments) == 2
    assert "--download" in capsys.readouterr().err
    assert run(*arguments, "--download") == 2
    assert "downloads are switched off by HF_HUB_OFFLINE" in capsys.readouterr().err


def test_what_is_not_measured_is_told_once(result, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        Image.fromarray(to_8_bit(result[0]).permute(1, 2, 0).numpy()).save(tmp_path / name)
    photos = tmp_path / "a.png", tmp_path / "b.png"
    assert run(*photos, "--truth", photos[0], "-o", tmp_path / "out") == 0
    assert capsys.readouterr().err.count("needs two frames of one scene") == 1


BAD = {
    "a name that is too long": (
        ("n" * 5000, "--truth", "truth"),
        "RESULT must be an existing file or folder",
    ),
    "a missing result": (("nothing.mkv", "--truth", "truth"), "RESULT must be an existing file or folder"),
    "a missing truth": (("film.mkv", "--truth", "nothing"), "truth must be an existing file or folder"),
    "nothing to compare with": (("film.mkv",), "each RESULT must have something to be compared with"),
    "an empty folder": (("empty", "--truth", "truth"), "got none in empty"),
    "a mixed folder": (
        ("mixed", "--truth", "truth"),
        "must be a folder of pictures or one of videos, got both",
    ),
    "another length": (
        ("short.mkv", "--truth", "truth"),
        "result must have as many frames as the truth, got only 2 for short.mkv",
    ),
    "another size": (
        ("small.mkv", "--truth", "truth"),
        "truth must have the size of the result (48x32), got 96x64",
    ),
    "a damaged file": (("damaged.mkv", "--truth", "truth"), "damaged.mkv"),
    "an empty file": (("empty.mkv", "--truth", "truth"), "must not be empty, got 0 bytes"),
    "no picture": (("text.png", "--truth", "truth"), "text.png"),
    "an anaglyph": (("film_redcyan.mkv", "--truth", "truth"), "got the anaglyph"),
    "half spheres": (("film_180x180_LR.mkv", "--truth", "truth"), "got the vr180"),
    "a quilt": (("film_qs8x6a0.75.mkv", "--truth", "truth"), "got the quilt"),
    "views line by line": (("film_row_interlaced.mkv", "--truth", "truth"), "got the row_interlaced"),
    "no such depth": (
        ("film.mkv", "--left", "truth", "--depth", "deep"),
        "or an existing file or folder, got 'deep'",
    ),
    "depth without a view": (("film.mkv", "--truth", "truth", "--depth", "builtin"), "give --left"),
    "short depth": (
        ("film.mkv", "--left", "truth", "--depth", "depth.npy"),
        "depth must have as many frames",
    ),
    "depth with NaN": (("film.mkv", "--left", "truth", "--depth", "nan.npy"), "must be finite, got"),
    "a wrong number": (("film.mkv", "--truth", "truth", "--chunk", "0"), "chunk must be between 1 and"),
    "no counterpart": (("film.mkv", "--truth", "videos"), "truth must hold one file for each result, got 0"),
    "an unknown device": (("film.mkv", "--truth", "truth", "--device", "cuda:99"), "device must be auto"),
}


@pytest.fixture(scope="module")
def bad_files(clip, result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_video(folder / "film.mkv", result)
    for ending in ("redcyan", "180x180_LR", "qs8x6a0.75", "row_interlaced"):
        write_video(folder / f"film_{ending}.mkv", result)
    write_video(folder / "short.mkv", result[:2])
    write_video(folder / "small.mkv", result[..., ::2, ::2])
    write_folder(folder / "truth", clip.other)
    (folder / "truth" / "notes.txt").write_text("of no account")
    for name in ("empty", "mixed", "videos"):
        (folder / name).mkdir()
    write_video(folder / "mixed" / "a.mkv", result)
    write_video(folder / "videos" / "another.mkv", result)
    Image.new("RGB", (8, 8)).save(folder / "mixed" / "b.png")
    whole = (folder / "film.mkv").read_bytes()
    (folder / "damaged.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mkv").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    depth = clip.inverse_depth[:, 0].numpy()
    np.save(folder / "depth.npy", depth[:2])
    np.save(folder / "nan.npy", np.where(depth > 0.5, np.nan, depth))
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_exit_code_2(bad_files, tmp_path, monkeypatch, capsys, case):
    arguments, message = BAD[case]
    monkeypatch.chdir(bad_files)
    assert run(*arguments, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("spatialdreamer: ")
    assert message in error
    assert not (tmp_path / "out" / "evaluation.json").exists()
    assert not [name for name in os.listdir(tmp_path) if ".partial" in name]


def test_a_video_of_10_bits_is_compared_by_its_own_black_and_white(clip, result, tmp_path):
    deep = write_video(tmp_path / "deep.mkv", result, pixel_format="yuv444p10le")
    assert run(deep, "--truth", write_folder(tmp_path / "t", result), "-o", tmp_path / "out") == 0
    assert figures_of(tmp_path / "out")["psnr"] > 40


def test_far_rows_are_no_black_bars(tmp_path):
    """A sky without depth lies as far behind the screen as the convergence says; black bars stay."""
    frames = torch.full((1, 3, 40, 64), 0.5)
    frames[:, :, 20:] = torch.rand(1, 3, 20, 64, generator=torch.Generator().manual_seed(0))
    frames[:, :, 36:] = 0
    depth = torch.zeros(40, 64)
    depth[20:36] = 1
    Image.fromarray(to_8_bit(frames[0]).permute(1, 2, 0).numpy()).save(tmp_path / "left.png")
    np.save(tmp_path / "depth.npy", depth.numpy())
    config = EvaluateConfig(
        depth=str(tmp_path / "depth.npy"), depth_kind="normalised", divergence=10, edge_width=0
    )
    source = ViewReader(tmp_path / "left.png", eye="left", name="left")
    (disparity,) = read_disparity(source, config)
    assert disparity[0, :20].unique().tolist() == pytest.approx([-3.2])
    assert disparity[0, 20:36].unique().tolist() == pytest.approx([3.2])
    assert (disparity[0, 36:] == 0).all()


def test_depth_of_any_scale_is_brought_to_each_scenes_range(tmp_path):
    generator = torch.Generator().manual_seed(0)
    dark, light = (torch.rand(3, 24, 32, generator=generator) * 0.2 + level for level in (0, 0.8))
    folder = write_folder(tmp_path / "left", torch.stack([dark, dark, light]))
    ramp = torch.linspace(0, 1, 32).expand(3, 24, 32)
    np.save(tmp_path / "depth.npy", (ramp * torch.tensor([3.0, 3.0, 70.0]).view(3, 1, 1) + 5).numpy())
    config = EvaluateConfig(
        depth=str(tmp_path / "depth.npy"), divergence=10, convergence=0, edge_width=0, black_bars="off"
    )
    reported = []
    source = ViewReader(folder, eye="left", name="left")
    disparity = list(read_disparity(source, config, on_first_pass=lambda *at: reported.append(at)))
    assert reported[-1] == (3, 3)
    for frame in disparity:
        assert float(frame.amax()) == pytest.approx(3.2, abs=0.05)
        assert float(frame[0, 0, 16]) == pytest.approx(1.6, abs=0.2)


def test_long_names_have_room_for_their_endings(clip, tmp_path):
    video = write_video(tmp_path / f"{'n' * 240}.mkv", clip.other)
    assert run(video, "--truth", video, "-o", tmp_path / "out") == 0
    assert len(os.listdir(tmp_path / "out")) == 3
