"""The modes that every experiment has, as functions of a `Run`; a notebook can call them, too.

What imports Orbax (``dlcore.training.loop``) is imported when a mode is called, so that ``import dlcore`` stays fast.
"""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
from absl import logging

from dlcore.cli.errors import usage_errors
from dlcore.plots.canvas import save_figures
from dlcore.plots.training import learning_curves
from dlcore.training import run_folder
from dlcore.training.config import Config
from dlcore.training.distributed import say_once
from dlcore.training.experiment import Experiment
from dlcore.training.run import Run
from dlcore.training.run_folder import CONFIG, RESULT, check_folder, claim_folder
from dlcore.utils.checks import check_instance
from dlcore.utils.files import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlcore.gradflow.models.flow import Flow

PROBE_ROWS = 16  # rows of the batch on which gradient flow is measured


def train(run: Run) -> Mapping[str, Any]:
    """``--mode=train``: trains to the last step; writes ``result.json`` and the figures into the run's folder.

    If the run is finished already, it writes nothing.

    Returns:
        A dict of the last state's evaluation metrics by name, ``steps`` and ``seconds``, and ``stopped``, the reason,
        if a callback stopped the run; the stored one if the run is finished already.

    Raises:
        Interrupted, NonFiniteError, CheckpointError: as in `loop.train`.
    """
    from dlcore.training import loop

    _check_run(run)
    finished = finished_result(run)
    if finished is not None:
        why = finished.get("stopped")
        say_once(
            "finished already; a larger --config.train.steps trains it on"
            if why is None
            else f"finished already, stopped by a callback: {why}"
        )
        return finished
    say_once(f"run folder: {run.folder}")
    trained = loop.train(run.engine, run.folder, run.profile)
    result = {
        **trained.evaluation,
        "steps": int(trained.state.step),
        "seconds": round(trained.seconds, 2),
        **({} if trained.stopped is None else {"stopped": trained.stopped}),
    }
    params, model_state = loop.model_on_host(run.engine, trained.state)
    if jax.process_index() == 0:
        _draw(run, params, model_state)
        write_json(run.folder / RESULT, result)  # last, since a run with a result counts as finished
    return result


def evaluate(run: Run) -> Mapping[str, Any]:
    """``--mode=evaluate``: evaluates a checkpoint on the whole evaluation set; writes nothing.

    Returns:
        A dict of the metrics by name, and of the checkpoint's ``steps``.

    Raises:
        UsageError: there is no such checkpoint, or it is damaged or does not fit the config.
    """
    from dlcore.training import loop
    from dlcore.training.evaluation import evaluate

    _check_run(run)
    with usage_errors(run.config):
        state = loop.restore_model(run)
    return {**evaluate(run.engine, state), "steps": int(state.step)}


def gradient_flow(run: Run) -> Mapping[str, Any]:
    """``--mode=gradient_flow``: measures gradients along every recurrence of the model and writes a report.

    ``--checkpoint`` chooses the state: ``initial``, ``newest``, ``best``, a step, or ``all``, which means the initial
    state and then every checkpoint. The initial state is the one in which training starts, with the parameters of
    ``init_from``. The newest state of a run without a checkpoint is the initial one. Gradients are measured on the
    first `PROBE_ROWS` rows of the first training batch, without dropout. The report is the folder
    ``gradient_flow/STATE/`` in the run's folder. It lists the cells that are not measured, and so does stderr.

    Returns:
        A dict: ``report`` is the path of the report's page, and ``states`` is the number of states. For each recurrence
        of the last state, ``half_life/NAME`` follows from its largest Lyapunov exponent and ``gain_half_life/NAME``
        from the slope of its gain, both in time steps.

    Raises:
        UsageError: the model has no recurrent layer of dlcore, the folder's run has other settings, or there is no such
            checkpoint, or it is damaged.
    """
    from dlcore.gradflow.report import page
    from dlcore.training.telemetry.metrics_log import TABLE, read_metrics

    _check_run(run)
    flows, unmeasured = _measure_states(run)
    state = "all" if len(flows) > 1 else next(iter(flows)).replace(" ", "_")
    folder = run.folder / "gradient_flow" / state
    if jax.process_index() == 0:
        metrics = read_metrics(run.folder / TABLE)
        clip_norm = run.config.optimizer.clip_norm
        for path in page.write_report(folder, run.folder.name, flows, metrics, clip_norm, unmeasured):
            say_once(f"written: {path}")
    last = list(flows.values())[-1]
    return {
        "report": str(folder / page.PAGE),
        "states": len(flows),
        **{f"half_life/{flow.name}": flow.half_life for flow in last},
        **{f"gain_half_life/{flow.name}": flow.gain_half_life for flow in last},
    }


def _measure_states(run: Run) -> tuple[dict[str, list["Flow"]], list[str]]:
    """Measures gradient flow at every state that the run names, by the state's name; lists what is not measured."""
    from dlcore.gradflow.models.find_recurrences import find_unmeasured
    from dlcore.gradflow.models.flow import measure
    from dlcore.training import loop

    loss, unmeasured = probe_loss(run.experiment), []
    measure_model = measure(loss)
    with usage_errors(run.config), contextlib.ExitStack() as stack:
        if (run.folder / CONFIG).is_file():
            check_folder(run)
        else:
            stack.enter_context(claim_folder(run))
        flows: dict[str, list[Flow]] = {}
        for name, state in loop.named_states(run):
            say_once(f"measuring {name}")
            model = loop.model_on_host(run.engine, state)
            if not flows:
                unmeasured = find_unmeasured(functools.partial(loss, *model))
            with warnings.catch_warnings(action="ignore"):  # it names these cells, too
                flows[name] = measure_model(*model)
        for cell in unmeasured:
            say_once(f"not measured: {cell}")
        if not any(flows.values()):
            raise ValueError(
                "--mode: got gradient_flow for a model without recurrent layers, expected one with dl.Recurrent, "
                "dl.Bidirectional or dl.DeepRecurrent"
            )
    return flows, unmeasured


def probe_loss(experiment: Experiment) -> Callable[[Any, Any], jax.Array]:
    """The loss whose gradient flow is measured: on the first `PROBE_ROWS` rows of the first training batch.

    Args:
        experiment: the experiment, whose loss is called with ``train=False``, so without dropout.

    Returns:
        A function ``loss(params, model_state) -> scalar``.
    """
    check_instance("experiment", experiment, Experiment, "a dl.Experiment")
    batch = {name: field[:PROBE_ROWS] for name, field in experiment.train_data[0].items()}

    def loss(params: Any, model_state: Any) -> jax.Array:
        return experiment.loss(params, model_state, batch, jax.random.key(0), False)[0]

    return loss


def with_monitor(experiment: Experiment, config: Any) -> Experiment:
    """A copy of the experiment with a monitor of gradient flow; the experiment itself if it needs none.

    Args:
        experiment: the experiment; if it has a monitor, it is returned.
        config: its config, in which ``train.monitor_every`` asks for a monitor; if that is None, the experiment is
            returned.
    """
    check_instance("experiment", experiment, Experiment, "a dl.Experiment")
    check_instance("config", config, Config, "a dl.Config")
    if config.train.monitor_every is None or experiment.monitor is not None:
        return experiment
    from dlcore.gradflow.models.monitor import make_monitor

    return dataclasses.replace(experiment, monitor=make_monitor(probe_loss(experiment)))


def finished_result(run: Run) -> Mapping[str, Any] | None:
    """The dict in ``result.json`` of a finished run; None if it is not finished, see `run_folder.finished_result`."""
    _check_run(run)
    return run_folder.finished_result(run)


def _draw(run: Run, params: Any, model_state: Any) -> None:
    """Draws the figures of a trained run; a failure is printed, and costs neither the other figures nor the result."""
    for figures in (_training_figures, _own_figures):
        try:
            for path in save_figures(run.folder / "figures", figures(run, params, model_state)):
                say_once(f"figure: {path}")
        except Exception as error:
            logging.debug("traceback of the error below", exc_info=True)
            say_once(f"figures: got {type(error).__name__}: {error}; the run is finished without them")


def _training_figures(run: Run, _: Any, __: Any) -> Mapping[str, "Figure"]:
    """The figures that every run has, of its metrics over the steps."""
    from dlcore.training.telemetry.metrics_log import TABLE, read_metrics

    rows = read_metrics(run.folder / TABLE)
    sets = [name for name in run.experiment.eval_sets if name]
    figures = {"learning_curves": learning_curves(rows, run.experiment.best, sets)}
    if any(name.startswith("flow/") for _, name, _ in rows):
        from dlcore.gradflow.report.training_figures import plot_lags_in_training

        figures["gradient_by_lag"] = plot_lags_in_training(rows)
    return figures


def _own_figures(run: Run, params: Any, model_state: Any) -> Mapping[str, "Figure"]:
    """The figures that the experiment draws."""
    return run.experiment.figures(params, model_state) if run.experiment.figures else {}


def _check_run(run: Any) -> None:
    """Checks that a mode got a `Run`; raises TypeError if not."""
    check_instance("run", run, Run, "a dlcore.training.run.Run")
