"""Checks of a module's fields, which follow from the fields' types, and of the shapes of its parameters."""

import collections.abc
import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.ops.arrays import check_dtypes
from dlcore.utils import checks

Check: TypeAlias = Callable[[str, Any], Any]
"""``name, value -> ...``; it raises if the value is wrong."""


def check_fields(module: nn.Module) -> None:
    """Checks that the fields of a module are what their types say.

    A ``bool`` is True or False. An ``int`` is at least 1, and a ``float`` is finite. A ``Literal`` is one of its words.
    An initializer or another ``Callable`` can be called. A module is an object of its class. ``dtype`` and
    ``param_dtype`` are dtypes of floating point numbers. A field with ``| None`` may also be None. The module itself
    checks fields of other types and narrower bounds.

    Args:
        module: the module; it calls this function in its ``__post_init__``.

    Raises:
        TypeError: a field has another type.
        ValueError: a number is out of these bounds, or a word is unknown.

    >>> class Scaled(nn.Module):
    ...     factor: float
    ...     def __post_init__(self) -> None:
    ...         check_fields(self)
    ...         super().__post_init__()
    >>> Scaled("2")
    Traceback (most recent call last):
        ...
    TypeError: factor: got '2', expected a number in (-inf, inf)
    """
    kind: Any = type(module)
    for name, check in _checks_of(kind).items():
        check(name, getattr(module, name))
    if hasattr(module, "param_dtype"):
        check_dtypes(getattr(module, "dtype", None), module.param_dtype)


def parameter(
    module: nn.Module, name: str, init: Initializer, shape: tuple[int, ...], dtype: Dtype
) -> jax.Array:
    """A parameter of a module, as ``module.param`` gives it.

    Args:
        module: the bound module.
        name: the parameter's name.
        init: its initializer.
        shape: its shape.
        dtype: its dtype.

    Raises:
        ValueError: the parameters that the module was given hold one of this name and another shape.
    """
    if module.has_variable("params", name):
        given = jnp.shape(module.get_variable("params", name))
        if given != shape:
            raise ValueError(
                f"params: got {'/'.join((*module.path, name))} of shape {given}, expected {shape} for a "
                f"{type(module).__name__} and these inputs; the settings and inputs must be those of the parameters"
            )
    return module.param(name, init, shape, dtype)


@functools.cache
def _checks_of(kind: type[nn.Module]) -> dict[str, Check]:
    fields = (field for field in dataclasses.fields(kind) if field.name not in ("parent", "name"))
    checked = {field.name: _check_of(field.type) for field in fields}
    return {name: check for name, check in checked.items() if check is not None}


def _check_of(hint: Any) -> Check | None:
    """The check of a field of this type; None if the type does not say enough."""
    if hint == Initializer:
        return functools.partial(checks.check_callable, example="nn.initializers.zeros")
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = list(typing.get_args(hint)) if union else [hint]
    optional = type(None) in options
    if optional:
        options.remove(type(None))
    check = _check_of_one(options[0], optional) if len(options) == 1 else None
    if check is None or not optional:
        return check
    return lambda name, value: None if value is None else check(name, value)


def _check_of_one(option: Any, optional: bool) -> Check | None:
    if typing.get_origin(option) is Literal:
        words = (*typing.get_args(option), *[None] * optional)
        return functools.partial(checks.check_choice, choices=words)
    if typing.get_origin(option) is collections.abc.Callable:
        return functools.partial(checks.check_callable, example="jnp.tanh")
    if isinstance(option, type) and issubclass(option, nn.Module):
        return functools.partial(
            checks.check_instance,
            kind=option,
            expected=_EXPECTED.get(option, f"an object of the class {option.__name__}"),
        )
    simple: dict[Any, Check] = {bool: checks.check_bool, int: _check_size, float: _check_float}
    return simple.get(option)


def _check_size(name: str, value: Any) -> None:
    _check_python(name, value, "an integer >= 1", "int")
    checks.check_integer(name, value)


def _check_float(name: str, value: Any) -> None:
    _check_python(name, value, "a number", "float")
    checks.check_number(name, value)


def _check_python(name: str, value: Any, expected: str, kind: str) -> None:
    """Refuses arrays: a module must be hashable, and its numbers known while it is traced."""
    if isinstance(value, jax.Array | np.ndarray):
        raise TypeError(f"{name}: got {checks.shown(value)}, expected {expected}; {kind}({name})")


_EXPECTED: dict[Any, str] = {
    nn.Module: "a module such as nn.Dense(4)",
    nn.RNNCellBase: "a cell such as dl.GRUCell(features=64); a layer takes cells, and knows the direction itself",
}
