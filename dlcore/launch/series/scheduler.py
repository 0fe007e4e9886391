"""A Dask scheduler in this process for workers on other machines, and the file on a shared disk that leads to it.

Whoever reaches a scheduler can let it run anything. So it talks TLS, and only with processes that have the key in the
file, which the user alone can read.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore.utils.files import write_json

if TYPE_CHECKING:
    from distributed import Security, SpecCluster

CLUSTER, SCHEDULER = "cluster", "scheduler.json"


def scheduler_file(series: Path) -> Path:
    """The path of the file, in the folder of a series of runs."""
    return series / CLUSTER / SCHEDULER


@contextlib.contextmanager
def served_scheduler(file: Path, host: str | None, dashboard: str) -> Iterator["SpecCluster"]:
    """A context manager that starts a scheduler in this process and writes the file from which workers find it.

    Args:
        file: the path of the file. Its folder is made, and only the user may look into it.
        host: the name or address of this machine, under which workers reach it; None: Dask's choice.
        dashboard: the address at which it serves its dashboard.

    Raises:
        ImportError: the package ``cryptography`` is not installed.
    """
    from distributed import Scheduler, Security, SpecCluster

    security = Security.temporary()
    options = {"protocol": "tls://", "security": security, "host": host, "dashboard_address": dashboard}
    spec = {"cls": Scheduler, "options": options}
    with SpecCluster(workers={}, scheduler=spec, security=security) as cluster:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        keys = {"certificate": security.tls_ca_file, "key": security.tls_scheduler_key}
        write_json(file, {"address": cluster.scheduler_address, **keys})
        try:
            yield cluster
        finally:
            file.unlink(missing_ok=True)


def read_scheduler(place: str) -> dict[str, Any]:
    """The options ``address`` and ``security`` with which Dask's clients and workers reach a scheduler.

    Args:
        place: the scheduler's address, such as ``tcp://node1:8786``, or the path of its file, dlcore's or Dask's own.

    Raises:
        ValueError: the file is not there, or is none of a scheduler.
    """
    if "://" in place:
        return {"address": place, "security": None}
    try:
        found = json.loads(Path(place).read_text(encoding="utf-8"))
        address = found["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"--scheduler: got {place} ({type(error).__name__}: {error}), expected an address such as tcp://node1:8786 "
            "or the file of a scheduler that runs"
        ) from None
    return {"address": address, "security": _security(found)}


def _security(found: dict[str, Any]) -> "Security | None":
    from distributed import Security

    if "key" not in found:
        return None
    parts = {
        f"tls_{role}_{part}": found[name]
        for role in ("client", "scheduler", "worker")
        for part, name in (("cert", "certificate"), ("key", "key"))
    }
    return Security(require_encryption=True, tls_ca_file=found["certificate"], **parts)
