"""A logger that fails says so once, and the run goes on; a package that is missing names its extra."""

from pathlib import Path

import pytest

from dlcore.training.callbacks.callback import Start
from dlcore.training.callbacks.logger import Logger, read_run_id, write_run_id
from dlcore.training.config import Config

START = Start(Path("run"), 0, Config())


class Failing(Logger):
    def __init__(self, where):
        super().__init__("numpy", "numbers")
        self.where, self.calls = where, []

    def act(self, name, value):
        self.calls.append((name, value))
        if name == self.where:
            raise ConnectionError("the server\nis gone")

    def open(self, start):
        self.act("open", start.step)

    def write(self, step, values):
        self.act("write", dict(values))

    def close(self, error):
        self.act("close", error)


def run(logger):
    logger.on_start(START)
    for step in (1, 2):
        logger.on_row(step, {"train/loss": 1.0}, {"train/steps_per_second": 2.0})
    logger.on_end(None)
    return [name for name, _ in logger.calls]


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        (None, ["open", "write", "write", "close"]),
        ("open", ["open"]),
        ("write", ["open", "write"]),
        ("close", ["open", "write", "write", "close"]),
    ],
)
def test_a_failure_is_said_once_and_nothing_else_is_written(where, calls, capsys):
    assert run(Failing(where)) == calls
    line = (
        "Failing: got ConnectionError: the server is gone; the run goes on without it, and metrics.csv has every "
        "number\n"
    )
    assert capsys.readouterr().err == (line if where else "")


def test_a_second_run_is_logged_again_and_times_go_with_the_row():
    logger = Failing("close")
    run(logger)
    logger.calls.clear()
    assert run(logger) == ["open", "write", "write", "close"]
    assert logger.calls[1] == ("write", {"train/loss": 1.0, "train/steps_per_second": 2.0})


def test_a_missing_package_names_its_extra():
    with pytest.raises(
        ImportError, match=r"Logger: no_such_package is not installed; pip install 'dlcore\[more\]'"
    ):
        Logger("no_such_package", "more")


def test_a_run_id_is_kept(tmp_path):
    assert read_run_id(tmp_path / "id.txt") is None
    write_run_id(tmp_path / "id.txt", "abc")
    assert read_run_id(tmp_path / "id.txt") == "abc"
