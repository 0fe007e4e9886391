"""How far back do gradients reach?  Cells by recurrent scale, initialization, length, forget bias, size and seed.

    launch/local experiments.gradient_flow --run=first                        # 256 configurations
    launch/local experiments.gradient_flow --run=first --config.seeds=0,1,2   # the 512 that are new
    launch/local experiments.gradient_flow --config.cells=lstm --config.forget_biases=0,1,2,3 --config.scales=1

Each is a cell at its initialization, whose recurrent kernel a scale multiplies, driven by white noise (synthetic). The
columns of ``sweep.csv`` are those of `dlcore.gradflow.survey`, the covering lag that of the biases' gradient.
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
from dlcore.cli.sweep_app import SweepConfig, run_sweep
from dlcore.gradflow.measures import summary
from dlcore.gradflow.measures.recurrence import Recurrence
from dlcore.gradflow.report.sweep_figures import Grid, plot_exponents, plot_gain_map
from dlcore.layers.recurrent.cell_config import CellName
from dlcore.ops.recurrence import Kernels
from dlcore.sweep.plan import Group, Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = ("cell", "length", "features", "initialization", "seed", "forget_bias", "scale")


@dataclass
class Config(SweepConfig):
    cells: tuple[CellName, ...] = dl.setting(("rnn", "identity", "gru", "lstm"), "Of dl.CELLS.")
    scales: tuple[float, ...] = dl.setting(
        tuple(number / 16 for number in range(1, 65)), "Of the recurrent kernel.", minimum=0, maximum=1e30
    )
    initializations: tuple[Literal["own", "orthogonal", "gaussian", "identity"], ...] = dl.setting(
        ("own",), "Of the recurrent kernel, each gate for itself; own: the cell's."
    )
    lengths: tuple[int, ...] = dl.setting((1000,), "T, the steps of a sequence.", minimum=summary.PARTS)
    forget_biases: tuple[float, ...] = dl.setting((1.0,), "Of LSTMs.")
    features: tuple[int, ...] = dl.setting((64,), "Units.", minimum=1)
    seeds: tuple[int, ...] = dl.setting((0,), "Of parameters and inputs.", minimum=0, maximum=2**31 - 1)
    inputs: int = dl.setting(8, "Width of the inputs.", minimum=1)
    probes: int = dl.setting(8, "Random directions that estimate a norm.", minimum=1)
    exponents: int = dl.setting(
        1, "Lyapunov exponents; more than one need a QR decomposition a step.", minimum=1
    )


@dataclass(frozen=True)
class Measure:
    """The survey of one configuration."""

    cell: CellName
    features: int
    initializations: tuple[Any, ...]
    probes: int
    exponents: int

    def __call__(self, shared: dict[str, Any], own: dict[str, jax.Array]) -> dict[str, jax.Array]:
        inputs = shared["inputs"][:, None]
        starts = [
            dl.CellConfig(self.cell, self.features, recurrent_init=name) for name in self.initializations
        ]
        cells = [start.make_cell() for start in starts]
        # Of this generator a program is compiled in three quarters of the time.
        of_params, of_probes = jax.random.split(jax.random.key(shared["seed"], impl="rbg"))
        state = cells[0].initialize_carry(of_params, inputs[0].shape)
        draw = [partial(cell.init, of_params, state, inputs[0]) for cell in cells]
        kernels = Kernels(**jax.lax.switch(shared["initialization"], draw)["params"])
        bias = jnp.asarray(kernels.bias)
        if "forget_bias" in own:
            bias = bias.at[self.features : 2 * self.features].set(own["forget_bias"])

        def step(bias: jax.Array, state: Any, inputs: jax.Array) -> Any:
            # The scale multiplies h instead of the kernel, which so stays one for all scales.
            return cells[0].equations.step(kernels._replace(bias=bias), state, inputs, own["scale"])[0]

        return summary.summarize(
            Recurrence(step, bias, state, inputs), self.probes, self.exponents, of_probes
        )


def figures(rows: list[dict[str, str]]) -> dict[str, "Figure"]:
    """Of the first seed, a panel or line for each setting of the others."""
    several = [name for name in SETTINGS if len({row[name] for row in rows} - {""}) > 1]
    told = ["cell", *(name for name in several if name not in ("cell", "seed", "scale"))]
    panels: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["seed"] == rows[0]["seed"]:
            panels.setdefault("  ".join(row[name] for name in told), []).append(row)
    grids = {name: grid(panel) for name, panel in panels.items()}
    return {"reach": plot_gain_map(grids), "exponents": plot_exponents(grids)}


def grid(rows: list[dict[str, str]]) -> Grid:
    rows = sorted(rows, key=lambda row: float(row["scale"]))
    column = lambda name: np.array([float(row[name]) for row in rows])
    lags = np.arange(1, summary.PARTS + 1) * int(rows[0]["length"]) // summary.PARTS
    gains = np.stack([column(name) for name in summary.GAINS], axis=-1)
    spectrum = [column(name) for name in rows[0] if name.startswith("lyapunov")]
    return Grid(column("scale"), lags, gains * np.log(10), np.stack(spectrum, axis=-1))


def plan(config: Config) -> Sweep:
    if config.exponents > min(config.features):
        raise ValueError(
            f"exponents: got {config.exponents}, expected at most {min(config.features)}, the smallest of features"
        )
    groups = []
    for cell, length, features in itertools.product(config.cells, config.lengths, config.features):
        shared = []
        for number, seed in itertools.product(range(len(config.initializations)), config.seeds):
            labels = {"initialization": config.initializations[number], "seed": seed}
            inputs = np.random.default_rng(seed).standard_normal((length, config.inputs), np.float32)
            shared.append((labels, {"initialization": number, "seed": seed, "inputs": inputs}))
        biases = [{"forget_bias": bias} for bias in config.forget_biases] if cell == "lstm" else [{}]
        own = [{**bias, "scale": scale} for bias in biases for scale in config.scales]
        measure = Measure(cell, features, config.initializations, config.probes, config.exponents)
        settings = {"cell": cell, "length": length, "features": features}
        groups.append(Group(measure, settings, shared, own, bytes_each=50 * length * features))
    return Sweep(groups, SETTINGS, summary.summary_names(config.exponents), figures)


if __name__ == "__main__":
    run_sweep(Config, plan)
