"""The Dask clusters on which many runs are done: processes of this machine, or one that runs already."""

import contextlib
import importlib.util
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from dlcore.launch.series.scheduler import read_scheduler
from dlcore.utils.streams import say

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Security, SpecCluster

EXTRA = "cluster"
PACKAGES = ("dask", "distributed", "cryptography")
MOST_STARTS = 3

# A run's own count gives it up, see `record`. For Dask it is never the run that kills its workers.
SCHEDULER_SETTINGS = {"allowed-failures": 10**9, "worker-saturation": 1.0}
# Defaults of dlcore; what the user's Dask configuration says counts more.
SETTINGS = {
    "distributed": {
        "scheduler": SCHEDULER_SETTINGS,
        # A worker's nanny starts it again, which may take long on a busy machine; else its place would be given up.
        "deploy": {"lost-worker-timeout": "1000 days"},
        "worker": {
            "daemon": False,  # a run may start processes, for instance to read data
            "profile": {"enabled": False},
        },
    }
}


class ClusterError(Exception):
    """A cluster does not start, or is lost; the message is one line."""


class Cluster(Protocol):
    """A Dask cluster whose workers do runs.

    Attributes:
        client: its client.
    """

    client: "Client"

    def adjust(self, remaining: int) -> None:
        """Is called every few seconds to keep the right number of workers.

        Args:
            remaining: the number of runs that have not ended yet.
        """


def check_installed() -> None:
    """Checks that Dask is installed; imports nothing.

    Raises:
        ValueError: it is not; the message names the extra.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--runs: got no {' and no '.join(missing)} installed, expected dlcore's extra {EXTRA}: pip install "
            f"'dlcore[{EXTRA}]'"
        )


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Cluster]:
    """A context manager that starts worker processes on this machine.

    Each worker does one run at a time. It is started again if it dies, and ends with this process.

    Args:
        workers: the number of workers.

    Raises:
        ClusterError: the workers do not start.
    """
    prepare_dask()
    with _start_workers(workers) as cluster, connected(cluster) as client:
        yield LocalWorkers(cluster, client)


class LocalWorkers:
    """The workers of `local_cluster`.

    Args:
        cluster: the cluster, with all its workers.
        client: its client.
    """

    def __init__(self, cluster: "LocalCluster", client: "Client"):
        self.client, self._cluster, self._workers = client, cluster, len(cluster.workers)

    def adjust(self, remaining: int) -> None:
        """Replaces a worker that died while it was starting, which its nanny gives up."""
        from distributed.core import Status

        for name, nanny in list(self._cluster.workers.items()):
            if nanny.status in (Status.closed, Status.failed):
                self._cluster.workers.pop(name, None)
        self._cluster.scale(self._workers)


def _start_workers(workers: int) -> "LocalCluster":
    from distributed import LocalCluster

    for attempt in range(1, MOST_STARTS + 1):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,  # what JAX takes is not Dask's to judge
                dashboard_address=dashboard_address(),
                scheduler_kwargs={"dashboard": _has_dashboard()},
            )
        except RuntimeError as error:  # one was killed while it started
            if attempt == MOST_STARTS:
                raise ClusterError(f"the workers do not start: {error}") from error
    raise AssertionError


class RunningCluster:
    """A cluster that runs already, whose workers are somebody else's.

    Args:
        client: its client.
    """

    def __init__(self, client: "Client"):
        self.client = client

    def adjust(self, remaining: int) -> None:
        """Does nothing."""


@contextlib.contextmanager
def running_cluster(scheduler: str) -> Iterator[Cluster]:
    """A context manager that connects to a cluster that runs already.

    Args:
        scheduler: the address of its scheduler, such as ``tcp://node1:8786``, or the path of its file.

    Raises:
        ValueError: the file is none of a scheduler.
        ClusterError: the scheduler does not answer.
    """
    prepare_dask()
    with connected(**read_scheduler(scheduler)) as client:
        yield RunningCluster(client)


def prepare_dask() -> None:
    """Sets dlcore's defaults for Dask in this process, and lets it and its workers log warnings only."""
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    import dask
    import distributed  # noqa: F401  its own defaults come first

    dask.config.update_defaults(SETTINGS)
    warnings.filterwarnings("ignore", "Port 8787 is already in use")  # the printed link has another one then
    logging.getLogger("distributed").setLevel(logging.WARNING)
    # They tell at length of results that died with a worker; the records have them.
    for name in ("scheduler", "client"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)


def dashboard_address() -> str:
    """Where a scheduler in this process serves its dashboard: on this machine alone, since it asks for no password."""
    return "127.0.0.1:8787" if _has_dashboard() else "127.0.0.1:0"


def _has_dashboard() -> bool:
    return importlib.util.find_spec("bokeh") is not None


@contextlib.contextmanager
def connected(
    address: "str | SpecCluster", security: "Security | None" = None, seconds: float | None = None
) -> Iterator["Client"]:
    """A context manager that gives the client of a scheduler, and prints where its dashboard is if there is one.

    Args:
        address: its address, or the cluster in this process.
        security: the keys, if its address is given and it has some.
        seconds: how long to wait for its answer; None: what Dask's configuration says.

    Raises:
        ClusterError: the scheduler does not answer.
    """
    from dask.typing import no_default
    from distributed import Client

    try:
        client = Client(address, security=security, timeout=seconds or no_default, set_as_default=False)
    except OSError as error:
        raise ClusterError(f"the scheduler {address} does not answer ({error})") from error
    with client, _quiet_end():
        client.register_plugin(_quiet_worker(), name="dlcore")
        if _has_dashboard():
            port = client.scheduler_info(n_workers=0)["services"]["dashboard"]
            link = client.dashboard_link if isinstance(address, str) else f"http://127.0.0.1:{port}/status"
            say(f"dashboard: {link}")
        yield client


@contextlib.contextmanager
def _quiet_end() -> Iterator[None]:
    """A context manager after which Dask logs no more: at the end, workers are closed in the middle of runs."""
    try:
        yield
    finally:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)


def _quiet_worker() -> Any:
    from distributed import WorkerPlugin

    class QuietWorker(WorkerPlugin):
        """Leaves Ctrl-C, which a terminal sends to all processes, to the client."""

        def setup(self, worker: Any) -> None:
            # Elsewhere it is in the process of the client.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return QuietWorker()
