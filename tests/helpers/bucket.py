"""An emulator of Google Cloud Storage in a process of its own, so that tests can use a bucket without a network."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from dlcore.launch.processes import free_port

SECONDS_TO_START = 30


@contextlib.contextmanager
def emulated_storage(bucket: str) -> Iterator[dict[str, str]]:
    """Runs the emulator with an empty bucket; yields the environment variables with which clients find it."""
    port = free_port()
    command = [
        "-m",
        "tests.helpers.storage_emulator",
        "start",
        "--host=127.0.0.1",
        f"--port={port}",
        "--in-memory",
    ]
    emulator = subprocess.Popen(
        [sys.executable, *command, f"--default-bucket={bucket}"], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        address = f"http://127.0.0.1:{port}"
        yield {
            "STORAGE_EMULATOR_HOST": address,  # gcsfs
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "TENSORSTORE_GCS_HTTP_URL": address,
            "NO_GCE_CHECK": "true",  # there is no account to look for
            "GCE_METADATA_ROOT": "localhost:1",
        }
    finally:
        emulator.kill()
        emulator.wait()


def _wait_for(port: int) -> None:
    give_up = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError("the emulator does not answer")
