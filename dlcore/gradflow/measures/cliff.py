"""The cliff in the loss of a recurrent net of one unit, and gradient descent over it with and without clipping.

    x_t = w sigma(x_{t-1}) + b,    L = (sigma(x_T) - target)^2

(Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, figure 6.) Where x_0 passes from the reach of one fixed point to that
of the other, x_T jumps: a wall in L, at which the gradient explodes. A step of plain gradient descent from there is
thrown far away; a clipped one stays in the valley (lecture: gradient clipping).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.ops import clipping


class Unit(NamedTuple):
    """What the paper's figure is about.

    Attributes:
        steps: T. initial: x_0. target: what sigma(x_T) is to be.
    """

    steps: int = 50
    initial: float = 0.5
    target: float = 0.7


class Surface(NamedTuple):
    """Loss and natural log of the gradient's norm, each ``[W, B]``: weights down, biases across."""

    loss: jax.Array
    log_gradient_norm: jax.Array


class Path(NamedTuple):
    """A descent of N updates, where it came by.

    Attributes:
        points: ``[N + 1, 2]``, (w, b). loss, log_gradient_norm: there, ``[N + 1]``.
    """

    points: jax.Array
    loss: jax.Array
    log_gradient_norm: jax.Array


def loss(point: jax.Array, unit: Unit = Unit()) -> jax.Array:  # noqa: B008  an immutable constant
    """L at ``point``, (w, b)."""
    weight, bias = point
    initial = jnp.full_like(weight, unit.initial)
    last = lax.fori_loop(0, unit.steps, lambda _, x: weight * jax.nn.sigmoid(x) + bias, initial)
    return (jax.nn.sigmoid(last) - unit.target) ** 2


def surface(weights: jax.Array, biases: jax.Array, unit: Unit = Unit()) -> Surface:  # noqa: B008
    """L and its gradient's norm over the grid of ``weights [W]`` and ``biases [B]``."""
    points = jnp.stack(jnp.meshgrid(weights, biases, indexing="ij"), axis=-1)
    return Surface(*jax.vmap(jax.vmap(lambda point: _measured(point, unit)[:2]))(points))


def descend(
    start: jax.Array,
    learning_rate: float,
    updates: int,
    clip_norm: float | None = None,
    unit: Unit = Unit(),  # noqa: B008
) -> Path:
    """Gradient descent from ``start``, (w, b), with the gradient clipped to ``clip_norm``, or (None) as it is."""

    def body(point: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        value, log_norm, gradient = _measured(point, unit)
        used = gradient if clip_norm is None else clipping.clip(gradient, clip_norm)
        return point - learning_rate * used, (point, value, log_norm)

    _, path = lax.scan(body, start, None, updates + 1)
    return Path(*path)


def _measured(point: jax.Array, unit: Unit) -> tuple[jax.Array, jax.Array, jax.Array]:
    value, gradient = jax.value_and_grad(loss)(point, unit)
    return value, jnp.log(clipping.norm(gradient)), gradient
