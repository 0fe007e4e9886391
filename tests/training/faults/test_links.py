"""Connections between the processes of a job: who is let in, messages, and the end of either side."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from dlcore.training.faults import links
from dlcore.training.faults.links import Link, Listener, dial
from tests.helpers.paths import ROOT
from tests.helpers.sockets import tcp_pair

HOST = socket.gethostname()


@pytest.fixture
def pair():
    here, there = tcp_pair()
    with here, there:
        yield here, there


def connect(listener, processes, hosts=("127.0.0.1",)):
    """The links of process 0 and those of the others."""
    found = {}
    threads = [
        threading.Thread(
            target=lambda process=process: found.update({process: dial(listener.address(), process, hosts)})
        )
        for process in processes
    ]
    for thread in threads:
        thread.start()
    accepted = listener.accept(len(processes))
    for thread in threads:
        thread.join()
    return accepted, found


def test_every_process_is_connected_and_knows_the_other_one():
    with Listener("127.0.0.1") as listener:
        accepted, dialed = connect(listener, [1, 2, 3])
    assert sorted(link.process for link in accepted) == [1, 2, 3]
    assert {link.host for link in accepted} == {HOST}
    for process, (link,) in dialed.items():
        assert (link.process, link.host) == (0, HOST)
        (there,) = [one for one in accepted if one.process == process]
        link.send({"why": "ä\n"})
        there.send({"done": True})
        assert there.receive() == [{"why": "ä\n"}]
        assert link.receive() == [{"done": True}]


def test_a_host_that_is_not_reached_is_no_obstacle():
    with Listener("127.0.0.1") as listener:
        accepted, dialed = connect(listener, [1], hosts=("no-such-host.invalid", "127.0.0.1"))
        assert (len(accepted), len(dialed[1])) == (1, 1)


def test_a_listener_on_all_addresses_tells_one_that_leads_to_it():
    with Listener("") as listener:
        accepted, dialed = connect(listener, [1], hosts=())
        assert (len(accepted), len(dialed[1])) == (1, 1)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"process": 1}\n', b"x" * 5000])
def test_a_stranger_is_dropped(said):
    with Listener("127.0.0.1") as listener:
        port = json.loads(listener.address())["port"]
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            accepted, dialed = connect(listener, [1])
            assert [link.process for link in accepted] == [1]
            assert len(dialed[1]) == 1


def test_a_wrong_token_is_dropped(monkeypatch):
    monkeypatch.setattr(links, "JOIN_SECONDS", 0.5)
    with Listener("127.0.0.1") as listener:
        there = json.loads(listener.address())
        wrong = json.dumps({**there, "token": "no", "hosts": []})
        found = []
        thread = threading.Thread(target=lambda: found.append(dial(wrong, 1, ["127.0.0.1"])))
        thread.start()
        assert listener.accept(1) == []
        thread.join()
    assert found == [[]]


def test_process_0_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(links, "JOIN_SECONDS", 0.1)
    with Listener("127.0.0.1") as listener:
        assert listener.accept(2) == []
        address = listener.address()
    assert dial(address, 1, ["127.0.0.1"]) == []


def test_messages_that_come_in_parts_are_put_together(pair):
    link = Link(pair[0], 1, "node1")
    pair[1].sendall(b'{"a": 1}\n{"b"')
    assert link.receive() == [{"a": 1}]
    pair[1].sendall(b': "\\n"}\n')
    assert link.receive() == [{"b": "\n"}]
    assert not link.closed


def test_a_link_whose_other_side_is_gone_is_closed_and_takes_messages(pair):
    link = Link(pair[0], 1, "node1")
    pair[1].close()
    assert link.receive() == []
    assert link.closed
    link.send({"lost": True})


FORKS = """
import os, sys, time
from dlcore.training.faults.links import dial

links = dial(sys.argv[1], 1, ["127.0.0.1"])
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_forked_child_does_not_keep_the_connection():
    with Listener("127.0.0.1") as listener:
        command = [sys.executable, "-c", FORKS, listener.address()]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as parent:
            try:
                (link,) = listener.accept(1)
                assert parent.stdout.readline()
                parent.kill()
                assert link.receive() == []
                assert link.closed
            finally:
                os.killpg(parent.pid, signal.SIGKILL)
