"""A run's numbers as TensorBoard events."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from dlcore.training.callbacks.callback import Callback, Start
from dlcore.utils.run_paths import EVENTS

VERSION = "brain.Event:2"


class Events(Callback):
    """Writes TensorBoard's file of events into the run's folder.

    TensorBoard's ``EventFileWriter`` writes in a thread. Its ``RecordWriter`` does not, so that a full disk is an error
    of the row that did not fit.
    """

    def on_start(self, start: Start) -> None:
        """Opens a new file; TensorBoard forgets steps of earlier files after the one from which the run goes on."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        name = f"{EVENTS}.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((start.folder / name).open("ab"))
        self._put(0, file_version=VERSION)
        if start.step:
            self._put(start.step + 1, session_log=SessionLog(status=SessionLog.START))

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        """Writes the numbers of one step and those of its clock."""
        numbers = {**values, **clock}
        self._put(
            step, summary={"value": [{"tag": name, "simple_value": value} for name, value in numbers.items()]}
        )
        self._records.flush()

    def _put(self, step: int, **content: Any) -> None:
        event = self._event(wall_time=time.time(), step=step, **content)
        self._records.write(event.SerializeToString())

    def on_end(self, error: BaseException | None) -> None:
        """Closes the file."""
        self._records.close()
