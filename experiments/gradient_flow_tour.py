"""The lecture's gradient flow on one page: dlcore measures every number in the networks that the lecture names.

    launch/local experiments.gradient_flow_tour                      # draws runs/gradient_flow_tour/tour.png
    launch/local experiments.gradient_flow_tour --figure=page.pdf    # draws another file in another format

Each example draws one panel and returns its results. Networks are at their initialization and driven by white noise
(synthetic). ``PAGE_cliff``, beside the page, shows a loss with a cliff, and descents over it with and without clipping
(Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063).
Source: the lecture's RNN part. Widths, lengths, seeds and a threshold that its text does not give are chosen here.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dlcore as dl
from dlcore.cli.errors import fail
from dlcore.cli.parsing import parse_flags
from dlcore.gradflow.measures import cliff, jacobians, normality
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.lags import log_gradients
from dlcore.gradflow.measures.lyapunov import largest_exponent
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from dlcore.gradflow.measures.summary import half_life
from dlcore.gradflow.report.drawing import PALETTE, color_map, draw_line, finish_axes, to_log10
from dlcore.gradflow.report.training_figures import plot_cliff
from dlcore.ops.clipping import clip

FIGURE = flags.DEFINE_string(
    "figure", "runs/gradient_flow_tour/tour.png", "The file that the page is drawn to."
)
KEY = jax.random.key(0)


def toy(panel: Axes) -> dict[str, Any]:
    """The toy example with three weights: outputs and derivatives."""

    @jax.jit
    def measure(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        recurrence = toy_recurrence(w)
        return trajectory(recurrence)[-1, 0], jacobians.log_products(recurrence)[:, 0]

    results = {}
    for w, color in zip((1.01, 0.99, 0.01), PALETTE, strict=False):
        output, log_norms = measure(jnp.asarray(w))
        values = to_log10(log_norms)
        label = f"w = {w}: y = {output:.6g}, log10 {values[999]:.4f}"
        draw_line(panel, np.arange(1001), values, color, label)
        results[str(w)] = [float(output), float(values[999])]
    panel.set(xlabel="lag in steps", ylabel="log10 |dh_1000 / dh_{1000 - lag}|")
    panel.set_yscale("symlog", linthresh=5)
    return {"toy": results}


def toy_recurrence(w: jax.Array) -> Recurrence:
    inputs = jnp.zeros((1000, 1)).at[0].set(1.0)
    return Recurrence(lambda w, h, x: w * h + x, w, jnp.zeros(1), inputs)


def sum_over_time(panel: Axes) -> dict[str, Any]:
    """The share of each step in the gradient, and their sum beside `jax.grad`."""
    cell, loss = dl.RNNCell(16), lambda states: (states[-1] ** 2).sum()

    @jax.jit
    def measure(params: Any) -> tuple[Any, ...]:
        through = lambda params: trajectory(driven(cell, params, 40))
        back = backward(driven(cell, params, 40), through(params), state_cotangents(loss, through(params)))
        gradient = jax.grad(lambda params: loss(through(params)))(params)
        error = optax.tree.norm(jax.tree.map(jnp.subtract, back.gradient, gradient))
        return back.log_gradient, optax.tree.norm(gradient), error

    log_shares, norm, error = measure(scale_kernel(parameters(cell), 0.5))
    draw_line(panel, np.arange(1, 41), to_log10(log_shares), PALETTE[0], "share of step k")
    panel.axhline(np.log10(norm), color="black", linestyle="--", label=f"their sum: |dL/dW| = {norm:.3g}")
    panel.set(xlabel="step k", ylabel="log10 of the norm")
    return {"gradient": norm, "sum_error": error, "shares": np.exp(log_shares)[[0, 19, 39]]}


def double_sum(panel: Axes) -> dict[str, Any]:
    """The terms of the double sum as a triangle."""
    cell, loss = dl.RNNCell(16), lambda states: (states[1:] ** 2).sum()

    @jax.jit
    def measure(params: Any) -> jax.Array:
        states = trajectory(driven(cell, params, 40))
        return log_gradients(driven(cell, params, 40), states, state_cotangents(loss, states))

    terms, steps = to_log10(measure(scale_kernel(parameters(cell), 0.5))), np.arange(1, 41)
    mesh = color_map(panel, steps, steps, terms[1:, 1:], where=steps <= steps[:, None])
    panel.figure.colorbar(mesh, ax=panel, label="log10 |G[t, k]|")
    panel.set(xlabel="k: the step that uses W", ylabel="t: the step of the loss", aspect="equal")
    panel.yaxis.set_inverted(True)
    return {"terms": [terms[40, 40], terms[40, 20]]}


def products(panel: Axes) -> dict[str, Any]:
    """Products of Jacobians with three scales of the recurrent kernel, and their bounds."""
    results = {}
    for scale, color in zip((0.5, 1.0, 2.0), PALETTE, strict=False):
        params = scale_kernel(parameters(dl.RNNCell(32)), scale)
        log_norms, exponent = flow(dl.RNNCell(32), params)
        bound = float(normality.log_bound(params["recurrent_kernel"]))
        label = f"{scale:g} W_hh: {exponent:+.3f} nats a step"
        draw_line(panel, np.arange(201), to_log10(log_norms), color, label)
        panel.plot([0, 60], [0, 60 * bound / np.log(10)], ":", color=color)
        results[f"{scale:g}"] = [exponent, bound]
    panel.set(xlabel="lag in steps", ylabel="log10 of the norm")
    return {"products": results}


def clipping(panel: Axes) -> dict[str, Any]:
    """Gradient descent on the toy example: one step without clipping, and 200 with it."""
    gradient = jax.jit(jax.grad(lambda w: (w**999 - 1) ** 2 / 2))
    thrown = 1.01 - 1e-7 * float(gradient(1.01))
    path = [1.01]
    for _ in range(200):
        path.append(path[-1] - 1e-7 * float(clip(gradient(path[-1]), 1000)))
    draw_line(panel, np.arange(201), np.array(path), PALETTE[1], "g <- 1000 g / |g| where |g| > 1000")
    panel.plot([], [], color=PALETTE[0], label=f"without clipping: w = {thrown:.4g} after one step")
    panel.set(xlabel="update", ylabel="w")
    return {"first_gradient": gradient(1.01), "thrown": thrown, "clipped": path[-1]}


def identity(panel: Axes) -> dict[str, Any]:
    """The plain RNN, the identity-RNN and residual cells."""
    cells = {
        "RNN, tanh": dl.RNNCell(32),
        "identity-RNN": dl.IdentityRNNCell(32),
        "h + f(x)": dl.ResidualRNNCell(32),
        "h + f(x, h)": dl.ResidualRNNCell(32, feedback=True),
    }
    return {"identity": decays(panel, {name: (cell, parameters(cell)) for name, cell in cells.items()})}


def forgetting(panel: Axes) -> dict[str, Any]:
    """The plain RNN, and LSTMs with four forget biases."""
    rnn, lstm = dl.RNNCell(32), dl.LSTMCell(32)
    params = parameters(lstm)
    systems: dict[str, tuple[Any, Any]] = {"RNN": (rnn, parameters(rnn))}
    for bias in (0, 1, 2, 3):
        changed = params["bias"].at[32:64].set(bias)
        systems[f"LSTM, forget bias {bias}"] = lstm, {**params, "bias": changed}
    return {"lstm": decays(panel, systems)}


def gated(panel: Axes) -> dict[str, Any]:
    """A GRU with two update biases, and an LSTM."""
    gru, lstm = dl.GRUCell(32), dl.LSTMCell(32)
    params = parameters(gru)
    opened = {**params, "bias": params["bias"].at[:32].set(2)}
    systems = {"GRU": (gru, params), "LSTM": (lstm, parameters(lstm)), "GRU, z bias 2": (gru, opened)}
    return {"gru": decays(panel, systems)}


def cost(panel: Axes) -> dict[str, Any]:
    """A table of parameters and milliseconds."""
    inputs = jax.random.normal(KEY, (32, 100, 64))
    lines, results = [f"{'cell':6}{'parameters':>12}{'ms':>8}"], {}
    for name in ("rnn", "gru", "lstm"):
        layer = dl.Recurrent(dl.CELLS[name](128))
        params = jax.jit(layer.init)(KEY, inputs)
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        gradient = jax.jit(jax.grad(lambda params, layer=layer: (layer.apply(params, inputs)[1] ** 2).sum()))
        milliseconds = 1000 * min(seconds(partial(gradient, params)) for _ in range(10))
        lines.append(f"{name:6}{count:>12,}{milliseconds:>8.1f}")
        results[name] = {"parameters": count, "milliseconds": round(milliseconds, 2)}
    panel.text(0, 0.9, "\n".join(lines), va="top", family="monospace", fontsize=12, linespacing=1.6)
    panel.set_axis_off()
    return {"cost": results}


EXAMPLES = (
    (toy, "The toy example", "h_t = w h_{t-1} + x_t, x_0 = 1: y_1000 = w^999"),
    (sum_over_time, "Backpropagation through time", "dL/dW is the sum of what every step's use of W gives"),
    (double_sum, "The double sum", "log10 |G[t, k]|: the loss of step t, the W of step k"),
    (products, "Repeated products", "|J_T ... J_{T-lag+1}|, and its bound |W_hh|^lag (dotted)"),
    (clipping, "Clipping", "(y_1000 - 1)^2 / 2 of the toy example, from w = 1.01"),
    (identity, "Identity-RNN and residual", "Their gradient does not decay"),
    (forgetting, "LSTM against RNN", "The more open the forget gate, the longer the memory"),
    (gated, "GRU against LSTM", "At their initialization, and with a more open z"),
    (cost, "What they cost", "32 x 100 x 64 inputs to 128 units, forward and back"),
)


@partial(jax.jit, static_argnums=0)
def parameters(cell: Any) -> Any:
    """The initial parameters of a cell with 8 inputs."""
    return cell.init(KEY, cell.initialize_carry(KEY, (1, 8)), jnp.zeros((1, 8)))["params"]


def scale_kernel(params: Any, scale: float) -> Any:
    return {**params, "recurrent_kernel": scale * params["recurrent_kernel"]}


def driven(cell: Any, params: Any, steps: int = 200) -> Recurrence:
    """A cell that reads white noise."""
    inputs, state = jax.random.normal(KEY, (steps, 1, 8)), cell.initialize_carry(KEY, (1, 8))
    step = lambda params, state, x: cell.apply({"params": params}, state, x)[0]
    return Recurrence(step, params, state, inputs)


@partial(jax.jit, static_argnums=0)
def flow(cell: Any, params: Any) -> tuple[jax.Array, jax.Array]:
    """log |ds_T/ds_{T-lag}| for all lags, and the largest Lyapunov exponent."""
    recurrence = driven(cell, params)
    return jacobians.log_products(recurrence)[:, 0], largest_exponent(recurrence)[0]


def decays(panel: Axes, systems: dict[str, tuple[Any, Any]]) -> dict[str, float]:
    """Draws a line for each cell with its parameters; returns their largest Lyapunov exponents."""
    results = {}
    for (name, system), color in zip(systems.items(), PALETTE, strict=False):
        log_norms, exponent = flow(*system)
        decay = f"half-life {half_life(exponent):.3g}" if exponent < 0 else "no decay"
        draw_line(panel, np.arange(len(log_norms)), to_log10(log_norms), color, f"{name}: {decay}")
        results[name] = float(exponent)
    panel.set(xlabel="lag in steps", ylabel="log10 |ds_T / ds_{T - lag}|")
    return results


def seconds(function: Any) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began


def descents() -> tuple[Figure, dict[str, Any]]:
    """Descents over the cliff of a net with one unit, in float64."""
    with jax.enable_x64(True):
        weights, biases = jnp.linspace(2, 10, 200), jnp.linspace(-5, -1, 200)
        surface = jax.jit(cliff.surface)(weights, biases)
        descend = jax.jit(partial(cliff.descend, learning_rate=0.5, updates=200), static_argnames="clip_norm")
        start, norms = jnp.array([5.5, -2.6]), {"without clipping": None, "clipped to 1": 1.0}
        paths = {name: descend(start, clip_norm=norm) for name, norm in norms.items()}
    points = {name: path.points for name, path in paths.items()}
    figure = plot_cliff(weights, biases, surface.loss, surface.log_gradient_norm, points)
    return figure, {"descents": {name: path.loss[-1] for name, path in paths.items()}}


def draw_page() -> tuple[Figure, dict[str, Any]]:
    """The page with a panel for each example, and the results of all examples."""
    figure = Figure((16, 13), dpi=100, layout="constrained")
    results: dict[str, Any] = {}
    panels = figure.subplots(3, 3).flat
    for (place, (example, heading, meaning)), panel in zip(enumerate(EXAMPLES, 1), panels, strict=True):
        panel.set_title(f"{place}. {heading}\n{meaning}", loc="left", fontsize=10)
        results |= example(panel)
        finish_axes(panel)
    return figure, results


def main(_: list[str]) -> None:
    path = Path(FIGURE.value)
    (page, results), (over_cliff, losses) = draw_page(), descents()
    for figure, place in ((page, path), (over_cliff, path.with_name(f"{path.stem}_cliff{path.suffix}"))):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(place, format=place.suffix[1:])
        except (OSError, ValueError) as error:
            fail(
                f"--figure: got {str(path)!r} ({error}), expected a file in a folder, with a suffix like .png"
            )
        print(f"figure: {place}", file=sys.stderr)
    results = {"figure": str(path), **results, **losses}
    print("result:", json.dumps(results, default=lambda array: np.asarray(array).tolist()))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
