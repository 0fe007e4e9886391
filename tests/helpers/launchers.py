"""Calls a launcher's command line in the test's own process."""

import sys
from typing import Any

import pytest
from absl import flags

from dlcore.launch.launcher import run_launcher
from tests.helpers.command_line import Finished


class Launcher:
    """The command line of a launcher's module.

    Args:
        module: the module, with its ``ROWS`` and its ``launch``.
        monkeypatch: undoes what this changes in the process.
        capfd: reads what the launcher and its child processes print.
    """

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
        self._module, self._monkeypatch, self._capfd = module, monkeypatch, capfd

    def __call__(self, *arguments: str) -> Finished:
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["launcher", *arguments])
            with pytest.raises(SystemExit) as stop:
                run_launcher(self._module.ROWS, self._module.launch)
        flags.FLAGS.unparse_flags()
        printed = self._capfd.readouterr()
        return Finished(int(stop.value.code or 0), printed.out, printed.err)
