"""How far back do gradients reach? Cells by recurrent scale, initialization, length, forget bias, size and seed.

    launch/local experiments.gradient_flow --run=first                        # 256 configurations
    launch/local experiments.gradient_flow --run=first --config.seeds=0,1,2   # measures the 512 that are new
    launch/local experiments.gradient_flow --config.cells=lstm --config.forget_biases=0,1,2,3 --config.scales=1

Each configuration is a cell at its initialization, driven by white noise (synthetic). A scale multiplies its recurrent
kernel. The columns of ``sweep.csv`` are those of `dlcore.gradflow.summarize`; the covering lag is that of the bias's
gradient.
Source: lecture, gradient flow in simple RNNs; Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl
from dlcore.gradflow.measures import summary
from dlcore.gradflow.report.sweep_figures import Grid
from dlcore.layers.recurrent.cell_config import CellName
from dlcore.ops.recurrence import Kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = ("cell", "length", "features", "initialization", "seed", "forget_bias", "scale")
Initialization = Literal["own", "orthogonal", "gaussian", "identity"]


@dataclass
class Config(dl.SweepConfig):
    cells: tuple[CellName, ...] = dl.setting(("rnn", "identity", "gru", "lstm"), "Names in dl.CELLS.")
    scales: tuple[float, ...] = dl.setting(
        tuple(index / 16 for index in range(1, 65)),
        "Factors of the recurrent kernel.",
        minimum=0,
        maximum=1e30,
    )
    initializations: tuple[Initialization, ...] = dl.setting(
        ("own",), "Initializations of each gate's recurrent kernel; own means the cell's default."
    )
    lengths: tuple[int, ...] = dl.setting((1000,), "T, numbers of time steps.", minimum=summary.PARTS)
    forget_biases: tuple[float, ...] = dl.setting((1.0,), "Forget biases of LSTMs.")
    features: tuple[int, ...] = dl.setting((64,), "Numbers of units.", minimum=1)
    seeds: tuple[int, ...] = dl.setting((0,), "Seeds of parameters and inputs.", minimum=0, maximum=2**31 - 1)
    inputs: int = dl.setting(8, "Number of input features.", minimum=1)
    probes: int = dl.setting(8, "Number of random directions that estimate a norm.", minimum=1)
    exponents: int = dl.setting(
        1, "Number of Lyapunov exponents; more than one need a QR decomposition at each step.", minimum=1
    )


@dataclass(frozen=True)
class Measure:
    """Measures the gradient flow of one configuration."""

    cell: CellName
    features: int
    initializations: tuple[Initialization, ...]
    probes: int
    exponents: int

    def __call__(self, shared: dict[str, Any], numbers: dict[str, jax.Array]) -> dict[str, jax.Array]:
        configs = [
            dl.CellConfig(self.cell, self.features, recurrent_init=name) for name in self.initializations
        ]
        cells, inputs = [config.make_cell() for config in configs], shared["inputs"][:, None]
        # Programs with this random generator compile in three quarters of the time.
        params_key, probes_key = jax.random.split(jax.random.key(shared["seed"], impl="rbg"))
        state = cells[0].initialize_carry(params_key, inputs[0].shape)
        initialize = [partial(cell.init, params_key, state, inputs[0]) for cell in cells]
        kernels = Kernels(**jax.lax.switch(shared["initialization"], initialize)["params"])
        bias = jnp.asarray(kernels.bias)
        if "forget_bias" in numbers:
            bias = bias.at[self.features : 2 * self.features].set(numbers["forget_bias"])

        def step(bias: jax.Array, state: Any, inputs: jax.Array) -> Any:
            # The scale multiplies h and not the kernel, so that all scales share one kernel.
            return cells[0].equations.step(kernels._replace(bias=bias), state, inputs, numbers["scale"])[0]

        recurrence = dl.gradflow.Recurrence(step, bias, state, inputs)
        return summary.summarize(recurrence, self.probes, self.exponents, probes_key)


def figures(rows: list[dict[str, str]]) -> dict[str, "Figure"]:
    """Figures of the first seed, with a panel or a line for each combination of the other settings."""
    varied = [name for name in SETTINGS if len({row[name] for row in rows} - {""}) > 1]
    title = ["cell", *(name for name in varied if name not in ("cell", "seed", "scale"))]
    panels: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["seed"] == rows[0]["seed"]:
            panels.setdefault(", ".join(filter(None, map(row.get, title))), []).append(row)
    grids = {name: grid(panel) for name, panel in panels.items()}
    return {"reach": dl.gradflow.plot_gain_map(grids), "exponents": dl.gradflow.plot_exponents(grids)}


def grid(rows: list[dict[str, str]]) -> Grid:
    rows = sorted(rows, key=lambda row: float(row["scale"]))
    column = lambda name: np.array([float(row[name]) for row in rows])
    lags = np.arange(1, summary.PARTS + 1) * int(rows[0]["length"]) // summary.PARTS
    gains = np.stack([column(name) for name in summary.GAINS], axis=-1)
    spectrum = [column(name) for name in rows[0] if name.startswith("exponent_")]
    return Grid(column("scale"), lags, gains * np.log(10), np.stack(spectrum, axis=-1))


def plan(config: Config) -> dl.sweep.Sweep:
    if config.exponents > min(config.features):
        raise ValueError(
            f"exponents: got {config.exponents}, expected at most {min(config.features)}, the smallest of features"
        )
    groups = []
    for cell, length, features in itertools.product(config.cells, config.lengths, config.features):
        biases = [{"forget_bias": bias} for bias in config.forget_biases] if cell == "lstm" else [{}]
        numbers = [{**bias, "scale": scale} for bias in biases for scale in config.scales]
        measure = Measure(cell, features, config.initializations, config.probes, config.exponents)
        settings = {"cell": cell, "length": length, "features": features}
        shared = shared_inputs(config, length)
        groups.append(dl.sweep.Group(measure, settings, shared, numbers, bytes_each=50 * length * features))
    return dl.sweep.Sweep(groups, SETTINGS, summary.summary_names(config.exponents), figures)


def shared_inputs(config: Config, length: int) -> list[dl.sweep.SharedInputs]:
    """White noise for each initialization and seed."""
    shared = []
    for (index, name), seed in itertools.product(enumerate(config.initializations), config.seeds):
        inputs = np.random.default_rng(seed).standard_normal((length, config.inputs), np.float32)
        arrays = {"initialization": index, "seed": seed, "inputs": inputs}
        shared.append(dl.sweep.SharedInputs({"initialization": name, "seed": seed}, arrays))
    return shared


if __name__ == "__main__":
    dl.run_sweep(Config, plan)
