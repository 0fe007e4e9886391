"""Listens to the cells that a model runs, while it runs them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import get_opaque_trace_state

from dlcore.layers.recurrent.deep import DeepRecurrent

TRANSFORMED = "under a transformation such as nn.remat, nn.jit, nn.vmap or nn.scan, without a scan of its own"
CELL, STEP = "dlcore_cell_", "dlcore_step_"
"""Scopes of operations: of a cell that the listener hands over, and of all others."""


class CellCall(NamedTuple):
    """The arguments of `CellLayer.run_cell`, in their order."""

    cell: nn.RNNCellBase
    inputs: jax.Array
    lengths: jax.Array | None
    initial_carry: Any
    loop: Any
    train: bool | None


class CellListener:
    """A flax interceptor that counts and names the cells in the order in which they run.

    Args:
        handle: is called for each cell as ``handle(index, name, run, arguments)`` in place of ``run()``. It returns the
            result of the cell.

    Attributes:
        others: a text about each cell that is not handled, with its path, its class and the reason. The operations of
            the cell with the text ``i`` are in the scope ``STEP i _``.
    """

    def __init__(self, handle: Callable[[int, str, Callable[[], Any], tuple[Any, ...]], Any]):
        self._handle, self._count, self._prefix = handle, 0, ()
        self._within_cell = False
        self._modules: list[nn.Module] = []
        self.others: list[str] = []

    def listen(self, call: Callable[[], jax.Array]) -> jax.Array:
        """Runs ``call`` and returns its result, while it listens to the modules that run."""
        self._outside = _trace_state()
        with nn.intercept_methods(self):
            return call()

    def __call__(self, run: Any, arguments: Any, options: Any, context: Any) -> Any:
        module, method = context.module, context.method_name
        plain = _trace_state() == self._outside
        if self._within_cell:
            return run(*arguments, **options)
        if method == "run_upper" and isinstance(module, DeepRecurrent) and plain:
            return self._run_upper(module, *arguments)
        if method == "run_cell" and plain:
            index, self._count = self._count, self._count + 1
            run_whole = functools.partial(self._run_within, run, arguments, options)
            return self._handle(index, self._name(arguments[0]), run_whole, arguments)
        if method == "run_cell":
            return self._run_other(arguments[0], TRANSFORMED, run, arguments, options)
        if isinstance(module, nn.RNNCellBase) and method == "__call__":
            outer = (
                type(other).__name__
                for other in reversed(self._modules)
                if not isinstance(other, nn.RNNCellBase)
            )
            reason = f"run step by step by {next(outer, 'the loss')}, outside of a scan"
            return self._run_other(module, reason, run, arguments, options)
        self._modules.append(module)
        try:
            return run(*arguments, **options)
        finally:
            self._modules.pop()

    def _run_within(self, run: Any, arguments: Any, options: Any) -> Any:
        """Runs a cell. The cells that it calls itself are not counted."""
        self._within_cell = True
        try:
            return run(*arguments, **options)
        finally:
            self._within_cell = False

    def _run_other(self, cell: nn.Module, reason: str, run: Any, arguments: Any, options: Any) -> Any:
        """Runs a cell that is not handled."""
        with jax.named_scope(f"{STEP}{len(self.others)}_"):
            self.others.append(f"{self._name(cell)} ({type(cell).__name__} {reason})")
            return self._run_within(run, arguments, options)

    def _name(self, module: nn.Module) -> str:
        """The module's path; that of the innermost module with a path if it is applied without one."""
        paths = [other.path for other in (module, *reversed(self._modules)) if other.scope is not None]
        return "/".join(map(str, (*self._prefix, *next(filter(None, paths), ())))) or type(module).__name__

    def _run_upper(
        self, stack: DeepRecurrent, outputs: jax.Array, lengths: Any, initial_carry: Any, _: bool
    ) -> Any:
        """Runs the upper layers in a Python loop. In the model's own scan they would be one layer."""
        prefix, carries = self._prefix, []
        for index, layer in enumerate(stack.upper_layers()):
            self._prefix = (*prefix, *stack.path, "upper", index)
            layer_carry = jax.tree.map(lambda leaf, index=index: leaf[index], initial_carry)
            outputs, carry = layer(outputs, layer_carry, lengths)
            carries.append(carry)
        self._prefix = prefix
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries), outputs


def _trace_state() -> Any:
    """Tells apart what runs inside of a transformation from what runs outside of it."""
    return get_opaque_trace_state(convention="flax")
