"""Fine-tuning: parameters that begin with the values of another run's checkpoint wherever path and shape agree."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from dlcore.data.batch import STREAMS
from dlcore.training.checkpoints.checksums import find_damage
from dlcore.training.checkpoints.folder import newest_whole, saved_steps
from dlcore.training.checkpoints.location import CHECKPOINTS, open_path
from dlcore.training.checkpoints.restore import STATE, Shapes, restore_leaves, stored_shape, stored_tree
from dlcore.training.experiment import ModelState, Params
from dlcore.utils.checks import check_choice
from dlcore.utils.trees import named_leaves

PARAMS, MODEL_STATE, AVERAGE = "params", "model_state", "average"  # fields of a checkpoint's state
# Where the streams of the other run are says nothing about the data of this one; an entry of the map can ask for it.
LEFT_OUT = (f"{MODEL_STATE}/{STREAMS}", "")
LISTED = 5  # paths that a list names; of the others it gives the count


@dataclasses.dataclass(frozen=True)
class FineTuneReport:
    """Which leaves a checkpoint filled and which not, named by their paths, such as ``params/dense/kernel``.

    Attributes:
        checkpoint: the checkpoint's folder.
        loaded: leaves of this model that have the checkpoint's values now.
        skipped: leaves of the checkpoint that are not in this model, or that are left out.
        missing: leaves of this model that are not in the checkpoint, or that are left out; they keep their initial
            values.
        mismatched: path, shape in this model and shape in the checkpoint of each leaf whose shapes differ; it keeps
            its initial values.
        averaged: True if the parameters are the checkpoint's moving average.
    """

    checkpoint: Path
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    averaged: bool = False

    def text(self) -> str:
        """The report as a text of a few lines for people."""
        shapes = tuple(f"{path} ({here} here, {there} there)" for path, here, there in self.mismatched)
        lists = {
            "loaded": self.loaded,
            "left in the checkpoint": self.skipped,
            "not filled, as initialized": self.missing,
            "of another shape, as initialized": shapes,
        }
        lines = [f"  {len(paths)} {what}: {_abbreviate(paths)}" for what, paths in lists.items() if paths]
        average = ", the moving average" if self.averaged else ""
        return "\n".join([f"initialized from {self.checkpoint}{average}:", *lines])


def initialize_from(
    params: Params,
    model_state: ModelState,
    path: Path | str,
    mapping: Sequence[str] = (),
    weights: Literal["evaluated", "trained"] = "evaluated",
) -> tuple[Params, ModelState, FineTuneReport]:
    """Fills parameters and model state with the values of a checkpoint wherever path and shape agree.

    Args:
        params: this model's initial parameters. A leaf that is not in the checkpoint keeps its value; every leaf
            keeps its dtype and sharding.
        model_state: this model's initial state, treated likewise.
        path: a run's folder, its ``checkpoints`` folder, or one checkpoint in it, also in a bucket; of several
            checkpoints, the newest whole one is used.
        mapping: entries ``old/path=new/path``, for instance ``params/encoder=params/backbone``. Leaves of the
            checkpoint at or below the old path fill leaves of this model at or below the new path; if nothing follows
            ``=``, they are left out. If several entries fit a path, the first one counts. The states of streams (see
            `layers.recurrent.stateful`) are left out if no entry fits them.
        weights: which parameters of a checkpoint that holds two sets of them: ``evaluated`` are the moving average,
            ``trained`` are those that the optimizer changes. Both have the paths ``params/...``.

    Returns:
        The filled parameters, the filled model state, and a report of what was filled.

    Raises:
        ValueError: there is no whole checkpoint, no leaf agrees, an entry of the map has another form or no effect, or
            two leaves of the checkpoint would fill the same leaf; or ``weights`` is an unknown word.
    """
    plan = _plan(params, model_state, path, mapping, weights)
    values = restore_leaves(
        plan.folder, plan.stored, {plan.paths[old]: plan.leaves[new] for new, old in plan.fitting.items()}
    )
    filled = [
        values[plan.paths[plan.fitting[name]]] if name in plan.fitting else leaf
        for name, leaf in plan.leaves.items()
    ]
    result = jax.tree.unflatten(jax.tree.structure({PARAMS: params, MODEL_STATE: model_state}), filled)
    return result[PARAMS], result[MODEL_STATE], plan.report


def check_init_from(
    params: Params,
    model_state: ModelState,
    path: Path | str,
    mapping: Sequence[str] = (),
    weights: Literal["evaluated", "trained"] = "evaluated",
) -> FineTuneReport:
    """What `initialize_from` would fill; no value is read.

    Args:
        params: the shapes of this model's parameters.
        model_state: the shapes of its state.
        path: as in `initialize_from`.
        mapping: as in `initialize_from`.
        weights: as in `initialize_from`.

    Raises:
        ValueError: as in `initialize_from`.
    """
    return _plan(params, model_state, path, mapping, weights).report


class _Plan(NamedTuple):
    """Which leaves of a checkpoint fill which leaves of a model.

    Attributes:
        folder: the checkpoint's folder.
        stored: the parts of its `stored_tree` to read.
        paths: the stored path of each of its leaves by its path in a model.
        leaves: this model's leaves by path.
        fitting: the path in the checkpoint for each path in this model that it fills.
        report: the same for people.
    """

    folder: Path
    stored: dict[str, Any]
    paths: dict[str, str]
    leaves: dict[str, Any]
    fitting: dict[str, str]
    report: FineTuneReport


def _plan(params: Params, model_state: ModelState, path: Any, mapping: Sequence[str], weights: Any) -> _Plan:
    check_choice("init_weights", weights, ("evaluated", "trained"))
    folder = checkpoint_folder(open_path("init_from", path))
    stored, paths = _stored_parts(folder, weights)
    leaves = named_leaves({PARAMS: params, MODEL_STATE: model_state})
    here = {name: stored_shape(leaf) for name, leaf in leaves.items()}
    there = {
        name: stored_shape(leaf) for name, leaf in zip(paths, named_leaves(stored).values(), strict=True)
    }
    sources = _sources(there, here, mapping)
    fitting = {new: old for new, old in sources.items() if here.get(new) == there[old]}
    if not fitting:
        raise ValueError(
            f"init_from: got {folder} with {_abbreviate(there)}, expected some of this model's {_abbreviate(here)} in "
            "the same shape; init_map=old/path=new/path says what has another name"
        )
    report = dataclasses.replace(_report(folder, here, there, sources), averaged=AVERAGE in stored)
    return _Plan(folder, stored, paths, leaves, fitting, report)


def _stored_parts(folder: Path, weights: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The parts of a checkpoint's `stored_tree` to read, and the stored path of each leaf by its path in a model."""
    tree = stored_tree(folder)
    averaged = weights == "evaluated" and bool(named_leaves(tree.get(AVERAGE)))
    source = AVERAGE if averaged else PARAMS
    stored = {part: tree[part] for part in (source, MODEL_STATE) if part in tree}
    return stored, {
        (PARAMS + path.removeprefix(source) if _is_below(path, source) else path): path
        for path in named_leaves(stored)
    }


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
    rules = [*pairs, LEFT_OUT]
    sources: dict[str, str] = {}
    effective = set()
    for old in there:
        pair = next((pair for pair in rules if _is_below(old, pair[0])), None)
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
