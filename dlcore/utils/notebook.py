"""A line of text below a notebook's cell that changes in place, where a terminal would draw a bar."""

import time
from typing import Any

SECONDS = 0.2  # between two changes, so that a fast loop does not flood the notebook


class NotebookLine:
    """A line in the output of the notebook's present cell."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._changed, self._waiting = -SECONDS, ""

    def show(self, text: str, *, at_once: bool = False) -> None:
        """Shows a text in place of the one before; unless ``at_once``, it waits if the line has just changed."""
        from IPython.display import display

        self._waiting = text
        if not at_once and time.monotonic() - self._changed < SECONDS:
            return
        self._changed, self._waiting = time.monotonic(), ""
        if self._handle is None:
            self._handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": text}, raw=True)

    def flush(self) -> None:
        """Shows the last text if it still waits."""
        if self._waiting:
            self.show(self._waiting, at_once=True)
