"""Does the gradient's half-life at initialization tell what will be learned? One task, many cells and starts.

    launch/local experiments.half_life --run=order    # temporal order at 50 steps: 126 networks in 523 s on 2 cores
    launch/local experiments.half_life --run=adding --config.task=adding --config.length=100 --config.seeds=0,1 \
        --config.scales=0.5,0.75,1,1.25 --config.forget_biases=0,1,4     # 48 in 1060 s on busy cores
    launch/local experiments.half_life --run=copy --config.task=copy_memory --config.cells=lstm \
        --config.scales=1 --config.seeds=0      # 4 in 274 s on busy cores

For the temporal order it does. None of the 13 networks with a gain half-life below 1.3 steps learned it (accuracy above
0.9), 10 of the 20 below 2 steps did, and 58 of the 61 above. For copying it does, too: LSTMs with a gain half-life of
2.5 and 11.9 steps (forget biases 0 and 1) get 13 and 24 % of the symbols right, and those without decay (2 and 4) get
51 and 53 %. For the adding problem it does not: GRUs with 1.7 to 3.8 steps get 62 to 97 % of the sums right, LSTMs with
a forget bias of 4, whose gradients hardly decay, get 10 to 52 %, and the plain cell is at chance with up to 14 steps.

Each configuration is measured at its start and then trained as its experiment defines (`experiments/adding.py`,
`copy_memory.py`, `temporal_order.py`), all scales of a cell and a seed at once. ``sweep.csv`` has two measures.
``gain_half_life``, in steps, is ln 2 over minus the slope of the log of the gain |ds_T/ds_{T-lag}| over all lags, on
eight sequences. ``accuracy`` is that of 1000 held-out sequences after training: of four classes (temporal order), of
the ten symbols (copying), or the share of sums that are right (adding).
"""

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
import optax

import dlcore as dl
from dlcore.gradflow.measures import jacobians, wide_range
from dlcore.gradflow.measures.summary import fit_rate, half_life
from dlcore.layers.recurrent.cell_config import CellName
from dlcore.training.optimizers.make import make_optimizer
from experiments import adding, copy_memory, temporal_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = ("task", "cell", "length", "steps", "seed", "forget_bias", "clip_norm", "scale")
MEASURES = ("gain_half_life", "accuracy")
# The experiment, its setting of the length, and what guessing reaches.
TASKS: dict[str, tuple[Any, str, float]] = {
    "adding": (adding, "length", 0.0784),  # the share of sums within 0.04 of 1, the best constant answer
    "copy_memory": (copy_memory, "delay", 1 / 8),
    "temporal_order": (temporal_order, "length", 1 / 4),
}
MEASURED_ROWS = 8


@dataclass
class Config(dl.SweepConfig):
    task: Literal["adding", "copy_memory", "temporal_order"] = dl.setting(
        "temporal_order", "The task that is learned."
    )
    length: int = dl.setting(50, "Number of time steps; for copy_memory the delay.", minimum=10)
    steps: int = dl.setting(3000, "Number of training steps.", minimum=1)
    cells: tuple[CellName, ...] = dl.setting(("rnn", "identity", "gru", "lstm"), "Names in dl.CELLS.")
    scales: tuple[float, ...] = dl.setting(
        (0.25, 0.5, 0.75, 1.0, 1.25, 1.5), "Factors of the recurrent kernel.", minimum=0, maximum=1e30
    )
    forget_biases: tuple[float, ...] = dl.setting((0.0, 1.0, 2.0, 4.0), "Forget biases of LSTMs.")
    clip_norms: tuple[float, ...] = dl.setting((1.0,), "Norms that gradients are clipped to.", above=0)
    seeds: tuple[int, ...] = dl.setting(
        (0, 1, 2), "Seeds of parameters and data.", minimum=0, maximum=2**31 - 1
    )


@dataclass(frozen=True)
class Measure:
    """Measures the gain half-life of one configuration at its start, and what it learns."""

    task: str
    cell: CellName
    length: int
    steps: int

    def experiment(self, seed: int = 0) -> tuple[Any, dl.Experiment]:
        """The task's own experiment. Only its data depend on the seed."""
        module, length, _ = TASKS[self.task]
        config = module.Config(cell=self.cell, seed=seed, **{length: self.length})
        config.train = replace(config.train, steps=self.steps, eval_batch_size=config.test_examples)
        return config, module.experiment(config)

    def __call__(self, shared: dict[str, Any], numbers: dict[str, jax.Array]) -> dict[str, jax.Array]:
        config, experiment = self.experiment()
        key = jax.random.key(shared["seed"])
        optimizer = make_optimizer(replace(config.optimizer, clip_norm=numbers["clip_norm"]), self.steps)
        first = jax.tree.map(lambda field: field[0], shared["batches"])
        params, model_state = experiment.init(key, first)
        params = with_numbers(params, numbers)

        def loss(params: Any, batch: Any, train: bool) -> Any:
            value, (_, metrics) = experiment.loss(params, model_state, batch, key, train)
            return value, metrics

        def update(carry: Any, batch: Any) -> tuple[Any, None]:
            params, state = carry
            gradient, _ = jax.grad(loss, has_aux=True)(params, batch, True)
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        rows = jax.tree.map(lambda field: field[:MEASURED_ROWS], first)
        (found,) = dl.gradflow.find_recurrences(lambda: loss(params, rows, False)[0])
        (trained, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), shared["batches"])
        _, metrics = loss(trained, shared["test"], False)
        return {"gain_half_life": gain_half_life(found.recurrence), "accuracy": metrics["accuracy"].value()}


def with_numbers(params: Any, numbers: dict[str, jax.Array]) -> Any:
    """The parameters with the configuration's scale, and with its forget bias in place of the cell's."""

    def change(path: Any, leaf: jax.Array) -> jax.Array:
        name = path[-1].key
        if name == "recurrent_kernel":
            return leaf * numbers["scale"]
        if name == "bias" and "forget_bias" in numbers and path[0].key.startswith("LSTMCell"):
            features = len(leaf) // 4
            return leaf.at[features : 2 * features].set(numbers["forget_bias"])
        return leaf

    return jax.tree_util.tree_map_with_path(change, params)


def gain_half_life(recurrence: dl.gradflow.Recurrence) -> jax.Array:
    """The half-life of the root-mean-square gain over all rows."""
    gain = wide_range.joint_log_norm(list(jacobians.log_products_by_probes(recurrence).T))
    return half_life(fit_rate(gain))


def figures(rows: list[dict[str, str]]) -> dict[str, "Figure"]:
    measured: dict[str, Any] = {}
    for row in rows:
        ratios, reached = measured.setdefault(row["cell"], ([], []))
        ratios.append(float(row["gain_half_life"]) / int(row["length"]))
        reached.append(float(row["accuracy"]))
    chance = TASKS[rows[0]["task"]][2]
    return {"success": dl.gradflow.plot_success(measured, chance, reach="gain half-life")}


def plan(config: Config) -> dl.sweep.Sweep:
    groups = []
    for cell in config.cells:
        measure = Measure(config.task, cell, config.length, config.steps)
        shared = [dl.sweep.SharedInputs({"seed": seed}, data(measure, seed)) for seed in config.seeds]
        biases = [{"forget_bias": bias} for bias in config.forget_biases] if cell == "lstm" else [{}]
        numbers = [
            {**bias, "clip_norm": clip_norm, "scale": scale}
            for bias, clip_norm, scale in itertools.product(biases, config.clip_norms, config.scales)
        ]
        settings = {"task": config.task, "cell": cell, "length": config.length, "steps": config.steps}
        groups.append(dl.sweep.Group(measure, settings, shared, numbers, bytes_each=2**24))
    return dl.sweep.Sweep(groups, SETTINGS, MEASURES, figures)


def data(measure: Measure, seed: int) -> dict[str, Any]:
    """What the configurations of a seed share: all batches of the training, and the held-out sequences."""
    _, experiment = measure.experiment(seed)
    batches = [experiment.train_data[step] for step in range(measure.steps)]
    (test,) = experiment.eval_data
    stacked = jax.tree.map(lambda *fields: np.stack(fields), *batches)
    return {"seed": seed, "batches": stacked, "test": test}


if __name__ == "__main__":
    dl.run_sweep(Config, plan)
