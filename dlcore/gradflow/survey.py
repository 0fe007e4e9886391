"""The gradient flow of one sequence in a handful of numbers, for tables of many configurations."""

import jax
import jax.numpy as jnp

from dlcore.gradflow import jacobians, lyapunov, rates
from dlcore.gradflow.backward import backward
from dlcore.gradflow.lags import covering_lag
from dlcore.gradflow.overflow import first_nonfinite
from dlcore.gradflow.recurrence import Recurrence, direct, number_of_steps, trajectory
from dlcore.gradflow.tangents import flatten

PARTS = 16
NORMS = tuple(f"log10_norm_{part}/{PARTS}" for part in range(1, PARTS + 1))
NAMES = (
    *("lyapunov", "half_life", "slope", "covering_lag", "zero_share", "first_nonfinite", "dead_share"),
    *NORMS,
)


def survey(recurrence: Recurrence, probes: int = 8, key: jax.Array | None = None) -> dict[str, jax.Array]:
    """Measures of a single row, scalars by name.

    - ``lyapunov``: lambda_1, nats a step, and ``half_life``, ln 2 / -lambda_1 steps;
    - ``log10_norm_1/16`` to ``log10_norm_16/16``: log10 |ds_T/ds_{T-lag}|_F at the lags T/16 to T (see
      `jacobians.probed`), ``slope``: how it changes with the lag, in nats a step, and ``zero_share``: of the lags at
      which it is exactly 0;
    - ``covering_lag``: within it are 90 % of a gradient's norms by lag, of a loss that reads the last state in a
      random direction, to the recurrence's parameters; -1 where a state is not finite;
    - ``first_nonfinite``: the first step whose state is not finite, or -1;
    - ``dead_share``: of the state's numbers that are exactly 0 in all of the second half, as units of a ReLU can be.

    Args:
        recurrence: of one row, B = 1. Every step's gradient is formed in the size of its parameters: a bias does.
        probes: random directions for norms. key: of the random directions; None: ``jax.random.key(0)``.

    Raises:
        ValueError: more rows than one.
    """
    states = trajectory(recurrence)
    rows = len(jax.tree.leaves(states)[0][0])
    if rows != 1:
        raise ValueError(f"recurrence: got {rows} rows, expected 1; survey each row by jax.vmap")
    steps, vectors = number_of_steps(recurrence), jax.vmap(flatten)(states)[:, 0]
    of_probes, of_loss = jax.random.split(jax.random.key(0) if key is None else key)
    log_norms = jacobians.probed(recurrence, probes, of_probes)[:, 0]
    exponent = lyapunov.largest(recurrence, key=of_probes)[0]
    towards = jax.random.normal(of_loss, vectors[0].shape, vectors.dtype)
    last = direct(lambda states: flatten(jax.tree.map(lambda leaf: leaf[-1], states))[0] @ towards, states)
    by_lag, overflow = backward(recurrence, states, last).log_gradient[::-1], first_nonfinite(states)[0]
    return {
        "lyapunov": exponent,
        "half_life": rates.half_life(exponent),
        "slope": rates.slope(log_norms),
        "covering_lag": jnp.where(overflow < 0, covering_lag(by_lag), -1),
        "zero_share": jnp.isneginf(log_norms).mean(),
        "first_nonfinite": overflow,
        "dead_share": (vectors[steps // 2 :] == 0).all(axis=0).mean(),
        **{name: log_norms[(part + 1) * steps // PARTS] / jnp.log(10) for part, name in enumerate(NORMS)},
    }
