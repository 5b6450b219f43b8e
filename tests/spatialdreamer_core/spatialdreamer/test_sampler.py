"""The sampler from end to end, on tiny networks of the real classes with random weights."""

from __future__ import annotations

import dataclasses
import logging
import math

import psutil
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.spatialdreamer import (
    SamplerConfig,
    SpatialDreamer,
    encode_reference,
    measure_deviation,
    sample,
    sample_views,
)
from spatialdreamer_core.spatialdreamer import network as network_module
from spatialdreamer_core.spatialdreamer import reference as reference_module
from spatialdreamer_core.svd import SCALING, bank_memory, encode_frames, pool_mask
from spatialdreamer_core.svd.canvas import Canvas
from spatialdreamer_core.svd.windows import Region

FAST = SamplerConfig(steps=2, feather=0)
FRAMES, HEIGHT, WIDTH = 5, 50, 60  # neither is a multiple of 64


@pytest.fixture(scope="module")
def make_network(make_svd):
    def make(*, with_til: bool = False) -> SpatialDreamer:
        network = SpatialDreamer.from_svd(make_svd(in_channels=8, time_ids=3), with_til=with_til)
        network.fills_holes = True
        network.fills_holes = True
        with torch.no_grad():  # weights that begin at zero, as training would leave them
            network.svd.unet.add_embedding.linear_1.weight[:, 768:].normal_(std=0.05)
            network.svd.unet.conv_in.weight[:, 8:].normal_(std=0.05)
            for site in network.til.sites.values() if with_til else ():
                site.to_change.reset_parameters()
        return network

    return make


@pytest.fixture(scope="module")
def network(make_network) -> SpatialDreamer:
    return make_network()


def picture(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """Smooth shapes that move to the right."""
    x = torch.linspace(0, 6, width) - torch.arange(frames)[:, None, None, None] * 0.1
    y = torch.linspace(0, 4, height)[:, None]
    return torch.cat([(x * k).sin() * (y + k).cos() for k in (1.0, 1.7, 2.3)], dim=1) / 2 + 0.5


@pytest.fixture(scope="module")
def left() -> torch.Tensor:
    return picture()


@pytest.fixture(scope="module")
def reference(network, left):
    return encode_reference(network, left)


@pytest.fixture(scope="module")
def rendered(left):
    """The left view rendered to the right eye: a near square in the middle."""
    return render(left, divergence=6.0)


def render(left: torch.Tensor, *, divergence: float) -> tuple[torch.Tensor, torch.Tensor]:
    depth = torch.zeros(len(left), 1, *left.shape[-2:])
    depth[..., 15:35, 25:45] = 1
    return forward_warp(left, depth_to_disparity(depth, divergence=divergence, convergence=0.0))


def count_calls(module: torch.nn.Module, calls: list):
    return module.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0].shape))


def test_known_pixels_stay_and_holes_are_filled(network, reference, rendered):
    warped, hole = rendered
    result = sample(network, reference, warped, hole, FAST)
    known = (hole < 0.5).expand_as(warped)
    assert result.shape == warped.shape
    assert torch.equal(result[known], warped[known])
    assert not torch.equal(result[~known], warped[~known])
    assert result.isfinite().all()
    assert 0 <= result.min() <= result.max() <= 1


def test_an_empty_mask_returns_the_warp_at_once(network, reference, rendered):
    warped, hole = rendered
    calls: list = []
    handles = [count_calls(network.svd.unet, calls), count_calls(network.svd.vae.encoder, calls)]
    assert sample(network, reference, warped, torch.zeros_like(hole), FAST) is warped
    for handle in handles:
        handle.remove()
    assert calls == []


@pytest.mark.parametrize("windows", ["together", "in_turn"])
def test_a_clip_of_one_window_knows_no_windows(network, reference, rendered, windows):
    plain = sample(network, reference, *rendered, SamplerConfig(steps=2, window=FRAMES, overlap=0))
    longer = sample(network, reference, *rendered, SamplerConfig(steps=2, window=14, windows=windows))
    assert torch.equal(longer, plain)


@pytest.mark.parametrize("windows", ["together", "in_turn"])
def test_windows_see_their_own_frames_of_everything(network, reference, rendered, windows):
    shapes: list = []
    handle = count_calls(network.svd.unet, shapes)
    config = SamplerConfig(steps=2, window=3, overlap=1, windows=windows)
    result = sample(network, reference, *rendered, config)
    handle.remove()
    assert shapes == [(1, 3, 9, 8, 8)] * 4
    assert result.isfinite().all()


def test_a_seed_gives_one_result_on_any_number_of_threads(network, reference, rendered):
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(sample(network, reference, *rendered, FAST))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)
    other = sample(network, reference, *rendered, SamplerConfig(steps=2, feather=0, seed=1))
    assert (other - results[0]).abs().max() > 1e-2


def test_the_slider_changes_the_result(network, reference, rendered):
    results = [
        sample(network, reference, *rendered, SamplerConfig(steps=2, deviation=deviation))
        for deviation in (0.0, 1.0, 2.0)
    ]
    for index, result in enumerate(results):
        for other in results[:index]:
            assert not torch.equal(result, other)


def test_the_measured_deviation_rises_with_divergence(network, left, reference):
    # A slope: beside a small near thing, how many latents its hole leaves decides more than the divergence.
    depth = torch.linspace(0, 1, left.shape[-2])[:, None].expand(len(left), 1, *left.shape[-2:])
    measured = [
        measure_deviation(
            network,
            reference,
            *forward_warp(left, depth_to_disparity(depth, divergence=divergence, convergence=0.0)),
        )[0]
        for divergence in (0.5, 2.0, 6.0, 12.0)
    ]
    assert measured == sorted(measured)
    assert measured[0] > 0
    assert measured[-1] > 2 * measured[0]


@pytest.mark.parametrize("max_side", [1024, 64])
def test_a_view_without_disparity_does_not_deviate(network, max_side):
    left = (picture(2, 90, 130) > 0.5).float()  # resized, this overshoots
    reference = encode_reference(network, left, max_side=max_side)
    assert measure_deviation(network, reference, left, torch.zeros_like(left[:, :1])) == [0]


def test_without_guidance_no_second_pass_is_run(network, reference, rendered):
    results = {}
    for guidance, passes in ((1.0, 2), (2.0, 4)):
        calls: list = []
        handle = count_calls(network.svd.unet, calls)
        config = SamplerConfig(steps=2, feather=0, guidance_max=guidance)
        results[guidance] = sample(network, reference, *rendered, config)
        handle.remove()
        assert len(calls) == passes
    # Linear over the frames: the first has a guidance of 1, but sees the others through the temporal layers.
    assert not torch.equal(results[1.0][-1], results[2.0][-1])


def test_a_short_run_begins_at_the_noised_warp(network, reference, rendered):
    calls: list = []
    handle = count_calls(network.svd.unet, calls)
    config = SamplerConfig(steps=10, strength=0.2)
    assert sample(network, reference, *rendered, config).isfinite().all()
    handle.remove()
    assert len(calls) == 2


def test_known_pixels_enter_each_estimate(network, reference, rendered):
    warped, hole = rendered
    estimates: list = []
    for reinject in (False, True):
        config = SamplerConfig(steps=2, reinject=reinject)
        sample(network, reference, warped, hole, config, on_step=lambda *step: estimates.append(step[2]))
    view = SCALING * encode_frames(network.svd.vae, reference.canvas.fit(warped))
    corner = (slice(None), slice(None), slice(0, 2), slice(0, 2))  # known all around
    plain, injected = ((estimate - view)[corner].abs().mean() for estimate in estimates[1::2])
    assert injected < 0.2 * plain


def test_larger_clips_are_diffused_smaller_and_pasted_at_full_size(network):
    left = picture(2, 90, 130)
    warped, hole = render(left, divergence=6.0)
    reference = encode_reference(network, left, max_side=64)
    assert reference.canvas.latent_size == (8, 8)
    result = sample(network, reference, warped, hole, FAST)
    known = (hole < 0.5).expand_as(warped)
    assert torch.equal(result[known], warped[known])
    assert not torch.equal(result[~known], warped[~known])


def test_tiles(network):
    left = picture(2, 256, 320)
    warped, hole = render(left, divergence=6.0)
    shapes: list = []
    handle = count_calls(network.svd.unet, shapes)
    result = sample(
        network, encode_reference(network, left), warped, hole, SamplerConfig(steps=1, feather=0, tile=256)
    )
    handle.remove()
    assert shapes == [(1, 2, 9, 32, 32)] * 2
    known = (hole < 0.5).expand_as(warped)
    assert torch.equal(result[known], warped[known])


def test_one_frame(network):
    left = picture(1)
    warped, hole = render(left, divergence=6.0)
    assert sample(network, encode_reference(network, left), warped, hole, FAST).shape == left.shape


def test_til_mixes_a_windows_features(make_network, left, rendered):
    with_til = make_network(with_til=True)
    result = sample(with_til, encode_reference(with_til, left), *rendered, FAST)
    assert result.isfinite().all()


def test_features_are_made_once_for_all_steps_and_runs(make_network, left, rendered):
    network = make_network()
    reference = encode_reference(network, left)
    calls: list = []
    handle = count_calls(network.refiner.conv_in, calls)
    for deviation in (1.0, 2.0):
        sample(
            network, reference, *rendered, SamplerConfig(steps=2, window=3, overlap=1, deviation=deviation)
        )
    assert len(calls) == 2  # one a window
    small = encode_reference(network, left)
    small._kept_bytes = 0
    calls.clear()
    sample(network, small, *rendered, SamplerConfig(steps=2, window=3, overlap=1))
    handle.remove()
    assert len(calls) == 4  # without a budget one a window and step


def test_one_windows_features_are_read_for_all_steps(network, left, rendered):
    reference = encode_reference(network, left)
    reference._kept_bytes = 0
    calls: list = []
    handle = count_calls(network.refiner.conv_in, calls)
    sample(network, reference, *rendered, SamplerConfig(steps=3))
    handle.remove()
    assert len(calls) == 2  # RefinerNet takes four frames at a time


def test_two_windows_features_are_never_held_at_once(network, left, rendered):
    held: list = []
    handle = network.refiner.register_forward_pre_hook(lambda *_: held.append(network.bank.nbytes))
    reference = encode_reference(network, left)
    reference._kept_bytes = 0
    sample(network, reference, *rendered, SamplerConfig(steps=2, window=3, overlap=1))
    handle.remove()
    assert held == [0] * 4


def test_til_sees_the_frames_beyond_a_window(make_network):
    network = make_network(with_til=True)
    left = picture(12)
    reference = encode_reference(network, left)
    rows, columns = range(8), range(8)
    whole = reference.features(Region(range(12), rows, columns))
    window = reference.features(Region(range(5, 8), rows, columns))
    for site, features in window.items():
        torch.testing.assert_close(features, whole[site][5:8], rtol=1e-4, atol=1e-4)


def test_noise_augmentation_is_told_and_added(network, reference, rendered):
    results = [
        sample(network, reference, *rendered, SamplerConfig(steps=1, noise_augmentation=level))
        for level in (None, 0.02, 0.0, 0.3)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[1], results[2])
    assert not torch.equal(results[2], results[3])


@pytest.mark.parametrize(
    ("options", "settings", "time_ids", "encoded"),
    [
        ({}, {}, 4, 2 * FRAMES),  # noise: the condition is another picture
        ({"noise_augmentation": 0.0}, {}, 4, FRAMES),
        ({"noise_augmentation": 0.0}, {"blank_holes": True}, 4, FRAMES),  # measured as it is seen
        ({}, {"blank_holes": True}, 4, 2 * FRAMES),
        ({}, {}, 3, FRAMES),  # a UNet that knows no deviation
        ({"deviation": 0.0}, {}, 4, FRAMES),
        ({"strength": 0.5}, {}, 3, 2 * FRAMES),
        ({"strength": 0.5, "noise_augmentation": 0.0}, {"blank_holes": True}, 3, FRAMES + 2),  # with holes
        ({"strength": 0.5}, {"blank_holes": True}, 3, 2 * FRAMES),
        ({"strength": 0.5}, {"blank_holes": True}, 4, 2 * FRAMES + 2),
    ],
)
def test_a_picture_is_encoded_once_and_none_for_nothing(
    make_svd, make_network, left, rendered, options, settings, time_ids, encoded
):
    if time_ids == 4:
        network = make_network()
    else:
        network = SpatialDreamer.from_svd(make_svd(in_channels=9, time_ids=3))
        settings = {"noise_augmentation": 0.02, **settings}
    network = dataclasses.replace(network, config=dataclasses.replace(network.config, **settings))
    warped, hole = rendered
    hole = hole.clone()
    hole[2:] = 0
    reference, shapes = encode_reference(network, left), []
    with count_calls(network.svd.vae.encoder, shapes):
        sample(network, reference, warped, hole, SamplerConfig(steps=1, **options))
    assert sum(shape[0] for shape in shapes) == encoded


def test_the_deviation_is_measured_on_one_encoding(network, reference, rendered):
    shapes: list = []
    with count_calls(network.svd.vae.encoder, shapes):
        assert len(measure_deviation(network, reference, *rendered)) == 1
    assert sum(shape[0] for shape in shapes) == FRAMES


@pytest.mark.parametrize("windows", ["together", "in_turn"])
def test_what_a_step_needs_again_is_made_once(network, reference, rendered, windows, monkeypatch):
    """Time ids and embedding of a window are the same tensors at each step, its known pixels fitted once."""
    given, fitted = [], []
    fit = Canvas.fit
    monkeypatch.setattr(
        Canvas, "fit", lambda canvas, frames: fitted.append(len(frames)) or fit(canvas, frames)
    )
    config = SamplerConfig(steps=3, window=3, overlap=1, windows=windows, noise_augmentation=0.0)
    with network.svd.unet.register_forward_pre_hook(lambda _, inputs: given.append(inputs)):
        sample(network, reference, *rendered, config)
    assert len(given) == 6
    for index in (2, 3):  # embedding, time ids
        assert len({id(inputs[index]) for inputs in given}) == 2
    assert len({float(inputs[1]) for inputs in given}) == 3, "a time for each noise level"
    fitted.clear()
    sample(network, reference, *rendered, SamplerConfig(steps=3, reinject=True, noise_augmentation=0.0))
    assert fitted == [FRAMES, FRAMES], "encoded and put in again"


def test_features_on_a_gpu_stay_there_where_a_run_needs_them_again(network, left, monkeypatch):
    """Shown by features without content, as of any device that is not the CPU."""
    reference = encode_reference(network, left)
    regions = [Region(range(3), range(8), range(8)), Region(range(2, 5), range(8), range(8))]
    features = {"site": torch.empty(3, 64, 64, device="meta")}
    before = reference.nbytes
    reference._keep(regions[0], features)
    assert reference._kept == {}, "once a run: nothing is brought to main memory for the next"
    monkeypatch.setattr(network_module, "free_memory", lambda device: 1 << 50)
    assert reference.make_room(regions)
    for region in regions:
        reference._keep(region, features)
        assert reference.features(region) is features
    assert reference.nbytes == before, "main memory holds none of them"
    reference.end_run()
    assert reference._kept == {}
    for again in (False, True):  # asked for a second time, though nobody made room
        reference.features(regions[0])
        assert reference._returns == again
        reference._kept.clear()


@pytest.mark.gpu
@pytest.mark.parametrize("windows", ["together", "in_turn"])
def test_no_step_waits_for_the_device(make_network, left, rendered, windows):
    network = make_network(with_til=True)
    for module in network.modules:
        module.cuda()
    reference = encode_reference(network, left)
    config = SamplerConfig(steps=6, window=3, overlap=1, windows=windows, guidance_max=2.0)

    def forbid_waiting(done, total, clean):
        between = done >= 2 and done % 6 and done < total  # windows begin at the first step, or every six
        torch.cuda.set_sync_debug_mode("error" if between else "default")

    try:
        sample(network, reference, *rendered, config, on_step=forbid_waiting)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watch_unet(network):
    """Note what the UNet gets: its input, its time ids, and the noise level that its time stands for."""
    seen: list = []

    def note(module, inputs):
        seen.append((inputs[0], inputs[3], math.exp(4 * float(inputs[1]))))

    return seen, network.svd.unet.register_forward_pre_hook(note)


def test_the_hole_mask_gets_no_noise(network, reference, rendered):
    warped, hole = rendered
    seen, handle = watch_unet(network)
    sample(network, reference, warped, hole, SamplerConfig(steps=1, noise_augmentation=0.5))
    handle.remove()
    mask = pool_mask(reference.canvas.fit_mask(hole))
    assert torch.equal(seen[0][0][0, :, 8:], mask)


@pytest.mark.parametrize("trained", [0.0, 0.02, 0.3])
def test_by_default_the_augmentation_is_the_one_of_the_training(network, left, rendered, trained):
    config = dataclasses.replace(network.config, noise_augmentation=trained)
    network = dataclasses.replace(network, config=config)
    reference, clips = encode_reference(network, left[:1]), [clip[:1] for clip in rendered]
    seen, handle = watch_unet(network)
    for level in (None, trained, 0.5):
        sample(network, reference, *clips, SamplerConfig(steps=1, noise_augmentation=level))
    handle.remove()
    assert [float(ids[0, 2]) for _, ids, _ in seen] == pytest.approx([trained, trained, 0.5])
    assert torch.equal(seen[0][0], seen[1][0])


def test_fps_and_motion_are_told(network, left, rendered):
    reference, clips = encode_reference(network, left[:1]), [clip[:1] for clip in rendered]
    seen, handle = watch_unet(network)
    for options in ({}, {"fps": 24.0}, {"fps": 29.97, "motion_bucket": 0}):
        sample(network, reference, *clips, SamplerConfig(steps=1, **options))
    handle.remove()
    told = [ids[0, :2].tolist() for _, ids, _ in seen]
    assert told == [pytest.approx(pair) for pair in ([6, 127], [23, 127], [28.97, 0])]


def test_the_deviation_is_that_of_each_window(network):
    left = picture(8)
    shifts = [render(left, divergence=divergence) for divergence in (1.0, 9.0)]
    warped, hole = (torch.cat([calm[:4], strong[4:]]) for calm, strong in zip(*shifts, strict=True))
    reference = encode_reference(network, left)
    expected = []
    for part in (slice(0, 4), slice(4, 8)):
        alone = encode_reference(network, left[part])
        expected.append(1.5 * 1000 * measure_deviation(network, alone, warped[part], hole[part])[0])
    assert expected[1] > 1.2 * expected[0]
    cut = SamplerConfig(window=4, overlap=0)
    measured = [1.5 * 1000 * value for value in measure_deviation(network, reference, warped, hole, cut)]
    assert measured == pytest.approx(expected, rel=1e-3)
    for windows in ("together", "in_turn"):
        seen, handle = watch_unet(network)
        config = SamplerConfig(steps=1, window=4, overlap=0, deviation=1.5, windows=windows)
        sample(network, reference, warped, hole, config)
        handle.remove()
        assert [float(ids[0, 3]) for _, ids, _ in seen] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("steps", [8, 25, 50])
def test_a_strength_starts_at_one_noise_level(network, left, rendered, steps):
    reference = encode_reference(network, left[:1])
    seen, handle = watch_unet(network)
    with pytest.raises(KeyboardInterrupt):
        sample(
            network,
            reference,
            *(clip[:1] for clip in rendered),
            SamplerConfig(steps=steps, strength=0.4),
            on_step=interrupt,
        )
    handle.remove()
    assert seen[0][2] == pytest.approx(3.87, abs=0.01)


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_window_is_by_default_as_long_as_in_training(make_network, left, rendered, caplog):
    network = make_network()
    network.svd.unet.register_to_config(num_frames=3)
    reference = encode_reference(network, left)
    for overlap, windows in ((0, 2), (1, 2), (30, 3)):
        seen, handle = watch_unet(network)
        sample(network, reference, *rendered, SamplerConfig(steps=1, overlap=overlap))
        handle.remove()
        assert [len(noisy[0]) for noisy, _, _ in seen] == [3] * windows
        assert ("windows share 2 of them, not 30" in caplog.text) == (overlap == 30)


def test_the_whole_view_is_diffused_everywhere(network, reference, rendered):
    warped, hole = rendered
    views = sample_views(network, reference, warped, hole, FAST)
    known = (hole < 0.5).expand_as(warped)
    assert torch.equal(views.filled, sample(network, reference, warped, hole, FAST))
    assert torch.equal(views.filled[known], warped[known])
    assert torch.equal(views.filled[~known], views.whole[~known])
    assert (views.whole - warped)[known].abs().median() > 0.01
    assert 0 <= views.whole.min() <= views.whole.max() <= 1
    stronger = sample_views(network, reference, warped, hole, dataclasses.replace(FAST, deviation=3.0))
    assert torch.equal(stronger.filled[known], warped[known])
    assert (stronger.whole[known] - views.whole[known]).abs().max() > 1e-3


def test_without_holes_both_views_are_the_warp(network, reference, rendered):
    warped, hole = rendered
    assert all(view is warped for view in sample_views(network, reference, warped, 0 * hole, FAST))


@pytest.fixture(scope="module")
def native_network(make_network):
    """A network whose config says that it was trained on pictures of 128x128."""
    network = make_network()
    network.svd.unet.register_to_config(sample_size=16)
    return network


@pytest.mark.parametrize(
    ("size", "max_side", "fitted"),
    [
        ((64, 64), 1024, (128, 128)),
        ((45, 80), 1024, (96, 171)),
        ((45, 80), 96, (54, 96)),
        ((16, 128), 1024, (45, 362)),
        ((1, 1), 1024, (128, 128)),
        ((90, 200), 1024, (90, 200)),
        ((300, 60), 1024, (300, 60)),
        ((300, 60), 150, (150, 30)),
    ],
)
def test_small_clips_are_diffused_at_the_models_size(native_network, size, max_side, fitted):
    canvas = encode_reference(native_network, torch.rand(1, 3, *size), max_side=max_side).canvas
    assert (canvas.fitted_height, canvas.fitted_width) == fitted
    assert (canvas.height, canvas.width) == size


def test_an_enlarged_clip_comes_back_at_its_size_with_its_known_pixels(native_network, left, rendered):
    warped, hole = (clip[:2] for clip in rendered)
    reference = encode_reference(native_network, left[:2])
    assert reference.canvas.latent_size == (16, 24)  # of 117x140 px
    views = sample_views(native_network, reference, warped, hole, FAST)
    known = (hole < 0.5).expand_as(warped)
    assert views.filled.shape == views.whole.shape == warped.shape
    assert torch.equal(views.filled[known], warped[known])
    assert not torch.equal(views.filled[~known], warped[~known])


def test_windows_run_in_turn_where_their_features_do_not_fit(network, left, rendered, monkeypatch, caplog):
    sizes = {"height": 64, "width": 64, "dtype": torch.float32}
    needed = 2 * bank_memory(network.svd.unet.config, frames=3, **sizes)
    config = SamplerConfig(steps=1, window=3, overlap=1)
    results, calls = {}, {}
    for name, free, options in (
        ("room", 2 * needed, {}),
        ("short", 2 * needed - 1, {}),
        ("in_turn", 2 * needed, {"windows": "in_turn"}),
        ("unread", 0, {"read_reference": "off"}),
    ):
        monkeypatch.setattr(reference_module, "free_memory", lambda device, free=free: free)
        notices: list = []
        frames: list = []
        handle = count_calls(network.refiner.conv_in, frames)
        results[name] = sample(
            network,
            encode_reference(network, left),
            *rendered,
            dataclasses.replace(config, **options),
            on_notice=notices.append,
        )
        handle.remove()
        calls[name] = len(frames)
        assert len(notices) == (name == "short")
    assert calls == {"room": 2, "short": 2, "in_turn": 2, "unread": 0}
    assert torch.equal(results["short"], results["in_turn"])
    assert not torch.equal(results["room"], results["in_turn"])
    assert (
        "windows run in_turn, not together: RefinerNet's features of all 2 take about 0.0 GB" in caplog.text
    )


def test_between_runs_no_more_features_are_kept_than_4_gb(network, left, rendered, monkeypatch):
    reference = encode_reference(network, left)
    config = SamplerConfig(steps=2, window=3, overlap=1)
    monkeypatch.setattr(reference_module, "_KEPT_BYTES", reference.nbytes)
    held: list = []
    sample(network, reference, *rendered, config, on_step=lambda *_: held.append(reference.nbytes))
    assert held[0] < held[-1]
    assert reference.nbytes == reference_module._KEPT_BYTES


@pytest.mark.parametrize(
    ("channels", "replaced", "trained"),
    [(8, False, True), (8, False, False), (8, True, False), (9, False, True)],
)
def test_a_unet_without_refinernet_does_not_read_by_default(make_svd, channels, replaced, trained):
    svd = dataclasses.replace(make_svd(in_channels=channels, time_ids=3), replaced=replaced)
    network = dataclasses.replace(SpatialDreamer.from_svd(svd), fills_holes=trained)
    left = picture(1)
    rendered = render(left, divergence=6.0)
    calls: list = []
    network.refiner.register_forward_hook(lambda *_: calls.append(choice))
    choices = ("auto", "on", "off", True, False)
    for choice in choices:
        config = SamplerConfig(steps=1, passes=1, read_reference=choice)
        sample(network, encode_reference(network, left), *rendered, config)
    assert calls == (["auto"] if channels == 8 and trained else []) + ["on", True]


def test_waiting_is_reported_within_a_step(network, left, rendered):
    waits: list = []
    sample(
        network,
        encode_reference(network, left),
        *rendered,
        SamplerConfig(steps=1, reinject=True),
        on_wait=lambda: waits.append(1),
    )
    assert len(waits) >= 4  # twice RefinerNet, then decoding and encoding


def test_a_unet_without_refinernet_reads_nothing(network, left, rendered):
    calls: list = []
    handle = count_calls(network.refiner.conv_in, calls)
    options = SamplerConfig(steps=2, read_reference=False)
    plain = sample(network, encode_reference(network, left), *rendered, options)
    assert calls == []
    read = sample(network, encode_reference(network, left), *rendered, SamplerConfig(steps=2))
    handle.remove()
    assert not torch.equal(plain, read)


def test_memory_that_runs_out_makes_windows_smaller(network, reference, rendered, caplog):
    def short_of_memory(module, inputs):
        if inputs[0].shape[1] > 4:
            raise torch.OutOfMemoryError("out of memory")

    handle = network.svd.unet.register_forward_pre_hook(short_of_memory)
    with caplog.at_level(logging.WARNING):
        result = sample(network, reference, *rendered, FAST)
    handle.remove()
    assert result.isfinite().all()
    assert (
        "out of memory with windows of 14 frames, whole pictures: trying windows of 2 frames" in caplog.text
    )


def test_an_interrupted_run_leaves_the_network_as_it_was(network, reference, rendered):
    def stop(done, total, clean):
        raise KeyboardInterrupt

    before = sample(network, reference, *rendered, FAST)
    with pytest.raises(KeyboardInterrupt):
        sample(network, reference, *rendered, FAST, on_step=stop)
    assert network.bank.nbytes == 0
    assert torch.equal(sample(network, reference, *rendered, FAST), before)


def test_progress_counts_frames_and_steps(network, reference, rendered):
    steps, frames = [], []
    sample(
        network,
        reference,
        *rendered,
        SamplerConfig(steps=3, window=3, overlap=1),
        on_step=lambda done, total, clean: steps.append((done, total, tuple(clean.shape))),
        on_frame=frames.append,
    )
    assert steps == [(done, 6, (3, 4, 8, 8)) for done in range(1, 7)]
    assert frames == [FRAMES, FRAMES]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            lambda warped, hole: (warped[:3], hole[:3]),
            "`warped` must have the frames and size of the left view",
        ),
        (lambda warped, hole: (warped, hole[:3]), "`hole` must have as many frames as `warped`"),
        (lambda warped, hole: (warped, hole[..., :30]), "`hole` must have the size of `warped`"),
        (lambda warped, hole: (warped, hole * math.nan), "`hole` must be finite"),
        (lambda warped, hole: (warped * math.inf, hole), "`warped` must be finite"),
    ],
)
def test_views_that_do_not_belong_together(network, reference, rendered, change, rule):
    with pytest.raises(InputError, match=rule):
        sample(network, reference, *change(*rendered), FAST)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"steps": 0}, "steps must be between 1 and 200, got 0"),
        ({"window": 4, "overlap": 4}, "overlap must be between 0 and window - 1"),
        ({"tile": 100}, "tile must be between 256 and 4096"),
        ({"tile": 300}, "tile must be a multiple of 64 px, got 300; try 256"),
        ({"noise_augmentation": 2.0}, "noise_augmentation must be between 0 and 1, got 2"),
        ({"deviation": 9.0}, "deviation must be between 0 and 3, got 9"),
        ({"strength": 0.0}, "strength must be"),
        ({"windows": "blend"}, "windows must be one of together, in_turn"),
        ({"window": -1}, "window must be between 0 and 128"),
        ({"overlap": -1}, "overlap must be between 0 and 127"),
        ({"overlap": 200}, "overlap must be between 0 and 127"),
        ({"read_reference": "never"}, "read_reference must be one of auto, on, off, got 'never'"),
        ({"read_reference": 1}, "read_reference must be of type str or bool, got 1"),
        ({"fps": 0.0}, "fps must be between 1 and 240"),
        ({"fps": math.nan}, "fps must be between 1 and 240"),
        ({"motion_bucket": 256}, "motion_bucket must be between 0 and 255, got 256"),
        ({"motion_bucket": 1.5}, "motion_bucket must be of type int or None, got 1.5"),
    ],
)
def test_options_out_of_range(network, reference, rendered, options, rule):
    with pytest.raises(InputError, match=rule):
        sample(network, reference, *rendered, SamplerConfig(**options))


def test_a_reference_of_another_model(make_network, network, left, rendered):
    other = make_network()
    with pytest.raises(InputError, match="`reference` must come from the model that samples"):
        sample(network, encode_reference(other, left), *rendered, FAST)


def test_a_model_that_gives_nan(make_network, left, rendered):
    network = make_network()
    with torch.no_grad():
        network.svd.unet.conv_out.bias.fill_(math.nan)
    with pytest.raises(InputError, match="UNet must give finite latents"):
        sample(network, encode_reference(network, left), *rendered, FAST)


def test_announced_work_shrinks_with_the_windows(make_network, left, rendered):
    network = make_network()
    works: list = []
    network.on_work = works.append

    def short_of_memory(module, inputs):
        if inputs[0].shape[1] > 4:
            raise torch.OutOfMemoryError("out of memory")

    network.svd.unet.register_forward_pre_hook(short_of_memory)
    sample(network, encode_reference(network, left), *rendered, FAST)
    frames = [work.frames for work in works if network.svd.unet in work.networks]
    assert frames[0] == FRAMES
    assert frames[-1] == 2
    assert {(work.height, work.width) for work in works} == {(64, 64)}


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options", [{}, {"window": 3, "overlap": 1}, {"guidance_max": 2.0, "reinject": True}]
)
def test_on_cuda_as_on_the_cpu(make_network, left, rendered, options):
    network = make_network(with_til=True)
    config = SamplerConfig(steps=2, **options)
    expected = sample(network, encode_reference(network, left), *rendered, config)
    for module in network.modules:
        module.cuda()
    result = sample(network, encode_reference(network, left), *rendered, config)
    assert result.device == rendered[0].device
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("max_side", [1024, 64])
def test_a_clip_on_the_gpu_stays_there(make_network, max_side):
    network, left = make_network(), picture(3, 90, 130)
    rendered = render(left, divergence=6.0)
    config = SamplerConfig(steps=2, dilate=1, reinject=True)
    expected = sample(network, encode_reference(network, left, max_side=max_side), *rendered, config)
    for module in network.modules:
        module.cuda()
    reference = encode_reference(network, left.cuda(), max_side=max_side)
    result = sample(network, reference, *(clip.cuda() for clip in rendered), config)
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        ("cpu", torch.bfloat16),
        pytest.param("cuda", torch.float16, marks=pytest.mark.gpu),
        pytest.param("cuda", torch.bfloat16, marks=pytest.mark.gpu),
    ],
)
def test_half_precision(make_network, left, rendered, device, dtype):
    network = make_network(with_til=True)
    for module in network.modules:
        module.to(device, dtype)
    config = SamplerConfig(steps=2, guidance_max=2.0, reinject=True)
    result = sample(network, encode_reference(network, left), *rendered, config)
    assert result.isfinite().all()
    assert result.dtype == torch.float32


@pytest.mark.gpu
def test_networks_that_come_to_the_device_only_when_announced(make_network, left, rendered):
    """As ComfyUI moves them: whatever does not work next may be back on the CPU."""
    network = make_network(with_til=True)

    def bring(work):
        for module in network.modules:
            module.to("cuda" if any(module is wanted for wanted in work.networks) else "cpu")

    network.on_work = bring
    config = SamplerConfig(steps=2, window=3, overlap=1, reinject=True)
    reference = encode_reference(network, left)
    reference._kept_bytes = 0
    assert sample(network, reference, *rendered, config).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("windows", ["together", "in_turn"])
@pytest.mark.parametrize("frames", [200, 1000])
def test_memory_does_not_grow_with_the_clip(network, frames, windows):
    left = picture(frames, 64, 64)
    warped, hole = left.flip(-1).contiguous(), (left[:, :1] > 0.9).float()
    reference = encode_reference(network, left)
    reference._kept_bytes = 0
    process, resident = psutil.Process(), []
    sample(
        network,
        reference,
        warped,
        hole,
        SamplerConfig(steps=1, windows=windows),
        on_step=lambda *step: resident.append(process.memory_info().rss),
    )
    assert len(resident) == math.ceil((frames - 4) / 10)
    assert max(resident[2:]) - resident[1] < 24 << 20


@pytest.mark.parametrize("reinject", [False, True])
def test_a_network_works_only_after_it_was_announced(make_network, left, rendered, reinject):
    network = make_network(with_til=True)
    svd = network.svd
    present, worked, handles = set(), set(), []

    def watch(owner, module):
        def check(*_):
            assert owner in present
            worked.add(owner)

        handles.append(module.register_forward_pre_hook(check))

    def on_work(work):
        present.clear()
        present.update(work.networks)

    network.on_work = on_work
    for owner, module in [(svd.vae, svd.vae.encoder), (svd.vae, svd.vae.decoder)]:
        watch(owner, module)
    for module in (svd.unet, svd.image_encoder, network.refiner, network.til):
        watch(module, module)
    config = SamplerConfig(steps=2, window=3, overlap=1, reinject=reinject)
    sample(network, encode_reference(network, left), *rendered, config)
    for handle in handles:  # other tests share the networks
        handle.remove()
    assert worked == set(network.modules)
