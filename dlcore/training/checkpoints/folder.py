"""The checkpoints in a run's folder: which steps are saved, which are whole, and where damaged ones go.

Code that only reads skips a damaged checkpoint; the run that goes on sets it aside.
"""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.training.checkpoints.checksums import COMMITTED, find_damage
from dlcore.training.checkpoints.location import move_folder, write_whole
from dlcore.training.distributed import say_once
from dlcore.utils.files import is_bucket

DAMAGED = "damaged_checkpoints"  # a folder beside that of the checkpoints
CALLBACKS = "callbacks.json"  # a file in a checkpoint's folder


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, a sorted list; empty if there is no folder.

    Damaged checkpoints are in the list. Half-written ones are not.

    Args:
        folder: the ``checkpoints`` folder of a run.
    """
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if _is_written(path))
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))


def _is_written(path: Path) -> bool:
    """True if a folder is no half-written checkpoint: on a disk such a one has another name."""
    return (path / COMMITTED).is_file() if is_bucket(path) else path.is_dir()


def newest_whole(folder: Path) -> int | None:
    """The step of the newest checkpoint without damage; None if there is none.

    A line on stderr names every newer checkpoint, all of which are damaged.

    Args:
        folder: the ``checkpoints`` folder of a run.
    """
    for step in reversed(saved_steps(folder)):
        damage = find_damage(folder / str(step))
        if damage is None:
            return step
        say_once(f"{folder / str(step)}: damaged ({damage}); skipped")
    return None


def set_aside_damaged(folder: Path) -> int | None:
    """Moves every damaged checkpoint out of the folder and returns the newest step that stays; None if none stays.

    Damaged checkpoints go to ``damaged_checkpoints/`` beside the folder, and a line on stderr names each. Older
    checkpoints are checked as well: if a damaged one stayed, it would later be deleted as surplus, or it would
    always stay as the best.

    Args:
        folder: the ``checkpoints`` folder of a run.
    """
    damages = {step: find_damage(folder / str(step)) for step in saved_steps(folder)}
    newest = max((step for step, damage in damages.items() if damage is None), default=None)
    outcome = "the run begins anew" if newest is None else f"the run goes on from step {newest}"
    for step, damage in damages.items():
        if damage is not None:
            aside = _free_path(folder.parent / DAMAGED, str(step))
            move_folder(folder / str(step), aside)
            say_once(f"{folder / str(step)}: damaged ({damage}); moved to {aside}; {outcome}")
    return newest


def write_callbacks(folder: Path, saved: Mapping[str, Any]) -> None:
    """Writes what the run's callbacks have to keep into a checkpoint's folder; nothing, if they keep nothing."""
    if saved:
        write_whole(folder / CALLBACKS, json.dumps(saved))


def read_callbacks(folder: Path) -> dict[str, Any]:
    """What `write_callbacks` wrote into a checkpoint's folder; empty if it wrote nothing, as in old checkpoints."""
    path = folder / CALLBACKS
    return json.loads(path.read_text()) if path.is_file() else {}


def _free_path(folder: Path, name: str) -> Path:
    """``name`` in the folder, or the first of ``name.1``, ``name.2``, ... that does not exist yet."""
    names = itertools.chain([name], (f"{name}.{index}" for index in itertools.count(1)))
    return next(folder / candidate for candidate in names if not (folder / candidate).exists())
