"""Fine-tuning: parameters that begin with those of another run's checkpoint, as far as they fit."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from dlcore.train.checkpoints.checksums import find_damage
from dlcore.train.checkpoints.folder import CHECKPOINTS, newest_whole, saved_steps
from dlcore.train.checkpoints.restore import STATE, restore_leaves, stored_shape, stored_tree
from dlcore.train.experiment import ModelState, Params
from dlcore.utils.trees import named_leaves

PARTS = ("params", "model_state")
SHOWN = 5  # paths in a list for people, before the rest is only counted


@dataclasses.dataclass(frozen=True)
class FineTuneReport:
    """What was taken from a checkpoint and what was not, by paths as ``params/dense/kernel``.

    Attributes:
        checkpoint: its folder.
        loaded: in this model, with the checkpoint's values now.
        skipped: in the checkpoint, but not in this model, or left out by the map.
        missing: in this model, but not in the checkpoint: as initialized.
        mismatched: path, shape here, shape there: as initialized.
    """

    checkpoint: Path
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def text(self) -> str:
        """The report in a few lines for people."""
        shapes = tuple(f"{path} ({here} here, {there} there)" for path, here, there in self.mismatched)
        lists = {
            "loaded": self.loaded,
            "only in the checkpoint": self.skipped,
            "not in the checkpoint, as initialized": self.missing,
            "of another shape, as initialized": shapes,
        }
        lines = [f"  {len(paths)} {what}: {_some(paths)}" for what, paths in lists.items() if paths]
        return "\n".join([f"initialized from {self.checkpoint}:", *lines])


def initialize_from(
    params: Params, model_state: ModelState, path: Path | str, mapping: Sequence[str] = ()
) -> tuple[Params, ModelState, FineTuneReport]:
    """Parameters and model state with the values of a checkpoint wherever path and shape are the same.

    Args:
        params: of this model, initialized; what is not in the checkpoint keeps its value, and what is keeps its
            dtype and sharding.
        model_state: of this model, likewise.
        path: a run's folder, its ``checkpoints``, or one checkpoint in it; of several, the newest whole one.
        mapping: texts ``old/path=new/path``: what the checkpoint has below the first is looked for below the
            second, for instance ``params/encoder=params/backbone``; with nothing behind ``=`` it is left out.
            The first that fits a path counts.

    Raises:
        ValueError: there is no whole checkpoint, nothing in it fits, or an entry of the map is of no use.
    """
    if not str(path):
        raise ValueError("init_from: got an empty text, expected a run's folder, or none")
    folder = checkpoint_folder(Path(path).expanduser())
    tree = stored_tree(folder)
    stored = {part: tree[part] for part in PARTS if part in tree}
    there = {name: stored_shape(leaf) for name, leaf in named_leaves(stored).items()}
    ours = {"params": params, "model_state": model_state}
    here = named_leaves(ours)
    sources = _sources(there, here, mapping)

    shared = [new for new in here if new in sources]
    fitting = [new for new in shared if stored_shape(here[new]) == there[sources[new]]]
    if not fitting:
        raise ValueError(
            f"init_from: got {folder} with {_some(there)}, expected some of this model's {_some(here)} in the same "
            "shape; init_map=old/path=new/path says what has another name"
        )
    values = _values(folder, stored, {sources[new]: here[new] for new in fitting})
    # By the order of the leaves, for a tree can only be made anew from all of them.
    filled = [values[sources[new]] if new in fitting else leaf for new, leaf in here.items()]
    result = jax.tree.unflatten(jax.tree.structure(ours), filled)
    report = FineTuneReport(
        checkpoint=folder,
        loaded=tuple(fitting),
        skipped=tuple(old for old in there if old not in {sources[new] for new in shared}),
        missing=tuple(new for new in here if new not in sources),
        mismatched=tuple(
            (new, stored_shape(here[new]), there[sources[new]]) for new in shared if new not in fitting
        ),
    )
    return result["params"], result["model_state"], report


def checkpoint_folder(path: Path) -> Path:
    """The folder of the checkpoint that a path means: of a run, of its checkpoints, or of one of them.

    Raises:
        ValueError: there is none, or no whole one.
    """
    if (path / STATE).is_dir():
        problem = find_damage(path)
        if problem is not None:
            raise ValueError(
                f"init_from: got {path}, which is damaged ({problem}); choose another checkpoint"
            )
        return path
    folder = path / CHECKPOINTS if (path / CHECKPOINTS).is_dir() else path
    if not saved_steps(folder):
        raise ValueError(
            f"init_from: got {path}, expected a run's folder, its checkpoints folder or one checkpoint in it"
        )
    step = newest_whole(folder)
    if step is None:
        raise ValueError(f"init_from: got {path}, whose checkpoints are all damaged; choose another run")
    return folder / str(step)


def _sources(there: Iterable[str], here: Iterable[str], mapping: Sequence[str]) -> dict[str, str]:
    """Paths in this model -> the path in the checkpoint whose value belongs there.

    >>> _sources(["params/a/kernel", "params/b/bias"], ["params/c/kernel"], ["params/a=params/c"])
    {'params/c/kernel': 'params/a/kernel', 'params/b/bias': 'params/b/bias'}
    """
    pairs = [_pair(entry) for entry in mapping]
    sources: dict[str, str] = {}
    useful = set()
    for old in there:
        pair = next((pair for pair in pairs if _below(old, pair[0])), None)
        new = old if pair is None else pair[1] and pair[1] + old.removeprefix(pair[0])
        if pair is not None and (not new or new in here):
            useful.add(pair)
        if new in sources:
            raise ValueError(
                f"init_map: got both {sources[new]} and {old} for {new}; leave one out, as '{sources[new]}='"
            )
        if new:
            sources[new] = old
    for before, after in pairs:
        if (before, after) not in useful:
            raise ValueError(
                f"init_map: got '{before}={after}', expected a path in the checkpoint, which has {_some(there)}, and "
                f"one in this model, which has {_some(here)}"
            )
    return sources


def _pair(entry: str) -> tuple[str, str]:
    before, equals, after = entry.partition("=")
    if not equals or not before:
        raise ValueError(f"init_map: got {entry!r}, expected old/path=new/path, or old/path= to leave it out")
    return before.strip("/"), after.strip("/")


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _values(folder: Path, stored: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint's values of the ``wanted`` paths, typed and placed as the leaves there; no others are read."""
    paths, structure = list(named_leaves(stored)), jax.tree.structure(stored)
    target = jax.tree.unflatten(structure, [wanted.get(path) for path in paths])
    return named_leaves(restore_leaves(folder, target))


def _some(paths: Iterable[str]) -> str:
    """The first few of many.

    >>> _some("abcdefgh")
    'a, b, c, d, e and 3 more'
    """
    paths = list(paths)
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return (", ".join(paths[:SHOWN]) or "nothing") + more
