"""Windows and tiles: a clip that is diffused in parts comes out as if it were diffused whole.

The denoisers here are exact for Gaussian data, so the tests know what must come out.
"""

from __future__ import annotations

import logging
import math
from itertools import pairwise

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd.sampling import diffuse_in_turn, diffuse_together
from spatialdreamer_core.svd.schedule import frame_noise, karras_sigmas
from spatialdreamer_core.svd.windows import Plan, Region, next_span, ramp, spans_in_turn

BOTH = pytest.mark.parametrize("diffuse", [diffuse_in_turn, diffuse_together])
SHAPE = (11, 4, 16, 24)
MEAN = frame_noise(5, range(SHAPE[0]), height=SHAPE[2], width=SHAPE[3])
SPREAD = 0.5


def open_pointwise(region):
    """The exact denoiser of independent values around MEAN: nothing outside of a region matters to it."""
    mean = region.cut(MEAN)
    return lambda noisy, sigma: mean + (noisy - mean) * SPREAD**2 / (SPREAD**2 + sigma**2)


def noise_of(region):
    return region.cut_frame(frame_noise(0, region.frames, height=SHAPE[2], width=SHAPE[3]))


def run(diffuse, open_region, plan, *, steps=8, strength=1.0, start=None, on_step=None, shape=SHAPE):
    sigmas = karras_sigmas(steps, strength=strength)
    return diffuse(open_region, noise_of, sigmas, shape=shape, plan=plan, start=start, on_step=on_step)


def test_spans_cover_an_axis_in_order():
    assert list(spans_in_turn(10, 4, 1)) == [range(4), range(3, 7), range(6, 10)]
    assert list(spans_in_turn(9, 4, 1)) == [range(4), range(3, 7), range(5, 9)]  # the last one is moved back
    assert list(spans_in_turn(3, 4, 1)) == [range(3)]
    assert next_span(7, 9, 4, 1) == range(5, 9)
    assert ramp(range(5, 9), 7).tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert ramp(range(4), 0).tolist() == [0, 0, 0, 0]


def test_regions_together_equal_the_whole_where_nothing_outside_matters():
    whole = run(diffuse_together, open_pointwise, Plan(window=20, overlap=4))
    parts = run(diffuse_together, open_pointwise, Plan(window=4, overlap=1, tile=8))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)


def test_regions_in_turn_equal_the_whole_beside_their_overlaps():
    whole = run(diffuse_in_turn, open_pointwise, Plan(window=20, overlap=4), steps=40)
    parts = run(diffuse_in_turn, open_pointwise, Plan(window=4, overlap=1, tile=8), steps=40)
    # Windows begin at 0, 3, 6 and 7, tiles at 0 and 6, 8 (rows) or 0, 6, 12, 16 (columns).
    alone = torch.ones(SHAPE[0], 1, *SHAPE[2:], dtype=torch.bool)
    alone[[3, 6, 7, 8, 9]] = False
    alone[..., [6, 7, 8, 9, 10, 11, 12, 13], :] = False
    alone[..., [6, 7, 12, 13, 16, 17, 18, 19]] = False
    alone = alone.expand(SHAPE)
    torch.testing.assert_close(parts[alone], whole[alone], rtol=1e-3, atol=1e-3)
    # In an overlap a sample goes along a mixture of its finished value's line and the model's path.
    assert (parts - whole).square().mean().sqrt() < 0.1 * SPREAD


@BOTH
def test_one_window_is_a_plain_run(diffuse):
    plain = noise_of(Region(range(SHAPE[0]), range(SHAPE[2]), range(SHAPE[3])))
    levels = karras_sigmas(40).tolist()
    plain = plain * levels[0]
    for sigma, following in pairwise(levels):
        clean = MEAN + (plain - MEAN) * SPREAD**2 / (SPREAD**2 + sigma**2)
        plain = clean + (plain - clean) * (following / sigma)
    result = run(diffuse, open_pointwise, Plan(window=11, overlap=4), steps=40)
    assert torch.equal(result, plain)
    assert (result - MEAN).std() == pytest.approx(SPREAD, rel=0.15)


@pytest.mark.parametrize(("diffuse", "limit"), [(diffuse_in_turn, 2.4), (diffuse_together, 1.25)])
def test_windows_of_correlated_frames_join(diffuse, limit):
    """Frames that change slowly, by the exact denoiser of their window."""
    distance = torch.arange(41)[:, None] - torch.arange(41)
    covariance = torch.exp(-(distance.double() ** 2) / (2 * 6.0**2))

    def open_correlated(region):
        part = slice(region.frames.start, region.frames.stop)
        values, vectors = torch.linalg.eigh(covariance[part, part])

        def denoise(noisy, sigma):
            gain = (vectors * (values / (values + sigma**2))) @ vectors.T
            return torch.einsum("ij,jchw->ichw", gain.float(), noisy)

        return denoise

    clip = run(diffuse, open_correlated, Plan(window=14, overlap=4), steps=25, shape=(41, *SHAPE[1:]))
    steps = (clip[1:] - clip[:-1]).square().mean((1, 2, 3)).sqrt()
    assert steps.max() < limit * steps.median()
    assert clip.std() == pytest.approx(0.87, rel=0.1)


@BOTH
def test_a_run_may_begin_at_a_noised_clip(diffuse):
    start = MEAN + 0.1
    result = run(diffuse, open_pointwise, Plan(window=5, overlap=2), steps=10, strength=0.04, start=start)
    assert (result - start).abs().max() < 0.05  # the level of this strength is 0.002, for any number of steps


@BOTH
def test_memory_that_runs_out_makes_regions_smaller_and_says_so(diffuse, caplog):
    def open_region(region):
        sizes.append(len(region.frames))
        if len(region.frames) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return open_pointwise(region)

    sizes = []
    with caplog.at_level(logging.WARNING):
        result = run(diffuse, open_region, Plan(window=11, overlap=4))
    assert torch.equal(result, run(diffuse, open_pointwise, Plan(window=2, overlap=1)))
    assert sizes[:3] == [11, 5, 2]
    assert "out of memory with windows of 11 frames" in caplog.text
    assert "trying windows of 2 frames" in caplog.text


@BOTH
def test_tiles_come_after_windows_and_then_an_error(diffuse, caplog):
    shape = (1, 4, 64, 128)

    def open_region(region):
        sizes.append((len(region.rows), len(region.columns)))
        raise torch.OutOfMemoryError("out of memory")

    sizes = []
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match=r"tiles of 256 px.*smaller size"):
        diffuse(open_region, noise_large, karras_sigmas(2), shape=shape, plan=Plan(14, 4))
    assert sizes == [(64, 128), (64, 64), (32, 32)]
    assert Plan(14, 4).smaller(1, 64, 128).tile_overlap == 16  # tiles that do not overlap would show


def noise_large(region):
    return region.cut_frame(frame_noise(0, region.frames, height=64, width=128))


def test_noise_is_asked_for_by_windows_not_by_frames():
    asked = []

    def note(region):
        asked.append(region.frames)
        return noise_of(region)

    diffuse_together(open_pointwise, note, karras_sigmas(2), shape=SHAPE, plan=Plan(window=4, overlap=1))
    assert asked == [range(4), range(4, 8), range(8, 11)]


@BOTH
def test_steps_are_counted_and_may_interrupt(diffuse):
    calls = []
    plan = Plan(window=6, overlap=2)
    run(
        diffuse, open_pointwise, plan, steps=3, on_step=lambda done, total, clean: calls.append((done, total))
    )
    regions = math.ceil((SHAPE[0] - 2) / 4)
    assert calls == [(done, 3 * regions) for done in range(1, 3 * regions + 1)]

    def stop(done, total, clean):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(diffuse, open_pointwise, plan, on_step=stop)


@BOTH
def test_a_model_that_gives_nan_is_named(diffuse):
    with pytest.raises(InputError, match=r"UNet must give finite latents.*another precision"):
        run(diffuse, lambda region: lambda noisy, sigma: noisy * math.nan, Plan(20, 4))


@pytest.mark.gpu
@BOTH
def test_on_cuda_a_clip_is_diffused_as_on_the_cpu_and_nan_is_named_a_step_late(diffuse):
    mean = MEAN.cuda()

    def open_region(region):
        part = region.cut(mean)
        return lambda noisy, sigma: part + (noisy - part) * SPREAD**2 / (SPREAD**2 + sigma**2)

    def noise_on_device(region):
        return noise_of(region).cuda()

    plan = Plan(window=4, overlap=1, tile=8)
    options = {"shape": SHAPE, "plan": plan}
    result = diffuse(open_region, noise_on_device, karras_sigmas(4), **options)
    assert result.device.type == "cpu"
    expected = diffuse(open_pointwise, noise_of, karras_sigmas(4), **options)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    steps: list = []
    with pytest.raises(InputError, match="UNet must give finite latents"):
        diffuse(
            lambda region: lambda noisy, sigma: noisy * math.nan,
            noise_on_device,
            karras_sigmas(9),
            **options,
            on_step=lambda *step: steps.append(step),
        )
    assert len(steps) == 1
