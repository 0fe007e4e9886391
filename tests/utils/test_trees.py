"""The names of a tree's leaves."""

import jax
import numpy as np

from dlcore.utils.trees import named_leaves


def test_leaves_are_named_by_their_paths_in_the_order_of_the_tree():
    tree = {"b": np.ones(2), "a": {"kernel": 1.0, "none": None}, "c": (2.0, [3.0])}
    leaves = named_leaves(tree)
    assert list(leaves) == ["a/kernel", "b", "c/0", "c/1/0"]
    assert all(one is other for one, other in zip(leaves.values(), jax.tree.leaves(tree), strict=True))


def test_a_leaf_alone_has_the_empty_path():
    assert named_leaves(1.0) == {"": 1.0}
    assert named_leaves({}) == {}
