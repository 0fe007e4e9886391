"""The experiment of `plain_toy` with slow data: a step takes as long as the config says, and a process may fail.

python -m tests.helpers.slow_toy --workdir=FOLDER --config.pause=0.05
"""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import jax

import dlcore as dl
from tests.helpers import plain_toy


@dataclass
class Config(plain_toy.Config):
    pause: float = dl.setting(0.05, "Seconds that the batch of a step takes.", minimum=0, may_change=True)
    fails_at: int | None = dl.setting(None, "The step at which the second process fails.", minimum=0)
    note: str = dl.setting("", "Any text.")


class SlowBatches:
    """Batches of other data, each after a pause."""

    def __init__(self, data: Any, config: Config):
        self._data, self._config = data, config
        self.batch_size, self.examples = data.batch_size, data.examples

    def __getitem__(self, step: int) -> Any:
        time.sleep(self._config.pause)
        if step == self._config.fails_at and jax.process_index() == 1:
            raise RuntimeError(f"the data of step {step} is gone")
        return self._data[step]


def experiment(config: Config) -> dl.Experiment:
    plain = plain_toy.experiment(config)
    return dataclasses.replace(plain, train_data=SlowBatches(plain.train_data, config))


if __name__ == "__main__":
    dl.run(Config, experiment)
