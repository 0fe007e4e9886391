"""What loggers have in common: they write a run's rows to some service, and never end the run."""

import importlib.util
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore.training.callbacks.callback import Callback, Start
from dlcore.utils.files import atomic_write
from dlcore.utils.streams import say


class Logger(Callback):
    """Writes a run's rows to a service; a base class.

    ``metrics.csv`` has every number. So a logger that fails, for instance because the network or the server is gone,
    says so in one line, and the run goes on without it.

    Args:
        package: the package that it imports.
        extra: the extra of dlcore that installs the package.

    Raises:
        ImportError: the package is not installed.
    """

    def __init__(self, package: str, extra: str):
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"{type(self).__name__}: {package} is not installed; pip install 'dlcore[{extra}]'"
            )
        self._failed = False

    @abstractmethod
    def open(self, start: Start) -> None:
        """Opens the service's run: a new one, or that of an earlier process of this run."""

    @abstractmethod
    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the numbers of one step."""

    @abstractmethod
    def close(self, error: BaseException | None) -> None:
        """Closes the service's run; ``error`` is that of `Callback.on_end`."""

    def on_start(self, start: Start) -> None:
        self._failed = False
        self._try(self.open, start)

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        self._try(self.write, step, {**values, **clock})

    def on_end(self, error: BaseException | None) -> None:
        self._try(self.close, error)

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            action(*arguments)
        except Exception as error:  # whatever the service's package raises
            self._failed = True
            why = " ".join(str(error).split())[:300]
            say(
                f"{type(self).__name__}: got {type(error).__name__}: {why}; the run goes on without it, and "
                "metrics.csv has every number"
            )


def read_run_id(path: Path) -> str | None:
    """The service's run that an earlier process of this run wrote to; None if there was none."""
    return path.read_text().strip() or None if path.is_file() else None


def write_run_id(path: Path, run_id: str) -> None:
    """Keeps the id for `read_run_id`."""
    with atomic_write(path) as file:
        file.write(run_id + "\n")
