"""The modes that every experiment has, and what they keep in a run's folder."""

import contextlib
import fcntl
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from dlcore import config as configs
from dlcore import figures, flags
from dlcore.files import written_whole
from dlcore.train import damage
from dlcore.train.experiment import Experiment, in_steps
from dlcore.train.run import Run

# What imports Orbax (dlcore.train.loop) is imported when a mode runs: `import dlcore` stays fast.

CONFIG = "config.json"
RESULT = "result.json"
LOCK = ".lock"
FOLDERS = (damage.FOLDER, "events", "figures")
MEASURED_ROWS = 16  # of a batch, for gradient flow


def train(run: Run) -> Mapping[str, Any]:
    """``--mode=train``: trains to the last step; leaves ``result.json`` and the figures."""
    from dlcore.train import loop

    finished = _finished(run)
    if finished is not None:
        if jax.process_index() == 0:
            print("finished already; a larger --config.train.steps trains it on", file=sys.stderr)
        return finished
    if jax.process_index() == 0:
        print(f"run folder: {run.folder}", file=sys.stderr)
    trained = loop.train(run.engine, run.folder, run.profile)
    result = {
        **trained.evaluation,
        "steps": int(trained.state.step),
        "seconds": round(trained.seconds, 2),
    }
    model = loop.model_on_host(run.engine, trained.state)
    if jax.process_index() == 0:
        for path in _draw(run, *model):
            print(f"figure: {path}", file=sys.stderr)
        _write_json(run.folder / RESULT, result)  # last: a run with a result is whole
    return result


def evaluate(run: Run) -> Mapping[str, Any]:
    """``--mode=evaluate``: a checkpoint's evaluation on the whole set; writes nothing."""
    from dlcore.train import loop
    from dlcore.train.evaluation import evaluate

    with flags.one_line_errors(run.config):
        state = loop.restore_model(run)
    return {**evaluate(run.engine, state), "steps": int(state.step)}


def gradient_flow(run: Run) -> Mapping[str, Any]:
    """``--mode=gradient_flow``: what happens to gradients along every recurrence of the model; leaves a report.

    At ``--checkpoint=initial``, which is also what a run without a checkpoint has; ``newest``, ``best`` or a step; or
    ``all`` of these one after the other. Measured on the first rows of the first training batch, without dropout.
    The report is ``gradient_flow/STATE/`` in the run's folder.

    Raises:
        ValueError: the model has no recurrent layer of dlcore, or the folder's run has other settings.
    """
    from dlcore.gradflow import report
    from dlcore.gradflow.measure import measuring
    from dlcore.train import loop
    from dlcore.train.logging import read_metrics

    measure = measuring(measured_loss(run.experiment))
    with flags.one_line_errors(run.config), contextlib.ExitStack() as stack:
        if (run.folder / CONFIG).is_file():
            check_folder(run)
        else:
            stack.enter_context(claimed_folder(run))
        flows = {}
        for name, state in loop.states(run):
            print(f"measuring {name}", file=sys.stderr)
            flows[name] = measure(*loop.model_on_host(run.engine, state))
        if not any(flows.values()):
            raise ValueError(
                "--mode: got gradient_flow for a model without recurrent layers, expected one with dl.Recurrent, "
                "dl.Bidirectional or dl.DeepRecurrent"
            )
    folder = run.folder / "gradient_flow" / ("all" if len(flows) > 1 else name.replace(" ", "_"))
    if jax.process_index() == 0:
        metrics = read_metrics(run.folder / "metrics.csv")
        for path in report.write(folder, run.folder.name, flows, metrics, run.config.optimizer.clip_norm):
            print(f"written: {path}", file=sys.stderr)
    last = list(flows.values())[-1]
    return {
        "report": str(folder / report.PAGE),
        "states": len(flows),
        **{f"half_life/{flow.name}": flow.half_life for flow in last},
    }


def measured_loss(experiment: Experiment) -> Callable[[Any, Any], jax.Array]:
    """The loss of which gradient flow is measured: on the first rows of the first training batch, without dropout."""
    batch = {name: field[:MEASURED_ROWS] for name, field in experiment.train_data[0].items()}

    def loss(params: Any, model_state: Any) -> jax.Array:
        return experiment.loss(params, model_state, batch, jax.random.key(0), False)[0]

    return loss


@contextlib.contextmanager
def claimed_folder(run: Run) -> Iterator[None]:
    """The run's folder with its ``config.json``, which no other process has meanwhile.

    Raises:
        ValueError: the folder holds a run with other settings (see `config.setting` for those that may differ), or
            something that is no run.
        NotADirectoryError: there is a file in the place of the folder or of one in it.
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
    from dlcore.train.logging import read_metrics

    path = run.folder / CONFIG
    for folder in (run.folder, *(run.folder / name for name in FOLDERS)):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"{folder}: got a file, expected a folder of the run; move it elsewhere, or choose another --run name"
            )
    if path.is_file():
        stored = flags.read_file(run.config, path, "config.json")
        if damage.steps(run.folder / damage.FOLDER):  # else nothing is lost with other settings
            _check_same(run, stored)
        read_metrics(run.folder / "metrics.csv")
    else:
        check_unused(run.folder)


def check_unused(folder: Path) -> None:
    """ValueError where a folder without a config holds something else."""
    if folder.exists() and {entry.name for entry in folder.iterdir()} - {LOCK}:
        raise ValueError(f"{folder}: holds files but no {CONFIG}, so it is no run's folder; choose another")


def _check_same(run: Run, stored: Any) -> None:
    """ValueError unless the run may go on behind what was trained with the ``stored`` config."""
    before, now = (configs.leaves(in_steps(config, run.experiment)) for config in (stored, run.config))
    shown = zip(configs.leaves(stored), configs.leaves(run.config), strict=True)
    other = [
        f"{new.flag}={new.text} (was {old.text})"
        for (old, new), old_steps, new_steps in zip(shown, before, now, strict=True)
        if new.value != old.value and not _may_differ(old_steps, new_steps)
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


def _may_differ(old: configs.Leaf, new: configs.Leaf) -> bool:
    """Whether a run may go on with the new value, both with durations as steps."""
    return new.may_change or new.value == old.value or (new.may_grow and new.value > old.value)


def _finished(run: Run) -> Mapping[str, Any] | None:
    """The result of a run that is at its last step already, and whose last checkpoint is whole."""
    try:
        result = json.loads((run.folder / RESULT).read_text())
        last = result["steps"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # none yet, or a damaged one, which is made anew
    whole = damage.newest_whole(run.folder / damage.FOLDER)
    return result if last == run.engine.config.train.steps == whole else None


def _draw(run: Run, params: Any, model_state: Any) -> Iterator[Path]:
    from dlcore.train.logging import read_metrics

    rows = read_metrics(run.folder / "metrics.csv")
    drawn = {"learning_curves": figures.learning_curves(rows, run.experiment.best)}
    if any(name.startswith("flow/") for _, name, _ in rows):
        from dlcore.gradflow.training_figures import lags_in_training

        drawn["gradient_by_lag"] = lags_in_training(rows)
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
    with written_whole(path) as file:
        file.write(to_json(values, indent=2) + "\n")
