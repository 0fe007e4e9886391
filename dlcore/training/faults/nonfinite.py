"""Diagnosis of NaN and Inf: finds the first bad leaf, the first bad operation and its layer, and keeps the evidence."""

import functools
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.extend import core

from dlcore.training.checkpoints.folder import saved_steps
from dlcore.training.checkpoints.location import checkpoints_path
from dlcore.training.engine import Engine
from dlcore.training.state import TrainState
from dlcore.training.step import make_gradient
from dlcore.utils.jaxprs import Trail, bind, evaluate
from dlcore.utils.rng import stream_key
from dlcore.utils.trees import named_leaves

Test: TypeAlias = Callable[[Any], jax.Array]
"""``jnp.isnan`` or ``jnp.isinf``."""

FIRST_MADE = ", first made by "
UNNAMED = r"(\w+\()+\)+"  # a part of a name stack without a name, such as "jvp()"


class NonFiniteError(ArithmeticError):
    """The loss, gradient or update of a step was not finite; the run's state is the one before this step.

    Args:
        step: the step.
        reason: a text that says what was not finite.

    Attributes:
        step: the step.
    """

    def __init__(self, step: int, reason: str):
        super().__init__(f"step {step}: {reason}")
        self.step = step


def diagnose(engine: Engine, state: TrainState, folder: Path) -> NonFiniteError:
    """The error (returned, not raised) for the step that stopped ``state``; writes state and batch into the folder.

    Args:
        engine: the run's engine.
        state: a state that stopped at its ``bad_step``.
        folder: the run's folder; ``nonfinite/step_N/`` in it gets ``batch.npz``, ``state/`` and ``reason.txt``.
    """
    step = int(jax.device_get(state.bad_step))
    with jax.transfer_guard("allow"):
        batch = jax.device_get(engine.replicate(engine.batch(range(step, step + 1))))
        reason = find_origin(engine, jax.device_get(engine.replicate(state)), batch)
    evidence = folder / "nonfinite" / f"step_{step}"
    _write_evidence(evidence, state, batch, reason)
    saved = max(saved_steps(checkpoints_path(folder, engine.config.checkpoint)), default=None)
    newest = "there was no checkpoint yet" if saved is None else f"the newest checkpoint is of step {saved}"
    return NonFiniteError(step, f"{reason}; batch and state are in {evidence}; {newest}; {_advice(reason)}")


def _advice(reason: str) -> str:
    if reason.startswith("batch/"):
        return "correct the data"
    if reason.startswith("loss ") and FIRST_MADE not in reason:
        return "a label outside of the classes makes the loss NaN; correct the labels"
    return (
        "in another run, a smaller --config.optimizer.learning_rate or a --config.optimizer.clip_norm may "
        "help, and --config.train.on_nan=skip leaves such updates out"
    )


def find_origin(engine: Engine, state: TrainState, batch: Any) -> str:
    """A text that says what in a step is not finite.

    It names the first leaf of the parameters, the model state or the batch that is not finite. If all are finite, it
    names the first such leaf of loss and gradient, and the operation that made it. If these are finite too, it says
    that a global norm overflows.

    Args:
        engine: the run's engine.
        state: the state before the step, on the host.
        batch: the step's batch, on the host.
    """
    before = {"params": state.params, "model_state": state.model_state, "batch": batch}
    leaf = first_bad_leaf(before)
    if leaf:
        return f"{leaf} before the step"
    gradient = make_gradient(engine.experiment.loss, engine.config.train)
    rng = stream_key(engine.config.seed, "dropout", int(state.step))
    program = jax.make_jaxpr(gradient)(state.params, state.model_state, batch, rng)
    values = jax.tree.leaves((state.params, state.model_state, batch, rng))
    operation = first_bad_operation(program, values)
    grads, loss, _, _ = gradient(state.params, state.model_state, batch, rng)
    leaf = first_bad_leaf({"loss": loss, "gradient": grads})
    if leaf:
        return leaf + (f"{FIRST_MADE}{operation}" if operation else "")
    return "the gradient's or the update's global norm overflows, though every gradient is finite"


def first_bad_leaf(tree: Any) -> str | None:
    """A text about the first leaf of a tree of arrays that has NaN or Inf; None if all leaves are finite."""
    for name, leaf in named_leaves(tree).items():
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        values = np.asarray(leaf, np.float64)
        bad = ~np.isfinite(values)
        if bad.any():
            kind = "NaN" if np.isnan(values).any() else "Inf"
            where = f", first at {tuple(map(int, np.argwhere(bad)[0]))}" if bad.ndim else ""
            return f"{name} {leaf.shape} has {kind} in {bad.sum()} of {bad.size} values{where}"
    return None


def first_bad_operation(program: core.ClosedJaxpr, values: Sequence[Any]) -> str | None:
    """The first operation that makes NaN from inputs without NaN, as the text ``OPERATION in LAYER``.

    If there is none, it is the first operation that makes Inf from inputs without Inf; None if there is none either. A
    loop counts as one operation. An operation outside of any layer has no ``in LAYER``.

    Args:
        program: what ``jax.make_jaxpr(function)(*arguments)`` returns.
        values: the leaves of these arguments.

    >>> program = jax.make_jaxpr(lambda x: jnp.log(x).sum())(-1.0)
    >>> first_bad_operation(program, [-1.0])
    'log'
    """
    for test in (jnp.isnan, jnp.isinf):
        try:
            evaluate(program.jaxpr, program.consts, values, functools.partial(_checked, test))
        except _Found as found:
            return str(found)
    return None


class _Found(Exception):  # noqa: N818  it carries the answer out of nested programs
    """Raised with the name of the operation and its layer."""


def _checked(test: Test, trail: Trail, inputs: list[Any]) -> list[Any]:
    """Evaluates one operation; raises `_Found` if its outputs, but not its inputs, fail the test."""
    if trail[-1].primitive.name == "cond":  # a choice between programs, also that by the platform
        taken = trail[-1].params["branches"][int(inputs[0])]
        check = functools.partial(_checked, test)
        return evaluate(taken.jaxpr, taken.consts, inputs[1:], check, trail=trail)
    outputs = bind(trail[-1], inputs)
    if _any_fails(test, outputs) and inputs and not _any_fails(test, inputs):
        # The name stack of a gradient is such as "transpose(jvp(Model))/Dense_0".
        layers = [str(equation.source_info.name_stack) for equation in trail]
        name = "/".join(layer for layer in layers if re.sub(UNNAMED, "", layer))
        operation = trail[-1].primitive.name
        raise _Found(f"{operation} in {name}" if name else operation)
    return outputs


def _any_fails(test: Test, values: Sequence[Any]) -> bool:
    return any(
        bool(test(value).any()) for value in values if jnp.issubdtype(jnp.result_type(value), jnp.inexact)
    )


def _write_evidence(folder: Path, state: TrainState, batch: Any, reason: str) -> None:
    import orbax.checkpoint as ocp  # slow to import

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / "state").absolute(), state, force=True)
    if jax.process_index() == 0:
        _write_npz(folder / "batch.npz", named_leaves(batch))
        (folder / "reason.txt").write_text(reason + "\n")
    if jax.process_count() > 1:
        # The error of another process would end this one, perhaps before it has written.
        with jax.transfer_guard("allow"):
            multihost_utils.sync_global_devices(str(folder))


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes what ``np.savez`` does, whose arguments' names (``file``) cannot be names of arrays."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
