"""Which parameters are kernels: weight decay shrinks these alone."""

from typing import Any

import jax
import optax


def is_decayed(params: optax.Params) -> optax.Params:
    """The mask of weight decay: a tree of bools with the structure of ``params``, True for kernels.

    A parameter's name says what it is, `is_kernel`; its rank does not, because layers that are stacked for a scan give
    each parameter one more dimension. A name that says nothing, such as ``w1``, or a parameter without a name counts
    as a kernel if the array has two or more dimensions.

    >>> import numpy as np
    >>> params = {"recurrent_kernel": np.ones(3), "bias": np.ones((2, 3)), "w1": np.ones((3, 3)), "w2": np.ones(3)}
    >>> is_decayed(params)
    {'bias': False, 'recurrent_kernel': True, 'w1': True, 'w2': False}
    """

    def decays(path: Any, leaf: jax.Array) -> bool:
        kernel = is_kernel(name_of(path))
        return leaf.ndim > 1 if kernel is None else kernel

    return jax.tree_util.tree_map_with_path(decays, params)


def is_kernel(name: str) -> bool | None:
    """True if a parameter's name says that it is a kernel, False if it says that it is none, None if it says nothing.

    A kernel multiplies what a layer reads: ``kernel``, ``embedding``, or a name that ends in ``_kernel``. A bias
    or an offset is added, a scale multiplies normalized values: ``bias``, ``offset``, ``scale``, or a name that ends in
    ``_bias``, ``_offset`` or ``_scale``.

    >>> [is_kernel(name) for name in ("kernel", "input_kernel", "recurrent_scale", "offset", "weights")]
    [True, True, False, False, None]
    """
    role = name.rsplit("_", maxsplit=1)[-1]
    return {"kernel": True, "embedding": True, "bias": False, "scale": False, "offset": False}.get(role)


def name_of(path: tuple[Any, ...]) -> str:
    """The last name in a leaf's path; indexes of lists, and the ``value`` of a boxed parameter, are no names."""
    keys = [getattr(entry, "key", getattr(entry, "name", None)) for entry in path]
    return next((key for key in reversed(keys) if isinstance(key, str) and key != "value"), "")
