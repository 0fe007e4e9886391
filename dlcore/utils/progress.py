"""Shows a person how far long work has come and how long it still takes."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich import progress as rich_progress
from rich.console import Console

from dlcore.utils.streams import say


class Progress:
    """A context manager that shows a rich bar on a terminal, and plain lines elsewhere.

    Both go to stderr and include the estimated time left. The work does not depend on them: what stderr does not take
    is lost.

    Args:
        label: the work, such as "training".
        unit: what is counted, such as "step".
        total: number of units in all.
        done: number of units that are done at the beginning.
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
            disable=sys.stderr is None or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(label, total=total, completed=done, shown="")

    def __enter__(self) -> "Progress":
        with contextlib.suppress(OSError):
            self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._bar.stop()

    @contextlib.contextmanager
    def paused(self, reason: str) -> Iterator[None]:
        """A context manager that shows a text, such as "compiling"; its time does not count for the time left.

        Args:
            reason: what happens in the block.
        """
        began = time.monotonic()
        self._bar.update(self._task, shown=reason)
        if self._bar.disable:
            say(reason)
        yield
        self._bar.update(self._task, shown=_join(self._shown))
        if self._began is not None:
            self._began += time.monotonic() - began

    def advance(self, count: int = 1) -> None:
        """Counts ``count`` more units as done. The first call starts the clock for the estimate of the time left."""
        self._began = self._began or time.monotonic()
        self._done += count
        self._bar.advance(self._task, count)

    def report(self, values: Mapping[str, str], done: int | None = None) -> None:
        """Shows values: on a terminal in the bar, beside the last values of other names, elsewhere as a printed line.

        Args:
            values: texts by name.
            done: number of units after which the values were taken, for the printed line; None means all that were
                counted.
        """
        self._shown.update(values)
        self._bar.update(self._task, shown=_join(self._shown))
        if self._bar.disable:
            done = self._done if done is None else done
            elapsed = time.monotonic() - self._began if self._began else 0.0
            left = elapsed * (self._total - done) / max(done - self._first, 1)
            say(f"{self._unit} {done}/{self._total}  {_join(values)}  {left:.0f} s left")


def _join(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in values.items())
