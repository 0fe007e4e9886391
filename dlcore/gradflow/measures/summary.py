"""The gradient flow of one sequence in a handful of numbers, for tables of many configurations."""

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import jacobians, wide_range
from dlcore.gradflow.measures.backward import pull_back
from dlcore.gradflow.measures.lags import covering_lag
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, at_step, step_count, trajectory
from dlcore.gradflow.measures.tangents import flatten_state, unflatten_state
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.utils.checks import check_integer

PARTS = 16
GAINS = tuple(f"log10_gain_{part}/{PARTS}" for part in range(1, PARTS + 1))
NAMES = (
    *("lyapunov", "half_life", "slope", "covering_lag", "zero_share", "first_nonfinite", "dead_share"),
    *GAINS,
)


def summary_names(exponents: int = 1) -> tuple[str, ...]:
    """Of what `survey` measures with so many exponents."""
    return (*NAMES, *(f"lyapunov_{place}" for place in range(2, exponents + 1)))


def summarize(
    recurrence: Recurrence, probes: int = 8, exponents: int = 1, key: jax.Array | None = None
) -> dict[str, jax.Array]:
    """Measures of a single row, scalars by name.

    - ``lyapunov``: lambda_1, nats a step, and ``half_life``, ln 2 / -lambda_1 steps; ``lyapunov_2`` and so on as many
      as are asked for;
    - ``log10_gain_1/16`` to ``log10_gain_16/16``: log10 |ds_T/ds_{T-lag}|_F / sqrt(n) at the lags T/16 to T, the root
      mean square factor by which a small random change of the state is larger after so many steps (see
      `jacobians.log_products_by_probes`); ``slope``: how it changes with the lag, in nats a step,
      and ``zero_share``: of the lags at which it is exactly 0;
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
    steps, vectors = step_count(recurrence), jax.vmap(flatten_state)(states)[:, 0]
    log_gains, log_gradients = _back_in_time(recurrence, states, probes, key)
    largest, *others = lyapunov_spectrum(recurrence, exponents, key=key)[0]
    overflow = first_nonfinite(states)[0]
    return {
        "lyapunov": largest,
        "half_life": half_life(largest),
        "slope": slope(log_gains),
        "covering_lag": jnp.where(overflow < 0, covering_lag(log_gradients), -1),
        "zero_share": jnp.isneginf(log_gains).mean(),
        "first_nonfinite": overflow,
        "dead_share": (vectors[steps // 2 :] == 0).all(axis=0).mean(),
        **{name: log_gains[(part + 1) * steps // PARTS] / jnp.log(10) for part, name in enumerate(GAINS)},
        **dict(zip(summary_names(exponents)[len(NAMES) :], others, strict=True)),
    }


def _back_in_time(
    recurrence: Recurrence, states: Tree, probes: int, key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Logarithms by lag: the gain ``[T + 1]``, and the gradients' norm of losses in the probes' directions ``[T]``.

    What `jacobians.log_products_by_probes` and `backward` say, here of the same cotangents: of a further loop over
    time, compiling takes longer than running it for many configurations.
    """
    steps, probes = step_count(recurrence), check_integer("probes", probes)
    basis = jacobians.random_basis(recurrence, probes, key)[0].T
    finite = jnp.isfinite(jax.vmap(flatten_state)(states)).all(axis=(1, 2))

    def body(cotangents: WideRange, number: jax.Array) -> tuple[WideRange, tuple[jax.Array, jax.Array]]:
        shares, (values, exponent) = pull_back(recurrence, at_step(states, number), cotangents, number)
        sound = finite[number] & finite[number + 1]
        back = WideRange(jax.tree.map(lambda leaf: jnp.where(sound, leaf, jnp.nan), values), exponent)
        of_params = jnp.concatenate(list(map(wide_range.log_norm, shares)))
        return back, (
            wide_range.joint_log_norm(wide_range.log_norm(back)),
            wide_range.joint_log_norm(of_params),
        )

    ends = jax.vmap(lambda vector: unflatten_state(vector[None], at_step(states, steps)))(basis)
    last = wide_range.from_floats(ends, 2)
    _, (of_states, of_params) = lax.scan(body, last, jnp.arange(steps), reverse=True)
    of_states = jnp.concatenate([wide_range.joint_log_norm(wide_range.log_norm(last))[None], of_states[::-1]])
    return of_states[:, 0] - jnp.log(len(basis)) / 2, of_params[::-1]


def first_nonfinite(states: Tree) -> jax.Array:
    """The first t whose state ``s_t`` holds an infinity or a NaN, of each row; -1 where none does.

    A ReLU network overflows without an error; what is measured of gradients behind that step is NaN, not a number
    that looks like one.

    Args:
        states: arrays ``[T + 1, B, ...]`` as `trajectory` gives them, ``s_0`` first.

    Returns:
        ``[B]`` integers.

    >>> first_nonfinite((jnp.array([[1.0, 1.0], [jnp.inf, 2.0], [jnp.nan, 3.0]]),)).tolist()
    [1, -1]
    """
    broken = ~jax.vmap(lambda state: jnp.isfinite(flatten_state(state)).all(axis=-1))(states)
    return jnp.where(broken.any(axis=0), jnp.argmax(broken, axis=0), -1)


def slope(log_norms: jax.Array, first: int = 0) -> jax.Array:
    """The change of log norms a lag, in nats: the least-squares line through the finite ones.

    Of products of Jacobians over many lags it tends to the largest Lyapunov exponent.

    Args:
        log_norms: ``[lags, ...]``. first: the lag at which the line begins, behind a transient.

    Returns:
        ``[...]``; NaN where fewer than two are finite.

    >>> slope(jnp.array([0.0, -0.5, -1.0, -jnp.inf, jnp.nan])).tolist()
    -0.5
    """
    log_norms = log_norms[first:]
    finite = jnp.isfinite(log_norms)
    count = finite.sum(axis=0)
    lags = jnp.arange(len(log_norms), dtype=log_norms.dtype).reshape(-1, *[1] * (log_norms.ndim - 1))
    values = jnp.where(finite, log_norms, 0)
    centered = jnp.where(finite, lags - (finite * lags).sum(axis=0) / jnp.maximum(count, 1), 0)
    spread = (centered * centered).sum(axis=0)
    line = (centered * values).sum(axis=0) / jnp.where(spread > 0, spread, 1)
    return jnp.where(count > 1, line, jnp.nan)


def half_life(rate: jax.Array | float) -> jax.Array:
    """Steps after which half of a gradient is left, ``ln 2 / -rate``; inf where it does not decay.

    Args:
        rate: nats a step, a `slope` or a largest Lyapunov exponent.

    >>> half_life(jnp.array([-0.6931472, -jnp.inf, 0.0, 0.3])).tolist()
    [1.0, 0.0, inf, inf]
    """
    rate = jnp.asarray(rate)
    decays = jnp.where(rate < 0, rate, -1)
    return jnp.where(rate >= 0, jnp.inf, jnp.where(jnp.isnan(rate), jnp.nan, jnp.log(2.0) / -decays))
