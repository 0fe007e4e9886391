"""Damaged checkpoints in a folder of them: stepped over by who only reads, set aside by the run that goes on."""

import itertools
import re
import sys
from pathlib import Path

import jax

from dlcore.train.checkpoints.checksums import find_damage

CHECKPOINTS, DAMAGED = "checkpoints", "damaged_checkpoints"  # in a run's folder


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, damaged ones too; those half-written have another name."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))


def newest_whole(folder: Path) -> int | None:
    """The newest step whose checksums hold; a line on stderr names every damaged one that is newer."""
    for step in reversed(saved_steps(folder)):
        damage = find_damage(folder / str(step))
        if damage is None:
            return step
        _say(f"{folder / str(step)}: damaged ({damage}); skipped")
    return None


def set_aside_damaged(folder: Path) -> int | None:
    """The newest step whose checksums hold, after every damaged checkpoint was moved out of the folder.

    They go to ``damaged_checkpoints/`` beside it, each with a line on stderr. Older ones are checked as well: in
    the folder, they would be deleted one day as too many, and the best would stay the best.
    """
    found = {step: find_damage(folder / str(step)) for step in saved_steps(folder)}
    good = max((step for step, damage in found.items() if damage is None), default=None)
    goes_on = "the run begins anew" if good is None else f"the run goes on from step {good}"
    for step, damage in found.items():
        if damage is not None:
            place = _free_place(folder.parent / DAMAGED, str(step))
            place.parent.mkdir(exist_ok=True)
            (folder / str(step)).rename(place)
            _say(f"{folder / str(step)}: damaged ({damage}); moved to {place}; {goes_on}")
    return good


def _free_place(folder: Path, name: str) -> Path:
    """``name`` in the folder, or the first of ``name.1``, ``name.2``, ... that is not there yet."""
    names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(1)))
    return next(folder / candidate for candidate in names if not (folder / candidate).exists())


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, file=sys.stderr)
