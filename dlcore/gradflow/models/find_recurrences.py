"""The recurrences in a model, found while the model runs.

Gradient flow is measured along one recurrence at a time. There are two kinds, and the model need not be changed for
either of them.

A cell that a recurrent layer of dlcore runs: the layer runs its cells through the method ``run_cell``, to which a
`CellListener` listens. It hears the cell, its gates and the lengths of the rows, and also finds cells whose layer does
not loop over single steps.

Every other ``jax.lax.scan`` of the program that JAX traces: its body is the step, and the floating point arrays of its
carry are the state. So it does not matter which library wrote the loop.
"""

import functools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from dlcore.gradflow.measures.recurrence import Recurrence, Tree
from dlcore.gradflow.models.cell_listener import CellCall, CellListener
from dlcore.gradflow.models.cell_recurrence import cell_recurrence
from dlcore.gradflow.models.program import Program, name_of, source_of, trace_program
from dlcore.gradflow.models.program_scans import Scan, find_scans
from dlcore.gradflow.models.scan_recurrence import scan_recurrence
from dlcore.layers.recurrent.scan import unbind
from dlcore.utils.checks import check_callable


class ModelRecurrence(NamedTuple):
    """One recurrence of a model: a cell over one sequence, or another scan.

    Attributes:
        name: the cell's path in the model's parameters, such as ``encoder/cell``. The upper layers of a
            `DeepRecurrent` share a path, so their names contain the layer's index: ``stack/upper/0/layer/cell``. A scan
            has the path of the modules that run it, or its source line if there is none. What the model runs again has
            ``#2`` after its name, then ``#3``.
        cell: the cell, unbound; None for a scan.
        recurrence: the step, parameters, initial state, inputs and lengths. The inputs of a reversed recurrence are in
            the order in which it reads them: time is always its own. That of a cell is cut where the layer's
            ``truncate`` stops the gradient. That of a scan has no lengths, and its inputs are the numbers of the steps;
            its parameters are the arrays that enter the scan, see `find_recurrences`.
        loss: the model's loss as a function of the states ``[T + 1, B, ...]``, as `state_cotangents` takes it.
        reverse: True if it reads the sequence from its end to its beginning. A scan that reads inputs which the model
            has flipped before, as ``flax.linen.RNN`` does, is not known to.
        truncate: the layer's ``truncate``, the number of steps in a window; the gradient has no lag that is longer than
            one step less. None: it has all lags.
        source: the source line of the user that runs a scan, such as ``model.py:12``; "" for a cell.
    """

    name: str
    cell: nn.RNNCellBase | None
    recurrence: Recurrence
    loss: Callable[[Tree], jax.Array]
    reverse: bool
    truncate: int | None = None
    source: str = ""


def find_recurrences(call: Callable[..., jax.Array], *arguments: Any) -> list[ModelRecurrence]:
    """Finds every recurrence in ``call(*arguments)``, in the order in which they run.

    The loss of each recurrence contains everything that comes after it, such as the layers above it. Put this call and
    the measures of what it finds under one ``jax.jit``. A warning names what is not measured, see `find_unmeasured`.

    For cells of dlcore's recurrent layers, the parameter gradients of all recurrences are those of the whole model, and
    those of a cell that runs several times add up to it.

    For another ``jax.lax.scan``, in nested calls such as ``jax.jit`` and ``jax.checkpoint`` too:

    - The state is all floating point arrays of the carry. An output that depends on the parameters on another way than
      through the new carry belongs to it as well; such a recurrence has exponents of -inf.
    - The parameters are the floating point arrays that enter all steps from outside of the scan, as they enter, if a
      new state has a derivative by them and they depend on ``arguments[0]``. An array that depends on something else as
      well, and of which each row of the state reads a row of its own, is data, such as the memory of an attention. The
      gradient of the parameters is the one through this scan. It is the model's for parameters that enter nowhere else,
      and as they are. What the model applies to all steps at once, such as a product of all inputs with a kernel, is
      outside. So are parameters of which each step reads a part of its own, as in a scan over layers.
    - The rows are along the first axis by which the derivative of a step is block diagonal, with the same size in all
      arrays of the state. It is probed at random values. Without such an axis, the whole state is one row. Without a
      batch, units that do not influence each other are rows.
    - There are no lengths: where a step copies the state in a row's padding, the copies count as steps.
    - A scan in a function with a derivative of its own, such as ``jax.custom_vjp``, has the derivative of its steps.

    Args:
        call: runs the model without dropout and returns a scalar loss. It must run the same model at every call.
        *arguments: pytrees of arrays, first the parameters. Without arguments, all arrays that ``call`` has closed over
            count as parameters of a scan.

    Returns:
        A list of one `ModelRecurrence` for each run of a cell or another scan; an empty list if there is none.

    Raises:
        TypeError: call is not a function, or returns no array.

    >>> import jax.numpy as jnp
    >>> def loss(weight, inputs):
    ...     step = lambda state, x: (jnp.tanh(weight * state + x), None)
    ...     return jax.lax.scan(step, jnp.zeros(2), inputs)[0].sum()
    >>> (found,) = find_recurrences(loss, jnp.array(0.5), jnp.ones((3, 2)))
    >>> {name: float(value) for name, value in found.recurrence.params.items()}
    {'params': 0.5}
    """
    check_callable("call", call, "lambda: loss(params)")
    program = trace_program(call, arguments)
    scans, unmeasured = find_scans(program)
    if unmeasured:
        warnings.warn(f"gradient flow is not measured along {', '.join(unmeasured)}", stacklevel=2)
    placed = [((index, 1), one) for index, one in enumerate(_cells(functools.partial(call, *arguments)))]
    placed += [((scan.cells, 0), _of_scan(program, scan)) for scan in scans]
    found = [one for _, one in sorted(placed, key=lambda pair: pair[0])]
    uses: Counter[str] = Counter()
    for place, one in enumerate(found):
        uses[one.name] += 1
        if uses[one.name] > 1:
            found[place] = one._replace(name=f"{one.name}#{uses[one.name]}")
    return found


def find_unmeasured(call: Callable[..., jax.Array], *arguments: Any) -> list[str]:
    """Names the loops and cells in ``call(*arguments)`` along which gradient flow is not measured.

    These are ``while`` loops, scans without a floating point carry or with effects, loops within another loop or within
    ``cond`` or ``shard_map``, and flax cells that run step by step outside of any scan. A recurrence in a Python loop
    without a flax cell, and one by ``jax.lax.associative_scan``, are not seen, since JAX traces both to operations
    without a loop; nor is a cell under ``nn.jit`` that JAX has traced before.

    Args:
        call: as in `find_recurrences`; it is only traced.
        *arguments: as in `find_recurrences`.

    Returns:
        A list of texts, each with a path in the model's parameters or a source line, what it is, and the reason; an
        empty list if everything is measured.

    Raises:
        TypeError: call is not a function, or returns no array.
    """
    check_callable("call", call, "lambda: loss(params)")
    unmeasured: list[str] = []
    jax.eval_shape(lambda: unmeasured.extend(find_scans(trace_program(call, arguments))[1]))
    return unmeasured


def _cells(call: Callable[[], jax.Array]) -> list[ModelRecurrence]:
    """The cells that recurrent layers run by themselves."""
    found: list[ModelRecurrence] = []

    def record(index: int, name: str, run: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        ran = CellCall(*arguments)
        recurrence, loss = cell_recurrence(call, index, ran)
        unbound, _ = unbind(ran.cell)
        found.append(ModelRecurrence(name, unbound, recurrence, loss, ran.loop.reverse, ran.loop.truncate))
        return run()

    CellListener(record).listen(call)
    return found


def _of_scan(program: Program, scan: Scan) -> ModelRecurrence:
    recurrence, loss = scan_recurrence(scan, program.names, functools.partial(program.loss_with, scan.trail))
    reverse = scan.trail[-1].params["reverse"]
    return ModelRecurrence(name_of(scan.trail), None, recurrence, loss, reverse, None, source_of(scan.trail))
