import errno
import json
import logging
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer import load_spatialdreamer
from spatialdreamer_core.training.checkpoint import list_checkpoints, writing
from spatialdreamer_core.training.latent_index import LatentClip
from spatialdreamer_core.training.record import read_log
from spatialdreamer_core.training.train import _start_average

from .small_run import losses
from .tiny_training import TinyCache, TinySample, copy_network, quick_config, run


def gradients(checkpoint):
    """Return the gradients of a run's first step, which AdamW's mean of gradients is a tenth of."""
    state = torch.load(checkpoint / "optimizer.bin", weights_only=True)["state"]
    return torch.cat([entry["exp_avg"].flatten() for entry in state.values()]) / 0.1


class Found:
    """A validation with given figures."""

    def __init__(self, **metrics):
        self.metrics = metrics

    def save_pictures(self, file):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"picture")


def test_a_run_learns_and_writes_down_what_it_did(network, tmp_path):
    seen = []
    told = run(
        *(network, tmp_path),
        steps=6,
        ema=0.5,
        keep=1,
        learning_rate=3e-3,
        sigma_deviation=0.0,
        on_progress=lambda *step: seen.append(step),
    )
    assert (told.step, told.finished) == (6, True)
    assert [step[:2] for step in seen] == [(done, 6) for done in range(1, 7)]
    log = read_log(tmp_path)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "v_loss", "stereo_loss", "gradient_norm", "learning_rate", "seconds"} <= set(log[0])
    assert sum(losses(tmp_path)[-2:]) < sum(losses(tmp_path)[:2])
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints")] == [6]
    assert not (tmp_path / ".lock").exists()
    trained = load_spatialdreamer(network.svd, tmp_path / "last")  # as the loader node reads it
    assert (trained.config.stage, trained.config.blank_holes) == ("stage1", True)


def test_the_moving_average_takes_all_weights_at_once():
    """On a GPU launching kernels for each of hundreds of weights takes longer than they do."""
    weights = {str(number): torch.nn.Parameter(torch.zeros(2)) for number in range(50)}
    average, called = _start_average(weights, quick_config(ema=0.5)), []

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(func)
            return func(*args, **(kwargs or {}))

    with Calls():
        average.step(weights.values())
    assert len(called) < 10


@pytest.mark.parametrize(
    "changes", [{"stage": "1", "ema": 0.9, "accumulation": 2}, {"stage": "2", "lora": 2}]
)
def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(tiny_network, tmp_path, changes):
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    run(copy_network(tiny_network), whole, **changes)
    steps = iter([False, False, True])  # told to stop in the third step, one after its checkpoint
    told = run(copy_network(tiny_network), ended, should_stop=lambda: next(steps), **changes)
    assert (told.step, told.finished) == (3, False)
    shutil.rmtree(ended / "checkpoints" / "step-00000003")  # as if it had been killed there
    run(copy_network(tiny_network), ended, **changes)
    assert losses(ended) == pytest.approx(losses(whole), abs=1e-6)
    for part in ("unet", "refiner"):
        first, second = (load_file(folder / "last" / f"{part}.safetensors") for folder in (whole, ended))
        assert all(torch.allclose(value, second[name], atol=1e-6) for name, value in first.items())


def test_a_finished_run_stays_as_it_is(network, tiny_network, tmp_path):
    run(network, tmp_path, steps=2)
    before = (tmp_path / "log.jsonl").read_text()
    told = run(copy_network(tiny_network), tmp_path, steps=2)
    assert (told.step, told.finished) == (2, True)
    assert (tmp_path / "log.jsonl").read_text() == before


def test_a_checkpoint_that_was_being_written_is_no_checkpoint(network, tiny_network, tmp_path):
    run(network, tmp_path, steps=2)
    (half,) = (tmp_path / "checkpoints").iterdir()
    (half / "optimizer.bin").rename(half / "optimizer.part")
    half.rename(half.with_name(".step-00000002.partial-00000000-000000-00000000"))
    run(copy_network(tiny_network), tmp_path, steps=2)
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints")] == [2]


def test_parts_of_a_batch_give_what_the_whole_gives(tiny_network, tmp_path):
    moments = []
    for parts in (1, 2):
        folder = tmp_path / str(parts)
        cache = TinyCache(size=16)  # smaller ones are normalised over 4 values, which magnifies rounding
        run(copy_network(tiny_network), folder, cache=cache, steps=1, batch=4, accumulation=parts)
        moments.append(gradients(folder / "checkpoints" / "step-00000001"))
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "2"), abs=1e-6)
    first, second = moments
    assert float((first - second).abs().max()) < 1e-5 * float(first.abs().max())


def test_the_best_weights_are_kept(network, tmp_path):
    figures = iter(
        [
            Found(hole_psnr=10.0, sharpness=1.0),
            Found(hole_psnr=12.0, sharpness=1.0),
            Found(hole_psnr=15.0, sharpness=0.5),  # better, but blurred
        ]
    )
    weights = []

    def validate(deployed):
        weights.append(deployed.svd.unet.conv_in.bias.clone())
        return next(figures)

    run(network, tmp_path, validate=validate, validate_every=2)
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 2
    best, last = (load_file(tmp_path / name / "unet.safetensors") for name in ("best", "last"))
    assert torch.equal(best["conv_in.bias"], weights[1])
    assert torch.equal(last["conv_in.bias"], weights[2])
    validations = [line for line in read_log(tmp_path) if "validation" in line]
    assert [line["step"] for line in validations] == [0, 2, 4]
    assert sorted(path.name for path in (tmp_path / "validation").iterdir()) == [
        f"step-0000000{step}.png" for step in (0, 2, 4)
    ]


def test_stage_2_begins_where_stage_1_ended(network, tmp_path):
    seen = []

    def validate(deployed):
        seen.append(deployed)
        return Found(hole_psnr=1.0)

    run(network, tmp_path / "1", steps=2, ema=0.5, validate=validate)
    start = load_spatialdreamer(network.svd, tmp_path / "1" / "last")
    last = {name: value.clone() for name, value in seen[-1].svd.unet.state_dict().items()}
    first = None

    def validate_second(deployed):
        nonlocal first
        first = first or {name: value.clone() for name, value in deployed.svd.unet.state_dict().items()}
        assert deployed.til is not None
        assert deployed.config.stage == "stage2"
        return Found(hole_psnr=1.0)

    run(start, tmp_path / "2", steps=1, stage="2", ema=0.5, validate=validate_second)
    assert all(torch.equal(value, last[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("deviation_map", "way_back", "message"),
    [
        (True, 0.5, None),
        (False, 1.0, None),
        (
            True,
            1.0,
            "teaches no stereo deviation strength, as all its views lie on the true ones: build it with",
        ),
        (False, 0.5, "without a deviation map it is hardly learned: train stage 1 with --deviation-map"),
    ],
)
def test_views_that_teach_the_strength_and_the_map_that_learns_it_go_together(
    network, tmp_path, caplog, deviation_map, way_back, message
):
    cache = TinyCache()
    cache.clips[0] = LatentClip("clip_0", 5, False, 0, 0, way_back)
    with caplog.at_level(logging.INFO, logger="spatialdreamer_core"):
        run(network, tmp_path, cache=cache, steps=1, deviation_map=deviation_map)
    said = [record.message for record in caplog.records if "stereo deviation strength" in record.message]
    assert len(said) == (message is not None)
    assert message is None or message in said[0]


def test_where_all_views_lie_on_the_truth_the_map_changes_nothing(tiny_network, tmp_path):
    found = []
    for deviation_map in (False, True):
        folder = tmp_path / str(deviation_map)
        run(copy_network(tiny_network), folder, steps=4, deviation_map=deviation_map)
        state = load_file(folder / "last" / "unet.safetensors")
        found.append((losses(folder), state.pop("conv_in.weight"), state["conv_out.weight"]))
    (plain, first, last), (with_map, wide, wide_last) = found
    assert with_map == pytest.approx(plain, rel=1e-4)
    torch.testing.assert_close(wide[:, : first.shape[1]], first, atol=1e-4, rtol=0)
    torch.testing.assert_close(wide_last, last, atol=1e-4, rtol=0)
    assert wide.shape[1] > first.shape[1]
    assert not bool(wide[:, first.shape[1] :].any())


def test_a_loss_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(network, tmp_path):
    cache = TinyCache()

    class Damaged(TinyCache):
        def read(self, index, frames):
            sample = cache.read(index, frames)
            broken = math.nan if index == 1 else 1.0
            return TinySample(sample.target * broken, *sample[1:])

    with pytest.raises(InputError, match=r"got nan in step \d+ for frames \d to \d of clip_1 \(sigma"):
        run(network, tmp_path, cache=Damaged(), steps=50, checkpoint_every=1)
    log = read_log(tmp_path)
    kept = [step for step, _ in list_checkpoints(tmp_path / "checkpoints")]
    assert all(math.isfinite(line["loss"]) for line in log)
    assert (kept or [0])[-1] == len(log)
    assert all(bool(value.isfinite().all()) for value in network.svd.unet.state_dict().values())


def test_a_checkpoint_of_other_networks_or_damaged_is_refused(network, tiny_network, tmp_path):
    run(network, tmp_path, steps=2)
    checkpoint = tmp_path / "checkpoints" / "step-00000002"
    with pytest.raises(InputError, match=r"of the run's networks, got .*step-00000002"):
        run(copy_network(tiny_network), tmp_path, steps=2, stage="2")
    (checkpoint / "checkpoint.json").write_text('{"format": 99, "step": 2}')
    with pytest.raises(InputError, match="got format 99"):
        run(copy_network(tiny_network), tmp_path, steps=2)
    (checkpoint / "checkpoint.json").write_text('{"format": 1, "step": 2}')
    (checkpoint / "optimizer.bin").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="remove that folder to go on from the checkpoint before it"):
        run(copy_network(tiny_network), tmp_path, steps=2)


def test_two_commands_cannot_train_the_same_run(network, tmp_path):
    from spatialdreamer_core.locking import FileLock

    lock = FileLock(tmp_path / ".lock")
    assert lock.acquire()
    try:
        with pytest.raises(InputError, match="a run must be trained by one command at a time"):
            run(network, tmp_path)
    finally:
        lock.release()


def test_what_cannot_be_written_is_told_with_its_remedy(tmp_path):
    for error, message in (
        (OSError(errno.ENOSPC, "No space left on device"), "must have room for last"),
        (RuntimeError("PytorchStreamWriter failed writing file"), "weights must be writable, got 'Pytorch"),
    ):
        with pytest.raises(InputError, match=message), writing(tmp_path / "last", name="last weights"):
            raise error
