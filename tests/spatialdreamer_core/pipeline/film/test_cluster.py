"""Films on a Ray cluster come out as on one machine. What Ray itself does is tested where it is installed.

`pip install spatialdreamer[distributed]`, then `pytest --slow tests/spatialdreamer_core/pipeline/film`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.fill import FastFill
from spatialdreamer_core.flow import open_flow
from spatialdreamer_core.pipeline import Cluster, ClusterConfig, FillerConfig, Spread, StageClock, convert
from spatialdreamer_core.pipeline.device import choose_device
from spatialdreamer_core.pipeline.film.folder import identify
from spatialdreamer_core.pipeline.film.plan import cut_segments
from spatialdreamer_core.pipeline.film.segment import SegmentWork
from spatialdreamer_core.pipeline.film.sidecar import settle
from spatialdreamer_core.pipeline.film.source import FilmSource
from spatialdreamer_core.pipeline.film.spread import check_version
from spatialdreamer_core.pipeline.film.worker import FilmTask, FilmWorker, Finished, code_version
from spatialdreamer_core.pipeline.placement import wanted_placement
from spatialdreamer_core.pipeline.preview import MiddleSheet
from spatialdreamer_core.video import probe
from spatialdreamer_core.video.writer import VideoWriter

from .small_film import EACH, KEPT, SCENES, SIZE, Killed, shown

FILLERS = {None: FillerConfig()}
TESTS = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def task(film):
    """The film's task, as a worker on another machine gets it."""
    config, info = replace(KEPT, device="cpu"), probe(film)
    plan, _ = FilmSource(film, info, config, choose_device("cpu"), None, StageClock()).plan(
        EACH, total=None, on_progress=None
    )
    base = [wanted_placement(config)] * len(plan.scenes)
    return FilmTask(
        path=film,
        known_by={film: identify(film)},
        info=info,
        config=config,
        plan=plan,
        settings=settle([], plan, base, time_base=info.time_base, fillers=[]),
        fillers=FILLERS,
        writer=VideoWriter(
            film.with_name("out.mp4"), width=2 * SIZE[0], height=SIZE[1], source=info, crf=0, inputs=[film]
        ),
        sheet_index=SCENES[0],
    )


def test_a_worker_gives_back_the_file_that_is_made_here(task, tmp_path):
    sent, worker = pickle.loads(pickle.dumps(task)), FilmWorker()
    worker.begin(sent)
    segment = cut_segments(task.plan)[1]
    items = list(worker.convert(segment))
    counts = [item for item in items if isinstance(item, int)]
    assert counts == [1]
    finished, *blocks = items[1:]
    assert isinstance(finished, Finished)
    assert sum(map(len, blocks)) == finished.bytes
    assert finished.sheet is not None  # the middle frame is its first one
    (tmp_path / "there.nut").write_bytes(b"".join(blocks))
    device = choose_device("cpu")
    source = FilmSource(task.path, task.info, task.config, device, None, StageClock())
    here = SegmentWork(
        *(source, task.plan, task.settings, open_flow(task.config.flow, device=device)),
        lambda name: FillerConfig().load(device=device),
        *(task.writer, MiddleSheet(None, index=0)),
    )
    first_pts = here.convert(segment, tmp_path / "here.nut", on_frame=lambda *_: None)
    assert first_pts == finished.first_pts
    assert pictures(tmp_path / "there.nut") == pictures(tmp_path / "here.nut")


def pictures(path):
    video = cv2.VideoCapture(str(path))
    found = []
    while (frame := video.read()[1]) is not None:
        found.append(frame.tobytes())
    assert found
    return found


def test_a_worker_that_is_stopped_gives_no_file_and_leaves_none(task, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker = FilmWorker()
    worker.begin(task)
    items = worker.convert(cut_segments(task.plan)[1])
    assert next(items) == 1
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    rest = list(items)
    stopping.join()
    assert os.listdir(tmp_path) == []
    assert not any(isinstance(item, Finished) for item in rest) or len(rest) > 1  # it may have been done
    worker.begin(task)  # and takes the next film
    assert isinstance(
        next(item for item in worker.convert(cut_segments(task.plan)[0]) if item != 1), Finished
    )


def test_a_worker_refuses_another_film_or_none(task, tmp_path):
    other, missing = tmp_path / "film.mp4", tmp_path / "missing.mp4"
    other.write_bytes(b"another")
    known = task.known_by[task.path]
    with pytest.raises(InputError, match=r"same file on each machine.*film\.mp4"):
        FilmWorker().begin(replace(task, known_by={other: known}))
    with pytest.raises(InputError, match=r"readable on each machine.*missing\.mp4.*share"):
        FilmWorker().begin(replace(task, known_by={missing: known}))
    os.utime(task.path, ns=(1, 1))  # a copy
    FilmWorker().begin(task)


def test_code_that_differs_is_refused(monkeypatch):
    check_version(*FilmWorker().describe())
    with pytest.raises(InputError, match=r"same on each machine.*0\.0\.1 \(1234\) on there; install"):
        check_version("there", "0.0.1 (1234)")
    assert code_version() == code_version()


@pytest.mark.parametrize("address", ["", "here", "ray://head:10001", "host:port"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="ray must be auto, local or an address host:port"):
        Cluster(address)
    for good in ("auto", "local", "192.168.1.2:6379", None):
        ClusterConfig(good).check()


def test_where_ray_is_missing_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install spatialdreamer\[distributed\]"), Cluster("auto"):
        pass


def test_what_goes_without_a_cluster_is_refused(film, tmp_path):
    spread = Spread(Cluster("auto"), FILLERS)
    with pytest.raises(InputError, match="`filler` must be left out with `spread`, got FastFill"):
        convert(film, tmp_path / "out.mp4", KEPT, spread=spread, filler=FastFill())
    with pytest.raises(InputError, match="resume must be auto or on with ray, which converts parts, got off"):
        convert(film, tmp_path / "out.mp4", replace(KEPT, resume="off"), spread=spread)
    for name in ("--dry-run", "--keyframes=10"):
        assert main(["convert", str(film), "-o", f"{tmp_path}/", "--ray", "auto", name, "--quiet"]) == 2


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two machines with a core each, as far as Ray can tell."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as Machines

    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), paths)))
    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    with Cluster(machines.address) as joined:
        yield joined
    machines.shutdown()
    os.environ["PYTHONPATH"] = paths


@pytest.fixture(scope="module")
def whole(film):
    path = film.with_name("whole.mp4")
    convert(film, path, KEPT, rule=EACH)
    return shown(path)


@pytest.mark.slow
def test_a_cluster_gives_the_same_film(cluster, film, whole, tmp_path):
    seen, sheet = [], tmp_path / "sheet.png"
    count = convert(
        film,
        tmp_path / "out.mp4",
        KEPT,
        rule=EACH,
        spread=Spread(cluster, FILLERS),
        on_progress=lambda done, total, packed: seen.append((done, total)),
        preview_path=sheet,
    )
    assert count == sum(SCENES)
    assert shown(tmp_path / "out.mp4") == whole
    assert seen[-1] == (24, 24)
    convert(film, tmp_path / "here.mp4", KEPT, rule=EACH, preview_path=tmp_path / "here.png")
    assert np.array_equal(cv2.imread(str(sheet)), cv2.imread(str(tmp_path / "here.png")))


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_costs_nothing_but_time(cluster, film, whole, tmp_path):
    import ray

    def pid_of(worker):
        return ray.get(worker.handle.__ray_call__.remote(lambda self: os.getpid()))

    killed = []

    def kill_one(done, total, packed):
        if not killed and done > 1:
            killed.append(victims[0])
            os.kill(victims[0], signal.SIGKILL)

    victims = [pid_of(worker) for worker in cluster.workers]
    assert len(set(victims)) == 2
    out = tmp_path / "out.mp4"
    convert(film, out, KEPT, rule=EACH, spread=Spread(cluster, FILLERS), on_progress=kill_one)
    assert killed
    assert shown(out) == whole


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_done_and_this_machine_goes_on(cluster, film, whole, tmp_path):
    out = tmp_path / "out.mp4"
    spread = Spread(cluster, FILLERS)

    def stop(done, total, packed):
        if list((tmp_path / "out.mp4.parts").glob("*.json"))[1:]:  # beside the manifest
            raise Killed

    with pytest.raises(Killed):
        convert(film, out, KEPT, rule=EACH, spread=spread, identity={"filler": "fast"}, on_progress=stop)
    kept = [file.name for file in (tmp_path / "out.mp4.parts").glob("*.nut")]
    assert kept
    seen = []
    identity = {"filler": "fast"}
    convert(film, out, KEPT, rule=EACH, identity=identity, on_progress=lambda *now: seen.append(now[0]))
    assert len(set(seen)) <= sum(SCENES) - min(SCENES)
    assert shown(out) == whole


@pytest.mark.slow
def test_a_worker_says_what_it_cannot_use_and_where(cluster, film, tmp_path):
    fillers = {None: FillerConfig("m2svid", checkpoint="missing.pt")}
    with pytest.raises(InputError, match=rf"missing\.pt.*\(on {socket.gethostname()}\)"):
        convert(film, tmp_path / "out.mp4", KEPT, rule=EACH, spread=Spread(cluster, fillers))
