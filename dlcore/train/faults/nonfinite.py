"""Where NaN and Inf came from: the first bad leaf, the first operation and its layer; the evidence is kept."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dlcore.train.checkpoints.folder import CHECKPOINTS, saved_steps
from dlcore.train.engine import Engine
from dlcore.train.state import TrainState
from dlcore.train.step import make_gradient
from dlcore.utils.rng import stream_key
from dlcore.utils.trees import named_leaves

Bad = Callable[[Any], jax.Array]


class NonFiniteError(ArithmeticError):
    """The loss, gradient or update of ``step`` was not finite; the run's state is still the one before it."""

    def __init__(self, step: int, reason: str):
        super().__init__(f"step {step}: {reason}")
        self.step = step


def diagnose(engine: Engine, state: TrainState, folder: Path) -> NonFiniteError:
    """What went wrong in the step after ``state``, which is written aside with its batch.

    Args:
        engine: of the run.
        state: one that has stayed at its ``bad_step``.
        folder: the run's; ``nonfinite/step_N/`` in it gets ``batch.npz``, ``state/`` and ``reason.txt``.
    """
    step = int(jax.device_get(state.bad_step))
    with jax.transfer_guard("allow"):
        batch = jax.device_get(engine.everywhere(engine.batch(range(step, step + 1))))
        reason = origin(engine, jax.device_get(engine.everywhere(state)), batch)
    aside = folder / "nonfinite" / f"step_{step}"
    _keep(aside, state, batch, reason)
    saved = max(saved_steps(folder / CHECKPOINTS), default=None)
    newest = "there was no checkpoint yet" if saved is None else f"the newest checkpoint is of step {saved}"
    return NonFiniteError(step, f"{reason}; batch and state are in {aside}; {newest}; {_advice(reason)}")


def _advice(reason: str) -> str:
    if reason.startswith("batch/"):
        return "mend the data"
    return (
        "in another run (--run), a smaller --config.optimizer.learning_rate or a --config.optimizer.clip_norm may mend "
        "it, and --config.train.on_nan=skip leaves such updates away"
    )


def origin(engine: Engine, state: TrainState, batch: Any) -> str:
    """In words: the first leaf that is not finite, or the first operation that made something so of finite numbers."""
    given = {"params": state.params, "model_state": state.model_state, "batch": batch}
    found = _first_bad_leaf(given)
    if found:
        return f"{found} before the step"
    gradient = make_gradient(engine.experiment.loss, engine.config.train)
    rng = stream_key(engine.config.seed, "dropout", int(state.step))
    program = jax.make_jaxpr(gradient)(state.params, state.model_state, batch, rng)
    values = jax.tree.leaves((state.params, state.model_state, batch, rng))
    operation = first_bad_operation(program, values)
    grads, loss, _, _ = gradient(state.params, state.model_state, batch, rng)
    found = _first_bad_leaf({"loss": loss, "gradient": grads})
    if found:
        return found + (f", first made by {operation}" if operation else "")
    return "the gradient's or the update's global norm overflows, though every gradient is finite"


def _first_bad_leaf(tree: Any) -> str | None:
    for name, leaf in named_leaves(tree).items():
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        bad = ~np.isfinite(np.asarray(leaf, np.float64))
        if bad.any():
            kind = "NaN" if np.isnan(np.asarray(leaf, np.float64)).any() else "Inf"
            where = f", first at {tuple(map(int, np.argwhere(bad)[0]))}" if bad.ndim else ""
            return f"{name} {leaf.shape} has {kind} in {bad.sum()} of {bad.size} values{where}"
    return None


def first_bad_operation(program: core.ClosedJaxpr, values: Sequence[Any]) -> str | None:
    """Runs a program operation by operation to the first that makes NaN of numbers that are none.

    Where there is none, to the first that makes Inf of finite numbers; a loop is one operation. None where all is
    finite.

    >>> program = jax.make_jaxpr(lambda x: jnp.log(x).sum())(-1.0)
    >>> first_bad_operation(program, [-1.0])
    'log'
    """
    for bad in (jnp.isnan, jnp.isinf):
        try:
            _run(program.jaxpr, program.consts, values, bad, "")
        except _Found as found:
            return str(found)
    return None


class _Found(Exception):  # noqa: N818  it carries the answer out of nested programs
    pass


def _run(jaxpr: core.Jaxpr, consts: Sequence[Any], values: Sequence[Any], bad: Bad, layer: str) -> list[Any]:
    environment = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *values], strict=True))
    read = lambda atom: atom.val if isinstance(atom, core.Literal) else environment[atom]
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        # Of a gradient, "transpose(jvp(Model))/Dense_0"; where no name was given, an empty "jvp()".
        name = "/".join(
            part for part in (layer, str(equation.source_info.name_stack)) if re.sub(UNNAMED, "", part)
        )
        body = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if equation.primitive.name in INLINED and isinstance(body, core.ClosedJaxpr | core.Jaxpr):
            closed = body if isinstance(body, core.ClosedJaxpr) else core.ClosedJaxpr(body, [])
            outputs = _run(closed.jaxpr, closed.consts, inputs, bad, name)
        else:
            params = equation.primitive.get_bind_params(equation.params)
            outputs = equation.primitive.bind(*inputs, **params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            if _any(bad, outputs) and inputs and not _any(bad, inputs):
                raise _Found(f"{equation.primitive.name} in {name}" if name else equation.primitive.name)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


UNNAMED = r"(\w+\()+\)+"
INLINED = {"jit", "closed_call", "remat2", "custom_jvp_call", "custom_vjp_call"}


def _any(bad: Bad, values: Sequence[Any]) -> bool:
    return any(
        bool(bad(value).any()) for value in values if jnp.issubdtype(jnp.result_type(value), jnp.inexact)
    )


def _keep(aside: Path, state: TrainState, batch: Any, reason: str) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((aside / "state").absolute(), state, force=True)
    if jax.process_index() == 0:
        np.savez(aside / "batch.npz", **batch)
        (aside / "reason.txt").write_text(reason + "\n")
