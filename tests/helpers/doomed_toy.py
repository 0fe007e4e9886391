"""The toy experiment, in which one process of a job ends in the middle of a step if ``DOOMED`` says so.

    DOOMED="PROCESS STEP kill|raise FILE" python -m tests.helpers.doomed_toy --workdir=FOLDER

It writes the time at which the process ends into FILE.
"""

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import jax

import dlcore as dl
from tests.helpers import plain_toy


class DoomedData:
    """Training data that ends its process when a step's batch is read, while the devices work on the steps before."""

    batch_size, examples = plain_toy.Config().train.batch_size, plain_toy.ROWS

    def __init__(self, data: Any, doom: str):
        self._data, (process, step, self._how, file) = data, doom.split(maxsplit=3)
        self._step, self._file = int(step) if int(process) == jax.process_index() else -1, Path(file)

    def __getitem__(self, step: int) -> Any:
        if step == self._step:
            self._file.write_text(str(time.time()))
            if self._how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyError("doomed")
        return self._data[step]


def experiment(config: plain_toy.Config) -> dl.Experiment:
    built = plain_toy.experiment(config)
    doom = os.environ.get("DOOMED")
    return dataclasses.replace(built, train_data=DoomedData(built.train_data, doom)) if doom else built


if __name__ == "__main__":
    dl.run(plain_toy.Config, experiment)
