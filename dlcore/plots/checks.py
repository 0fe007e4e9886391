"""Checks of what figures are given: lists or arrays of numbers, names, axes and rows of metrics."""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from dlcore.utils.checks import check_instance, check_number, shown


def as_array(name: str, values: Any, layout: str = "") -> np.ndarray:
    """Real numbers as an array of their own dtype; nested lists become arrays.

    Args:
        name: what error messages call the values.
        values: the numbers. Objects that have a ``float``, such as fractions, become float64.
        layout: the axes, such as "[H, W, C]", of which each must have an element; "" allows every shape.

    Raises:
        TypeError: the values are something else, such as None, text, complex numbers or rows of several lengths, or
            have a mask, which would be ignored.
        ValueError: the array has another number of axes than the layout, or no element.
    """
    masked = isinstance(values, np.ma.MaskedArray)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = np.asarray(+array, float)  # the sign refuses None and texts, which float would convert
        known = not masked and np.can_cast(array.dtype, float, "same_kind")
    except (TypeError, ValueError):
        known = False
    if not known:
        what = "a masked array, whose mask would be ignored" if masked else shown(values)
        raise TypeError(f"{name}: got {what}, expected {f'real numbers {layout}'.rstrip()}")
    if layout and (array.ndim != layout.count(",") + 1 or not array.size):
        raise ValueError(f"{name}: got shape {array.shape}, expected {layout} with each at least 1")
    return array


def as_numbers(name: str, values: Any, layout: str = "") -> np.ndarray:
    """Real numbers as an array of float64. Arguments and errors are those of `as_array`."""
    return as_array(name, values, layout).astype(float)


def as_integers(name: str, values: Any, layout: str) -> np.ndarray:
    """Integers as an array of int64. Arguments and errors are those of `as_array`.

    Raises:
        TypeError: the numbers are not integers.
    """
    array = as_array(name, values, layout)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: got {array.dtype}, expected integers")
    return array.astype(np.int64)


def as_booleans(name: str, values: Any, layout: str = "") -> np.ndarray:
    """Booleans, or the numbers 0 and 1, as an array of booleans. Arguments and errors are those of `as_array`.

    Raises:
        ValueError: a number is neither 0 nor 1.
    """
    array = as_array(name, values, layout)
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: got {array.dtype} other than 0 and 1, expected booleans")
    return array.astype(bool)


def as_names(name: str, values: Any) -> list[Any]:
    """Names in their order, as a list.

    Raises:
        TypeError: they are something else, such as one text, a set or None; ``name`` is what the message calls them.
    """
    try:
        if isinstance(values, str | bytes | Set | Mapping):
            raise TypeError
        return list(values)
    except TypeError:
        raise TypeError(f"{name}: got {shown(values)}, expected a list of names") from None


def as_place(name: str, values: Any) -> tuple[float, float]:
    """A place (x, y) as two floats.

    Raises:
        TypeError: the values are not a pair of numbers; ``name`` is what the message calls them.
        ValueError: a number is not finite.
    """
    try:
        x, y = values
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {shown(values)}, expected a pair of numbers (x, y)") from None
    return check_number(f"{name}[0]", x), check_number(f"{name}[1]", y)


def check_axes(axes: Any) -> None:
    """Checks that the axes are those of matplotlib.

    Raises:
        TypeError: they are something else, such as a figure.
    """
    from matplotlib.axes import Axes

    check_instance("axes", axes, Axes, "a matplotlib Axes, such as dl.plots.new_figure(4, 3).subplots()")


def as_metrics(name: str, rows: Any) -> list[tuple[int, str, float]]:
    """Rows of metrics, triples (step, name, value) as ``read_metrics`` returns them, as a list.

    Raises:
        TypeError: they are something else, such as texts; ``name`` is what the message calls them.
    """
    try:
        triples = [(step, metric, value) for step, metric, value in rows]
        as_array(name, [(step, value) for step, _, value in triples])
        known = all(isinstance(metric, str) for _, metric, _ in triples)
    except (TypeError, ValueError):
        known = False
    if not known:
        raise TypeError(
            f"{name}: got {shown(rows)}, expected triples (step, name, value), as of read_metrics"
        )
    return triples
