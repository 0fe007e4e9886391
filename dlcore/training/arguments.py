"""Arguments of the functions of an experiment: which fields of a batch a model gets, and checks of what it returns."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any

from dlcore.data.batch import STREAMS, check_fields

FIRST = ("inputs", "lengths")
"""Fields that the first two parameters get if they have names of their own, such as ``x`` and ``n``."""
NOT_LENGTHS = ("mask", "labels", "targets", "resets", "source", "source_lengths", "tokens")
"""Names with which a second parameter asks for another field, which this batch does not have."""
NEEDED = {
    "lengths": "without them padding counts as data",
    "resets": "without them a new stream goes on from an old one",
}
"""Fields that a model must take if the batch has them, and why."""


def mode_options(train: bool) -> dict[str, bool]:
    """The names by which a model may ask for training or evaluation, with their values."""
    return {"train": train, "deterministic": not train, "inference": not train}


def read_fields(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a model may read: all but the state of its streams, which is a part of the model state."""
    check_fields(batch)
    return {name: field for name, field in batch.items() if name != STREAMS}


def model_arguments(
    name: str,
    call: Callable[..., Any],
    batch: Mapping[str, Any],
    options: Mapping[str, Any],
    forwarded: Iterable[str] = (),
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with which a model is called: the fields of the batch that its parameters name.

    A parameter whose name is an option gets the option, and any other one the field of its name. If the first
    parameter names none, it gets ``inputs``; if the second one names none, it gets ``lengths``. A parameter that gets
    nothing keeps its default. ``**fields`` gets ``lengths`` and ``resets`` if no parameter does, and the forwarded
    options.

    Args:
        name: what error messages call ``call``.
        call: the model's bound ``__call__``; it is not called here.
        batch: the fields by name.
        options: what the model may ask for that is no field, such as ``train``.
        forwarded: the names of those options that ``**fields`` gets as well.

    Returns:
        The positional and the keyword arguments.

    Raises:
        ValueError: the batch has no field for a parameter without a default.
        TypeError: the batch has ``lengths`` or ``resets``, and the model does not take them; or it is not a dict.

    >>> def call(x, n, mask=None, *, train): ...
    >>> model_arguments("call", call, {"inputs": 1, "lengths": 2, "labels": 3}, {"train": False})
    ((1, 2), {'train': False})
    """
    batch = read_fields(batch)
    signature = inspect.signature(call)
    sources = _sources(signature, batch, options)
    needed = {field: batch[field] for field in NEEDED if field in batch and field not in sources.values()}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for index, parameter in enumerate(signature.parameters.values()):
        if parameter.kind is Parameter.VAR_KEYWORD:
            named |= needed | {option: options[option] for option in forwarded}
            needed = {}
        elif parameter.name in sources:
            value = batch[sources[parameter.name]]
            if parameter.kind is not Parameter.KEYWORD_ONLY and len(positional) == index:
                positional.append(value)
            else:  # a parameter before this one keeps its default
                named[parameter.name] = value
        elif parameter.name in options:
            named[parameter.name] = options[parameter.name]
        elif parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_POSITIONAL:
            raise ValueError(
                f"{parameter.name}: got a batch with the fields {', '.join(map(str, batch)) or '(none)'}, expected one "
                f"with the field {parameter.name} for {name}{signature}; or give the parameter a default"
            )
    for field in needed:
        raise TypeError(
            f"{name}: got {name}{signature} for a batch with {field}, expected a parameter {field}: {NEEDED[field]}; "
            f"add the parameter, or leave {field} out of the batch"
        )
    return tuple(positional), named


def _sources(signature: inspect.Signature, batch: Iterable[str], options: Iterable[str]) -> dict[str, str]:
    """The field that each parameter gets, by the parameter's name."""
    parameters = signature.parameters.values()
    asking = [p.name for p in parameters if p.kind is not Parameter.VAR_KEYWORD and p.name not in options]
    sources = {name: name for name in asking if name in batch}
    first = [p.name for p in parameters if p.kind not in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)][:2]
    for name, field in zip(first, FIRST, strict=False):
        free = name in asking and name not in sources and not (field == "lengths" and name in NOT_LENGTHS)
        if free and field in batch and field not in sources:
            sources[name] = field
    return sources


def check_call(name: str, function: Callable[..., Any], *positional: Any, **named: Any) -> None:
    """Checks that a function can be called with these arguments; it is not called.

    Args:
        name: what the error message calls the function.
        function: the function.
        positional: its positional arguments.
        named: its keyword arguments.

    Raises:
        TypeError: it cannot be called, or it takes other arguments.
    """
    if not callable(function):
        raise TypeError(f"{name}: got {function!r}, expected a function")
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C has no signature
        return
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        call = ", ".join([*["..."] * len(positional), *(f"{key}=..." for key in named)])
        raise TypeError(
            f"{name}: got {name}{signature}, expected a function for {name}({call}); {error}"
        ) from None


def check_pair(name: str, returned: Any, expected: str) -> tuple[Any, Any]:
    """Checks that a function returned two values, and returns them.

    Args:
        name: what the error message calls the function.
        returned: what it returned.
        expected: the two values in words.

    Raises:
        TypeError: it returned something else.

    >>> check_pair("init", 3, "params, model_state")
    Traceback (most recent call last):
        ...
    TypeError: init: got int returned, expected params, model_state
    """
    if not (isinstance(returned, tuple | list) and len(returned) == 2):
        raise TypeError(f"{name}: got {describe(returned)} returned, expected {expected}")
    first, second = returned
    return first, second


def describe(returned: Any) -> str:
    """What a function returned, in a few words."""
    if isinstance(returned, tuple | list):
        return f"{len(returned)} values ({', '.join(type(value).__name__ for value in returned)})"
    return f"an array of shape {returned.shape}" if hasattr(returned, "shape") else type(returned).__name__
