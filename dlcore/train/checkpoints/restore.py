"""Reading one checkpoint's folder: all of it or a part, onto any devices, or a refusal that names the leaf."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import jax
import orbax.checkpoint as ocp

from dlcore.utils.trees import named_leaves

Tree = TypeVar("Tree")
Shapes: TypeAlias = dict[str, tuple[int, ...]]
"""The shape of every array in a tree by its path, as ``params/dense/kernel``."""

STATE = "default"  # what Orbax calls the one thing in a checkpoint, in which it keeps the state


def stored_shape(leaf: Any) -> tuple[int, ...]:
    """The shape in which a leaf is stored: of a typed key, that of its words."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.eval_shape(jax.random.key_data, leaf).shape
    return tuple(leaf.shape)


def stored_tree(folder: Path) -> Any:
    """What is in the checkpoint: dicts and lists whose leaves have a ``shape`` and a ``dtype``.

    Raises:
        ValueError: there is no state in the folder.
    """
    try:
        return ocp.StandardCheckpointHandler().metadata(folder.absolute() / STATE).tree
    except FileNotFoundError as error:
        raise ValueError(f"{folder}: got a folder without a state in it, expected a checkpoint") from error


def restore_state(folder: Path, target: Tree) -> Tree:
    """The whole state in the checkpoint, typed, shaped and placed as ``target``.

    Args:
        folder: the checkpoint's.
        target: a tree of arrays, whose values are not used, or of ``jax.ShapeDtypeStruct`` with a sharding. The
            devices may be others than those on which the state was saved.

    Raises:
        ValueError: the checkpoint is of another model or optimizer; the first leaf that differs is named.
    """
    _check_same(folder, named_leaves(stored_tree(folder)), named_leaves(target))
    arguments = ocp.args.StandardRestore(_abstract(target))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        return _restored(reader, folder, arguments)


def restore_fields(folder: Path, target: Tree) -> Tree:
    """Those fields of the state that ``target`` has, as `read`; the others are not read at all.

    Args:
        folder: the checkpoint's.
        target: a dict of fields of the state, or a dataclass with just those fields.

    Raises:
        ValueError: the checkpoint is of another model; the first leaf that differs is named.
    """
    fields = target if isinstance(target, Mapping) else vars(target)
    stored = {name: tree for name, tree in stored_tree(folder).items() if name in fields}
    _check_same(folder, named_leaves(stored), named_leaves(fields))
    parts = restore_leaves(folder, dict(fields))
    return parts if isinstance(target, Mapping) else dataclasses.replace(target, **parts)  # type: ignore


def restore_leaves(folder: Path, target: Any) -> Any:
    """The leaves that ``target`` has, not checked against the checkpoint; None where it has None."""
    abstract = _abstract(target)
    arguments = ocp.args.PyTreeRestore(
        abstract, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract), partial_restore=True
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        return _restored(reader, folder, arguments)


def _abstract(target: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, target)


def _restored(reader: ocp.Checkpointer, folder: Path, arguments: Any) -> Any:
    try:
        return reader.restore(folder.absolute() / STATE, args=arguments)
    except Exception as error:  # Orbax raises many types, for a missing file as for another container
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{folder}: got a checkpoint that cannot be read as this experiment's state ({reason}); "
            "if settings differ, leave those flags away"
        ) from error


def _check_same(folder: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    there, here = ({path: stored_shape(leaf) for path, leaf in tree.items()} for tree in (stored, wanted))
    for path in (*here, *there):
        if there.get(path) != here.get(path):
            raise ValueError(
                f"{folder}: {path}: checkpoint has {_text(there, path)}, this experiment {_text(here, path)}; "
                "leave the flags away that change the model or optimizer, or choose another --run name"
            )


def _text(shapes: Shapes, path: str) -> str:
    return str(shapes[path]) if path in shapes else "none"
