"""Names the leaves of trees of arrays by their paths."""

from typing import Any

import jax


def named_leaves(tree: Any) -> dict[str, Any]:
    """A dict of a tree's leaves by their paths, joined by ``/``, in the order of the tree; None is no leaf.

    >>> named_leaves({"dense": {"kernel": 1.0, "bias": None}, "gates": (2.0, 3.0)})
    {'dense/kernel': 1.0, 'gates/0': 2.0, 'gates/1': 3.0}
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def first_difference(expected: Any, got: Any, *, types: bool = True) -> str | None:
    """The first leaf in which two trees of arrays differ by path, shape or type, as "X at PATH, expected Y".

    If all leaves agree, it is what their structures differ in; None if nothing differs.

    Args:
        expected: a tree of arrays, or of anything with ``shape`` and ``dtype``.
        got: the other tree.
        types: False if types may differ.

    >>> import numpy as np
    >>> first_difference({"kernel": np.zeros((2, 3))}, {"kernel": np.zeros(2)})
    'float64[2] at kernel, expected float64[2, 3]'
    """
    there, here = (
        {
            path: f"{leaf.dtype if types else ''}{list(leaf.shape)}"
            for path, leaf in named_leaves(tree).items()
        }
        for tree in (expected, got)
    )
    for path in (*there, *here):
        if there.get(path) != here.get(path):
            return f"{here.get(path, 'nothing')} at {path}, expected {there.get(path, 'nothing')}"
    wanted, found = (str(jax.tree.structure(tree)) for tree in (expected, got))
    return None if wanted == found else f"the structure {found}, expected {wanted}"
