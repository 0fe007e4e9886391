"""The cliff in the loss of a recurrent net of one unit, and gradient descent over it with and without clipping.

    x_t = w sigma(x_{t-1}) + b,    L = (sigma(x_T) - target)^2

(Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, figure 6.) Where x_0 passes from the basin of one fixed point to the
basin of the other, x_T jumps: L has a wall, at which the gradient explodes. From there, a step of plain gradient
descent is thrown far away, and a clipped step stays in the valley (lecture: gradient clipping).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.ops import clipping
from dlcore.ops.arrays import check_floats
from dlcore.utils.checks import check_instance, check_integer, check_number


class Unit(NamedTuple):
    """The constants of the recurrent net of one unit. The defaults are those of the paper's figure.

    Attributes:
        steps: T, the number of steps.
        initial: x_0.
        target: the value that sigma(x_T) should reach.
    """

    steps: int = 50
    initial: float = 0.5
    target: float = 0.7


class Surface(NamedTuple):
    """The loss at each point of a grid of W weights (rows) and B biases (columns).

    Attributes:
        loss: ``[W, B]``, L at each point.
        log_gradient_norm: ``[W, B]``, the natural logarithm of the gradient's norm at each point.
    """

    loss: jax.Array
    log_gradient_norm: jax.Array


class Path(NamedTuple):
    """The points that a descent of N updates visits, the start included.

    Attributes:
        points: ``[N + 1, 2]``, (w, b) of each point.
        loss: ``[N + 1]``, the loss at each point.
        log_gradient_norm: ``[N + 1]``, natural logarithm of the gradient's norm at each point.
    """

    points: jax.Array
    loss: jax.Array
    log_gradient_norm: jax.Array


def loss(point: jax.Array, unit: Unit = Unit()) -> jax.Array:  # noqa: B008  an immutable constant
    """Computes the loss L, a scalar, at ``point``, an array ``[2]`` that holds (w, b).

    Raises:
        ValueError: the point has another shape than ``[2]``, or the unit's steps are below 0.
        TypeError: the point is not an array of floating point numbers, the unit no `Unit`, or its steps are not an
            integer.
    """
    unit = _checked_unit(unit)
    weight, bias = _checked_point("point", point)
    initial = jnp.full_like(weight, unit.initial)
    last = lax.fori_loop(0, unit.steps, lambda _, x: weight * jax.nn.sigmoid(x) + bias, initial)
    return (jax.nn.sigmoid(last) - unit.target) ** 2


def surface(weights: jax.Array, biases: jax.Array, unit: Unit = Unit()) -> Surface:  # noqa: B008
    """Computes L and its gradient's norm for each pair of ``weights [W]`` and ``biases [B]``; returns a `Surface`.

    Raises:
        ValueError: weights or biases have another number of axes than 1, or the unit's steps are below 0.
        TypeError: weights or biases are not arrays of floating point numbers; or as in `loss`.
    """
    unit = _checked_unit(unit)
    for name, values in (("weights", weights), ("biases", biases)):
        if check_floats(name, values, 1, "[N]").ndim > 1:
            raise ValueError(f"{name}: got shape {values.shape}, expected [N]")
    points = jnp.stack(jnp.meshgrid(weights, biases, indexing="ij"), axis=-1)
    return Surface(*jax.vmap(jax.vmap(lambda point: _loss_and_gradient(point, unit)[:2]))(points))


def descend(
    start: jax.Array,
    learning_rate: float,
    updates: int,
    clip_norm: float | None = None,
    unit: Unit = Unit(),  # noqa: B008
) -> Path:
    """Runs gradient descent from ``start``.

    Args:
        start: ``[2]``, the first point (w, b).
        learning_rate: factor of the gradient in each update.
        updates: number of updates, N.
        clip_norm: a gradient with a larger norm is scaled down to this norm; None: it is not clipped.
        unit: the unit that is trained.

    Returns:
        A `Path` of N + 1 points, ``start`` first.

    Raises:
        ValueError: start has another shape than ``[2]``, updates is below 0, clip_norm is not above 0, or the learning
            rate is not finite.
        TypeError: updates is not an integer, or learning_rate or clip_norm not a number; or as in `loss`.
    """
    unit, updates = _checked_unit(unit), check_integer("updates", updates, 0)
    if updates >= 2**31 - 1:
        raise ValueError(f"updates: got {updates}, expected fewer than 2^31 - 1")
    start, learning_rate = _checked_point("start", start), check_number("learning_rate", learning_rate)
    if clip_norm is not None:
        clip_norm = check_number("clip_norm", clip_norm, "(0, inf)")

    def body(point: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        value, log_norm, gradient = _loss_and_gradient(point, unit)
        used = gradient if clip_norm is None else clipping.clip(gradient, clip_norm)
        return point - learning_rate * used, (point, value, log_norm)

    _, path = lax.scan(body, start, None, updates + 1)
    return Path(*path)


def _loss_and_gradient(point: jax.Array, unit: Unit) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns L, the natural logarithm of its gradient's norm, and the gradient."""
    value, gradient = jax.value_and_grad(loss)(point, unit)
    return value, jnp.log(clipping.norm(gradient)), gradient


def _checked_point(name: str, point: jax.Array) -> jax.Array:
    point = check_floats(name, point, 1, "[2]")
    if point.shape != (2,):
        raise ValueError(f"{name}: got shape {point.shape}, expected [2], a weight and a bias")
    return point


def _checked_unit(unit: Unit) -> Unit:
    check_instance("unit", unit, Unit, "a Unit(steps, initial, target)")
    steps = check_integer("unit.steps", unit.steps, 0)
    return Unit(steps, check_number("unit.initial", unit.initial), check_number("unit.target", unit.target))
