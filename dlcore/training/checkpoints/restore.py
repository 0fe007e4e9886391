"""Reads a checkpoint's folder, all of it or a part, onto any devices.

A checkpoint that does not fit the experiment is refused with an error that names the first leaf that differs.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from dlcore.training.checkpoints.location import absolute
from dlcore.utils.trees import named_leaves

Tree = TypeVar("Tree")
Shapes: TypeAlias = dict[str, tuple[int, ...]]
"""The shape of every array in a tree by its path, as ``params/dense/kernel``."""

STATE = "default"  # Orbax's name for the only item in a checkpoint, which is the state

RENAMED_PATHS = {"metrics/regulariser": "metrics/regularizer"}
"""Old path of a part of the state -> its path now; checkpoints of version 0.1 have the old ones."""

ADDED_PATHS = {"remainders"}
"""Paths of parts of the state that older checkpoints do not have; such a part begins with zeros."""


def stored_shape(leaf: Any) -> tuple[int, ...]:
    """The shape in which a leaf is stored: its own; for a typed random key, that of the key's integers.

    Args:
        leaf: an array, or anything with a ``shape`` and a ``dtype``.
    """
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.eval_shape(jax.random.key_data, leaf).shape
    return tuple(leaf.shape)


def stored_tree(folder: Path) -> Any:
    """The state in a checkpoint as dicts and lists; its leaves have a ``shape`` and a ``dtype`` but no values.

    Args:
        folder: the checkpoint's folder.

    Raises:
        ValueError: there is no state in the folder, or its description cannot be read.
    """
    try:
        return ocp.StandardCheckpointHandler().metadata(absolute(folder) / STATE).tree
    except FileNotFoundError as error:
        raise ValueError(f"{folder}: got a folder without a state in it, expected a checkpoint") from error
    except Exception as error:  # Orbax raises many types
        raise _unreadable(folder, error) from error


def restore_state(folder: Path, target: Tree) -> Tree:
    """Reads the whole state of a checkpoint: a tree of arrays with the structure, types and placement of ``target``.

    Args:
        folder: the checkpoint's folder.
        target: a tree of arrays, whose values are not used, or of ``jax.ShapeDtypeStruct`` with a sharding. The
            devices may be others than those on which the state was saved.

    Raises:
        ValueError: there is no state in the folder, it cannot be read, or a leaf has another path or shape than in
            ``target``; then the error names the first such leaf. A model or optimizer whose leaves have the same paths
            and shapes is not recognized as another one. Leaves of another dtype are converted.
    """
    return _restore_checked(folder, stored_tree(folder), target)


def restore_fields(folder: Path, target: Tree) -> Tree:
    """Reads those fields of the state that ``target`` has, as `restore_state` does; the others are not read at all.

    Args:
        folder: the checkpoint's folder.
        target: a dict of fields of the state, or a dataclass with just those fields; its leaves are as for
            `restore_state`.

    Returns:
        A dict or dataclass like ``target``.

    Raises:
        ValueError: as in `restore_state`.
    """
    fields = dict(target if isinstance(target, Mapping) else vars(target))
    stored = {name: part for name, part in stored_tree(folder).items() if name in fields}
    restored = _restore_checked(folder, stored, fields)
    return restored if isinstance(target, Mapping) else dataclasses.replace(target, **restored)  # type: ignore


def restore_leaves(folder: Path, stored: Any, wanted: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Reads single leaves of a checkpoint by their stored paths; no other leaf is read, and no shape is checked.

    Args:
        folder: the checkpoint's folder.
        stored: its `stored_tree`, or the fields of it in which the leaves are.
        wanted: stored path -> an array or ``jax.ShapeDtypeStruct`` with the dtype and placement of the result.

    Returns:
        The arrays by stored path.

    Raises:
        ValueError: Orbax cannot read the leaves.
    """
    structs = {path: ocp.utils.to_shape_dtype_struct(leaf) for path, leaf in wanted.items()}
    leaves = [structs.get(path) for path in named_leaves(stored)]  # None is not read
    target = jax.tree.unflatten(jax.tree.structure(stored), leaves)
    arguments = ocp.args.PyTreeRestore(
        target, restore_args=ocp.checkpoint_utils.construct_restore_args(target), partial_restore=True
    )
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            return named_leaves(reader.restore(absolute(folder) / STATE, args=arguments))
    except Exception as error:  # Orbax raises many types, for a missing file as for another container
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ValueError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ValueError(
        f"{folder}: got a checkpoint that cannot be read as this experiment's state ({reason}); "
        "if settings differ, leave those flags away"
    )


def _restore_checked(folder: Path, stored: Any, target: Tree) -> Tree:
    """Reads all leaves of ``stored`` into the structure of ``target``; the two must have the same leaves."""
    wanted, there = named_leaves(target), named_leaves(stored)
    stored_paths = {_current_path(path, wanted): path for path in there}
    added = {path: wanted[path] for path in wanted if path in ADDED_PATHS - stored_paths.keys()}
    old = {path: leaf for path, leaf in wanted.items() if path not in added}
    _check_same(folder, {path: there[stored] for path, stored in stored_paths.items()}, old)
    values = restore_leaves(folder, stored, {stored_paths[path]: leaf for path, leaf in old.items()})
    values |= {path: _zeros(leaf) for path, leaf in added.items()}
    return jax.tree.unflatten(
        jax.tree.structure(target), [values[stored_paths.get(path, path)] for path in wanted]
    )


def _zeros(leaf: Any) -> jax.Array:
    return jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding)


def _current_path(stored_path: str, wanted: Iterable[str]) -> str:
    """The path that a stored path has now: its new name if it was renamed and is wanted, else the same.

    >>> _current_path("metrics/regulariser/total", ["metrics/regularizer/total"])
    'metrics/regularizer/total'
    >>> _current_path("metrics/regulariser/total", ["metrics/regulariser/total"])
    'metrics/regulariser/total'
    """
    for old, new in RENAMED_PATHS.items():
        renamed = new + stored_path.removeprefix(old)
        if stored_path.startswith(old + "/") and renamed in wanted:
            return renamed
    return stored_path


def _check_same(folder: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    there, here = ({path: stored_shape(leaf) for path, leaf in tree.items()} for tree in (stored, wanted))
    for path in (*here, *there):
        if there.get(path) != here.get(path):
            raise ValueError(
                f"{folder}: {path}: checkpoint has {_text(there, path)}, this experiment {_text(here, path)}; "
                "use the settings and the code of the run, or choose another folder"
            )


def _text(shapes: Shapes, path: str) -> str:
    return str(shapes[path]) if path in shapes else "none"
