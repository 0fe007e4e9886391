"""A cell over a whole sequence: the layout, the checks and the mask that all recurrent layers share."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.serialization import to_state_dict
from flax.traverse_util import flatten_dict

from dlcore.layers.fields import check_fields
from dlcore.layers.recurrent.carry import Carry, Lengths, check_carry, make_carry
from dlcore.layers.recurrent.noise import train_option
from dlcore.ops.arrays import check_floats
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lengths import check_lengths, check_mask, compact_steps, spread_steps
from dlcore.ops.recurrence import masked_scan
from dlcore.utils.checks import check_bool

CellStep: TypeAlias = Callable[[Carry, jax.Array, Any], tuple[Carry, Any]]
"""``carry_{t-1}, x_t, t -> carry_t, y_t``."""


class CellLayer(nn.Module):
    """The base class of layers that run cells over sequences, each cell through the method `run_cell`.

    `gradflow.models.find_recurrences` intercepts this method to record the arguments of each cell's run.
    """

    def __post_init__(self) -> None:
        check_fields(self)
        super().__post_init__()

    def run_cell(
        self,
        cell: nn.RNNCellBase,
        inputs: jax.Array,
        lengths: jax.Array | None,
        initial_carry: Carry | None,
        loop: Loop,
        train: bool,
    ) -> tuple[Carry, jax.Array]:
        """Runs a bound cell over inputs ``[*batch, T, F]``. Arguments, result and errors are those of `Recurrent`.

        A cell with a method ``sequence`` runs that method; the step of any other cell is scanned. ``loop`` holds the
        direction and the windows.
        """
        inputs = check_inputs(cell, inputs)
        check_bool("train", train)
        rank = inputs.ndim - cell.num_feature_axes - 1
        batch = inputs.shape[:rank]
        if lengths is not None:
            lengths = check_lengths(lengths, inputs.shape, rank).reshape(math.prod(batch))
        shape = step_shape(cell, inputs.shape)
        if initial_carry is None:
            initial_carry = make_carry(cell, shape)
        else:
            check_carry("initial_carry", initial_carry, cell, shape)

        def flat(array: jax.Array) -> jax.Array:
            return array.reshape(math.prod(batch), *array.shape[rank:])

        sequence = getattr(cell, "sequence", functools.partial(_scan_steps, cell))
        carry, outputs = sequence(jax.tree.map(flat, initial_carry), flat(inputs), lengths, loop, train=train)
        return jax.tree.map(lambda array: array.reshape(*batch, *array.shape[1:]), (carry, outputs))


def over_valid_steps(
    run: Callable[[jax.Array, Lengths], tuple[Carry, jax.Array]],
    cell: nn.RNNCellBase,
    inputs: jax.Array,
    lengths: Lengths,
    mask: jax.Array | None,
) -> tuple[Carry, jax.Array]:
    """``run(inputs, lengths)`` of a layer; with a mask over the valid steps alone, as if there were no others.

    The valid steps of each row move to its front, and their outputs move back. Directions, windows and the measures of
    gradient flow therefore count valid steps, and every cell runs as it does with lengths.

    Args:
        run: the layer's run over padded rows, ``inputs [*batch, T, F], lengths [*batch] -> carry, outputs``.
        cell: a cell of the layer, which says how many dimensions are those of features.
        inputs: ``[*batch, T, F]``.
        lengths: ``[*batch]`` integers, or None.
        mask: ``[*batch, T]`` booleans, True where a step is valid; None if lengths alone say it.

    Returns:
        The carry, and the outputs ``[*batch, T, H]``, which are 0 where a step is not valid.

    Raises:
        ValueError: the mask or the lengths do not fit the inputs.
        TypeError: the mask is not an array of booleans, or the lengths are not one of integers.
    """
    if mask is None:
        return run(inputs, lengths)
    inputs = check_inputs(cell, inputs)
    valid = check_mask(mask, lengths, inputs.shape, inputs.ndim - cell.num_feature_axes - 1)
    carry, outputs = run(*compact_steps(inputs, valid))
    return carry, spread_steps(outputs, valid)


def check_inputs(cell: nn.RNNCellBase, inputs: Any) -> jax.Array:
    """The inputs of a cell over sequences, ``[*batch, T, F]``, as a JAX array.

    Raises:
        ValueError: they have too few dimensions.
        TypeError: they are not an array of real floating point numbers.
    """
    spatial = "*spatial, " if cell.num_feature_axes > 1 else ""
    return check_floats("inputs", inputs, cell.num_feature_axes + 1, f"[*batch, T, {spatial}features]")


def _scan_steps(
    cell: nn.RNNCellBase,
    carry: Carry,
    inputs: jax.Array,
    lengths: jax.Array | None,
    loop: Loop,
    *,
    train: bool,
) -> tuple[Carry, jax.Array]:
    """The step of any cell under the scan of `ops`."""
    first = inputs[:, 0] if inputs.shape[1] else jnp.zeros((len(inputs), *inputs.shape[2:]), inputs.dtype)
    return masked_scan(pure_step(cell, carry, first, train), carry, inputs, lengths, loop)


def pure_step(cell: nn.RNNCellBase, carry: Carry, inputs: jax.Array, train: bool) -> CellStep:
    """A bound cell's step as a pure function ``carry_{t-1}, x_t, t -> carry_t, y_t``, which holds the cell's variables.

    Args:
        cell: the cell.
        carry: a carry; it only initializes the cell if this call initializes the model.
        inputs: the inputs of one step, ``[*batch, F]``, for the same purpose.
        train: True if the cell's dropout and zoneout draw; every step then draws anew.
    """
    options = train_option(cell, train)
    if cell.is_initializing():
        cell(carry, inputs, **options)
    unbound, variables = unbind(cell)
    key = cell.make_rng("dropout") if cell.has_rng("dropout") else None

    def step(carry: Carry, inputs: jax.Array, t: jax.Array | int) -> tuple[Carry, jax.Array]:
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, t)}
        result: Any = unbound.apply(variables, carry, inputs, **options, rngs=rngs)
        return result

    return step


def unbind(cell: nn.RNNCellBase) -> tuple[nn.RNNCellBase, dict[str, Any]]:
    """A copy of a bound cell without a parent, and all variables that it needs: ``copy.apply(variables, ...)``.

    Cells in the attributes of the cell, as in `FeedbackCell`, may have their variables elsewhere: a compact method that
    makes a cell binds it to its own module. The variables here hold them by the attribute's name, as the copy does.
    """
    unbound, _ = cell.unbind()
    return unbound, _variables_of(cell)


def _variables_of(module: nn.Module) -> dict[str, Any]:
    variables = dict(module.variables)
    attributes = {
        field.name: getattr(module, field.name) for field in dataclasses.fields(module) if field.init
    }
    del attributes["parent"]
    for path, part in flatten_dict(to_state_dict(attributes)).items():
        if isinstance(part, nn.Module) and part.scope is not None:
            for collection, of_part in _variables_of(part).items():
                variables[collection] = {**variables.get(collection, {}), "_".join(path): of_part}
    return variables


def step_shape(cell: nn.RNNCellBase, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape ``[*batch, *features]`` of one step of inputs whose shape is ``[*batch, T, *features]``."""
    time = len(input_shape) - cell.num_feature_axes - 1
    return (*input_shape[:time], *input_shape[time + 1 :])
