"""Progress of long work: lines without a terminal, a bar on one."""

import itertools

from dlcore.utils import progress
from dlcore.utils.progress import Progress


def test_without_a_terminal_every_report_is_a_line(capsys):
    with Progress("training", "step", 10) as bar:
        bar.advance()
        bar.report({"loss": "0.25"}, 5)
        bar.report({"eval accuracy": "0.5"}, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 5/10  loss 0.25  ")
    assert lines[1].startswith("step 10/10  eval accuracy 0.5  ")
    assert all(line.endswith("s left") for line in lines)


def test_the_time_left_counts_from_the_first_step_of_this_run(capsys, monkeypatch):
    clock = itertools.count(100.0, 8.0)  # every look at the clock comes 8 s after the one before it
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("training", "step", total=10, done=4) as bar:
        bar.report({})
        bar.advance(2)
        bar.report({})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 4/10")
    assert lines[0].endswith("  0 s left")
    # 2 steps of this run took 8 s, and 4 steps are left.
    assert lines[1].startswith("step 6/10")
    assert lines[1].endswith("  16 s left")


def test_on_a_terminal_nothing_but_the_bar_is_written(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with Progress("training", "step", 10) as bar:
        bar.advance()
        bar.report({"loss": "0.25"})
    assert "step 1/10" not in capsys.readouterr().err


def test_a_pause_is_said_and_does_not_count_for_the_time_left(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("training", "step", total=10) as bar:
        with bar.paused("compiling the training"):
            now[0] += 50
        bar.advance(2)
        with bar.paused("compiling the evaluation"):
            now[0] += 30
        now[0] += 8
        bar.report({"loss": "0.25"})
    assert capsys.readouterr().err.splitlines() == [
        "compiling the training",
        "compiling the evaluation",
        "step 2/10  loss 0.25  32 s left",
    ]


def test_a_terminal_that_is_gone_stops_nothing(monkeypatch):
    class Gone:
        encoding = "utf-8"

        def isatty(self):
            return True

        def write(self, text):
            raise OSError(5, "Input/output error")

        flush = fileno = lambda self: self.write("")

    monkeypatch.setattr(progress.sys, "stderr", Gone())
    with Progress("training", "step", 10) as bar:
        bar.advance()
        bar.report({"loss": "0.25"})


def test_without_stderr_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys, "stderr", None)
    with Progress("training", "step", 10) as bar, bar.paused("compiling"):
        bar.report({"loss": "0.25"})
    assert capsys.readouterr().out == ""
