"""Lines of several processes: whole, byte for byte, with the number of their process."""

import os
import threading

from dlcore.launch.output import STDERR, STDOUT, Output

LINES = 2000


def copy(output, process, data, target):
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data)
    output.copy(process, os.fdopen(reader, "rb"), target)


def test_bytes_stay_as_they_are_and_streams_stay_apart(capfdbinary):
    output = Output()
    copy(output, 3, b"\xff\x00 \r[1m\n\nno end", STDOUT)
    copy(output, 0, b"error\n", STDERR)
    found = capfdbinary.readouterr()
    assert found.out == b"[3] \xff\x00 \r[1m\n[3] \n[3] no end\n"
    assert found.err == b"[0] error\n"


def test_lines_of_many_threads_are_never_torn(tmp_path):
    """Lines are longer than what a pipe takes at once, and the file is behind a pipe that is read slowly."""
    output, pipe = Output(), os.pipe()
    wanted = [b"%d" % process * 70_000 for process in range(4)]
    kept = os.dup(STDOUT)
    os.dup2(pipe[1], STDOUT)
    try:
        threads = [
            threading.Thread(target=copy_lines, args=(output, process, line))
            for process, line in enumerate(wanted)
        ]
        for thread in threads:
            thread.start()
        with os.fdopen(os.dup(pipe[0]), "rb") as source:
            found = [source.readline() for _ in range(4 * 20)]
        for thread in threads:
            thread.join()
    finally:
        os.dup2(kept, STDOUT)
        for number in (kept, *pipe):
            os.close(number)
    assert sorted(found) == sorted(20 * [b"[%d] %s\n" % pair for pair in enumerate(wanted)])


def copy_lines(output, process, line):
    reader, writer = os.pipe()
    thread = threading.Thread(target=output.copy, args=(process, os.fdopen(reader, "rb"), STDOUT))
    thread.start()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(20 * (line + b"\n"))
    thread.join()


def test_a_closed_pipe_takes_nothing_and_stops_nobody():
    reader, writer = os.pipe()
    os.close(reader)
    copy(Output(), 0, b"a\n" * 10, writer)
    os.close(writer)


def test_the_error_is_repeated_only_if_something_came_after_it(capfd):
    output = Output()
    copy(output, 1, b"step 3\nTraceback (most recent call last):\n  File\nKeyError: 3\n", STDERR)
    assert output.repeat_last_words(1)
    assert capfd.readouterr().err.count("KeyError") == 1
    copy(output, 0, b"error: process 1 is gone\n", STDERR)
    assert output.repeat_last_words(1)
    words = "[1] Traceback (most recent call last):\n[1]   File\n[1] KeyError: 3\n"
    assert capfd.readouterr().err == f"[0] error: process 1 is gone\n{words}"


def test_the_process_that_others_name_is_known():
    output = Output()
    copy(output, 1, b"step 3\nerror: process x (a) of the job\n", STDERR)
    copy(output, 1, b"error: process 5 (node 1) of the job failed\n", STDOUT)
    assert output.named is None
    copy(output, 1, b"error: process 2 (node 1) of the job failed: why\n", STDERR)
    copy(output, 3, b"process 0 (node 1) of the job ended: why\n", STDERR)
    assert output.named == 2


def test_a_process_without_an_error_has_no_last_words(capfd):
    output = Output()
    copy(output, 1, b"step 3\n", STDERR)
    copy(output, 0, b"step 3\n", STDERR)
    assert not output.repeat_last_words(1)
    assert not output.repeat_last_words(2)
    assert capfd.readouterr().err == "[1] step 3\n[0] step 3\n"


def test_a_bar_is_cleared_before_a_line_and_its_cursor_comes_back():
    screen, terminal = os.openpty()
    kept = os.dup(STDERR)
    os.dup2(terminal, STDERR)
    try:
        output = Output(bar=True)
        copy(output, 1, b"a line\n", STDERR)
        output.close()
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
    seen = b""
    while not seen.endswith(b"\x1b[?25h"):  # a busy terminal hands over a part at a time
        seen += os.read(screen, 100)
    assert seen == b"\r\x1b[2K[1] a line\r\n\x1b[?25h"
    os.close(screen)
    os.close(terminal)
