"""Small helpers for arrays that all other rooms may use: checks, dtypes, trailing axes, rows, devices."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from dlcore.utils.checks import shown

INT32 = np.iinfo(np.int32)


def check_array(name: str, values: Any, rank: int = 0, layout: str = "", numbers: str = "numbers") -> None:
    """Checks that values are an array, of JAX or NumPy, with enough axes.

    Args:
        name: what error messages call the values.
        values: the values to check; a ``jax.ShapeDtypeStruct`` stands for an array.
        rank: the smallest number of axes.
        layout: the axes that are expected, such as "[B, T, ...]", for the error message.
        numbers: what the array should hold, for the error message.

    Raises:
        TypeError: the values are something else, such as a list, or an array with a mask, which would be ignored.
        ValueError: the array has fewer axes.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: got a masked array, whose mask would be ignored, expected an array of {numbers}; "
            f"{name}.filled(0), with lengths or a mask of its own"
        )
    if not isinstance(values, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        what = type(values).__name__ if isinstance(values, list | tuple) else shown(values)
        raise TypeError(f"{name}: got {what}, expected an array of {numbers}; jnp.array({name})")
    if isinstance(values, np.ndarray | np.generic) and values.dtype.kind not in "biufcV":
        raise TypeError(f"{name}: got {values.dtype}, expected an array of {numbers}")
    if values.ndim < rank:
        raise ValueError(f"{name}: got shape {values.shape}, expected {layout}")


def check_floats(name: str, values: Any, rank: int = 0, layout: str = "") -> jax.Array:
    """Checks that values are an array of real floating point numbers. Arguments are those of `check_array`.

    Returns:
        The values as a JAX array; a ``jax.ShapeDtypeStruct`` as it is.

    Raises:
        TypeError: the values are not an array, or of another dtype, such as integer, boolean or complex.
        ValueError: the array has too few axes.
    """
    check_array(name, values, rank, layout, "floating point numbers")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(
            f"{name}: got {values.dtype}, expected floating point numbers; convert integers with "
            "astype(float32), scaled as the data asks, and split complex numbers into real and imaginary part"
        )
    array: Any = values if isinstance(values, jax.ShapeDtypeStruct) else jnp.asarray(values)
    return array


def check_integers(name: str, values: Any, rank: int = 0, layout: str = "") -> jax.Array:
    """Checks that values are an array of integers, of any integer dtype. Arguments are those of `check_array`.

    Returns:
        The values as a JAX array of int32, in which sums do not overflow early. What int32 cannot hold becomes the
        nearest number that it holds.

    Raises:
        TypeError: the values are not an array, or of another dtype.
        ValueError: the array has too few axes.

    >>> check_integers("labels", np.array([3, 2**40], np.uint64)).tolist()
    [3, 2147483647]
    """
    check_integer_array(name, values, rank, layout)
    least, largest = int(jnp.iinfo(values.dtype).min), int(jnp.iinfo(values.dtype).max)
    if largest > INT32.max:
        # JAX would cut 64 bits of NumPy's before it compares them.
        library: Any = jnp if isinstance(values, jax.Array) else np
        values = library.clip(values, max(least, INT32.min), INT32.max)
    return jnp.asarray(values, jnp.int32)


def check_integer_array(name: str, values: Any, rank: int = 0, layout: str = "") -> None:
    """As `check_integers`, without a conversion: nothing is moved to a device."""
    check_array(name, values, rank, layout, "integers")
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise TypeError(f"{name}: got {values.dtype}, expected integers; {name}.astype(int32)")


def to_array(name: str, values: Any) -> jax.Array:
    """Values as a JAX array; numbers and nested lists of numbers become arrays.

    Raises:
        TypeError: the values are something else, such as None, text, or an array with a mask, which would be ignored.

    >>> to_array("mask", [True, False]).dtype
    dtype('bool')
    """
    if isinstance(values, list | tuple | int | float | complex):
        with contextlib.suppress(ValueError):  # rows of several lengths are no array; the check says so
            values = np.asarray(values)
    check_array(name, values)
    return jnp.asarray(values)


def to_real(name: str, values: Any) -> jax.Array:
    """Values as a JAX array of real numbers in float32, or in float64 if they are that already.

    Raises:
        TypeError: as in `to_array`, or the values are complex numbers or random keys.
    """
    array = to_array(name, values)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool) or jnp.iscomplexobj(array):
        raise TypeError(
            f"{name}: got {array.dtype}, expected real numbers; split complex ones into two parts"
        )
    return at_least_float32(array)


def to_integers(name: str, values: Any) -> jax.Array:
    """Integers of any dtype, booleans or nested lists of them as a JAX array of int32.

    Raises:
        TypeError: the values are something else; ``name`` is what the error message calls them.

    >>> to_integers("labels", [True, False]).tolist()
    [1, 0]
    """
    if isinstance(values, list | tuple):
        values = to_array(name, values)
    booleans = isinstance(values, jax.Array | np.ndarray) and values.dtype == bool
    return check_integers(name, values.astype(int) if booleans else values)


def to_labels(logits: jax.Array, labels: Any) -> jax.Array:
    """Labels of any integer dtype, or booleans, as a JAX array of int32.

    Args:
        logits: ``[B, ..., C]``, the scores of C classes.
        labels: ``[B, ...]``; lists become arrays.

    Raises:
        TypeError: the labels are not integers.
        ValueError: their shape is not that of the logits without the last axis, or there is no class.

    >>> to_labels(jnp.zeros((1, 256)), np.array([255], np.uint8)).tolist()
    [255]
    """
    labels = to_integers("labels", labels)
    if logits.ndim < 2 or labels.shape != logits.shape[:-1] or not logits.shape[-1]:
        raise ValueError(
            f"logits: got {logits.shape} for labels of shape {labels.shape}, expected [B, ..., C] and [B, ...]; "
            "flatten or pool the model's output to one row of class scores a label"
        )
    return labels


def to_binary(name: str, scores: jax.Array, labels: Any) -> jax.Array:
    """Labels 0 and 1 of one score each as a JAX array of int32; other integers stay as they are.

    Args:
        name: what error messages call the scores.
        scores: ``[B, ...]``.
        labels: integers or booleans ``[B, ...]``; lists become arrays.

    Raises:
        TypeError: the labels are not integers.
        ValueError: their shape is not that of the scores, or they have no axis.

    >>> to_binary("logits", jnp.zeros(2), np.array([True, False])).tolist()
    [1, 0]
    """
    labels = to_integers("labels", labels)
    if not scores.ndim or labels.shape != scores.shape:
        raise ValueError(
            f"{name}: got {scores.shape} for labels of shape {labels.shape}, expected the same shape [B, ...], one a "
            f"label; {name}[..., 0] drops a last dimension of 1"
        )
    return labels


def check_dtypes(dtype: DTypeLike | None, param_dtype: DTypeLike) -> None:
    """Checks the ``dtype`` of a layer's computation, which may be None, and the ``param_dtype`` of its parameters.

    Raises:
        TypeError: one of them is not a dtype of real floating point numbers, such as ``jnp.bfloat16`` or "float32".
    """
    for name, value in (("dtype", jnp.float32 if dtype is None else dtype), ("param_dtype", param_dtype)):
        try:
            one = value is not None and not isinstance(value, np.ndarray | jax.Array)
            known = one and jnp.issubdtype(jnp.dtype(value), jnp.floating)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise TypeError(
                f"{name}: got {shown(value)}, expected a dtype of floating point numbers, as jnp.float32"
            )


def check_key(name: str, key: Any) -> jax.Array:
    """Checks that a value is one random key of ``jax.random``, of the new kind or ``uint32``.

    Returns:
        The key as a JAX array.

    Raises:
        TypeError: it is something else, such as an integer or an array of keys; ``name`` is what the error message
            calls it.

    >>> key = check_key("rng", jax.random.key(0))
    """
    array = isinstance(key, jax.Array | np.ndarray)
    new = array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not (array and key.ndim == (0 if new else 1) and (new or key.dtype == np.uint32)):
        raise TypeError(f"{name}: got {shown(key)}, expected a random key such as jax.random.key(0)")
    return jnp.asarray(key)


def at_least_float32(array: jax.Array) -> jax.Array:
    """A float array in float32, or in float64 if it is that already; integers become float32, complex stays complex.

    Sums, means and logarithms of half precision lose most of their digits.

    >>> at_least_float32(jnp.ones(2, jnp.bfloat16)).dtype
    dtype('float32')
    """
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def broadcast_weights(weights: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Weights that fit values of a shape. Their gradient sums over the new axes in float32 at least.

    Wide weights are returned as they are, because arithmetic spreads them itself. Before a loop, XLA would make an
    array of the whole shape of them, which each step would read.

    >>> broadcast_weights(jnp.ones(3, jnp.bfloat16), (2, 3)).shape, broadcast_weights(jnp.ones(3), (2, 3)).shape
    ((2, 3), (3,))
    """
    wide = at_least_float32(weights)
    return weights if wide.dtype == weights.dtype else jnp.broadcast_to(wide, shape).astype(weights.dtype)


def add_bias(values: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Values ``[..., N]`` plus a bias ``[N]``, as `broadcast_weights` spreads it; the values themselves without one."""
    return values if bias is None else values + broadcast_weights(bias, values.shape)


def expand_to_rank(array: jax.Array, rank: int) -> jax.Array:
    """The same array with axes of size 1 appended until it has ``rank`` axes, so that it broadcasts over features.

    ``rank`` must be at least the number of axes that the array has.

    >>> expand_to_rank(jnp.ones((2, 3)), 4).shape
    (2, 3, 1, 1)
    """
    return array.reshape(*array.shape, *[1] * (rank - array.ndim))


def where_rows(rows: jax.Array, these: jax.Array, others: jax.Array) -> jax.Array:
    """An array that takes each row from ``these`` where ``rows`` is True, and from ``others`` elsewhere.

    Args:
        rows: booleans ``[...]``, one for each row.
        these: ``[..., *features]``.
        others: ``[..., *features]``, or anything that broadcasts to it, such as a scalar.

    Returns:
        ``[..., *features]``.
    """
    return jnp.where(expand_to_rank(rows, these.ndim), these, others)


def are_whole(arrays: Any) -> bool:
    """True if no array of a tree can be split over several devices, as far as the traced program shows.

    An array knows the mesh on whose devices it is placed, or an array from which it was computed. Within
    ``jax.shard_map`` it is a shard, which is whole. One that only ``in_shardings`` will place looks whole, too.

    >>> are_whole({"kernel": jnp.ones(2), "bias": None})
    True
    """
    meshes = [jax.typeof(array).sharding.mesh for array in jax.tree.leaves(arrays)]
    return all(size == 1 or axis in mesh.manual_axes for mesh in meshes for axis, size in mesh.shape.items())
