"""Flax NNX modules as pure functions: their variables are dicts of arrays, and their random keys come from the step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx, traverse_util

from dlcore.training.arguments import check_call, mode_options, model_arguments
from dlcore.training.model import Batch, ModelState, Params, PureModel
from dlcore.utils.checks import shown
from dlcore.utils.rng import named_key
from dlcore.utils.trees import named_leaves


def nnx_model(make: Callable[..., nnx.Module]) -> PureModel:
    """The pure functions of an NNX module, see `Experiment.from_nnx`.

    Args:
        make: ``make(rngs=nnx.Rngs(key))`` returns the module.

    Raises:
        TypeError: it cannot be called so; the functions raise it if it returns something else.
    """
    if isinstance(make, nnx.Module):
        raise TypeError(
            f"model: got an object of {type(make).__name__}, expected what makes one from random keys, such as "
            f"lambda rngs: {type(make).__name__}(rngs=rngs)"
        )
    if isinstance(make, linen.Module):
        raise TypeError(f"model: got the linen module {shown(make)}, expected dl.Experiment.from_flax for it")
    check_call("model", make, rngs=None)

    @functools.cache
    def structure() -> tuple[Any, Any, Any, Any]:
        """The module without its arrays, and the shapes of its parameters, random state and other variables."""
        return _split(nnx.eval_shape(lambda: _make(make, jax.random.key(0))))

    def init(rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        _, params, _, others = _split(_make(make, rng))
        return _to_dict(params), _to_dict(others)

    def apply(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[Any, ModelState]:
        definition, *shapes = structure()
        states = _from_dict(shapes[0], params), _with_keys(shapes[1], rng), _from_dict(shapes[2], model_state)
        module: Any = nnx.merge(definition, *states)
        (module.train if train else module.eval)()
        options = {**mode_options(train), "rngs": nnx.Rngs(named_key(rng, "call"))}
        name = f"{type(module).__name__}.__call__"
        positional, named = model_arguments(name, module.__call__, batch, options)
        outputs = module(*positional, **named)
        nnx.pop(module, nnx.Intermediate)  # what the call has put down for others to read
        return outputs, _to_dict(_split(module)[3])

    return PureModel(init, apply)


def _make(make: Callable[..., nnx.Module], key: jax.Array) -> nnx.Module:
    module = make(rngs=nnx.Rngs(key))
    if not (isinstance(module, nnx.Module) and callable(module)):
        raise TypeError(
            f"model: got {type(module).__name__} returned, expected an nnx.Module that can be called"
        )
    return module


def _split(module: nnx.Module) -> tuple[Any, Any, Any, Any]:
    """The module without its arrays, and the arrays of its parameters, random state and other variables."""
    definition, *states = nnx.split(module, nnx.Param, nnx.RngState, ...)
    params, random, others = map(nnx.as_pure, states)
    return definition, params, random, others


def _to_dict(state: Any) -> dict[str, Any]:
    """The arrays in nested dicts whose keys are text, also those of lists."""
    return traverse_util.unflatten_dict(named_leaves(state), sep="/")


def _from_dict(shapes: Any, arrays: Any) -> Any:
    """A state like ``shapes`` with the arrays of nested dicts."""
    flat = traverse_util.flatten_dict(arrays, sep="/")
    return jax.tree.unflatten(jax.tree.structure(shapes), [flat[name] for name in named_leaves(shapes)])


def _with_keys(shapes: Any, rng: jax.Array) -> Any:
    """A random state like ``shapes`` at its beginning, in which each stream has a key of its own."""
    leaves, structure = jax.tree.flatten(shapes)
    return jax.tree.unflatten(
        structure, [_first_state(jax.random.fold_in(rng, index), leaf) for index, leaf in enumerate(leaves)]
    )


def _first_state(key: jax.Array, shape: Any) -> jax.Array:
    """The key of a stream, or the keys of stacked streams; 0 for a stream's count."""
    if not jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jnp.zeros(shape.shape, shape.dtype)
    return jax.random.split(key, shape.shape) if shape.shape else key
