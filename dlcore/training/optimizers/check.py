"""Checks that an optimizer of the user does what a step needs, by tracing it; nothing is computed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore.utils.trees import first_difference


def check_optimizer(optimizer: optax.GradientTransformation, params: optax.Params) -> None:
    """Checks that ``init`` and ``update`` of an optimizer can be traced, and that structures and shapes stay.

    Args:
        optimizer: an optax transformation, which gets the loss as the extra argument ``value``.
        params: the shapes of the parameters: a tree of arrays or of ``jax.ShapeDtypeStruct``.

    Raises:
        ValueError: ``init`` or ``update`` cannot be traced for these parameters.
        TypeError: the updates have not the parameters' structure and shapes, or the new state has not the structure,
            shapes and types of the old one.
    """
    state = _trace("init", optimizer.init, params)
    loss = jax.ShapeDtypeStruct((), jnp.float32)
    updates, after = _trace(
        "update",
        lambda grads, state, params, loss: optimizer.update(grads, state, params, value=loss),
        *(params, state, params, loss),
    )
    fault = first_difference(params, updates, types=False)
    if fault is not None:
        raise TypeError(f"optimizer: got updates with {fault} as the parameters have it")
    fault = first_difference(state, after)
    if fault is not None:
        raise TypeError(f"optimizer: got a state after update with {fault} as init made it")


def _trace(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:  # it is the user's own code
        raise ValueError(
            f"optimizer: got {type(error).__name__} from its {name}: {error}; expected a transformation of this "
            "model's parameters, which gets gradients, state, params and value (the loss)"
        ) from error
