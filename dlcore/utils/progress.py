"""How far long work is, for a person to read."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich import progress as rich_progress
from rich.console import Console


class Progress:
    """A rich bar on a terminal, plain lines elsewhere; both on stderr, with the time that is left. A context manager.

    Args:
        label: what is done, such as "training".
        unit: what is counted, such as "step".
        total: how many there are.
        done: how many are done already.
    """

    def __init__(self, label: str, unit: str, total: int, done: int = 0):
        self._unit, self._total, self._first, self._done = unit, total, done, done
        self._began: float | None = None
        self._shown: dict[str, str] = {}
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn(label),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[shown]}"),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("left"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(label, total=total, completed=done, shown="compiling")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Counts some more. The clock of the estimate starts with the first call."""
        self._began = self._began or time.monotonic()
        self._done += count
        self._bar.advance(self._task, count)

    def report(self, values: Mapping[str, str], done: int | None = None) -> None:
        """Shows some values: in the bar, beside the last values of other names; elsewhere in a line of their own.

        Args:
            values: texts by name.
            done: what the values belong to; None means all that was counted.
        """
        self._shown.update(values)
        self._bar.update(self._task, shown=_join(self._shown))
        if self._bar.disable:
            done = self._done if done is None else done
            elapsed = time.monotonic() - self._began if self._began else 0.0
            left = elapsed * (self._total - done) / max(done - self._first, 1)
            line = f"{self._unit} {done}/{self._total}  {_join(values)}  {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)


def _join(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in values.items())
