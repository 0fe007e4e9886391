"""Connections between process 0 and the other processes of a job: messages both ways, and the end of either process."""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

READ_BYTES, HELLO_BYTES = 65536, 1024
ANSWER_SECONDS = 5  # for one attempt to connect, and for one answer
JOIN_SECONDS = 20  # for all processes together
# The system asks a silent machine for an answer after so many seconds, so often, and so many times.
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
ELSEWHERE = ("192.0.2.1", 9)  # an address for documentation: no machine has it


class Link:
    """One end of a connection to another process; sends and receives dicts.

    Args:
        connection: the connected socket.
        process: the index of the other process.
        host: the name of its machine.

    Attributes:
        process: the index of the other process.
        host: the name of its machine.
        done: True if the other process has done its work.
        heard: when something came from there at last, on the clock ``time.monotonic``.
        closed: True if nothing more comes: the other process has ended, or its machine does not answer.
    """

    def __init__(self, connection: socket.socket, process: int, host: str):
        self._connection, self._received = connection, b""
        self.process, self.host = process, host
        self.done = self.closed = False
        self.heard = time.monotonic()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):  # not on every system
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        # A forked child would keep the connection open after the end of this process.
        os.register_at_fork(after_in_child=connection.close)

    def fileno(self) -> int:
        """The number of the socket, which ``selectors`` asks for."""
        return self._connection.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message; it is lost if the other process has ended."""
        with contextlib.suppress(OSError):
            _send(self._connection, message)

    def receive(self) -> list[dict[str, Any]]:
        """Waits until something comes, and returns the messages that are whole; sets `closed` if nothing more comes."""
        try:
            data = self._connection.recv(READ_BYTES)
        except OSError:
            data = b""
        self.closed, self.heard = not data, time.monotonic()
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]


class Listener:
    """The place where process 0 waits for the others; a context manager.

    Args:
        host: the address on which it listens; empty means all of this machine.
    """

    def __init__(self, host: str):
        every = not host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if every or ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family, backlog=1024, dualstack_ipv6=every)
        self._token = secrets.token_hex(16)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()

    def address(self) -> str:
        """The text that `dial` needs: the port, names of this machine, and a secret."""
        port = self._socket.getsockname()[1]
        return json.dumps(
            {"port": port, "hosts": [_outer_address(), socket.gethostname()], "token": self._token}
        )

    def accept(self, others: int) -> list[Link]:
        """Waits for the other processes, and drops strangers.

        Args:
            others: the number of the other processes.

        Returns:
            A `Link` for each process that came in time.
        """
        links: list[Link] = []
        until = time.monotonic() + JOIN_SECONDS
        with contextlib.suppress(TimeoutError):
            while len(links) < others:
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
                connection, _ = self._socket.accept()
                link = self._greet(connection)
                links += [link] if link else []
        return links

    def _greet(self, connection: socket.socket) -> Link | None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            hello = _receive(connection)
            if secrets.compare_digest(hello["token"], self._token):
                _send(connection, {"process": 0, "host": socket.gethostname()})
                return Link(connection, int(hello["process"]), str(hello["host"]))
        connection.close()
        return None


def dial(address: str, process: int, hosts: Sequence[str]) -> list[Link]:
    """Connects to process 0.

    Args:
        address: what `Listener.address` returns there.
        process: the index of this process.
        hosts: more names under which this process may reach that machine; they are tried first.

    Returns:
        The `Link` to process 0; none if it is reached by no name.
    """
    there = json.loads(address)
    hello = {"process": process, "host": socket.gethostname(), "token": there["token"]}
    for host in dict.fromkeys((*hosts, *there["hosts"])):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            connection = socket.create_connection((host, there["port"]), ANSWER_SECONDS)
            _send(connection, hello)
            return [Link(connection, **_receive(connection))]
    return []


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket) -> dict[str, Any]:
    """The first message; ValueError if it does not come."""
    connection.settimeout(ANSWER_SECONDS)
    received = b""
    while not received.endswith(b"\n") and len(received) < HELLO_BYTES:
        received += connection.recv(1) or b"\n"
    message = json.loads(received)
    if not isinstance(message, dict):
        raise ValueError(f"hello: got {message!r}, expected a dict")
    return message


def _outer_address() -> str:
    """The number of this machine on the network, as its own routes tell; nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        return str(probe.getsockname()[0])
    return "127.0.0.1"
