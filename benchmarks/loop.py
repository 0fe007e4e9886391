"""The cost of the training loop in addition to its step: `loop.train` against loops written by hand.

    python -m benchmarks.loop

All of them train `experiments.digits` in turn in one process. `by hand` reads each batch, puts it on the device and
calls a jitted update that is written out below and checks nothing. `step alone` calls the same update on one batch that
stays on the device. `checkpoints` is `loop.train` with a checkpoint every 50 steps. The benchmark prints the rates of
each round and the median ratios.
"""

import dataclasses
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import optax

from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.experiment import Batch
from dlcore.utils.progress import Progress
from dlcore.utils.rng import stream_key
from experiments import digits

FIRST, STEPS, ROUNDS = 50, 1550, 9


def main() -> None:
    config = digits.Config()
    config.train.steps, config.train.log_every = STEPS, FIRST
    # Evaluations and checkpoints are no part of the loop's cost: there is one of each, after the last step.
    config.train.eval_every = config.checkpoint.every = STEPS
    often = dataclasses.replace(config, checkpoint=dataclasses.replace(config.checkpoint, every=50))
    experiment = digits.experiment(config)
    engine = Engine(experiment, config)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry: Any, batch: Batch) -> Any:
        step, params, model_state, opt_state = carry
        rng = stream_key(config.seed, "dropout", step)
        grads, (model_state, _) = jax.grad(experiment.loss, has_aux=True)(
            params, model_state, batch, rng, True
        )
        updates, opt_state = engine.optimizer.update(grads, opt_state, params)
        return step + 1, optax.apply_updates(params, updates), model_state, opt_state

    def by_hand(batch_at: Callable[[int], Batch]) -> float:
        state = engine.initial_state()
        carry = state.step, state.params, state.model_state, state.opt_state
        for step in range(STEPS):
            carry = update(carry, batch_at(step))
            if step + 1 == FIRST:
                jax.block_until_ready(carry)
                began = time.monotonic()
        jax.block_until_ready(carry)
        return (STEPS - FIRST) / (time.monotonic() - began)

    def by_train(config: digits.Config) -> float:
        rows: dict[int, float] = {}

        def record(_: object, values: object, step: int) -> None:
            rows.setdefault(step, time.monotonic())  # the first report of a step waits for the device

        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(Progress, "report", record),
        ):
            loop.train(Engine(experiment, config), Path(folder))
        return (STEPS - FIRST) / (rows[STEPS] - rows[FIRST])

    fixed = jax.device_put(experiment.train_data[0])
    ways: dict[str, Callable[[], float]] = {
        "loop.train": lambda: by_train(config),
        "checkpoints": lambda: by_train(often),
        "by hand": lambda: by_hand(lambda step: jax.device_put(experiment.train_data[step])),
        "step alone": lambda: by_hand(lambda _: fixed),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    print("steps per second:", *rates, sep="\t")
    for _ in range(ROUNDS):
        for name, run in ways.items():
            rates[name].append(run())
        print("", *(f"{rate[-1]:.1f}" for rate in rates.values()), sep="\t\t")

    def ratio(one: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True)), 3)

    pairs = [("loop.train", "by hand"), ("loop.train", "step alone"), ("checkpoints", "loop.train")]
    print("result:", json.dumps({f"{one} / {other}": ratio(one, other) for one, other in pairs}))


if __name__ == "__main__":
    main()
