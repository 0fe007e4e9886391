"""Calls an experiment's command line in the test's own process, with flags of its own."""

import copy
import json
import signal
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from absl import flags

from dlcore.cli import app, process
from dlcore.cli.parsing import parse_flags
from dlcore.training.faults.signals import PREEMPTING


class Finished(NamedTuple):
    """What a command did: its exit code and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    def result(self) -> dict[str, Any]:
        """The result, which is the last line of stdout of a command that ended well."""
        assert self.exit_code == 0, self.stderr
        return read_result(self.stdout)


def read_result(stdout: str) -> dict[str, Any]:
    last = stdout.splitlines()[-1]
    assert last.startswith("result: ")
    return json.loads(last.removeprefix("result: "))


class CommandLine:
    """The command line of an experiment file.

    Args:
        monkeypatch: undoes what this changes in the process.
        capsys: reads what the command prints.
        config_class: as for `dl.run`.
        experiment: as for `dl.run`.
        presets: as for `dl.run`.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        config_class: Any,
        experiment: Any,
        presets: Mapping[str, Any],
    ):
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self._arguments = config_class, experiment, presets

    def __call__(self, *arguments: str) -> Finished:
        config_class, experiment, presets = self._arguments
        values = flags.FlagValues()
        flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
        for name in ("stderrthreshold", "logtostderr", "logger_levels"):
            values[name] = copy.deepcopy(flags.FLAGS[name])
        handlers = {number: signal.getsignal(number) for number in PREEMPTING}
        with self._monkeypatch.context() as patch:
            patch.setattr(flags, "FLAGS", values)
            patch.setattr(app, "FLAGS", values)
            patch.setattr(process, "end", sys.exit)
            patch.setattr(sys, "argv", ["program", *arguments])
            try:
                app.define_run_flags(config_class(), presets, values)
                parse_flags(sys.argv)
                app.run_mode(config_class, experiment, presets)
                exit_code = 0
            except SystemExit as stop:
                exit_code = int(stop.code or 0)
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        printed = self._capsys.readouterr()
        return Finished(exit_code, printed.out, printed.err)
