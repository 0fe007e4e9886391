"""Kinds of arguments, each with the values that somebody passes by mistake.

A table of `Call` says for every public function of dlcore what a good call is and of which kind each argument is. The
bad calls follow from it: one argument at a time has one bad value of its kind. What a function takes on purpose, such
as integers in place of floats, stands in the table as ``taken``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Argument(NamedTuple):
    """An argument of a public call: a good value, and by their description bad values of its kind.

    ``taken`` are the descriptions of those bad values that are taken on purpose. ``names`` are the names by which an
    error may call the argument, in addition to its own.
    """

    good: Any
    bad: Mapping[str, Any]
    taken: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()

    def without(self, *values: str) -> "Argument":
        """The same argument without these bad values, which are right in this place."""
        assert set(values) <= set(self.bad), set(values) - set(self.bad)
        return self._replace(bad={value: bad for value, bad in self.bad.items() if value not in values})

    def also(self, **values: Any) -> "Argument":
        """The same argument with more bad values; their descriptions have underscores for blanks."""
        more = {name.replace("_", " "): value for name, value in values.items()}
        return self._replace(bad={**self.bad, **more})


class Call(NamedTuple):
    """A public function and a good call of it. It is only traced if ``traced``, so that nothing has to be compiled."""

    name: str
    run: Callable[..., Any]
    arguments: Mapping[str, Argument]
    traced: bool = True

    def fault(self, name: str = "", value: str = "") -> str | None:
        """What is wrong about this call, with one bad value if it is named; None if nothing is."""
        values = {key: argument.good for key, argument in self.arguments.items()}
        taken = True
        if name:
            argument = self.arguments[name]
            values[name], taken = argument.bad[value], value in argument.taken
        try:
            self._run(values)
        except Exception as error:
            if taken:
                return f"refused: {describe(error)}"
            return (
                None
                if names(error, (name, *argument.names))
                else f"{type(error).__name__}: {describe(error)}"
            )
        return None if taken else "taken without a word"

    def _run(self, values: Mapping[str, Any]) -> None:
        if not self.traced:
            self.run(**values)
            return
        values = {key: jax.tree.map(to_jax, value) for key, value in values.items()}
        jax.eval_shape(lambda: (self.run(**values), None)[1])

    def bad_calls(self) -> Iterator[tuple[str, str]]:
        """The name of an argument and the description of its bad value, for each bad call."""
        return ((name, value) for name, argument in self.arguments.items() for value in argument.bad)


def to_jax(value: Any) -> Any:
    return jnp.asarray(value) if type(value) is np.ndarray else value


def describe(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:150]


def names(error: Exception, known: tuple[str, ...]) -> bool:
    """True if the error is of dlcore's own kind: `argument: got this, expected that`."""
    message = str(error)
    own = isinstance(error, ValueError | TypeError | IndexError) and ": got" in message
    return own and any(name in message.partition(", expected")[0] for name in known)


def kind(good: Any, bad: Mapping[str, Any], taken: Any = (), names: tuple[str, ...] = ()) -> Argument:
    taken = {taken} if isinstance(taken, str) else set(taken)
    assert taken <= set(bad), taken - set(bad)
    return Argument(good, bad, frozenset(taken), names)


def array(good: np.ndarray, more: Mapping[str, Any], optional: bool, **options: Any) -> Argument:
    """What is wrong for every array."""
    bad = {
        "a list": good.tolist(),
        "text": "text",
        "a masked array": np.ma.masked_array(good, np.zeros(good.shape, bool)),
        "an object": object(),
        **({} if optional else {"None": None}),
        **({} if good.ndim == 0 else {"a 0-d array": good.ravel()[0]}),
        **more,
    }
    return kind(good, bad, **options)


def floats(*shape: int, optional: bool = False, **options: Any) -> Argument:
    """An array of real numbers of this shape."""
    good = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    more = {"integers": good.astype(np.int32), "complex numbers": good.astype(np.complex64)}
    if len(shape) > 1:
        more |= {"rank 1": good.ravel(), "nothing": good[(slice(0),) * len(shape)]}
    return array(good, more, optional, **options)


def integers(*good: int, most: int | None = None, optional: bool = False, **options: Any) -> Argument:
    """An array ``[B]`` of integers from 0 to ``most``, such as lengths and labels."""
    whole = np.array(good, np.int32)
    more = {
        "floats": whole.astype(np.float32),
        "booleans": whole.astype(bool),
        "rank 2": whole[None],
        "too many": np.concatenate([whole, whole]),
        "-1": np.full_like(whole, -1),
        **({} if most is None else {"too large": np.full_like(whole, most + 1)}),
    }
    return array(whole, more, optional, **options)


def booleans(*good: bool, optional: bool = False, **options: Any) -> Argument:
    flags = np.array(good)
    more = {"integers": flags.astype(np.int32), "floats": flags.astype(np.float32), "shape [1]": flags[:1]}
    return array(flags, more, optional, **options)


def integer(good: int, least: int = 1, *, optional: bool = False, **options: Any) -> Argument:
    bad = {
        "text": "3",
        "2.5": 2.5,
        "NaN": float("nan"),
        "too small": least - 1,
        "an array": np.array([1, 2, 3]),
        "an object": object(),
        **({} if optional else {"None": None}),
    }
    return kind(good, bad, **options)


def size(good: int, least: int = 1, **options: Any) -> Argument:
    """An integer in the field of a module, which must be hashable and known before tracing."""
    return integer(good, least, **options).also(a_JAX_scalar=jnp.int32(good))


def number(good: float, *, optional: bool = False, wrong: tuple[float, ...] = (), **options: Any) -> Argument:
    """A real number; ``wrong`` are numbers outside its bounds."""
    bad = {
        "text": "0.5",
        "NaN": float("nan"),
        "a list": [0.5],
        "an array": np.array([0.5, 0.5]),
        "complex": 0.5j,
        **{f"{value}": value for value in wrong},
        **({} if optional else {"None": None}),
    }
    return kind(good, bad, **options)


def rate(good: float = 0.25, **options: Any) -> Argument:
    """A share in [0, 1)."""
    return number(good, wrong=(-0.1, 1.0, 2.0, float("inf")), **options)


def flag(good: bool = False, *, optional: bool = False, **options: Any) -> Argument:
    bad: dict[str, Any] = {"text": "no", "2": 2, "a list": [], "an array": np.array([True, False])}
    if not optional:
        bad["None"] = None
    return kind(good, bad, **options)


def choice(good: str, *, optional: bool = False, **options: Any) -> Argument:
    bad = {
        "another word": "bogus",
        "capitals": good.upper() if good != good.upper() else good.lower(),
        "3": 3,
        "a list": [good],
        **({} if optional else {"None": None}),
    }
    return kind(good, bad, **options)


def text(good: str, **options: Any) -> Argument:
    return kind(good, {"None": None, "3": 3, "a list": ["a"]}, **options)


def label(good: str = "a label") -> Argument:
    """What stands in a figure as its text, whatever it is."""
    return text(good, taken=("None", "3", "a list"))


def dtype(good: Any = None, **options: Any) -> Argument:
    """A floating point dtype."""
    bad = {"text": "x", "int32": jnp.int32, "complex64": jnp.complex64, "3": 3, "an array": np.ones(2)}
    return kind(good, bad, **options)


def function(good: Callable[..., Any], *, optional: bool = False, **options: Any) -> Argument:
    bad = {"text": "tanh", "3": 3, "a list": [good], **({} if optional else {"None": None})}
    return kind(good, bad, **options)


def thing(
    good: Any, *, optional: bool = False, more: Mapping[str, Any] | None = None, **options: Any
) -> Argument:
    """An object of a class of dlcore or flax, such as a cell."""
    bad = {
        "text": "text",
        "3": 3,
        "a list": [3],
        "its class": type(good),
        "an object": object(),
        **({} if optional else {"None": None}),
        **(more or {}),
    }
    return kind(good, bad, **options)


def sequence(
    good: Any, *, optional: bool = False, more: Mapping[str, Any] | None = None, **options: Any
) -> Argument:
    """A sequence of objects."""
    bad = {
        "text": "text",
        "3": 3,
        "numbers": [3],
        "nothing": [],
        **({} if optional else {"None": None}),
        **(more or {}),
    }
    return kind(good, bad, **options)


def fields(good: Mapping[str, Any], *, more: Mapping[str, Any] | None = None, **options: Any) -> Argument:
    """A dict of arrays by name, such as a batch; its fields are all needed, and errors may name them."""
    bad: dict[str, Any] = {"None": None, "a list": [1.0], "text": "text", "nothing": {}}
    for name, value in good.items():
        bad[f"no {name}"] = {key: other for key, other in good.items() if key != name}
        bad[f"{name} that are a list"] = {**good, name: np.asarray(value).tolist()}
        bad[f"{name} that are None"] = {**good, name: None}
        bad[f"{name} that are a 0-d array"] = {**good, name: np.asarray(value).ravel()[0]}
        bad[f"{name} that are text"] = {**good, name: "text"}
    return kind(good, {**bad, **(more or {})}, names=(*good, *options.pop("names", ())), **options)


def numbers(*shape: int, more: Mapping[str, Any] | None = None, **options: Any) -> Argument:
    """Real numbers of this shape for a figure, an array or nested lists."""
    good = np.linspace(0.1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    bad = {
        "None": None,
        "text": "text",
        "an object": object(),
        "a 0-d array": np.float32(1),
        "complex numbers": good.astype(np.complex64),
        "too many axes": good[None, None],
        **(more or {}),
    }
    return kind(good, bad, **options)


def by_name(good: Any, known: Argument, **options: Any) -> Argument:
    """A dict from a name to what ``known`` describes."""
    bad = {"None": None, "text": "text", "3": 3, "a list": [good]}
    bad |= {f"{value} in it": {"a": wrong} for value, wrong in known.bad.items()}
    return kind({"a": good}, bad, **options)
