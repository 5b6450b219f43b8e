"""The frame matrix on denoisers that are known exactly."""

from __future__ import annotations

import math

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.frame_matrix.config import MAX_VIEWS
from spatialdreamer_core.frame_matrix.diffuse import Passes, diffuse_matrix, matrix_noise
from spatialdreamer_core.svd.known_latents import KnownLatents
from spatialdreamer_core.svd.sampling import diffuse_in_turn, diffuse_together
from spatialdreamer_core.svd.schedule import frame_noise, karras_sigmas
from spatialdreamer_core.svd.windows import Plan, next_span, ramp

VIEWS, FRAMES, CELL = 3, 5, (2, 4, 6)
SIGMAS = karras_sigmas(6).tolist()


def gain(count, sigma):
    distance = (torch.arange(count)[:, None] - torch.arange(count)).abs()
    covariance = torch.exp(-distance / 4)
    return torch.linalg.solve(covariance + sigma**2 * torch.eye(count), covariance).T


def denoise(sequence, noisy, sigma, first):
    """The exact denoiser of sequences whose neighbours are alike."""
    return torch.einsum("ij,jchw->ichw", gain(len(noisy), sigma), noisy)


def noise(draw, *, views=VIEWS, frames=range(FRAMES)):
    return matrix_noise(7, frames, views=views, shape=CELL, draw=draw)


def make_known(*, views=VIEWS, frames=FRAMES, holes=True):
    """All that the first view shows, and the left half of the others."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.ones(views, frames, 1, *CELL[1:])
    if holes:
        weight[1:, ..., 3:] = 0
    return KnownLatents(torch.randn(views, frames, *CELL, generator=generator), weight)


def run(known, passes=Passes(), **options):  # noqa: B008 (frozen)
    views, frames = known.latents.shape[:2]
    draw = options.pop("noise", lambda n: noise(n, views=views, frames=range(frames)))
    return diffuse_matrix(
        options.pop("denoise", denoise), draw, SIGMAS, known=known, passes=passes, **options
    )


def test_one_view_without_resampling_is_the_plain_windowed_sampler():
    nothing = KnownLatents(torch.zeros(1, FRAMES, *CELL), torch.zeros(1, FRAMES, 1, *CELL[1:]))

    def open_region(region):
        return lambda noisy, sigma: denoise(None, noisy, sigma, None)

    def noise_of(region):
        return frame_noise(7, region.frames, height=CELL[1], width=CELL[2], channels=CELL[0])

    result = run(nothing)[0]
    options = {"shape": (FRAMES, *CELL), "plan": Plan(window=FRAMES, overlap=0)}
    for diffuse in (diffuse_in_turn, diffuse_together):
        assert torch.equal(result, diffuse(open_region, noise_of, karras_sigmas(6), **options))


def test_one_view_window_by_window_is_the_plain_sampler_in_turn():
    def open_region(region):
        return lambda noisy, sigma: denoise(None, noisy, sigma, None)

    def noise_of(region):
        return frame_noise(7, region.frames, height=CELL[1], width=CELL[2], channels=CELL[0])

    plan = Plan(window=3, overlap=1)
    shape = (FRAMES, *CELL)
    plain = diffuse_in_turn(open_region, noise_of, karras_sigmas(6), shape=shape, plan=plan)
    clip, done = torch.zeros(1, *shape), 0
    while done < FRAMES:
        frames = next_span(done, FRAMES, plan.window, plan.overlap)
        part = clip[:, frames.start : frames.stop]
        weight = ramp(frames, done)[None, :, None, None, None].expand(-1, -1, 1, *CELL[1:])
        draw = lambda n, frames=frames: noise(n, views=1, frames=frames)  # noqa: E731
        part.copy_(run(KnownLatents(part.clone(), weight), noise=draw))
        done = frames.stop
    assert torch.equal(clip[0], plain)


@pytest.mark.parametrize(
    "passes", [Passes(), Passes(matrix=4, last_view=2, last_view_from=1, both_ways=True)]
)
def test_a_matrix_that_is_all_known_comes_back_as_it_was(passes):
    known = make_known(holes=False)

    def fail(*args):
        raise AssertionError("nothing is to be denoised")

    assert torch.equal(run(known, passes, denoise=fail), known.latents)


def test_known_cells_stay_and_seeds_reproduce():
    known, passes = make_known(), Passes(matrix=3, both_ways=True)
    result = run(known, passes)
    fixed = (known.weight == 1).expand_as(result)
    assert torch.equal(result[fixed], known.latents[fixed])
    assert torch.equal(result, run(known, passes))
    assert not torch.equal(result, run(known, passes, noise=lambda n: noise(n + 50)))


def test_rows_and_columns_take_turns_and_what_is_known_is_never_denoised():
    known = make_known()
    known.weight[:, 0] = 1  # a finished frame

    def note(sequence, noisy, sigma, first):
        seen.append((sequence.way, sequence.index, len(noisy)))
        return denoise(sequence, noisy, sigma, first)

    seen = []
    run(known, Passes(matrix=4, both_ways=True), denoise=note)
    columns = [("columns", view, FRAMES) for view in (1, 2)]
    rows, back = ([(way, frame, VIEWS) for frame in range(1, FRAMES)] for way in ("rows", "rows_back"))
    assert seen == (columns + rows + columns + back) * (len(SIGMAS) - 1)

    seen.clear()
    run(known, Passes(matrix=2, last_view=1, last_view_from=1.0), denoise=note)
    below = sum(0 < sigma < 1 for sigma in SIGMAS)
    assert seen == (columns + rows) * (len(SIGMAS) - 1 - below) + [("columns", 2, FRAMES)] * below

    for order in ("rows", "columns"):
        seen.clear()
        run(known, Passes(matrix=2, order=order), denoise=note)
        assert {way for way, _, _ in seen} == {order}
    seen.clear()
    run(make_known(frames=1), Passes(matrix=2), denoise=note)
    assert {way for way, _, _ in seen} == {"rows"}, "one frame has no time"


def test_rows_that_are_read_backwards_come_back_in_order():
    known = make_known()

    def number(sequence, noisy, sigma, first):
        cells = torch.arange(float(len(noisy)))[:, None, None, None].expand_as(noisy)
        return cells.flip(0) if sequence.way == "rows_back" else cells

    result = run(known, Passes(matrix=2, both_ways=True, order="rows"), denoise=number)
    hole = (known.weight == 0).expand_as(result)
    wanted = torch.arange(float(VIEWS))[:, None, None, None, None].expand_as(result)
    assert torch.equal(result[hole], wanted[hole])


def test_the_first_cell_s_estimate_comes_with_each_sequence():
    known, firsts = make_known(), []

    def note(sequence, noisy, sigma, first):
        firsts.append((sequence, first.clone()))
        return denoise(sequence, noisy, sigma, first)

    run(known, Passes(matrix=2, both_ways=True), denoise=note)
    for sequence, first in firsts:
        if sequence.way == "rows":
            assert torch.equal(first, known.latents[0, sequence.index])
        elif sequence.way == "rows_back":
            assert torch.equal(first[..., :3], known.latents[-1, sequence.index, ..., :3])


def test_known_latents_are_made_anew_at_the_levels_asked_for():
    known, calls = make_known(), []

    def reinject(clean, views):
        calls.append((clean.clone(), list(views)))
        return KnownLatents(known.latents + 1, known.weight)

    result = run(
        known,
        Passes(matrix=2, last_view_from=1.0),
        reinject=reinject,
        reinject_at=(SIGMAS[1], SIGMAS[-2]),
    )
    assert [views for _, views in calls] == [[0, 1, 2], [2]]
    fixed = (known.weight == 1).expand_as(result)
    assert torch.equal(result[fixed], (known.latents + 1)[fixed])


def test_steps_are_counted_and_may_interrupt():
    known, counts = make_known(), []
    run(known, Passes(matrix=2), on_step=lambda done, total, clean: counts.append((done, total, clean.shape)))
    total = (len(SIGMAS) - 1) * (2 + FRAMES)
    assert counts == [(done, total, (VIEWS, FRAMES, *CELL)) for done in range(1, total + 1)]

    def stop(done, total, clean):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(known, on_step=stop)
    with pytest.raises(InputError, match="UNet must give finite latents"):
        run(known, denoise=lambda sequence, noisy, sigma, first: noisy * math.nan)


def test_each_cell_has_noise_of_its_own_in_each_draw_and_windows_share_it():
    drawn = torch.stack([noise(draw) for draw in range(3)]).flatten(0, 2).flatten(1)
    likeness = torch.corrcoef(drawn) - torch.eye(len(drawn))
    assert likeness.abs().max() < 0.7
    assert len(drawn.unique(dim=0)) == len(drawn)
    assert torch.equal(noise(2, frames=range(3, 6))[:, 0], noise(2, frames=range(3, 4))[:, 0])
    picture = frame_noise(7, [0], height=CELL[1], width=CELL[2], channels=CELL[0], stream=1)
    assert not any(torch.equal(picture[0], cell) for cell in noise(0, views=MAX_VIEWS)[:, 0])
