"""What the gates of a cell do along a trajectory, unit by unit and step by step.

They show which units keep their memory and which let it go; they do not say for how long a gradient lasts. A half-life
from gates alone, ``ln 2 / -mean log f``, is wrong: the derivative through time goes along the recurrent kernel too,
over what each gate sees of h. An LSTM of 16 units with forget bias 0 and thrice the orthogonal recurrent kernel, on
random inputs, has 0.8 steps by the mean of all its forget gates and 1.4 by its slowest unit's, where in truth they are
6.4 (``pytest tests/gradflow/test_gates.py -k half_life``). `lyapunov.largest` measures the true one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.gradflow.measures.recurrence import Tree
from dlcore.gradflow.measures.wide_range import rows_like

KEEPING = ("forget", "update")
"""The gates that multiply the old state: f of an LSTM, z of the lecture's GRU, ``h = z * h + (1 - z) * g``."""


class Gate(NamedTuple):
    """One gate over time, each ``[T, H]``: over the rows whose own step it is, and over pixels; NaN without any.

    Attributes:
        mean: of its values, 0 to 1.
        open: the share of values above .95. closed: the share below .05. In both the gate is saturated, and learns
            slowly.
        mean_log: of the natural logarithm of its values: of a keeping gate, the rate at which the state would decay
            if nothing else fed it back. -inf where a value is 0 in its dtype.
    """

    mean: jax.Array
    open: jax.Array
    closed: jax.Array
    mean_log: jax.Array


def gate_statistics(
    cell: nn.RNNCellBase, params: Tree, states: Tree, inputs: jax.Array, lengths: jax.Array | None = None
) -> dict[str, Gate]:
    """Each gate's statistics by its name: of an LSTM ``input, forget, output``, of a GRU ``update, reset``.

    Args:
        cell: one of dlcore's with gates. params: its own.
        states: ``[T + 1, B, ...]`` of `trajectory`.
        inputs: ``[T, B, F]``, as those of a `Recurrence`.
        lengths: ``[B]``, how many of the steps are a row's own; None: all.

    Raises:
        ValueError: the cell has no gates.

    >>> import dlcore as dl
    >>> cell, inputs = dl.LSTMCell(features=3, forget_bias=0.0), jnp.zeros((2, 1, 4))
    >>> carry = cell.initialize_carry(jax.random.key(0), (1, 4))
    >>> params = cell.init(jax.random.key(0), carry, inputs[0])["params"]
    >>> states = jax.tree.map(lambda leaf: jnp.zeros((3, *leaf.shape)), carry)
    >>> statistics(cell, params, states, inputs)["forget"].mean.tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    before = jax.tree.map(lambda leaf: leaf[:-1], states)
    values: Any = {}
    if hasattr(cell, "gate_values"):
        values = cell.apply({"params": params}, before, inputs, method="gate_values")
    if not values:
        raise ValueError(
            f"cell: got {type(cell).__name__}, expected a cell of dlcore with gates, such as LSTMCell"
        )
    steps, batch = jax.tree.leaves(inputs)[0].shape[:2]
    own = jnp.ones((steps, batch), bool) if lengths is None else jnp.arange(steps)[:, None] < lengths
    return {name: _gate(gate, own) for name, gate in values.items()}


def keeping_gate(gates: dict[str, Gate]) -> Gate:
    """The one that multiplies the old state: an LSTM's forget gate, a GRU's update gate."""
    return next(gates[name] for name in KEEPING if name in gates)


def _gate(values: jax.Array, own: jax.Array) -> Gate:
    def mean(array: Any) -> jax.Array:
        array = jnp.where(rows_like(own, values), array, 0)
        pixels = array.mean(axis=tuple(range(2, array.ndim - 1)))
        return pixels.sum(axis=1) / own.sum(axis=1)[:, None]  # 0 / 0 where no row is left

    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return Gate(mean(values), mean(values > 0.95), mean(values < 0.05), mean(jnp.log(values)))
