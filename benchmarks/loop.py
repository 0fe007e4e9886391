"""What the training loop costs beside its step: `loop.train` against loops written by hand.

    python -m benchmarks.loop

All run the step of `experiments.digits` in one process, in turn. `by hand` reads each batch, puts it on the
device and calls the jitted step, nothing else; `step alone` calls it on one batch that stays on the device.
Printed are the rates of each round and the median ratios.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import jax

from dlcore.train import loop
from dlcore.train.experiment import Batch
from dlcore.train.optimizer import make_optimizer
from dlcore.train.state import initial_state
from dlcore.train.step import make_train_step
from experiments import digits

FIRST, STEPS, ROUNDS = 50, 1550, 9


def main() -> None:
    config = digits.Config()
    config.train.steps, config.train.log_every = STEPS, FIRST
    # Evaluations and checkpoints are not the loop's cost: one of each, behind the last step.
    config.train.eval_every = config.checkpoint.every = STEPS
    experiment = digits.experiment(config)
    optimizer = make_optimizer(config.optimizer, STEPS)
    train_step = make_train_step(experiment, optimizer, config.seed)

    def by_hand(batch_of: Callable[[int], Batch]) -> float:
        state = initial_state(experiment, optimizer, config.seed, train_step)
        for step in range(STEPS):
            state = train_step(state, batch_of(step))
            if step + 1 == FIRST:
                jax.block_until_ready(state)
                began = time.monotonic()
        jax.block_until_ready(state)
        return (STEPS - FIRST) / (time.monotonic() - began)

    def ours() -> float:
        rows: dict[int, float] = {}

        def record(_: object, step: int, values: object) -> None:
            rows.setdefault(step, time.monotonic())  # the first report of a step waits for the device

        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(loop.ProgressReport, "report", record),
        ):
            loop.train(experiment, config, Path(folder))
        return (STEPS - FIRST) / (rows[STEPS] - rows[FIRST])

    fixed = jax.device_put(experiment.train_data[0])
    rates: dict[str, list[float]] = {"loop.train": [], "by hand": [], "step alone": []}
    print("steps per second:", *rates, sep="\t")
    for _ in range(ROUNDS):
        rates["loop.train"].append(ours())
        rates["by hand"].append(by_hand(lambda step: jax.device_put(experiment.train_data[step])))
        rates["step alone"].append(by_hand(lambda _: fixed))
        print("", *(f"{rate[-1]:.1f}" for rate in rates.values()), sep="\t\t")
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates["loop.train"], rates[name], strict=True))
        for name in ("by hand", "step alone")
    }
    print("result:", json.dumps({f"loop.train / {name}": round(ratio, 3) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
