"""The workers of a Ray cluster: one a GPU, or a few cores, on whatever machines it has.

Ray starts them where there is room, also in place of one that died. What they do is `spread`'s.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ...checks import InputError, one_line
from ...options import check_options, option
from ..fillers import FillerConfig
from .worker import FilmWorker

_LOGGER = logging.getLogger(__name__)

_CORES = 4  # of a worker without a GPU: decoding, rendering and encoding run side by side
_CONTROL = "control"  # a thread of a worker that is never busy
_INSTALL = "pip install spatialdreamer[distributed]"


@dataclass(frozen=True)
class ClusterConfig:
    """Where a film's segments are converted."""

    ray: str | None = option(
        None,
        metavar="ADDRESS",
        advanced=True,
        help="Spreads a film's scenes over a Ray cluster. auto: the cluster that this machine belongs to. "
        "local: all GPUs of this machine, or its cores where it has none. Or host:port of a cluster. Needs "
        f"`{_INSTALL}`, and the film at the same path on each machine.",
    )

    def check(self) -> None:
        """Check the option, as far as that goes without the cluster.

        Raises:
            InputError: If it breaks its rule.
        """
        check_options(self)
        if self.ray is None or self.ray in ("auto", "local"):
            return
        host, _, port = self.ray.rpartition(":")
        if not host or "/" in host or not port.isdigit():
            raise InputError(
                f"ray must be auto, local or an address host:port, got {self.ray!r:.80}; `ray status` on a "
                "machine of the cluster shows its address (not that of a Ray client, ray://)"
            )


@dataclass
class HiredWorker:
    """A `FilmWorker` that Ray has started.

    Attributes:
        handle: By which its methods are called.
        host: Its machine, once it is known.
    """

    handle: Any
    host: str = "a machine"

    def describe(self) -> Any:
        """Ask it to describe itself, which it does as soon as Ray has started it."""
        return self.handle.describe.remote()

    def stop(self) -> Any:
        """Ask it to end what it is at."""
        return self.handle.stop.options(concurrency_group=_CONTROL).remote()


class Cluster:
    """The workers of a Ray cluster, with their models loaded; use it in a `with` statement.

    Args:
        address: As `ClusterConfig.ray`.

    Attributes:
        ray: The package, while this is entered.
        workers: Those that were started.

    Raises:
        InputError: On entering, if Ray is not installed or the cluster not there.
    """

    def __init__(self, address: str) -> None:
        ClusterConfig(address).check()
        self._address = address
        self._is_ours = False  # whether this object has connected to the cluster
        self._start: Callable[[], Any] = lambda: None  # starts a worker, once `hire` knows what it needs
        self.ray: Any = None
        self.workers: list[HiredWorker] = []

    def __enter__(self) -> Cluster:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster begun here sends nobody its figures
        try:
            import ray
        except ImportError as error:
            raise InputError(
                f"ray must be installed to convert on a cluster, got none ({one_line(error)}); run {_INSTALL}"
            ) from error
        self.ray = ray
        if ray.is_initialized():
            return self
        with _own_signals():
            try:
                ray.init(
                    address=self._address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                )
            except Exception as error:  # of many kinds: no cluster, another version of Ray or Python
                raise InputError(
                    f"ray must be the address of a running cluster, got {self._address}, which cannot be "
                    f"joined ({one_line(error)}); start one with `ray start --head`, or take local"
                ) from error
        self._is_ours = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            self.ray.kill(worker.handle)
        self.workers = []
        if self._is_ours:
            self.ray.shutdown()

    def device(self, wanted: str) -> str:
        """Return the device that each worker uses, its own: "cuda" or "cpu".

        Args:
            wanted: `ConvertConfig.device`.

        Raises:
            InputError: If it names one GPU, or there is none.
        """
        if wanted not in ("auto", "cpu", "cuda"):
            raise InputError(f"device must be auto, cpu or cuda on a cluster, got {wanted}; leave it out")
        gpus = self.ray.cluster_resources().get("GPU", 0)
        if wanted == "cuda" and not gpus:
            raise InputError("device must be auto or cpu on a cluster without GPUs, got cuda; leave it out")
        return "cuda" if gpus and wanted != "cpu" else "cpu"

    def hire(self, count: int, device: str) -> None:
        """Have as many workers as there is work and room for.

        Args:
            count: How many can work.
            device: As `device` returns it.

        Raises:
            InputError: If there is room for none.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if device == "cuda":
            needs = {"num_gpus": 1}
            room = sum(int(node.get("GPU", 0)) for node in nodes)
        else:
            cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
            needs = {"num_cpus": min([_CORES, *cores])}
            room = sum(each // needs["num_cpus"] for each in cores)
        if not room:
            raise InputError("the cluster must have CPUs or GPUs for a worker, got none; add a machine to it")
        self._start = self.ray.remote(**needs, concurrency_groups={_CONTROL: 1})(FilmWorker).remote
        while len(self.workers) < min(room, count):
            self.workers.append(HiredWorker(self._start()))
        _LOGGER.info("ray: segments are converted by %d at a time, on %s", len(self.workers), device)

    def replace(self, worker: HiredWorker) -> None:
        """Have Ray start another one in place of a worker that died, as soon as there is room for it."""
        worker.handle = self._start()


@dataclass(frozen=True)
class Spread:
    """The cluster that converts a film, and what its workers fill with.

    Attributes:
        cluster: The cluster, which is entered.
        fillers: How the filler of a name is loaded; None is the film's.
    """

    cluster: Cluster
    fillers: Mapping[str | None, FillerConfig]

    def describe(self) -> dict[str, Any]:
        """Return what can be known of the film's filler, as `convert` compares it."""
        filling = self.fillers[None]
        return {"filler": filling.filler, **filling.options}


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of signals, which Ray replaces by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
