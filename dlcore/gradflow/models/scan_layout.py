"""Which arrays of a scan are its state, which its parameters, and along which axis its rows stand."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.models.program import PARAMS
from dlcore.gradflow.models.row_axis import row_axis, rows_are_apart
from dlcore.gradflow.models.scan_body import ScanBody, is_float


class ScanLayout(NamedTuple):
    """Where state and parameters stand among the arguments and the results of a step.

    Attributes:
        body: the step.
        state: places of the state's arrays in the carry.
        extra: places of the outputs that belong to the state, among the outputs.
        weights: places of the parameters, among the constants.
        axis: the axis of the rows in all arrays of the state; None: the whole state is one row.
    """

    body: ScanBody
    state: list[int]
    extra: list[int]
    weights: list[int]
    axis: int | None

    def to_rows(self, array: jax.Array) -> jax.Array:
        """An array of the program as one of a state, ``[B, ...]``."""
        return as_real(array[None] if self.axis is None else jnp.moveaxis(array, self.axis, 0))

    def from_rows(self, rows: jax.Array, variable: Any) -> jax.Array:
        """An array of a state as the value of a variable of the program."""
        array = as_dtype(rows, variable.aval.dtype)
        return array[0] if self.axis is None else jnp.moveaxis(array, 0, self.axis)

    def state_of(self, results: Sequence[Any]) -> list[jax.Array]:
        """The state after a step with these results."""
        places = [*self.state, *(self.body.num_carry + place for place in self.extra)]
        return [self.to_rows(results[place]) for place in places]

    def carry_of(self, state: Sequence[jax.Array], others: Sequence[Any]) -> list[Any]:
        """The carry of a state; ``others`` are the arrays of the carry that do not belong to it."""
        rows, rest = iter(state), iter(others)
        return [
            self.from_rows(next(rows), variable) if place in self.state else next(rest)
            for place, variable in enumerate(self.body.carry_before)
        ]

    def others_of(self, carry: Sequence[Any]) -> list[Any]:
        """The arrays of a carry that do not belong to the state."""
        return [array for place, array in enumerate(carry) if place not in self.state]


def scan_layout(
    body: ScanBody, origins: Sequence[frozenset[str]], read_outputs: Callable[[], set[int]]
) -> ScanLayout:
    """Finds the layout of a scan.

    A parameter is a constant by which a new state has a derivative and that depends on the program's parameters. If it
    depends on something else, too, and each row reads a row of its own, it is data, as the memory of a decoder is.

    Args:
        body: the step.
        origins: for each constant, what it depends on, see `Scan`.
        read_outputs: returns the places of the outputs that the loss reads, among the outputs.
    """
    state = [place for place, variable in enumerate(body.carry_before) if is_float(variable)]
    before = [body.num_consts + place for place in state]
    sources = body.sources([body.carry_after[place] for place in state])
    axis = row_axis(body, before, state)

    def is_weight(place: int) -> bool:
        if body.program.invars[place] not in sources or PARAMS - origins[place]:
            return False
        return origins[place] == PARAMS or not _has_rows(body, place, state, axis)

    weights = [place for place in range(body.num_consts) if is_weight(place)]
    variables = {body.program.invars[place] for place in weights}
    extra = [
        place
        for place, output in enumerate(body.outputs)
        if variables & body.sources([output], cut=body.computed)
    ]
    if extra:
        extra = sorted(read_outputs().intersection(extra))
        axis = row_axis(body, before, [*state, *(body.num_carry + place for place in extra)])
    return ScanLayout(body, state, extra, weights, axis)


def _has_rows(body: ScanBody, place: int, state: Sequence[int], axis: int | None) -> bool:
    """True if each row of the state reads a row of its own of an argument."""
    if axis is None:
        return False
    rows, shape = body.shapes[1][state[0]][axis], body.shapes[0][place]
    return rows > 1 and any(
        size == rows and rows_are_apart(body, [place], where, state, axis) for where, size in enumerate(shape)
    )


def as_real(array: jax.Array) -> jax.Array:
    """Complex numbers as pairs of real ones; all other arrays as they are."""
    return jnp.stack([array.real, array.imag], axis=-1) if jnp.iscomplexobj(array) else array


def as_dtype(array: jax.Array, dtype: Any) -> jax.Array:
    """Undoes `as_real` for an array of this dtype."""
    return lax.complex(array[..., 0], array[..., 1]) if jnp.issubdtype(dtype, jnp.complexfloating) else array
