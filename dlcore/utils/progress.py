"""Shows a person how far long work has come and how long it still takes."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich import progress as rich_progress
from rich.console import Console

from dlcore.utils.notebook import NotebookLine
from dlcore.utils.streams import say


class Progress:
    """A context manager that shows a rich bar on a terminal, one changing line in a notebook, and lines elsewhere.

    Bar and lines go to stderr. All include the estimated time left. The work does not depend on them: what stderr does
    not take is lost.

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
        console = Console(stderr=True)
        self._line = NotebookLine() if console.is_jupyter else None  # rich's own bar needs ipywidgets there
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn(label),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[shown]}"),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("left"),
            console=console,
            disable=console.is_jupyter or sys.stderr is None or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(label, total=total, completed=done, shown="")

    def __enter__(self) -> "Progress":
        with contextlib.suppress(OSError):
            self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._bar.stop()
        if self._line:
            self._line.flush()

    @contextlib.contextmanager
    def paused(self, reason: str) -> Iterator[None]:
        """A context manager that shows a text, such as "compiling"; its time does not count for the time left.

        Args:
            reason: what happens in the block.
        """
        began = time.monotonic()
        self._bar.update(self._task, shown=reason)
        if self._line:
            self._line.show(reason, at_once=True)
        elif self._bar.disable:
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
        """Shows values: in the bar or the notebook's line beside the last values of other names, else as a new line.

        Args:
            values: texts by name.
            done: number of units after which the values were taken, for a line; None means all that were
                counted.
        """
        self._shown.update(values)
        self._bar.update(self._task, shown=_join(self._shown))
        if self._bar.disable:
            done = self._done if done is None else done
            elapsed = time.monotonic() - self._began if self._began else 0.0
            left = elapsed * (self._total - done) / max(done - self._first, 1)
            shown = _join(values if self._line is None else self._shown)
            text = f"{self._unit} {done}/{self._total}  {shown}  {left:.0f} s left"
            self._line.show(text) if self._line else say(text)


def _join(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in values.items())
