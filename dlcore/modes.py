"""The modes that every experiment has, and what they keep in a run's folder."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dlcore import config as configs
from dlcore import figures, flags
from dlcore.train.experiment import Run

# What imports Orbax (dlcore.train.loop) is imported when a mode runs: `import dlcore` stays fast.

CONFIG = "config.json"
RESULT = "result.json"


def train(run: Run) -> Mapping[str, Any]:
    """``--mode=train``: trains to the last step; leaves ``result.json`` and the figures."""
    from dlcore.train import loop

    finished = _finished(run)
    if finished is not None:
        print("finished already; a larger --config.train.steps trains it on", file=sys.stderr)
        return finished
    print(f"run folder: {run.folder}", file=sys.stderr)
    state, evaluation, seconds = loop.train(run.experiment, run.config, run.folder)
    result = {**evaluation, "steps": int(state.step), "seconds": round(seconds, 2)}
    for path in _draw(run, state):
        print(f"figure: {path}", file=sys.stderr)
    _write_json(run.folder / RESULT, result)  # last: a run with a result is whole
    return result


def evaluate(run: Run) -> Mapping[str, Any]:
    """``--mode=evaluate``: a checkpoint's evaluation on the whole set; writes nothing."""
    from dlcore.train import loop
    from dlcore.train.evaluation import evaluate
    from dlcore.train.step import make_eval_step

    with flags.one_line_errors(run.config):
        state = loop.restore(run)
    evaluation = evaluate(make_eval_step(run.experiment), state, run.experiment.eval_data)
    return {**evaluation, "steps": int(state.step)}


def claim_folder(run: Run) -> None:
    """Makes the run's folder with its ``config.json``, or checks that the run there is the same one.

    Raises:
        ValueError: the folder holds a run with other settings (only those that ``may_grow`` may be larger),
            or something that is no run.
        NotADirectoryError: there is a file in its place.
    """
    path = run.folder / CONFIG
    if run.folder.exists() and not run.folder.is_dir():
        raise NotADirectoryError(f"{run.folder}: got a file, expected a folder for the run; choose another")
    if path.is_file():
        _check_same(run, flags.read_file(run.config, path, "config.json"))
    elif run.folder.exists() and any(run.folder.iterdir()):
        raise ValueError(
            f"{run.folder}: holds files but no {CONFIG}, so it is no run's folder; choose another"
        )
    run.folder.mkdir(parents=True, exist_ok=True)
    _write_json(path, configs.to_dict(run.config))


def _check_same(run: Run, stored: Any) -> None:
    """ValueError unless the run may go on behind what was trained with the ``stored`` config."""
    pairs = zip(configs.leaves(stored), configs.leaves(run.config), strict=True)
    other = [
        f"{new.flag}={new.text} (was {old.text})"
        for old, new in pairs
        if new.value != old.value and not (new.may_grow and new.value > old.value)
    ]
    if other:
        raise ValueError(
            f"{run.folder}: holds a run with other settings: {', '.join(other)}; "
            "choose another --run name, or leave these flags away to go on with it"
        )
    if run.config.optimizer.schedule != "constant" and stored != run.config:
        raise ValueError(
            f"--config.train.steps: got {run.config.train.steps} (was {stored.train.steps}) with a "
            f"{run.config.optimizer.schedule} schedule, in which the number of steps decides the learning rate of "
            "each; choose another --run name"
        )


def _finished(run: Run) -> Mapping[str, Any] | None:
    """The result of a run that is at its last step already; a damaged one is made anew."""
    try:
        result = json.loads((run.folder / RESULT).read_text())
        return result if result["steps"] == run.config.train.steps else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _draw(run: Run, state: Any) -> Iterator[Path]:
    from dlcore.train.logging import read_metrics

    drawn = {
        "learning_curves": figures.learning_curves(
            read_metrics(run.folder / "metrics.csv"), run.experiment.best
        )
    }
    if run.experiment.figures:
        drawn.update(run.experiment.figures(state.params, state.model_state))
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
