"""Processes that start together, get the same signals, and of which none is left."""

import signal
import sys
import time

import pytest

from dlcore.launch.gang import Ended, Gang
from dlcore.launch.output import Output
from tests.helpers.launched import Script, is_gone


def run(*programs, grace=0.2):
    with Gang(Output(), grace) as gang:
        for process, program in enumerate(programs):
            gang.start(process, ["/bin/sh", "-c", program], {})
        return gang.wait()


def test_processes_that_end_well_are_waited_for(capfd):
    assert run("sleep .3; echo late", "echo early") == [Ended(1, 0), Ended(0, 0)]
    assert capfd.readouterr().out == "[1] early\n[0] late\n"


def test_the_others_have_a_grace_period_after_a_failure(capfd):
    ended = run("sleep 60", "exit 3", "sleep .3; exit 1", "trap '' TERM INT; sleep 61", grace=1.5)
    assert ended[:2] == [Ended(1, 3), Ended(2, 1)]
    assert sorted(ended[2:], key=lambda one: one.process) == [Ended(0, -9, True), Ended(3, -9, True)]


def test_what_a_process_leaves_behind_is_ended(capfd):
    began = time.monotonic()
    assert run("sleep 60 & echo $!") == [Ended(0, 0)]
    assert time.monotonic() - began < 30  # it did not wait for the pipe's other end
    assert is_gone(int(capfd.readouterr().out.split()[1]))


def test_an_error_while_processes_start_ends_those_that_run(capfd):
    def start_both():
        with Gang(Output(), 1) as gang:
            gang.start(0, [sys.executable, "-c", "import time; time.sleep(60)"], {})
            children.append(gang._running[0])
            gang.start(1, ["/no/such/program"], {})

    children = []
    with pytest.raises(FileNotFoundError):
        start_both()
    assert children[0].returncode == -9


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_a_signal_reaches_every_process_once(tmp_path, name):
    script = Script(
        tmp_path,
        f"""
        got = []
        signal.signal(signal.{name}, lambda *_: got.append(1))
        pathlib.Path(f"ready{{process}}").write_text("yes")
        while not got:
            time.sleep(0.01)
        time.sleep(0.1)
        print(len(got), flush=True)
        sys.exit(75)
        """,
    )
    launcher = script.start()
    script.wait_for("ready0", "ready1")
    launcher.send_signal(getattr(signal, name))
    out, err = launcher.communicate(timeout=30)
    assert sorted(out.decode().splitlines()) == ["[0] 1", "[1] 1"]
    assert (launcher.returncode, err) == (75, b"")


def test_nothing_outlives_a_killed_launcher(tmp_path):
    script = Script(
        tmp_path,
        """
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        pathlib.Path(f"pids{process}").write_text(f"{os.getpid()} {child.pid} .")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        """,
    )
    launcher = script.start()
    texts = script.wait_for("pids0", "pids1")
    launcher.kill()
    launcher.communicate(timeout=30)  # its stdout ends, so no process has it any more
    assert all(is_gone(int(pid)) for text in texts for pid in text.split()[:2])
