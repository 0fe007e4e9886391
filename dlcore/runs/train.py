"""Trains a run in its folder, for the command line and for a notebook alike."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from dlcore.runs.build import Build, C, check_run, make_run
from dlcore.runs.figures import own_figures, training_figures, write_figures
from dlcore.runs.model import TrainedModel
from dlcore.runs.table import MetricsTable
from dlcore.training.callbacks.callback import Callback
from dlcore.training.distributed import say_once
from dlcore.training.experiment import Experiment
from dlcore.training.origin import MAIN, module_name
from dlcore.training.run import Run
from dlcore.training.run_folder import RESULT, claim_folder, finished_result
from dlcore.training.state import TrainState
from dlcore.utils.checks import check_instance
from dlcore.utils.files import user_path, write_json
from dlcore.utils.run_paths import new_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTEBOOK = "notebook"
COUNTS = ("steps", "seconds", "stopped")  # what a result has beside the evaluation


@dataclass(frozen=True, repr=False, eq=False)
class Trained:
    """A finished run.

    Attributes:
        model: the trained model, at the last step; `load` gives that of another checkpoint.
        evaluation: the metrics of the last step on the evaluation set by name: floats, and nested lists of floats for
            arrays.
        metrics: everything that was logged, as a table.
        stopped: the reason for which a callback stopped the run before its last step; None if none did.
    """

    model: TrainedModel
    evaluation: Mapping[str, Any]
    metrics: MetricsTable
    stopped: str | None = None

    @property
    def state(self) -> TrainState:
        """The last state, with the optimizer's."""
        return self.model.state

    @property
    def folder(self) -> Path:
        """The run's folder, in which everything is stored."""
        return self.model.folder

    @functools.cached_property
    def figures(self) -> Mapping[str, "Figure"]:
        """The run's matplotlib figures by name, drawn at the first access; the folder has them as files.

        Raises:
            Exception: whatever the experiment's own figures raise.
        """
        from dlcore.training import loop

        run = self.model.run
        params, model_state = loop.model_on_host(run.engine, self.state)
        return {**training_figures(run), **own_figures(run, params, model_state)}

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={value:.4g}" for name, value in self.evaluation.items() if np.ndim(value) == 0
        )
        return f"Trained(folder={str(self.folder)!r}, step={self.model.step}, {values})"


def train(
    experiment: Experiment | Build[C],
    config: C,
    folder: str | Path | None = None,
    *,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Trains an experiment to ``config.train.steps`` in a folder, as its command line does, and returns the result.

    A run that was begun in the folder goes on from its newest checkpoint and ends with the same bits as one that was
    not stopped; a finished one is read again. The folder gets ``config.json``, ``metrics.csv``, TensorBoard events,
    ``checkpoints/``, ``figures/`` and ``result.json``, and is locked meanwhile. Progress goes to standard error, and in
    a notebook into one line that changes.

    Args:
        experiment: the experiment, or the function ``experiment(config)`` of an experiment file. With a function that
            can be imported, `load` needs nothing but the folder.
        config: its config, which is copied: it may be changed for the next run.
        folder: the run's folder. None: a new one, ``runs/NAME/DATE_TIME``. NAME is the module that defines the
            function, or the program if an `Experiment` is given; it is ``notebook`` for what a notebook defines.
        callbacks: added to the experiment's own callbacks.

    Returns:
        A `Trained`: the trained model, its evaluation and the logged metrics.

    Raises:
        TypeError: an argument has another type, or the experiment does not keep its contract.
        ValueError: a setting, the data or the model do not fit, or the folder holds a run with other settings or
            other files.
        ImportError: the package of a logger that the config asks for is not installed.
        BlockingIOError: somebody else trains in the folder.
        Interrupted: Ctrl-C in the main thread, or a signal such as SIGTERM, stopped the run; its state is saved. It is
            a KeyboardInterrupt.
        NonFiniteError: a loss, gradient, update or evaluation was not finite, see ``train.on_nan``.
        CallbackError: a callback failed; the state after the step at which it failed is saved.
        CheckpointError: a checkpoint could not be written, for instance on a full disk.
    """
    chosen = _folder_of(experiment) if folder is None else user_path("folder", folder)
    run = make_run(experiment, config, chosen)
    run = dataclasses.replace(run, experiment=with_callbacks(run.experiment, callbacks))
    check_run(run)
    _ = run.engine.callbacks  # a logger that is not installed is an error before anything is written
    with claim_folder(run):
        result, state = train_run(run)
    if state is None:  # the run was finished already
        from dlcore.training import loop

        state = loop.restore(run)
    evaluation = {name: _with_nan(value) for name, value in result.items() if name not in COUNTS}
    return Trained(TrainedModel(run, state), evaluation, MetricsTable.read(run.folder), result.get("stopped"))


def _with_nan(value: Any) -> Any:
    """A value of a result, in which JSON's null stands for a number that is not finite, with NaN in its place."""
    if isinstance(value, list):
        return [_with_nan(inner) for inner in value]
    return math.nan if value is None else value


def with_callbacks(experiment: Experiment, callbacks: Sequence[Callback]) -> Experiment:
    """A copy of the experiment with more callbacks after its own."""
    check_instance("callbacks", callbacks, (list, tuple), "a list of callbacks")
    return dataclasses.replace(experiment, callbacks=(*experiment.callbacks, *callbacks))


def _folder_of(experiment: Any) -> Path:
    """The new folder of an experiment's function, which the module that defines it names, or of an `Experiment`."""
    function = getattr(experiment, "func", experiment)  # of a functools.partial
    module = MAIN if isinstance(experiment, Experiment) else getattr(function, "__module__", None) or MAIN
    name = module_name(module).split(".")[-1]
    return new_folder(NOTEBOOK if name == MAIN else name)


class RunResult(NamedTuple):
    """What `train_run` returns.

    Attributes:
        result: the last state's evaluation metrics by name, ``steps`` and ``seconds``, as in ``result.json``; also
            ``stopped``, the reason, if a callback stopped the run.
        state: the last state; None if the run was finished already.
    """

    result: Mapping[str, Any]
    state: TrainState | None


def train_run(run: Run) -> RunResult:
    """Trains a run to its last step in its folder, which must be claimed; draws its figures and writes its result.

    If the run is finished already, it writes nothing.

    Args:
        run: the run, which `build.check_run` accepts.

    Raises:
        Interrupted, NonFiniteError, CheckpointError: as in `loop.train`.
    """
    from dlcore.training import loop

    finished = finished_result(run)
    if finished is not None:
        why = finished.get("stopped")
        say_once(
            "finished already; a larger --config.train.steps trains it on"
            if why is None
            else f"finished already, stopped by a callback: {why}"
        )
        return RunResult(finished, None)
    say_once(f"run folder: {run.folder}")
    trained = loop.train(run.engine, run.folder, run.profile)
    if trained.stopped is not None:
        say_once(f"stopped by a callback: {trained.stopped}")
    result = {
        **trained.evaluation,
        "steps": int(trained.state.step),
        "seconds": round(trained.seconds, 2),
        **({} if trained.stopped is None else {"stopped": trained.stopped}),
    }
    model = loop.model_on_host(run.engine, trained.state)
    if jax.process_index() == 0:
        if run.config.log.figures:
            write_figures(run, *model)
        write_json(run.folder / RESULT, result)  # last, since a run with a result counts as finished
    return RunResult(result, trained.state)
