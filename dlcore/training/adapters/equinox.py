"""Equinox modules as pure functions: their arrays are dicts, and everything else is part of the program."""

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from dlcore.data.batch import row_count
from dlcore.training.arguments import check_call, check_pair, mode_options, model_arguments, read_fields
from dlcore.training.model import Batch, ModelState, Params, PureModel
from dlcore.utils.checks import check_bool
from dlcore.utils.trees import named_leaves

AXIS = "batch"
"""The name of the axis of rows, over which ``equinox.nn.BatchNorm`` takes its means."""


def equinox_model(make: Callable[..., Any], batched: bool = False) -> PureModel:
    """The pure functions of an Equinox module, see `Experiment.from_equinox`.

    Args:
        make: ``make(key=key)`` returns the module, or the module and its ``equinox.nn.State``.
        batched: True to call the module with whole batches.

    Raises:
        ModuleNotFoundError: Equinox is not installed.
        TypeError: ``make`` cannot be called so, or ``batched`` is not a bool.
    """
    eqx = _import_equinox()
    check_bool("batched", batched)
    if isinstance(make, eqx.Module) and not isinstance(make, eqx.Partial):
        raise TypeError(
            f"model: got an object of {type(make).__name__}, expected what makes one from a random key, such as "
            f"lambda key: {type(make).__name__}(key=key)"
        )
    check_call("model", make, key=None)

    @functools.cache
    def shapes() -> tuple[Any, Any]:
        """The module and its state with shapes in place of arrays."""
        return eqx.filter_eval_shape(_make, make, jax.random.key(0))

    def init(rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        return _to_dicts(*_make(make, rng))

    def apply(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[Any, ModelState]:
        module, state = _from_dicts(*shapes(), params, model_state)
        module = eqx.nn.inference_mode(module, not train)

        def call(batch: Batch, key: jax.Array, state: Any) -> tuple[Any, Any]:
            options = {**mode_options(train), "key": key, **({} if state is None else {"state": state})}
            name = f"{type(module).__name__}.__call__"
            positional, named = model_arguments(name, module.__call__, batch, options)
            returned = module(*positional, **named)
            return (returned, None) if state is None else check_pair(name, returned, "outputs, state")

        if batched:
            outputs, state = call(batch, rng, state)
        else:
            fields = read_fields(batch)
            keys = jax.random.split(rng, row_count(fields))
            rows = jax.vmap(call, in_axes=(0, 0, None), out_axes=(0, None), axis_name=AXIS)
            outputs, state = rows(fields, keys, state)
        return outputs, _to_dicts(module, state)[1]

    return PureModel(init, apply)


def _import_equinox() -> Any:
    try:
        import equinox
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "model: got an Equinox module, but Equinox is not installed; pip install 'dlcore[equinox]'"
        ) from error
    return equinox


def _make(make: Callable[..., Any], key: jax.Array) -> tuple[Any, Any]:
    """The module and its state; None if it has none."""
    eqx, made = _import_equinox(), make(key=key)
    module, state = check_pair("model", made, "a module, state") if isinstance(made, tuple) else (made, None)
    if not (isinstance(module, eqx.Module) and callable(module)):
        raise TypeError(
            f"model: got {type(module).__name__} returned, expected an Equinox module that can be called"
        )
    if not (state is None or isinstance(state, eqx.nn.State)):
        raise TypeError(
            f"model: got {type(state).__name__} returned as the state, expected an equinox.nn.State"
        )
    is_index = lambda node: isinstance(node, eqx.nn.StateIndex)
    indices = [node for node in jax.tree.leaves(module, is_leaf=is_index) if is_index(node)]
    if indices and (state is None or jax.tree.leaves(indices)):
        name = type(module).__name__
        raise TypeError(f"model: got {name}, which has a state, expected equinox.nn.make_with_state({name})")
    return module, state


def _to_dicts(module: Any, state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the model state: nested dicts of arrays."""
    is_array = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct) or _import_equinox().is_array(leaf)
    arrays = {name: leaf for name, leaf in named_leaves(module).items() if is_array(leaf)}
    params = {name: leaf for name, leaf in arrays.items() if jnp.issubdtype(leaf.dtype, jnp.inexact)}
    others = {name: leaf for name, leaf in arrays.items() if name not in params} | _state_leaves(state)
    return traverse_util.unflatten_dict(params, sep="/"), traverse_util.unflatten_dict(others, sep="/")


def _from_dicts(module: Any, state: Any, params: Any, model_state: Any) -> tuple[Any, Any]:
    """A module and a state like these, with the arrays of the dicts."""
    arrays = traverse_util.flatten_dict(params, sep="/") | traverse_util.flatten_dict(model_state, sep="/")
    leaves = [arrays.get(name, leaf) for name, leaf in named_leaves(module).items()]
    module = jax.tree.unflatten(jax.tree.structure(module), leaves)
    return module, jax.tree.unflatten(
        jax.tree.structure(state), [arrays[name] for name in _state_leaves(state)]
    )


def _state_leaves(state: Any) -> dict[str, Any]:
    """The arrays of a state by the paths of their places in the module, in the order of the state."""
    if state is None:
        return {}
    values, places = state.tree_flatten()
    # A place is text such as ``Model.blocks[0].norm.batch_counter``; its path is ``blocks/0/norm/batch_counter``.
    paths = ["/".join(re.findall(r"\w+", str(place))[1:]) for place in places]
    return {
        name: leaf
        for path, value in zip(paths, values, strict=True)
        for name, leaf in named_leaves({path: value}).items()
    }
