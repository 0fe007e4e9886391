"""Where torch and flax keep the arrays of layers that are not recurrent, and how to convert these arrays."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from dlcore.layers.convolution.conv import Conv
from dlcore.layers.convolution.conv_transpose import ConvTranspose

Change = Callable[[np.ndarray], np.ndarray]


class Entry(NamedTuple):
    """One array of a layer.

    Attributes:
        theirs: its name in the library, such as ``weight``; in flax with the collection, such as ``params/kernel``.
        ours: its name in dlcore with the collection, such as ``params/kernel``.
        read: converts the library's array to dlcore's.
        write: the inverse of ``read``.
    """

    theirs: str
    ours: str
    read: Change = np.asarray
    write: Change = np.asarray


_NORMS = (nn.BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_TORCH_NAMES = {
    "params/kernel": "weight",
    "params/scale": "weight",
    "params/embedding": "weight",
    "params/bias": "bias",
    "batch_stats/mean": "running_mean",
    "batch_stats/var": "running_var",
}
_NAMES: dict[Any, tuple[str, ...]] = {
    (Conv, nn.Conv, ConvTranspose, nn.Dense): ("params/kernel", "params/bias"),
    _NORMS: ("params/scale", "params/bias", "batch_stats/mean", "batch_stats/var"),
    (nn.Embed,): ("params/embedding",),
}


def entries_of(layer: nn.Module, library: str, flattened: Sequence[int] | None = None) -> list[Entry]:
    """The arrays that a layer can have; which of them it has depends on its settings.

    Args:
        layer: the layer.
        library: "torch" or "flax".
        flattened: the shape ``(C, *spatial)`` of torch's maps that the inputs of a dense layer are flattened from; None
            if they are not flattened.

    Returns:
        A list of `Entry`; empty if the library has no such layer.
    """
    names = next((names for kinds, names in _NAMES.items() if isinstance(layer, kinds)), ())
    entries = []
    for name in names:
        entry = Entry(_TORCH_NAMES[name] if library == "torch" else name, name)
        if name == "params/kernel":
            entry = _kernel(layer, library, flattened, entry)
        entries.append(entry)
    return entries


def _kernel(layer: nn.Module, library: str, flattened: Sequence[int] | None, entry: Entry) -> Entry:
    if isinstance(layer, nn.Dense):
        if library == "flax":
            return entry
        read, write = (
            functools.partial(change, shape=tuple(flattened or ())) for change in (_dense_read, _dense_write)
        )
        return entry._replace(read=read, write=write)
    flip: Change = _flip if getattr(layer, "flip", False) else np.asarray
    if library == "flax":
        return entry._replace(read=flip, write=flip)
    return entry._replace(
        read=lambda array: flip(np.moveaxis(array, (0, 1), (-1, -2))),
        write=lambda array: np.moveaxis(flip(array), (-1, -2), (0, 1)),
    )


def _flip(kernel: np.ndarray) -> np.ndarray:
    """A kernel ``[*spatial, inputs, outputs]`` whose filters are flipped."""
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def _dense_read(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``[outputs, inputs]`` -> ``[inputs, outputs]``; inputs flattened from (C, *spatial) become (*spatial, C)."""
    if not shape:
        return weight.T
    return np.moveaxis(weight.reshape(-1, *shape), 1, -1).reshape(len(weight), -1).T


def _dense_write(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if not shape:
        return kernel.T
    maps = kernel.T.reshape(-1, *shape[1:], shape[0])
    return np.moveaxis(maps, -1, 1).reshape(len(maps), -1)


def full_name(library: str, path: str, name: str) -> str:
    """The name of an array in a whole model, from the path of its layer and its name there.

    >>> full_name("torch", "encoder.0", "weight"), full_name("flax", "encoder/Conv_0", "params/kernel")
    ('encoder.0.weight', 'params/encoder/Conv_0/kernel')
    """
    if not path:
        return name
    if library == "torch":
        return f"{path}.{name}"
    collection, _, rest = name.partition("/")
    return f"{collection}/{path}/{rest}"


def take_under(arrays: dict[str, Any], library: str, path: str) -> dict[str, Any]:
    """Takes the arrays of the layer at a path out of a dict by full name, and returns them by their names there.

    >>> arrays = {"a.weight": 1, "ab.weight": 2}
    >>> take_under(arrays, "torch", "a"), arrays
    ({'weight': 1}, {'ab.weight': 2})
    """
    taken = {}
    for full in tuple(arrays):
        name = _name_under(library, path, full)
        if name is not None:
            taken[name] = arrays.pop(full)
    return taken


def _name_under(library: str, path: str, full: str) -> str | None:
    if not path:
        return full
    if library == "torch":
        return full.removeprefix(f"{path}.") if full.startswith(f"{path}.") else None
    collection, _, rest = full.partition("/")
    return f"{collection}/{rest.removeprefix(path + '/')}" if rest.startswith(f"{path}/") else None
