"""A run's numbers as TensorBoard events."""

from collections.abc import Mapping

from dlcore.training.callbacks.callback import Callback, Start
from dlcore.utils.event_file import EventFile
from dlcore.utils.run_paths import EVENTS


class Events(Callback):
    """Writes TensorBoard's file of events into the run's folder, without a thread, so that a full disk is an error."""

    def on_start(self, start: Start) -> None:
        """Opens a new file; TensorBoard forgets steps of earlier files after the one from which the run goes on."""
        self._file = EventFile(start.folder / EVENTS)
        if start.step:
            self._file.start(start.step + 1)

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        """Writes the numbers of one step and those of its clock."""
        self._file.write(step, {**values, **clock})

    def on_end(self, error: BaseException | None) -> None:
        """Closes the file."""
        self._file.close()
