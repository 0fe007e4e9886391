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
