"""Statistics of a cell's gates along a trajectory, unit by unit and step by step.

They show which units keep their memory and which let it go, but not for how long a gradient lasts. A half-life from
gates alone, ``ln 2 / -mean log f``, is wrong: the derivative through time also passes the recurrent kernel, because
each gate sees h. Take an LSTM of 16 units with forget bias 0 and three times the orthogonal recurrent kernel, on random
inputs: the mean of all its forget gates gives 0.8 steps and its slowest unit 1.4, but the true half-life
``ln 2 / -exponent_1`` is 6.4 steps (``launch/test --slow tests/gradflow/measures/test_gates.py -k half_life``).
`lyapunov.largest_exponent` measures exponent_1, and `log_products` the gain after few steps.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import FlaxError

from dlcore.gradflow.measures.recurrence import Tree
from dlcore.ops.arrays import at_least_float32, check_array, check_floats, expand_to_rank
from dlcore.ops.lengths import check_lengths, valid_steps
from dlcore.utils.checks import check_instance

KEEPING = ("forget", "update")
"""The gates that multiply the old state: f of an LSTM, z of the lecture's GRU, ``h = z * h + (1 - z) * g``."""


class Gate(NamedTuple):
    """Statistics of one gate, each an array ``[T, H]``: a number for each step and each unit or channel.

    Each number is taken over the rows that are valid at this step and, in a convolutional cell, over all pixels. It is
    NaN if no row is valid. A gate that is mostly open or mostly closed is saturated and learns slowly.

    Attributes:
        mean: mean value, 0 to 1.
        open: share of values above .95.
        closed: share of values below .05.
        mean_log: mean of the natural logarithm of the values; for a keeping gate, the rate at which the state would
            decay if nothing else fed it back. -inf if a value is exactly 0.
    """

    mean: jax.Array
    open: jax.Array
    closed: jax.Array
    mean_log: jax.Array


def gate_statistics(
    cell: nn.RNNCellBase, params: Tree, states: Tree, inputs: jax.Array, lengths: jax.Array | None = None
) -> dict[str, Gate]:
    """Computes each gate's statistics: ``input, forget, output`` of an LSTM, ``update, reset`` of a GRU.

    Args:
        cell: a cell of dlcore with gates.
        params: the cell's parameters, without the level ``"params"``.
        states: the cell's carry at all steps, arrays ``[T + 1, B, ...]`` from `trajectory`.
        inputs: ``[T, B, F]``, as in a `Recurrence`; ``[T, B, ..., F]`` for a convolutional cell.
        lengths: integers ``[B]``, the number of valid steps of each row; None: all steps are valid.

    Returns:
        A dict: a `Gate` by each gate's name.

    Raises:
        ValueError: the cell has no gates, the params or states are those of another cell, inputs have fewer axes than
            time and rows, the states have not T + 1 entries, or lengths do not fit.
        TypeError: the cell is no flax cell, params no dict, inputs are not an array of floating point numbers, or
            lengths are not integers.

    >>> import functools
    >>> import dlcore as dl
    >>> cell, inputs = dl.LSTMCell(features=3, forget_bias=0.0), jnp.zeros((2, 1, 4))
    >>> carry = cell.initialize_carry(jax.random.key(0), (1, 4))
    >>> params = jax.jit(cell.init)(jax.random.key(0), carry, inputs[0])["params"]
    >>> states = jax.tree.map(lambda leaf: jnp.zeros((3, *leaf.shape)), carry)
    >>> measure = jax.jit(functools.partial(gate_statistics, cell))
    >>> measure(params, states, inputs)["forget"].mean.tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    check_instance("cell", cell, nn.RNNCellBase, "a cell of dlcore such as dl.LSTMCell(features=64)")
    if not getattr(cell, "gate_names", ()):
        raise ValueError(
            f"cell: got {type(cell).__name__}, expected a cell of dlcore with gates, such as LSTMCell"
        )
    inputs = check_floats("inputs", inputs, 2, "[T, B, ..., F]")
    steps, batch = inputs.shape[:2]
    check_instance("params", params, Mapping, "the cell's parameters, without the level params")
    carry = jax.eval_shape(lambda: cell.initialize_carry(jax.random.key(0), inputs.shape[1:]))
    structures = [str(jax.tree.structure(tree)) for tree in (states, carry)]
    if structures[0] != structures[1]:
        raise ValueError(f"states: got {structures[0]}, expected the cell's carry, {structures[1]}")
    for leaf in jax.tree.leaves(states):
        check_array("states", leaf, 2, "[T + 1, B, ...]")
        if leaf.shape[:2] != (steps + 1, batch):
            raise ValueError(
                f"states: got shape {leaf.shape}, expected [T + 1, B, ...] = {(steps + 1, batch)} first"
            )
    valid = jnp.ones((steps, batch), bool)
    if lengths is not None:
        valid = valid_steps(check_lengths(lengths, (batch, steps)), steps).T
    before = jax.tree.map(lambda leaf: leaf[:-1], states)
    try:
        values: Any = cell.apply({"params": params}, before, inputs, method="gate_values")
    except FlaxError as error:
        raise ValueError(f"params: got those of another cell than {cell}, {error}") from error
    return {name: _statistics(gate, valid) for name, gate in values.items()}


def keeping_gate(gates: dict[str, Gate]) -> Gate:
    """Returns the statistics of the gate that multiplies the old state: an LSTM's forget gate, a GRU's update gate.

    Args:
        gates: statistics by the gate's name, from `gate_statistics`.

    Raises:
        ValueError: there is neither a gate ``"forget"`` nor ``"update"``.
    """
    for name in KEEPING:
        if name in gates:
            return gates[name]
    raise ValueError(f"gates: got {', '.join(gates) or 'none'}, expected one of {', '.join(KEEPING)}")


def _statistics(values: jax.Array, valid: jax.Array) -> Gate:
    """Computes the statistics of values ``[T, B, ..., H]`` over the valid rows ``[T, B]``."""

    def mean(array: Any) -> jax.Array:
        array = jnp.where(expand_to_rank(valid, values.ndim), array, 0)
        of_rows = array.mean(axis=tuple(range(2, array.ndim - 1)))  # over pixels
        return of_rows.sum(axis=1) / valid.sum(axis=1)[:, None]  # 0 / 0 if no row is valid

    values = at_least_float32(values)
    return Gate(mean(values), mean(values > 0.95), mean(values < 0.05), mean(jnp.log(values)))
