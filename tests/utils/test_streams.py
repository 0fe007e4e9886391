"""Standard streams that are closed, broken, full or missing stop nothing and change no exit code."""

import io
import os
import subprocess
import sys

import pytest

from dlcore.utils import streams
from tests.helpers.paths import ROOT

PROGRAM = """
import sys
from dlcore.utils.streams import open_missing, say
open_missing()
sys.stdin.readline()
for index in range(5000):
    say(f"line {index} " + "x" * 100)
print("done", sys.stderr.fileno())
"""


def start(redirection="", **streams):
    return subprocess.Popen(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **streams,
    )


def test_a_line_goes_to_stderr(capsys):
    streams.say("a line")
    assert capsys.readouterr() == ("", "a line\n")


def test_a_closed_pipe_stops_nothing():
    process = start(stderr=subprocess.PIPE)
    process.stderr.close()
    assert process.communicate("go\n", timeout=30)[0] == "done 2\n"
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full disk to write to")
def test_a_full_disk_stops_nothing():
    with open("/dev/full", "w") as full:
        process = start(stderr=full)
        assert process.communicate("go\n", timeout=30)[0] == "done 2\n"
    assert process.returncode == 0


def test_a_missing_stream_stops_nothing_and_its_number_is_taken_by_no_other_file():
    process = start("2>&-")
    assert process.communicate("go\n", timeout=30)[0] == "done 2\n"
    assert process.returncode == 0


def test_without_a_stream_nothing_is_printed_elsewhere(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    streams.say("a line")
    assert capsys.readouterr().out == ""


def test_a_closed_stream_takes_no_text_and_raises_nothing(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    streams.say("a line")


def test_text_that_was_dropped_does_not_come_later(tmp_path, monkeypatch):
    """After a disk was full for a while, the lines since then are written, and the process writes where it did."""
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    os.close(reader)
    monkeypatch.setattr(sys, "stderr", stream)
    streams.say("lost")
    with (tmp_path / "log").open("w") as log:
        os.dup2(log.fileno(), stream.fileno())
    streams.say("kept")
    assert (tmp_path / "log").read_text() == "kept\n"
    stream.close()


def test_all_that_is_printed_goes_into_the_file(tmp_path, capfd):
    path = tmp_path / "log"
    path.write_text("before\n")
    print("outside")
    with streams.printed_into(path):
        os.write(2, b"by the system\n")
        subprocess.run(["sh", "-c", "echo by a program; echo its error >&2"])
    print("outside again")
    assert path.read_text() == "before\nby the system\nby a program\nits error\n"
    assert capfd.readouterr() == ("outside\noutside again\n", "")


def test_python_prints_into_the_file_and_an_error_gives_the_streams_back(tmp_path):
    program = """
import sys
from pathlib import Path
from dlcore.utils.streams import printed_into
try:
    with printed_into(Path(sys.argv[1])):
        print("a result")
        print("an error", file=sys.stderr)
        raise ValueError
except ValueError:
    print("back")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "log"], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("back\n", "")
    assert sorted((tmp_path / "log").read_text().splitlines()) == ["a result", "an error"]


def test_a_file_into_which_nothing_was_printed_is_removed(tmp_path):
    for text in ("", "kept"):
        (tmp_path / "log").write_text(text)
        with streams.printed_into(tmp_path / "log"):
            pass
        assert (tmp_path / "log").exists() == bool(text)
