"""A job of several processes on this machine: its variables, its output, its exit code."""

import json
import os
import pty
import socket
import subprocess

import pytest

from dlcore.launch.gang import Ended
from dlcore.launch.processes import exit_code, first_failure, free_port, job_variables
from tests.helpers.launched import Script

NASTY = ("--config.a=b c", "--config.x='\";$(touch no)`touch no`\n\\", "--config.y", "-3", "*", "", "ä\udcff")
JOB = "127.0.0.1:1234", 4, 2


@pytest.mark.parametrize(
    ("environ", "devices", "expected"),
    [
        ({}, None, {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}),
        ({"JAX_NUM_CPU_DEVICES": "3"}, None, {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "3"}),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 2, {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}),
        ({"JAX_PLATFORMS": "cuda"}, None, {"JAX_LOCAL_DEVICE_IDS": "2"}),
        ({"JAX_PLATFORMS": "cuda"}, 2, {"JAX_LOCAL_DEVICE_IDS": "4,5"}),
    ],
)
def test_each_process_has_its_place_and_its_devices(environ, devices, expected):
    assert job_variables(environ, *JOB, devices) == {
        "DLCORE_COORDINATOR": "127.0.0.1:1234",
        "DLCORE_NUM_PROCESSES": "4",
        "DLCORE_PROCESS_ID": "2",
        "JAX_COORDINATOR_BIND_ADDRESS": "127.0.0.1:1234",
        "PYTHONUNBUFFERED": "1",
        **expected,
    }


def test_the_port_is_free():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))


@pytest.mark.parametrize(
    ("ended", "named", "code", "failed"),
    [
        ([(0, 0), (1, 0)], None, 0, None),
        ([(1, 75), (0, 75)], None, 75, None),
        ([(1, 0), (0, 75)], None, 75, None),
        ([(1, 75), (0, -9, True)], None, 75, None),
        ([(1, 130), (0, 75)], None, 130, None),
        ([(0, 75), (1, 1)], None, 1, 1),
        ([(1, -9), (0, 1)], None, 137, 1),
        ([(2, 3), (0, 1), (1, -9, True)], None, 3, 2),
        ([(1, 1), (0, 3)], 0, 3, 0),
        ([(1, 1), (0, 75)], 0, 1, 1),
        ([(1, 1), (2, 3)], 5, 1, 1),
    ],
)
def test_the_exit_code_is_that_of_the_first_failure(ended, named, code, failed):
    ended = [Ended(*one) for one in ended]
    first = first_failure(ended, named)
    assert (first and first.process) == failed
    assert exit_code(ended, first) == code


def test_flags_arrive_byte_for_byte(tmp_path):
    script = Script(
        tmp_path,
        """
        import json
        print(json.dumps(sys.argv[1:]))
        """,
    )
    code, out, err = script.run(*NASTY)
    assert (code, err) == (0, "")
    for process, line in enumerate(sorted(out.splitlines())):
        number, text = line.split(" ", 1)
        assert number == f"[{process}]"
        assert json.loads(text) == ["--run=a", *NASTY]
    assert set(os.listdir(tmp_path)) - {"__pycache__"} == {"script.py"}


def test_the_error_of_the_first_process_that_failed_comes_last(tmp_path):
    script = Script(
        tmp_path,
        """
        if process == 2:
            raise KeyError("why")
        pathlib.Path(f"{process}").write_text("waits")
        time.sleep(1)
        sys.exit("error: process 2 is gone")
        """,
    )
    code, _, err = script.run(processes=3)
    lines = err.splitlines()
    assert code == 1
    assert sum(line.endswith("error: process 2 is gone") for line in lines) == 2
    assert lines[-1] == "[2] KeyError: 'why'"
    assert all(line.startswith("[2] ") for line in lines[-3:])


def test_a_process_that_dies_without_a_word_is_named_last(tmp_path):
    script = Script(
        tmp_path,
        """
        if process == 1:
            print("error: an old one", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        sys.exit(1)
        """,
    )
    code, _, err = script.run()
    assert code == 137
    assert err.splitlines()[-1] == "error: process 1 was killed by SIGKILL"


def test_process_0_writes_to_the_terminal_itself(tmp_path):
    script = Script(
        tmp_path,
        """
        print("terminal" if sys.stderr.isatty() else "pipe", end="\\n" if process else "", file=sys.stderr)
        if not process:
            pathlib.Path("written").write_text("yes")
        else:
            print("result", flush=True)
        """,
    )
    screen, terminal = pty.openpty()
    launcher = script.start(stderr=terminal)
    os.close(terminal)
    out, _ = launcher.communicate(timeout=30)
    shown = os.read(screen, 1000).decode()
    os.close(screen)
    assert launcher.returncode == 0
    assert out == b"[1] result\n"
    assert "\r\x1b[2K[1] pipe\r\n" in shown
    assert "terminal" in shown
    assert "[0]" not in shown
    assert shown.endswith("\x1b[?25h")


def test_stdout_that_nobody_reads_stops_nobody(tmp_path):
    script = Script(
        tmp_path, "print('x' * 100_000, flush=True)\npathlib.Path(f'{process}').write_text('done')"
    )
    reader, writer = os.pipe()
    os.close(reader)
    launcher = script.start(stdout=writer)
    os.close(writer)
    assert launcher.communicate(timeout=30)[1] == b""
    assert launcher.returncode == 0
    assert script.wait_for("0", "1") == ["done", "done"]


def test_stdin_is_not_shared(tmp_path):
    script = Script(tmp_path, "print(repr(sys.stdin.read()))")
    launcher = script.start(stdin=subprocess.PIPE)
    out, _ = launcher.communicate(b"text", timeout=30)
    assert sorted(out.decode().splitlines()) == ["[0] ''", "[1] ''"]
