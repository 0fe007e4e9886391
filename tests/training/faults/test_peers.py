"""The processes of a job, here several in one: they tell each other how they end, and follow the one that failed."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from dlcore.training.faults import peers
from dlcore.training.faults.links import Link
from dlcore.training.faults.peers import Ending, Peers
from tests.helpers.paths import ROOT
from tests.helpers.sockets import tcp_pair

SOON = 30  # seconds that no test needs


class Job:
    """Processes 0 to 3.

    Args:
        exits: gets the exit code of each process that its thread ends.
    """

    def __init__(self, exits):
        self.exits, self.sockets, self.peers, here = exits, {}, {}, []
        for process in (1, 2, 3):
            one, other = tcp_pair()
            here.append(Link(one, process, f"node{process}"))
            self.sockets[process] = [other]
            self.peers[process] = Peers(process, [Link(other, 0, "node0")])
            self.sockets.setdefault(0, []).append(one)
        self.peers[0] = Peers(0, here)

    def end(self, process):
        """What the system does when a process ends; its thread, which has ended then, says nothing more."""
        self.peers[process]._ends.acquire(blocking=False)
        self.peers[process]._links = ()
        for one in self.sockets[process]:
            end(one)

    def wait_for_exits(self, count):
        end = time.monotonic() + SOON
        while len(self.exits) < count:
            assert time.monotonic() < end, self.exits
            time.sleep(0.005)
        return self.exits


def end(one):
    with contextlib.suppress(OSError):  # it has ended
        one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def exits(monkeypatch):
    """The exit codes with which threads would have ended this process."""
    codes, stopped = [], set()

    def stop_thread(code):
        stopped.add(threading.current_thread())
        codes.append(code)
        threading.Event().wait()

    monkeypatch.setattr(peers.os, "_exit", stop_thread)
    monkeypatch.setattr(peers.socket, "gethostname", lambda: "here")
    monkeypatch.setattr(peers, "_become_a_shell", stop_thread)
    for name, seconds in (("NEWS_SECONDS", 0.2), ("LAST_WORDS_SECONDS", 0.4), ("FOLLOW_SECONDS", 0.2)):
        monkeypatch.setattr(peers, name, seconds)
    monkeypatch.setattr(peers, "HANGING_SECONDS", 0.8)
    others = set(threading.enumerate())
    yield codes
    until = time.monotonic() + SOON
    while any(thread.name == "peers" for thread in set(threading.enumerate()) - others - stopped):
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def job(exits):
    job = Job(exits)
    yield job
    for process in job.sockets:
        job.end(process)


@pytest.fixture
def pair(exits):
    both = tcp_pair()
    yield both
    for one in both:
        end(one)


@pytest.mark.parametrize("process", [0, 1, 3])
def test_a_process_that_dies_is_named_by_all_others(job, capsys, process):
    job.end(process)
    assert job.wait_for_exits(3) == [137, 137, 137]
    line = f"error: process {process} (node{process}) of the job died; "
    assert (
        capsys.readouterr().err.splitlines()
        == [f"{line}the same command goes on from the newest checkpoint"] * 3
    )


@pytest.mark.parametrize("process", [0, 2])
def test_an_error_is_told_before_it_is_printed(job, capsys, process):
    job.peers[process].fail(1, "KeyError: 'why'")
    line = f"error: process {process} (here) of the job failed: KeyError: 'why'"
    assert capsys.readouterr().err.splitlines() == [line] * 3
    job.end(process)
    assert job.wait_for_exits(3) == [1, 1, 1]


def test_process_0_ends_after_the_process_that_failed(job, monkeypatch):
    monkeypatch.setattr(peers, "HANGING_SECONDS", SOON)
    job.peers[2].fail(3, "why")
    assert job.wait_for_exits(2) == [3, 3]  # these are shells now, which end later
    time.sleep(0.1)
    assert job.exits == [3, 3]
    job.end(2)
    assert job.wait_for_exits(3) == [3, 3, 3]


SHELL = """
import threading, time
from dlcore.training.faults import peers

peers.AFTER_SECONDS = 1
threading.Thread(target=peers._become_a_shell, args=(75,)).start()
time.sleep(0.5)
print("still here", flush=True)
time.sleep(60)
"""


def test_a_process_becomes_a_shell_that_ends_later_with_its_exit_code():
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", SHELL], cwd=ROOT, capture_output=True, timeout=SOON)
    assert time.monotonic() - began > 1
    assert (ended.returncode, ended.stdout, ended.stderr) == (75, b"", b"")


@pytest.mark.parametrize("code", [75, 130])
def test_a_process_that_is_stopped_stops_all(job, capsys, code):
    assert job.peers[1].tell(code, "stopped by SIGUSR1")
    assert not job.peers[1].tell(1, "another error")
    job.end(1)
    assert job.wait_for_exits(3) == [code] * 3
    assert (
        capsys.readouterr().err.splitlines() == ["process 1 (here) of the job ended: stopped by SIGUSR1"] * 3
    )


def test_an_error_that_follows_from_the_end_of_another_process_is_not_told(job, capsys):
    job.end(1)
    job.wait_for_exits(3)
    failing = threading.Thread(target=job.peers[2].fail, args=(1, "Connection closed by peer"), daemon=True)
    failing.start()
    failing.join(0.5)
    assert failing.is_alive()  # the thread, which a test cannot let end the process, ends it
    assert "Connection" not in capsys.readouterr().err


def test_of_processes_that_fail_together_one_at_least_prints_its_error(job):
    """The others print theirs, too, or follow the one whose word came first."""
    failing = [
        threading.Thread(target=each.fail, args=(1, "same error"), daemon=True) for each in job.peers.values()
    ]
    for thread in failing:
        thread.start()
    until = time.monotonic() + SOON
    while sum(not thread.is_alive() for thread in failing) + len(job.exits) < 4:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert len(job.exits) < 4


def test_no_process_leaves_before_the_work_of_all_is_done(job, capsys):
    left = []
    leaving = {
        process: threading.Thread(target=lambda each=each: left.append(each.leave()), daemon=True)
        for process, each in job.peers.items()
    }
    for process in (1, 0, 3):
        leaving[process].start()
    time.sleep(0.2)
    assert left == []
    leaving[2].start()
    for thread in leaving.values():
        thread.join(SOON)
    assert left == [True] * 4
    for process in job.sockets:
        job.end(process)
    time.sleep(0.1)
    assert (capsys.readouterr().err, job.exits) == ("", [])


def test_a_process_that_dies_while_others_wait_for_it_ends_them(job, capsys):
    threading.Thread(target=job.peers[1].leave, daemon=True).start()
    job.end(3)
    assert job.wait_for_exits(3) == [137] * 3


def test_a_job_without_connections_ends_by_itself(exits):
    alone = Peers(0, [])
    alone.fail(1, "why")
    assert not alone.leave()
    assert Peers(0, []).leave()


def test_a_silent_process_is_named_once_and_nothing_ends(pair, exits, monkeypatch, capsys):
    monkeypatch.setattr(peers, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(peers, "SILENT_SECONDS", 0.2)
    Peers(0, [Link(pair[0], 5, "node5")])
    until = time.monotonic() + SOON
    shown = ""
    while "node5" not in shown:
        assert time.monotonic() < until
        time.sleep(0.01)
        shown += capsys.readouterr().err
    time.sleep(0.3)
    shown += capsys.readouterr().err
    assert shown.count("waiting for process 5 (node5) of the job: no sign of it for 0 s") == 1
    assert exits == []
    pair[1].settimeout(SOON)
    assert pair[1].recv(3) == b"{}\n"


def test_processes_that_give_signs_are_not_named(pair, monkeypatch, capsys):
    monkeypatch.setattr(peers, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(peers, "SILENT_SECONDS", 1)
    Peers(0, [Link(pair[0], 1, "node1")])
    Peers(1, [Link(pair[1], 0, "node0")])
    time.sleep(1.5)
    assert "waiting" not in capsys.readouterr().err


def test_how_an_ending_is_told():
    assert Ending(1, "a", None).text.startswith("error: process 1 (a) of the job died")
    assert Ending(1, "a", 75, "why").text == "process 1 (a) of the job ended: why"
    assert Ending(1, "a", 2, "why").text == "error: process 1 (a) of the job failed: why"
