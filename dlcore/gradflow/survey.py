"""The gradient flow of one sequence in a handful of numbers, for tables of many configurations."""

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow import jacobians, lyapunov, rates, scaled
from dlcore.gradflow.backward import pulled
from dlcore.gradflow.lags import covering_lag
from dlcore.gradflow.overflow import first_nonfinite
from dlcore.gradflow.recurrence import Recurrence, Tree, at, number_of_steps, trajectory
from dlcore.gradflow.scaled import Scaled
from dlcore.gradflow.tangents import flatten, unflatten
from dlcore.ops import sizes

PARTS = 16
GAINS = tuple(f"log10_gain_{part}/{PARTS}" for part in range(1, PARTS + 1))
NAMES = (
    *("lyapunov", "half_life", "slope", "covering_lag", "zero_share", "first_nonfinite", "dead_share"),
    *GAINS,
)


def names(exponents: int = 1) -> tuple[str, ...]:
    """Of what `survey` measures with so many exponents."""
    return (*NAMES, *(f"lyapunov_{place}" for place in range(2, exponents + 1)))


def survey(
    recurrence: Recurrence, probes: int = 8, exponents: int = 1, key: jax.Array | None = None
) -> dict[str, jax.Array]:
    """Measures of a single row, scalars by name.

    - ``lyapunov``: lambda_1, nats a step, and ``half_life``, ln 2 / -lambda_1 steps; ``lyapunov_2`` and so on as many
      as are asked for;
    - ``log10_gain_1/16`` to ``log10_gain_16/16``: log10 |ds_T/ds_{T-lag}|_F / sqrt(n) at the lags T/16 to T, the root
      mean square factor by which a small random change of the state is larger after so many steps (see
      `jacobians.probed`); ``slope``: how it changes with the lag, in nats a step, and ``zero_share``: of the lags at
      which it is exactly 0;
    - ``covering_lag``: within it are 90 % of the norms by lag of the parameters' gradients, of losses that read the
      last state in the probes' directions; -1 where a state is not finite;
    - ``first_nonfinite``: the first step whose state is not finite, or -1;
    - ``dead_share``: of the state's numbers that are exactly 0 in all of the second half, as units of a ReLU can be.

    Args:
        recurrence: of one row, B = 1, without ``lengths``: cut the row to its own. Every step's gradient
            is formed in the size of its parameters: a bias does.
        probes: random directions for norms. exponents: how many of the spectrum; a single one takes no decompositions.
        key: of the random directions; None: ``jax.random.key(0)``.

    Raises:
        ValueError: more rows than one, lengths, probes below 1, or more exponents than the state has numbers.
    """
    if recurrence.lengths is not None:
        raise ValueError("lengths: got some, expected None; cut the row to its own steps")
    states = trajectory(recurrence)
    rows = len(jax.tree.leaves(states)[0][0])
    if rows != 1:
        raise ValueError(f"recurrence: got {rows} rows, expected 1; survey each row by jax.vmap")
    steps, vectors = number_of_steps(recurrence), jax.vmap(flatten)(states)[:, 0]
    log_gains, log_gradients = _back_in_time(recurrence, states, probes, key)
    largest, *others = lyapunov.spectrum(recurrence, exponents, key=key)[0]
    overflow = first_nonfinite(states)[0]
    return {
        "lyapunov": largest,
        "half_life": rates.half_life(largest),
        "slope": rates.slope(log_gains),
        "covering_lag": jnp.where(overflow < 0, covering_lag(log_gradients), -1),
        "zero_share": jnp.isneginf(log_gains).mean(),
        "first_nonfinite": overflow,
        "dead_share": (vectors[steps // 2 :] == 0).all(axis=0).mean(),
        **{name: log_gains[(part + 1) * steps // PARTS] / jnp.log(10) for part, name in enumerate(GAINS)},
        **dict(zip(names(exponents)[len(NAMES) :], others, strict=True)),
    }


def _back_in_time(
    recurrence: Recurrence, states: Tree, probes: int, key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Logarithms by lag: the gain ``[T + 1]``, and the gradients' norm of losses in the probes' directions ``[T]``.

    What `jacobians.probed` and `backward` say, here of the same cotangents: of a further loop over time, compiling
    takes longer than running it for many configurations.
    """
    steps, probes = number_of_steps(recurrence), sizes.integer("probes", probes)
    basis = jacobians.random_basis(recurrence, probes, key)[0].T
    finite = jnp.isfinite(jax.vmap(flatten)(states)).all(axis=(1, 2))

    def body(cotangents: Scaled, number: jax.Array) -> tuple[Scaled, tuple[jax.Array, jax.Array]]:
        shares, (values, exponent) = pulled(recurrence, at(states, number), cotangents, number)
        sound = finite[number] & finite[number + 1]
        back = Scaled(jax.tree.map(lambda leaf: jnp.where(sound, leaf, jnp.nan), values), exponent)
        of_params = jnp.concatenate(list(map(scaled.log_norm, shares)))
        return back, (scaled.joint(scaled.log_norm(back)), scaled.joint(of_params))

    ends = jax.vmap(lambda vector: unflatten(vector[None], at(states, steps)))(basis)
    last = scaled.from_floats(ends, 2)
    _, (of_states, of_params) = lax.scan(body, last, jnp.arange(steps), reverse=True)
    of_states = jnp.concatenate([scaled.joint(scaled.log_norm(last))[None], of_states[::-1]])
    return of_states[:, 0] - jnp.log(len(basis)) / 2, of_params[::-1]
