"""The modes that every experiment has, and what they keep in a run's folder."""

import contextlib
import fcntl
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from dlcore import config as configs
from dlcore import figures, flags
from dlcore.durations import is_longer
from dlcore.train.experiment import Run, in_steps

# What imports Orbax (dlcore.train.loop) is imported when a mode runs: `import dlcore` stays fast.

CONFIG = "config.json"
RESULT = "result.json"
LOCK = ".lock"


def train(run: Run) -> Mapping[str, Any]:
    """``--mode=train``: trains to the last step; leaves ``result.json`` and the figures."""
    from dlcore.train import loop

    finished = _finished(run)
    if finished is not None:
        print("finished already; a larger --config.train.steps trains it on", file=sys.stderr)
        return finished
    if jax.process_index() == 0:
        print(f"run folder: {run.folder}", file=sys.stderr)
    trained = loop.train(run.experiment, run.config, run.folder, run.profile)
    result = {
        **trained.evaluation,
        "steps": int(trained.state.step),
        "seconds": round(trained.seconds, 2),
    }
    model = loop.model_on_host(trained.engine, trained.state)
    if jax.process_index() == 0:
        for path in _draw(run, *model):
            print(f"figure: {path}", file=sys.stderr)
        _write_json(run.folder / RESULT, result)  # last: a run with a result is whole
    return result


def evaluate(run: Run) -> Mapping[str, Any]:
    """``--mode=evaluate``: a checkpoint's evaluation on the whole set; writes nothing."""
    from dlcore.train import loop
    from dlcore.train.engine import Engine
    from dlcore.train.evaluation import evaluate

    engine = Engine(run.experiment, in_steps(run.config, run.experiment))
    with flags.one_line_errors(run.config):
        state = loop.restore_model(run, engine)
    return {**evaluate(engine, state), "steps": int(state.step)}


@contextlib.contextmanager
def claimed_folder(run: Run) -> Iterator[None]:
    """The run's folder with its ``config.json``, which no other process has meanwhile.

    Raises:
        ValueError: the folder holds a run with other settings (see `config.setting` for those that may differ), or
            something that is no run.
        NotADirectoryError: there is a file in its place.
        BlockingIOError: another process trains in it.
    """
    if jax.process_index() > 0:  # the first process has the lock, for all of them
        multihost_utils.sync_global_devices(str(run.folder))
        yield
        return
    check_folder(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # which ends with the process, however that ends
        except BlockingIOError:
            raise BlockingIOError(
                f"{run.folder}: another process trains in this folder; wait for its end, stop it, or choose another "
                "--run name"
            ) from None
        _write_json(run.folder / CONFIG, configs.to_dict(run.config))
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(str(run.folder))
        yield


def check_folder(run: Run) -> None:
    """Raises as `claimed_folder` does where the folder is not for this run."""
    path = run.folder / CONFIG
    if run.folder.exists() and not run.folder.is_dir():
        raise NotADirectoryError(f"{run.folder}: got a file, expected a folder for the run; choose another")
    if path.is_file():
        _check_same(run, flags.read_file(run.config, path, "config.json"))
    elif run.folder.exists() and {entry.name for entry in run.folder.iterdir()} - {LOCK}:
        raise ValueError(
            f"{run.folder}: holds files but no {CONFIG}, so it is no run's folder; choose another"
        )


def _check_same(run: Run, stored: Any) -> None:
    """ValueError unless the run may go on behind what was trained with the ``stored`` config."""
    pairs = zip(configs.leaves(stored), configs.leaves(run.config), strict=True)
    other = [
        f"{new.flag}={new.text} (was {old.text})"
        for old, new in pairs
        if new.value != old.value
        and not new.may_change
        and not (new.may_grow and is_longer(new.value, old.value))
    ]
    if other:
        raise ValueError(
            f"{run.folder}: holds a run with other settings: {', '.join(other)}; "
            "choose another --run name, or leave these flags away to go on with it"
        )
    if run.config.optimizer.schedule != "constant" and stored.train.steps != run.config.train.steps:
        raise ValueError(
            f"--config.train.steps: got {run.config.train.steps} (was {stored.train.steps}) with a "
            f"{run.config.optimizer.schedule} schedule, in which the number of steps decides the learning rate of "
            "each; choose another --run name"
        )


def _finished(run: Run) -> Mapping[str, Any] | None:
    """The result of a run that is at its last step already; a damaged one is made anew."""
    try:
        result = json.loads((run.folder / RESULT).read_text())
        return result if result["steps"] == in_steps(run.config, run.experiment).train.steps else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _draw(run: Run, params: Any, model_state: Any) -> Iterator[Path]:
    from dlcore.train.logging import read_metrics

    drawn = {
        "learning_curves": figures.learning_curves(
            read_metrics(run.folder / "metrics.csv"), run.experiment.best
        )
    }
    if run.experiment.figures:
        drawn.update(run.experiment.figures(params, model_state))
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png")
        yield folder / f"{name}.png"


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON as everyone reads it: a number that is not finite is null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(finite, indent=indent, allow_nan=False)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a file whole or not at all, whatever kills the process meanwhile."""
    partial = path.with_suffix(".partial")
    partial.write_text(to_json(values, indent=2) + "\n")
    os.replace(partial, path)
