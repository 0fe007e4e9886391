"""Writes a scan of any program as a `Recurrence`, and the program's loss as a function of the scan's states.

The state holds the floating point arrays of the carry. Its other arrays, such as a counter or a random key, have no
derivative; their values are computed before and given to each step. An output that depends on the parameters on another
way than through the new state, as ``y = new`` beside the carry ``where(valid, new, old)`` does, is a part of the state.
Otherwise the parameters would have a gradient that no state shows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures.recurrence import Recurrence, Tree, at_step
from dlcore.gradflow.models.program_scans import Scan
from dlcore.gradflow.models.scan_body import scan_body, sources
from dlcore.gradflow.models.scan_layout import as_dtype, as_real, scan_layout


def scan_recurrence(
    scan: Scan, names: Mapping[int, str], loss_with: Callable[[Sequence[Any]], jax.Array]
) -> tuple[Recurrence, Callable[[Tree], jax.Array]]:
    """Writes a scan as a recurrence.

    Args:
        scan: the scan.
        names: the paths of parameters by the ``id`` of their arrays.
        loss_with: the loss as a function of the scan's results, its last carry and its outputs.

    Returns:
        A pair: the recurrence and the loss as a function of its states. Time is the order in which the scan runs. The
        inputs of the recurrence are the numbers of the steps; a step reads all that it needs by its number.
    """
    steps = _Steps(scan, loss_with)
    layout, weights = steps.layout, {}
    for place in layout.weights:
        name = names.get(id(steps.consts[place]), f"constant {place}")
        weights[f"{name} {place}" if name in weights else name] = place

    def step(params: Tree, state: Tree, numbers: Tree) -> Tree:
        consts = list(steps.consts)
        for name, place in weights.items():
            consts[place] = as_dtype(params[name], consts[place].dtype)
        return steps.state_after(consts, state, numbers.max(initial=0))  # the same number in all rows

    params = {name: as_real(jnp.asarray(steps.consts[place])) for name, place in weights.items()}
    state = steps.first_state()
    numbers = jnp.broadcast_to(jnp.arange(steps.count)[:, None], (steps.count, len(state[0])))
    recurrence = Recurrence(step, params or {"none": jnp.zeros(0)}, state, numbers)
    return recurrence, lambda states: loss_with(steps.results_of(states))


class _Steps:
    """The steps of a scan, and everything that they read, in the order in which they run."""

    def __init__(self, scan: Scan, loss_with: Callable[[Sequence[Any]], jax.Array]):
        options, body = scan.trail[-1].params, scan_body(scan.trail[-1])

        def read_outputs() -> set[int]:
            program = jax.make_jaxpr(loss_with)(scan.outputs).jaxpr
            read, outputs = sources(program, program.outvars), program.invars[body.num_carry :]
            return {place for place, variable in enumerate(outputs) if variable in read}

        self.layout = scan_layout(body, scan.origins[: body.num_consts], read_outputs)
        self.count, self._reverse = options["length"], options["reverse"]
        arrays = list(map(jnp.asarray, scan.inputs))
        self.consts, after_consts = arrays[: body.num_consts], arrays[body.num_consts :]
        self._carry, xs = after_consts[: body.num_carry], after_consts[body.num_carry :]
        self._last_carry = scan.outputs[: body.num_carry]
        self._xs = self._in_reading_order(xs)
        self._others = self._others_before_steps()

    def first_state(self) -> list[jax.Array]:
        avals = [output.aval for output in self.layout.body.outputs]
        return self.layout.state_of([*self._carry, *(jnp.zeros(aval.shape, aval.dtype) for aval in avals)])

    def state_after(self, consts: Sequence[Any], state: Tree, number: jax.Array) -> list[jax.Array]:
        """The state after the step of this number."""
        others, xs = at_step((self._others, self._xs), number)
        return self.layout.state_of(
            self.layout.body.run([*consts, *self.layout.carry_of(state, others), *xs])
        )

    def results_of(self, states: Tree) -> list[Any]:
        """The last carry and the outputs of a scan with these states ``[T + 1, B, ...]``."""
        layout, body = self.layout, self.layout.body
        computed = body.computed

        def write(_: None, now: Any) -> tuple[None, list[Any]]:
            before, after, others, xs = now
            new = zip(body.carry_after, layout.carry_of(after, others), strict=True)
            given = {variable: value for variable, value in new if variable in computed}
            results = body.run([*self.consts, *layout.carry_of(before, others), *xs], given)
            outputs = results[body.num_carry :]
            for place, rows in zip(layout.extra, after[len(layout.state) :], strict=True):
                outputs[place] = layout.from_rows(rows, body.outputs[place])
            return None, outputs

        before, after = ([leaf[part] for leaf in states] for part in (slice(-1), slice(1, None)))
        _, outputs = lax.scan(write, None, (before, after, self._others, self._xs), self.count)
        last = layout.carry_of([leaf[-1] for leaf in states], layout.others_of(self._last_carry))
        return [*last, *self._in_reading_order(outputs)]

    def _in_reading_order(self, arrays: list[jax.Array]) -> list[jax.Array]:
        """Arrays ``[T, ...]`` in the order in which the scan runs; from that order, in the program's order."""
        return [jnp.flip(array, axis=0) for array in arrays] if self._reverse else arrays

    def _others_before_steps(self) -> list[jax.Array]:
        """The arrays ``[T, ...]`` of the carry that do not belong to the state, before each step."""
        layout, body = self.layout, self.layout.body
        if not layout.others_of(self._carry):
            return []

        def step(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
            return body.run([*self.consts, *carry, *xs])[: body.num_carry], layout.others_of(carry)

        others: list[jax.Array] = lax.scan(step, self._carry, self._xs, self.count)[1]
        return others
