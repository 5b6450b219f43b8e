"""The refiner: any length, any size, either eye, in windows and around holes alone."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg.mask_edges import grow_hole
from spatialdreamer_core.m2svid import RefinerConfig, refine
from spatialdreamer_core.m2svid.inputs import encode_window
from spatialdreamer_core.svd.canvas import Canvas

from . import fitted

SIZE = (64, 64)
KEEP = RefinerConfig(window=4, overlap=1, keep_known=True)
WHOLE = RefinerConfig(window=4, overlap=1)


@pytest.fixture(scope="module")
def model(tiny_m2svid):
    return tiny_m2svid.make_model(full_attention=False)


@pytest.fixture(scope="module")
def clip():
    return make_clip(7)


@pytest.fixture(scope="module")
def kept(model, clip):
    return refine(model, *clip, KEEP)


@pytest.fixture(scope="module")
def whole(model, clip):
    return refine(model, *clip, WHOLE)


def make_clip(frames, *, size=SIZE, holed=None, dtype=torch.float32):
    """Make a clip whose picture and hole move slowly: left view, rendered view, hole."""
    height, width = size
    y, x = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 12, width), indexing="ij")
    time = torch.arange(frames)[:, None, None] * 0.05
    left = torch.stack([0.5 + 0.3 * torch.sin(x + time + phase + y * 0.5) for phase in (0, 2, 4)], dim=1)
    hole = torch.zeros(frames, 1, height, width)
    for frame in range(frames) if holed is None else holed:
        hole[frame, :, height // 4 : height // 2, 20 + frame % 4 : 26 + frame % 4] = 1
    warped = left.roll(-4, -1) * (1 - hole)
    return left.to(dtype), warped.to(dtype), hole.to(dtype)


@pytest.fixture(scope="module")
def small_model():
    """A model without an autoencoder, which is faster."""
    return fitted.make_random_model()


@pytest.fixture
def runs(model, small_model):
    """Note the shapes of what the UNets see."""
    shapes = []
    note = lambda _, given, __: shapes.append(tuple(given[0].shape))  # noqa: E731
    handles = [network.svd.unet.register_forward_hook(note) for network in (model, small_model)]
    yield shapes
    for handle in handles:
        handle.remove()


def test_known_pixels_are_kept_and_holes_are_filled(clip, kept):
    _, warped, hole = clip
    views = kept
    far = torch.nn.functional.max_pool2d(hole, 2 * KEEP.reach + 1, 1, KEEP.reach).expand_as(warped) == 0
    assert torch.equal(views.filled[far], warped[far])
    inside = hole.expand_as(warped) == 1
    assert torch.equal(views.filled[inside], views.whole[inside])
    assert views.filled[inside].mean() > 0.3
    assert not torch.equal(views.whole[far], warped[far])


def test_the_whole_view_is_the_model_s(clip, whole):
    _, warped, hole = clip
    assert whole.filled is whole.whole
    assert whole.share == 1
    assert bool((whole.filled != warped)[hole.expand_as(warped) == 0].float().mean() > 0.9)


@pytest.mark.parametrize("config", [KEEP, WHOLE])
def test_an_empty_mask_returns_the_rendered_view_at_once(model, clip, runs, config):
    left, warped, hole = clip
    views = refine(model, left, warped, 0 * hole, config)
    assert torch.equal(views.filled, warped)
    assert (views.share, runs) == (0, [])


@pytest.mark.parametrize("frames", [1, 2, 26])
def test_clips_of_any_length(small_model, runs, frames):
    clip = make_clip(frames)
    views = refine(small_model, *clip, RefinerConfig(window=25, overlap=1))
    assert views.filled.shape == clip[1].shape
    assert bool(views.filled.isfinite().all())
    assert [shape[1] for shape in runs] == ([25, 25] if frames == 26 else [frames])


@pytest.mark.parametrize("config", [KEEP, WHOLE])
def test_a_mask_that_covers_everything(small_model, clip, config):
    left, warped, hole = (part[:2] for part in clip)
    views = refine(small_model, left, 0 * warped, torch.ones_like(hole), config)
    assert bool(views.filled.isfinite().all())
    assert views.share == 1
    assert views.filled.std() > 0


def test_windows_without_holes_are_not_run(small_model, runs):
    _, warped, _ = clip = make_clip(10, holed=(4, 5))
    views = refine(small_model, *clip, WHOLE)
    # Frames 0 to 3, 4 to 6 after the finished third, 7 to 9
    assert [shape[1] for shape in runs] == [4]
    assert views.share == pytest.approx(0.3)
    assert torch.equal(views.filled[7:], warped[7:])
    assert torch.equal(views.filled[:4], warped[:4])
    assert bool((views.filled[4:7] != warped[4:7]).flatten(1).any(1).all())


def test_the_next_window_goes_on_from_finished_frames(model, clip, monkeypatch):
    """They are shown as they are, with mask -1; the last window is moved back to its full length."""
    seen = []

    def noted(*args, finished, **options):
        encoded = encode_window(*args, finished=finished, **options)
        seen.append((finished, args[2], encoded.mask))
        return encoded

    monkeypatch.setattr("spatialdreamer_core.m2svid.regions.encode_window", noted)
    views = refine(model, *(part[:6] for part in clip), WHOLE)
    assert [(finished, len(shown)) for finished, shown, _ in seen] == [(0, 4), (2, 4)]
    _, shown, mask = seen[1]
    assert bool((mask[:2] == -1).all())
    assert bool((mask[2:] > 0).any())
    assert torch.equal(shown[:2], views.filled[2:4])


@pytest.fixture(scope="module")
def drifting():
    """A clip of 60 frames in windows of 16, by a model whose colours drift, and its known pixels."""
    model = fitted.make_model()
    fitted.drift(model, contrast=0.9, brightness=0.05)
    left, warped, hole, right = fitted.make_clip(60, start=7)
    views = refine(model, left, warped, hole, RefinerConfig())
    return model, (left, warped, hole, right), views.filled, 1 - grow_hole(hole, 8)


def test_windows_show_no_seam(drifting):
    _, (_, _, _, right), filled, _ = drifting
    steps = filled.diff(dim=0).abs().mean((1, 2, 3))
    at_border = torch.zeros_like(steps, dtype=torch.bool)
    at_border[[15, 28, 41, 54]] = True  # from the last frame of a window to the next one's first new frame
    assert steps[at_border].max() <= steps[~at_border].max()
    assert steps[at_border].mean() < 1.15 * steps[~at_border].mean()
    assert (filled - right).square().mean() < 0.003, "it shows the right view"


def test_colours_of_known_pixels_do_not_drift(drifting):
    model, (left, warped, hole, _), filled, known = drifting

    def drifts(filled, frames):
        offsets = (filled - warped[frames]) * known[frames]
        return (offsets.sum((2, 3)) / known[frames].sum((2, 3))).abs()

    assert drifts(filled, slice(None)).max() < 0.005
    part = slice(4)
    plain = refine(model, left[part], warped[part], hole[part], RefinerConfig(match_colours=False))
    assert drifts(plain.filled, part).mean() > 0.03


def test_each_eye_is_the_other_s_mirror_image(small_model, clip):
    clip = [part[:2] for part in clip]
    right = refine(small_model, *clip, KEEP, shift=5)
    left = refine(small_model, *(part.flip(-1) for part in clip), KEEP, shift=5, eye="left")
    assert torch.equal(left.filled.flip(-1), right.filled)


def test_each_frame_may_have_a_shift_of_its_own(small_model, clip):
    """Scenes whose convergence is their own; the same number for each is one for all."""
    expected = refine(small_model, *clip, KEEP, shift=5)
    got = refine(small_model, *clip, KEEP, shift=(5.0,) * len(clip[0]))
    assert torch.equal(got.filled, expected.filled)


def test_the_model_sees_the_shift_undone(model, clip, runs):
    """By a wider canvas."""
    left, warped, hole = (part[:2] for part in clip)
    refine(model, left, warped, hole, WHOLE, shift=6.3)
    assert runs == [(1, 2, 13, 8, 16)], "70 px wide"


def test_sizes_that_are_no_multiple_and_types(model):
    for dtype in (torch.float16, torch.float64):
        clip = make_clip(1, size=(50, 75), dtype=dtype)
        views = refine(model, *clip, KEEP)
        assert (views.filled.shape, views.filled.dtype) == (clip[1].shape, dtype)
        far = clip[2].expand_as(clip[1])[..., 60:] == 0
        assert torch.equal(views.filled[..., 60:][far], clip[1][..., 60:][far])


def test_large_views_keep_their_detail_outside_of_holes(model, runs):
    """They are refined at a smaller size; what scaling takes away is added again."""
    left, warped, hole = make_clip(1, size=(128, 128))
    noise = 0.2 * (torch.rand(warped.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    warped = (warped + noise).clamp(0, 1)
    views = refine(model, left, warped, hole, RefinerConfig(max_side=64))
    assert [shape[-2:] for shape in runs] == [(8, 8)]
    canvas = Canvas.fit_to(128, 128, max_side=64)
    detail = [frames - canvas.restore(canvas.fit(frames)) for frames in (views.filled, warped)]
    known = torch.nn.functional.max_pool2d(hole, 41, 1, 20).expand_as(warped) == 0
    inner = known & (views.filled > 0) & (views.filled < 1)
    correlation = torch.corrcoef(torch.stack([part[inner] for part in detail]))[0, 1]
    assert correlation > 0.9


def test_regions_hold_the_holes_alone(model, runs):
    _, warped, hole = clip = make_clip(1, size=(128, 256))
    views = refine(model, *clip, KEEP)
    assert [shape[-2:] for shape in runs] == [(8, 16), (16, 16)], "all at half size, 128x128 px of 128x256"
    assert views.share == 0.5
    assert torch.equal(views.whole[..., 128:], warped[..., 128:]), "beyond the region"
    assert views.filled[hole.expand_as(warped) == 1].mean() > 0.3
    forced = refine(model, *clip, replace(KEEP, regions="whole"))
    assert forced.share == 1
    assert torch.equal(forced.filled[..., 64:], views.filled[..., 64:]), "beyond the hole"


def test_cudnn_plans_for_whole_pictures_and_not_for_each_size_of_region(model):
    planned = {}

    def note(module, given):
        planned[tuple(given[0].shape[-2:])] = torch.backends.cuda.cudnn_sdp_enabled()

    with model.svd.unet.register_forward_pre_hook(note):
        refine(model, *make_clip(1, size=(128, 256)), KEEP)
    assert planned == {(8, 16): True, (16, 16): False}


def test_regions_of_a_size_go_together(model, runs):
    left, warped, hole = make_clip(1, size=(128, 384))
    hole[:] = 0
    hole[..., 30:40, 30:40] = hole[..., 30:40, 340:350] = 1
    together = refine(model, left, warped, hole, KEEP)
    assert runs == [(1, 1, 13, 8, 24), (2, 1, 13, 16, 16)]
    assert together.share == pytest.approx(2 * 128 / 384)

    def short_of_memory(module, given):
        if len(given[0]) > 1:
            raise torch.OutOfMemoryError("out of memory")

    runs.clear()
    with model.svd.unet.register_forward_pre_hook(short_of_memory):
        apart = refine(model, left, warped, hole, KEEP)
    assert runs == [(1, 1, 13, 8, 24)] * 2 + [(1, 1, 13, 16, 16)] * 2, "the second time from the beginning"
    torch.testing.assert_close(apart.filled, together.filled, atol=1e-5, rtol=0)


def test_memory_that_runs_out_halves_what_is_refined_at_a_time(small_model, caplog):
    clip, sizes = make_clip(8, holed=(0, 7)), []

    def short_of_memory(module, given):
        sizes.append(given[0].shape[1])
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("out of memory")

    with small_model.svd.unet.register_forward_pre_hook(short_of_memory), caplog.at_level(logging.WARNING):
        views = refine(small_model, *clip, RefinerConfig(window=8, overlap=2))
    assert sizes == [8, 4, 4, 4], "frames 0 to 3, 2 to 5, 4 to 7"
    assert "M2SVid ran out of memory with windows of 8 frames" in caplog.text
    assert bool(views.filled.isfinite().all())


def test_memory_that_never_suffices_is_told(small_model, clip):
    def short_of_memory(module, given):
        raise torch.OutOfMemoryError("out of memory")

    with small_model.svd.unet.register_forward_pre_hook(short_of_memory):
        with pytest.raises(
            InputError, match=r"the device must have memory for windows of 4 frames.*max_side"
        ):
            refine(small_model, *clip, KEEP)


def test_tiles(small_model, runs):
    refine(small_model, *make_clip(1, size=(64, 384)), RefinerConfig(tile=256))
    assert runs == [(1, 1, 145, 8, 48)] + [(1, 1, 145, 16, 56)] * 2, "all at half size, two of 224x64 px"


def test_negative_disparity_is_allowed_with_one_sentence(small_model, clip, caplog):
    clip = [part[:5] for part in clip]
    disparity, notices = torch.full_like(clip[2], -6.0), []
    with caplog.at_level(logging.WARNING):
        views = refine(small_model, *clip, KEEP, disparity=disparity, shift=2, on_notice=notices.append)
    assert [record.getMessage() for record in caplog.records] == notices
    assert len(notices) == 1
    assert "disparities go down to -4.0 px beside the shift" in notices[0]
    assert bool(views.filled.isfinite().all())
    refine(
        small_model,
        *(part[:1] for part in clip),
        KEEP,
        disparity=disparity[:1],
        shift=6,
        on_notice=notices.append,
    )
    assert len(notices) == 1


@pytest.mark.parametrize("name", ["left", "warped", "hole"])
def test_nan_is_refused(model, clip, name):
    parts = dict(zip(("left", "warped", "hole"), clip, strict=True))
    parts[name] = parts[name].clone()
    parts[name][3, 0, 5, 5] = math.nan
    with pytest.raises(InputError, match=f"`{name}` must be finite, got 1 NaN or infinite values; repair"):
        refine(model, *parts.values(), KEEP)


def test_what_does_not_belong_together(model, clip):
    left, warped, hole = clip
    with pytest.raises(InputError, match=r"`left` must have as many frames as `warped` \(7\), got 6"):
        refine(model, left[:6], warped, hole)
    with pytest.raises(InputError, match=r"`hole` must have the size of `warped` \(64x64\), got 32x64"):
        refine(model, left, warped, hole[..., :32])
    with pytest.raises(InputError, match="eye must be one of right, left, got 'both'"):
        refine(model, left, warped, hole, eye="both")
    with pytest.raises(InputError, match=r"shift must be between 0 and 63 \(px\), got -3"):
        refine(model, left, warped, hole, shift=-3)
    with pytest.raises(InputError, match=r"`shift` must be one number, or one for each frame .*, got 1"):
        refine(model, left, warped, hole, shift=(3.0,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 26}, r"window must be between 1 and 25 \(frames\), got 26"),
        ({"window": 3}, r"overlap must be between 0 and window - 1 \(2 frames\), got 3"),
        ({"margin": 100}, "margin must be a multiple of 64 px, got 100; try 64"),
        ({"tile": 300}, "tile must be a multiple of 64 px, got 300; try 256"),
        ({"regions": "some"}, "regions must be one of auto, whole, got 'some'"),
    ],
)
def test_options_out_of_range(model, clip, options, message):
    with pytest.raises(InputError, match=message):
        refine(model, *clip, RefinerConfig(**options))


def test_frames_are_counted_and_waits_can_interrupt(small_model, clip):
    counts = []
    refine(small_model, *clip, KEEP, on_frame=counts.append)
    assert counts == list(range(1, 8))

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(small_model, *clip, KEEP, on_wait=stop)
