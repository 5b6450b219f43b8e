import math

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.flow import Flow, estimate_flow
from spatialdreamer_core.metrics import (
    MEASURES,
    ComparedFrame,
    Comparison,
    colour_shift,
    gradient_ratio,
    make_clip,
    mask_flicker,
    masked_psnr,
    matchability,
    round_trip_psnr,
    sharpness,
    siou,
    ssim,
    temporal_error,
    view_regions,
    warping_error,
)


@pytest.fixture(scope="module")
def scene():
    clip = make_clip("translate_right", size=(64, 112), frames=4, baseline=0.1)
    warped, hole = forward_warp(clip.frames, clip.disparity)
    return clip, fast_fill(warped, hole, left=clip.frames, disparity=clip.disparity)


def compare(result, **given):
    comparison = Comparison(chunk=2)
    curves = []
    for t in range(len(result)):
        curves.append(comparison.add(ComparedFrame(result[t], **{k: v[t] for k, v in given.items()})))
    return comparison, curves


def test_a_film_is_judged_as_a_clip_is(scene):
    clip, result = scene
    truth, source, disparity = clip.other, clip.frames, clip.disparity
    comparison, curves = compare(result, truth=truth, source=source, disparity=disparity)
    figures = comparison.result()
    regions = view_regions(disparity)
    hole = ~regions.visible
    flow = estimate_flow(truth)
    expected = {
        "psnr": masked_psnr(result, truth),
        "psnr_visible": masked_psnr(result, truth, regions.visible),
        "psnr_inner_hole": masked_psnr(result, truth, regions.inner_hole),
        "psnr_border": masked_psnr(result, truth, regions.border),
        "ssim": ssim(result, truth),
        "siou": siou(source, result, truth),
        "matchability_error": matchability(source, result, truth).error,
        "round_trip": round_trip_psnr(source, result, disparity),
        "warping_error": 1e3 * warping_error(result, flow),
        "temporal_error": temporal_error(result, truth),
        "temporal_error_holes": temporal_error(result, truth, hole),
        "mask_flicker": mask_flicker(hole.float(), estimate_flow(source), disparity=disparity),
        "colour_shift": colour_shift(result, truth, chunk=2),
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert figures["sharpness"] == pytest.approx(sharpness(result, truth, regions.visible), rel=2e-2)
    assert figures["gradient_inner_hole"] == pytest.approx(
        gradient_ratio(result, truth, regions.inner_hole), rel=5e-2
    )
    assert figures["consistency"] == 100
    assert figures["disparity_error"] < 0.6
    assert curves[2]["psnr"] == pytest.approx(masked_psnr(result[2:3], truth[2:3]), rel=1e-5)
    assert "warping_error" not in curves[0]
    assert set(figures) == set(MEASURES) - {"lpips", "lpips_holes", "fvd"}
    assert comparison.left_out() == {}


def test_the_truth_is_ideal(scene):
    clip, _ = scene
    figures = compare(clip.other, truth=clip.other, source=clip.frames)[0].result()
    assert figures["psnr"] == 100
    assert figures["ssim"] == pytest.approx(1)
    assert figures["siou"] == figures["sharpness"] == 1
    assert figures["matchability_error"] == figures["temporal_error"] == figures["colour_shift"] == 0


def test_a_mask_alone_gives_regions(scene):
    clip, result = scene
    hole = (~view_regions(clip.disparity).visible).float()
    figures = compare(result, truth=clip.other, hole=hole)[0].result()
    regions = view_regions(clip.disparity)
    assert figures["psnr_border"] == pytest.approx(masked_psnr(result, clip.other, regions.border), rel=1e-4)
    assert "round_trip" not in figures


def test_the_left_eyes_view():
    clip = make_clip("strips_right", size=(64, 112), frames=1, baseline=-0.04)
    comparison = Comparison(eye="left")
    comparison.add(ComparedFrame(clip.other[0], clip.other[0], clip.frames[0], clip.disparity[0]))
    figures = comparison.result()
    assert figures["disparity_error"] < 0.6
    assert figures["consistency"] > 25
    assert figures["round_trip"] > 25


def test_what_cannot_be_measured_is_told(scene):
    clip, result = scene
    comparison, _ = compare(result[:1], truth=clip.other)
    left_out = comparison.left_out()
    assert left_out["warping_error"] == left_out["temporal_error"] == "needs two frames of one scene"
    small = torch.rand(2, 3, 8, 9)
    comparison, _ = compare(small, truth=small, source=small)
    assert comparison.left_out()["ssim"] == "needs frames of at least 11x11"
    assert "match_rate" in comparison.left_out()


def test_nothing_is_measured_across_a_cut():
    generator = torch.Generator().manual_seed(0)
    dark, light = (torch.rand(3, 64, 112, generator=generator) * 0.2 + level for level in (0, 0.8))
    film = torch.stack([dark, dark, light, light])
    comparison, curves = compare(film, truth=film)
    assert ["warping_error" in figures for figures in curves] == [False, True, False, True]
    assert comparison.result()["warping_error"] == 0


def test_nothing_is_measured_across_clips_that_look_alike(scene):
    result = scene[1]
    comparison = Comparison()
    for frame in (result[0], result[1]):
        comparison.start_scene()
        assert "warping_error" not in comparison.add(ComparedFrame(frame))
    comparison.start_scene()
    comparison.add(ComparedFrame(result[0, :, :32]))  # of another size, too
    assert "warping_error" in comparison.add(ComparedFrame(result[1, :, :32]))


def test_networks_come_from_outside():
    generator = torch.Generator().manual_seed(0)
    film = torch.rand(3, 32, 40, generator=generator).expand(40, -1, -1, -1)
    comparison = Comparison(
        lpips=lambda a, b: (a - b).abs().mean((1, 2, 3)),
        clip_features=lambda clip: torch.stack([clip.mean(), clip.std(), torch.tensor(float(len(clip)))]),
    )
    for frame in film:
        comparison.add(ComparedFrame(frame * 0.5, frame))
    figures = comparison.result()
    assert figures["lpips"] == pytest.approx(float(film[0].mean() / 2), rel=1e-4)
    assert comparison.statistics[0].count == 2, "two clips of 16 frames; the rest is left out"
    assert figures["fvd"] > 0.01


def test_wrong_frames_are_refused():
    with pytest.raises(InputError, match="`truth` must have the size of `result`"):
        Comparison().add(ComparedFrame(torch.rand(3, 20, 30), torch.rand(3, 20, 31)))
    comparison = Comparison()
    comparison.add(ComparedFrame(torch.rand(3, 20, 30)))
    with pytest.raises(InputError, match="`result` must be of one size in all frames, got 31x20 after 30x20"):
        comparison.add(ComparedFrame(torch.rand(3, 20, 31)))
    with pytest.raises(InputError, match="`result` must be finite"):
        Comparison().add(ComparedFrame(torch.full((3, 20, 30), math.nan)))
    with pytest.raises(InputError, match="eye must be one of right, left"):
        Comparison(eye="both")


def test_flow_of_no_frames_is_none():
    assert math.isnan(warping_error(torch.rand(1, 3, 8, 8), Flow.between(*2 * [torch.zeros(0, 2, 8, 8)])))
