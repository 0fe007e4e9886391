"""Fine-tuning: parameters that begin with the values of another run's checkpoint wherever path and shape agree."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax

from dlcore.train.checkpoints.checksums import find_damage
from dlcore.train.checkpoints.folder import CHECKPOINTS, newest_whole, saved_steps
from dlcore.train.checkpoints.restore import STATE, Shapes, restore_leaves, stored_shape, stored_tree
from dlcore.train.experiment import ModelState, Params
from dlcore.utils.files import user_path
from dlcore.utils.trees import named_leaves

PARTS = ("params", "model_state")
LISTED = 5  # paths that a list names; of the others it gives the count


@dataclasses.dataclass(frozen=True)
class FineTuneReport:
    """Which leaves a checkpoint filled and which not, named by their paths, such as ``params/dense/kernel``.

    Attributes:
        checkpoint: the checkpoint's folder.
        loaded: leaves of this model that have the checkpoint's values now.
        skipped: leaves of the checkpoint that are not in this model, or that the map leaves out.
        missing: leaves of this model that are not in the checkpoint; they keep their initial values.
        mismatched: path, shape in this model and shape in the checkpoint of each leaf whose shapes differ; it keeps
            its initial values.
    """

    checkpoint: Path
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def text(self) -> str:
        """The report as a text of a few lines for people."""
        shapes = tuple(f"{path} ({here} here, {there} there)" for path, here, there in self.mismatched)
        lists = {
            "loaded": self.loaded,
            "only in the checkpoint": self.skipped,
            "not in the checkpoint, as initialized": self.missing,
            "of another shape, as initialized": shapes,
        }
        lines = [f"  {len(paths)} {what}: {_abbreviate(paths)}" for what, paths in lists.items() if paths]
        return "\n".join([f"initialized from {self.checkpoint}:", *lines])


def initialize_from(
    params: Params, model_state: ModelState, path: Path | str, mapping: Sequence[str] = ()
) -> tuple[Params, ModelState, FineTuneReport]:
    """Fills parameters and model state with the values of a checkpoint wherever path and shape agree.

    Args:
        params: this model's initial parameters. A leaf that is not in the checkpoint keeps its value; every leaf
            keeps its dtype and sharding.
        model_state: this model's initial state, treated likewise.
        path: a run's folder, its ``checkpoints`` folder, or one checkpoint in it; of several checkpoints, the newest
            whole one is used.
        mapping: entries ``old/path=new/path``, for instance ``params/encoder=params/backbone``. Leaves of the
            checkpoint at or below the old path fill leaves of this model at or below the new path; if nothing follows
            ``=``, they are left out. If several entries fit a path, the first one counts.

    Returns:
        The filled parameters, the filled model state, and a report of what was filled.

    Raises:
        ValueError: there is no whole checkpoint, no leaf agrees, an entry of the map has another form or no effect, or
            two leaves of the checkpoint would fill the same leaf.
    """
    folder = checkpoint_folder(user_path("init_from", path))
    tree = stored_tree(folder)
    stored = {part: tree[part] for part in PARTS if part in tree}
    model = {"params": params, "model_state": model_state}
    leaves = named_leaves(model)
    here = {name: stored_shape(leaf) for name, leaf in leaves.items()}
    there = {name: stored_shape(leaf) for name, leaf in named_leaves(stored).items()}
    sources = _sources(there, here, mapping)
    fitting = {new: old for new, old in sources.items() if here.get(new) == there[old]}
    if not fitting:
        raise ValueError(
            f"init_from: got {folder} with {_abbreviate(there)}, expected some of this model's {_abbreviate(here)} in "
            "the same shape; init_map=old/path=new/path says what has another name"
        )
    values = restore_leaves(folder, stored, {old: leaves[new] for new, old in fitting.items()})
    filled = [values[fitting[name]] if name in fitting else leaf for name, leaf in leaves.items()]
    result = jax.tree.unflatten(jax.tree.structure(model), filled)
    return result["params"], result["model_state"], _report(folder, here, there, sources)


def _report(folder: Path, here: Shapes, there: Shapes, sources: Mapping[str, str]) -> FineTuneReport:
    shared = {new: sources[new] for new in here if new in sources}
    used = set(shared.values())
    return FineTuneReport(
        checkpoint=folder,
        loaded=tuple(new for new, old in shared.items() if here[new] == there[old]),
        skipped=tuple(old for old in there if old not in used),
        missing=tuple(new for new in here if new not in shared),
        mismatched=tuple(
            (new, here[new], there[old]) for new, old in shared.items() if here[new] != there[old]
        ),
    )


def checkpoint_folder(path: Path) -> Path:
    """The folder of one whole checkpoint: ``path`` itself, or the newest whole checkpoint in it.

    Args:
        path: a run's folder, its ``checkpoints`` folder, or one checkpoint in it.

    Raises:
        ValueError: there is no checkpoint, or no whole one.
    """
    if (path / STATE).is_dir():
        damage = find_damage(path)
        if damage is not None:
            raise ValueError(f"init_from: got {path}, which is damaged ({damage}); choose another checkpoint")
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
    """Finds for each path in this model the path in the checkpoint whose value belongs there.

    >>> _sources(["params/a/kernel", "params/b/bias"], ["params/c/kernel"], ["params/a=params/c"])
    {'params/c/kernel': 'params/a/kernel', 'params/b/bias': 'params/b/bias'}
    """
    pairs = [_parse_entry(entry) for entry in mapping]
    sources: dict[str, str] = {}
    effective = set()
    for old in there:
        pair = next((pair for pair in pairs if _is_below(old, pair[0])), None)
        new = old if pair is None else pair[1] and pair[1] + old.removeprefix(pair[0])
        if pair is not None and (not new or new in here):
            effective.add(pair)
        if new in sources:
            raise ValueError(
                f"init_map: got both {sources[new]} and {old} for {new}; leave one out, as '{sources[new]}='"
            )
        if new:
            sources[new] = old
    for before, after in pairs:
        if (before, after) not in effective:
            raise ValueError(
                f"init_map: got '{before}={after}', expected a path in the checkpoint, which has "
                f"{_abbreviate(there)}, and one in this model, which has {_abbreviate(here)}"
            )
    return sources


def _parse_entry(entry: str) -> tuple[str, str]:
    before, equals, after = entry.partition("=")
    if not equals or not before:
        raise ValueError(f"init_map: got {entry!r}, expected old/path=new/path, or old/path= to leave it out")
    return before.strip("/"), after.strip("/")


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _abbreviate(paths: Iterable[str]) -> str:
    """Names the first few of many paths.

    >>> _abbreviate("abcdefgh")
    'a, b, c, d, e and 3 more'
    """
    paths = list(paths)
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return (", ".join(paths[:LISTED]) or "nothing") + more
