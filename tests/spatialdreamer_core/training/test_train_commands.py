import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

from spatialdreamer_core.cli import main
from spatialdreamer_core.spatialdreamer import load_spatialdreamer
from spatialdreamer_core.svd import load_svd
from spatialdreamer_core.training.dataset import DatasetConfig, build_dataset

from .dataset.conftest import scenes_of, write_film
from .small_run import losses, validations

QUICK = [
    *("--base", "small", "--preset", "test", "--batch", "2", "--frames", "4", "--warmup", "0"),
    *("--tracker", "none", "--quiet", "--height", "48", "--validation-clips", "1"),
    *("--validation-steps", "1", "--validation-frames", "4"),
]
SLOW_RUN = [*QUICK, "--validation-clips", "0", "--stage", "1"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A dataset of a small film, of which a clip is held out; not to be changed."""
    folder = tmp_path_factory.mktemp("dataset")
    film = write_film(folder / "film.mp4", scenes_of(10, 9, 8))
    config = DatasetConfig(
        frames=4,
        workers=1,
        depth="builtin",
        divergence_low=8.0,
        divergence_high=10.0,
        least_sharpness=0,
        least_flow_confidence=0,
        held_out=0.3,
    )
    build_dataset([film], folder / "made", config)
    return folder / "made"


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Where the encoded clips of that dataset lie for all tests."""
    return tmp_path_factory.mktemp("latents") / "encoded"


@pytest.fixture
def train(dataset, latents, capsys):
    """Return what runs the command on the dataset, and gives its exit code and errors."""

    def run(output, *options, quick=QUICK):
        arguments = ["train", str(dataset), "-o", str(output), "--latents", str(latents), *quick, *options]
        code = main(arguments)
        return code, capsys.readouterr().err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Where a run of both stages is kept, which the first test makes."""
    return tmp_path_factory.mktemp("run") / "run"


def test_both_stages_run_and_what_they_learnt_is_exported(train, finished, tmp_path, capsys):
    code, errors = train(finished, "--steps", "2", "--validate-every", "2")
    assert code == 0, errors
    for stage in ("stage1", "stage2"):
        assert len(losses(finished / stage)) == 2
        assert {"best", "last", "checkpoints", "validation", "run.json"} <= {
            path.name for path in (finished / stage).iterdir()
        }
    first, second = (validations(finished / stage) for stage in ("stage1", "stage2"))
    assert second[0] == pytest.approx(first[-1], abs=1e-6)  # TIL begins as a change of nothing
    assert main(["export", str(finished), "-o", str(tmp_path / "mine.safetensors"), "--weights", "last"]) == 0
    assert "stage2" in capsys.readouterr().out
    network = load_spatialdreamer(load_svd(finished / "base"), tmp_path / "mine.safetensors")
    assert (network.config.stage, network.config.blank_holes) == ("stage2", True)


def test_a_finished_run_goes_no_further(train, finished):
    before = (finished / "stage2" / "log.jsonl").read_text()
    assert train(finished, "--steps", "2", "--validate-every", "2")[0] == 0
    assert (finished / "stage2" / "log.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "3"], "a run must go on with the settings it began with, .* seed 0 (now 3)"),
        (["--drop-reference", "0"], "drop_reference 0.1 (now 0.0)"),
        (["--start", "RUN"], "a run must go on with what it began with, .* start  (now "),
    ],
)
def test_a_run_with_other_settings_is_refused(train, finished, options, message):
    weights = str(finished / "stage1")
    options = [weights if option == "RUN" else option for option in options]
    code, errors = train(finished, "--steps", "2", "--stage", "1", *options)
    assert code == 2
    for part in message.split(" .* "):
        assert part in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "2"], "stage 2 must start from weights of stage 1"),
        (["--stage", "1", "--learning-rate", "1"], "learning_rate must be between 1e-09 and 0.1, got 1"),
        (["--stage", "1", "--whole-unet"], "whole_unet belongs to stage 2"),
        (["--stage", "2", "--start", "none"], "must be a folder or a file, got none"),
        (["--stage", "1", "--base", "none.safetensors"], "none.safetensors"),
        (["--stage", "1", "--batch", "64"], "at least batch (64) windows of 1 frame(s)"),
        (["--stage", "1", "--batch", "3", "--accumulation", "2"], "batch must be a multiple of accumulation"),
        (["--stage", "1", "--width", "100"], "multiples of"),
        (["--stage", "1", "--tracker", "wandb"], "tracker must be installed, got wandb"),
        (["--stage", "1", "--lpips", "none.pth"], "none.pth"),
        (["--distil", "1"], "distil must be of one stage, got both"),
        (["--stage", "1", "--distil", "1"], "distil 1 must start from trained weights"),
    ],
    ids=lambda value: "-".join(value[-2:]) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_line(train, tmp_path, options, message):
    code, errors = train(tmp_path / "run", *options)
    assert code == 2
    assert message in errors
    assert errors.count("\n") <= 3, errors


def test_trained_weights_are_distilled(train, finished, tmp_path):
    options = ["--stage", "2", "--whole-unet", "--distil", "1", "--teacher-steps", "2", "--steps", "1"]
    code, errors = train(tmp_path / "run", "--start", str(finished), "--validate-every", "1", *options)
    assert code == 0, errors
    assert len(losses(tmp_path / "run" / "stage2")) == 1
    figures = [values["hole_psnr"] for values in validations(tmp_path / "run" / "stage2")]
    assert figures[0] != figures[1]


def test_clips_that_are_too_short_for_stage_2_are_told(train, finished, tmp_path):
    code, errors = train(tmp_path / "run", "--stage", "2", "--start", str(finished), "--frames", "9")
    assert code == 2
    assert "clips of at least 9 frames to train on" in errors
    assert "or lower frames" in errors


def test_trained_weights_are_distilled_under_noise_with_a_loss_on_pictures(train, finished, tmp_path):
    options = ("--steps", "1", "--validation-clips", "0", "--distil", "2")
    code, errors = train(tmp_path / "run", "--stage", "1", *options)
    assert (code, "distil 2 must start from trained weights" in errors) == (2, True), errors
    more = ("--teacher-steps", "4", "--image-weight", "1", "--noise-augmentation", "--batch", "1")
    code, errors = train(tmp_path / "run", "--stage", "2", *options, "--start", str(finished), *more)
    assert code == 0, errors
    assert len(losses(tmp_path / "run" / "stage2")) == 1


def test_a_dry_run_does_everything_once_and_keeps_nothing(train, tmp_path, capsys):
    code, _ = train(tmp_path / "run", "--stage", "1", "--dry-run")
    assert code == 0
    assert list((tmp_path / "run").rglob("*")) == []


def test_a_version_that_is_not_known_is_refused(train, tmp_path):
    folder = tmp_path / "run" / "stage1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": 99, "config": {}, "sources": {}}))
    code, errors = train(tmp_path / "run", "--stage", "1")
    assert code == 2
    assert "got format 99" in errors


def start(dataset, latents, output, *options, launch=()):
    """Begin the command in a process of its own."""
    arguments = ["train", str(dataset), "-o", str(output), "--latents", str(latents), *SLOW_RUN, *options]
    command = [sys.executable, "-m", *launch, *(["-m"] if launch else []), "spatialdreamer_core.cli"]
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(condition, process, *, seconds=120):
    """Wait until something is so, or the process ends."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def finish(process, *, seconds=300):
    output, errors = process.communicate(timeout=seconds)
    return process.returncode, output, errors


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(processes):
    """Return torch's launcher on so many processes of a CPU, for which accelerate's own asks for MPI."""
    return (
        *("torch.distributed.run", "--nproc_per_node", str(processes)),
        *("--master_addr", "127.0.0.1", "--master_port", str(free_port())),
    )


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["between steps", "in a checkpoint"])
def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(dataset, latents, tmp_path, moment):
    options = ("--steps", "26", "--checkpoint-every", "5")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(start(dataset, latents, whole, *options))[0] == 0
    process = start(dataset, latents, killed, *options)
    checkpoints = killed / "stage1" / "checkpoints"
    if moment == "between steps":
        wait_for(lambda: len(losses(killed / "stage1")) >= 7, process)
    else:  # the second one, of which some files are there
        wait_for(lambda: any(checkpoints.glob(".step-00000010.partial-*/model.safetensors")), process)
    process.kill()
    process.wait()
    kept = [path.name for path in checkpoints.glob("step-*")]
    assert kept == ["step-00000005"]
    assert finish(start(dataset, latents, killed, *options))[0] == 0
    assert losses(killed / "stage1") == pytest.approx(losses(whole / "stage1"), abs=1e-6)
    assert not list(checkpoints.glob(".step-*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_an_interrupted_run_saves_a_checkpoint_and_ends_in_one_line(dataset, latents, tmp_path):
    process = start(dataset, latents, tmp_path, "--steps", "500", "--checkpoint-every", "400")
    wait_for(lambda: len(losses(tmp_path / "stage1")) >= 3, process)
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert "interrupted by SIGINT" in errors.splitlines()[-1]
    (kept,) = (tmp_path / "stage1" / "checkpoints").glob("step-*")
    assert int(kept.name.removeprefix("step-")) == len(losses(tmp_path / "stage1"))


@pytest.mark.slow
def test_a_full_disk_leaves_the_checkpoint_before(dataset, latents, tmp_path):
    assert finish(start(dataset, latents, tmp_path, "--steps", "1"))[0] == 0
    limit = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000)); "
        "from spatialdreamer_core.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["train", str(dataset), "-o", str(tmp_path), "--latents", str(latents), *SLOW_RUN]
    told = subprocess.run(
        [sys.executable, "-c", limit, *arguments, "--steps", "3", "--checkpoint-every", "2"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 2
    assert "checkpoint" in told.stderr.splitlines()[-1]
    assert [path.name for path in (tmp_path / "stage1" / "checkpoints").iterdir()] == ["step-00000001"]
    assert finish(start(dataset, latents, tmp_path, "--steps", "3"))[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["1", "2"])
def test_two_processes_give_the_gradients_of_one_with_double_the_batch(dataset, latents, tmp_path, stage):
    first = tmp_path / "first"
    assert finish(start(dataset, latents, first, "--steps", "1"))[0] == 0
    gradients = []
    for processes in (1, 2):
        output = tmp_path / str(processes)
        shutil.copytree(first, output)
        options = ["--stage", stage, "--steps", "2" if stage == "1" else "1", "--batch", "2"]
        shutil.rmtree(output / f"stage{stage}", ignore_errors=True)
        assert (
            finish(start(dataset, latents, output, *options, "--steps", "1", launch=launch(processes)))[0]
            == 0
        )
        checkpoint = output / f"stage{stage}" / "checkpoints" / "step-00000001"
        assert len(list(checkpoint.glob("random_states_*.pkl"))) == processes
        state = torch.load(checkpoint / "optimizer.bin", weights_only=True)["state"]
        gradients.append(torch.cat([entry["exp_avg"].flatten() for entry in state.values()]) / 0.1)
    one, two = gradients
    assert float((one - two).abs().max()) < 1e-5 * float(one.abs().max())


@pytest.mark.slow
def test_two_processes_train_both_stages_by_one_command(dataset, latents, tmp_path):
    options = ["--stage", "both", "--steps", "2", "--batch", "2"]
    found = []
    for processes in (1, 2):
        output = tmp_path / str(processes)
        code, _, errors = finish(start(dataset, latents, output, *options, launch=launch(processes)))
        assert code == 0, errors
        found.append([losses(output / stage) for stage in ("stage1", "stage2")])
    one, two = found
    assert [len(each) for each in one] == [2, 2]
    for of_one, of_two in zip(one, two, strict=True):
        assert of_two == pytest.approx(of_one, rel=1e-3)


@pytest.mark.slow
def test_where_one_of_two_processes_is_killed_the_other_ends_too(dataset, latents, tmp_path):
    process = start(dataset, latents, tmp_path, "--steps", "5000", launch=launch(2))
    wait_for(lambda: len(losses(tmp_path / "stage1")) >= 2, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    try:
        assert len(workers) == 2
        workers[1].kill()
        code, _, errors = finish(process, seconds=120)
        assert code != 0
        assert "spatialdreamer: " in errors  # of the other one
        assert not any(worker.is_running() for worker in workers)
    finally:
        for left in [*workers, process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
