"""The experiment of `plain_toy` in a job: its data can be slow until the job was queued again, and a process can fail.

Variables of the environment say so, since the config of all jobs is to be the same: ``TOY_PAUSE`` is the seconds that
each batch after the first ones takes, ``TOY_FAILS_AT`` is the step at which the second process fails.
"""

import dataclasses
import os
import time
from dataclasses import dataclass
from typing import Any

import jax

import dlcore as dl
from tests.helpers import plain_toy

FAST_STEPS = 8


@dataclass
class Config(plain_toy.Config):
    note: str = dl.setting("", "Any text.")


class SlowBatches:
    """Batches of other data."""

    def __init__(self, data: Any):
        self._data = data
        self.batch_size, self.examples = data.batch_size, data.examples

    def __getitem__(self, step: int) -> Any:
        if step >= FAST_STEPS and os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
            time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
        if str(step) == os.environ.get("TOY_FAILS_AT") and jax.process_index() == 1:
            raise RuntimeError(f"the data of step {step} is gone")
        return self._data[step]


def experiment(config: Config) -> dl.Experiment:
    plain = plain_toy.experiment(config)
    return dataclasses.replace(plain, train_data=SlowBatches(plain.train_data))


if __name__ == "__main__":
    dl.run(Config, experiment)
