"""A run's numbers as TensorBoard events."""

import time
from collections.abc import Mapping
from typing import Any

from dlcore.training.callbacks.callback import Callback, Start
from dlcore.utils.run_paths import EVENTS


class Events(Callback):
    """Writes TensorBoard's file of events into the run's folder, without a thread.

    tensorboardX's ``SummaryWriter`` writes in a thread. If the disk is full the thread ends, and the writer then
    waits for it without end.
    """

    def on_start(self, start: Start) -> None:
        """Opens a new file; TensorBoard forgets steps of earlier files after the one from which the run goes on."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        self._file = EventsWriter(str(start.folder / EVENTS))
        if start.step:
            self._put(start.step + 1, session_log=SessionLog(status=SessionLog.START))

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        """Writes the numbers of one step and those of its clock."""
        numbers = {**values, **clock}
        self._put(
            step, summary={"value": [{"tag": name, "simple_value": value} for name, value in numbers.items()]}
        )
        self._file.flush()

    def _put(self, step: int, **content: Any) -> None:
        self._file.write_event(self._event(wall_time=time.time(), step=step, **content))

    def on_end(self, error: BaseException | None) -> None:
        """Closes the file."""
        self._file.close()
