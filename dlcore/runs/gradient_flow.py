"""Measures gradient flow of an experiment's model, at its initial state or trained."""

import dataclasses
import functools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from dlcore.runs.build import Build, C, check_run, make_run
from dlcore.runs.load import as_model
from dlcore.runs.model import TrainedModel
from dlcore.runs.probe import probe_loss
from dlcore.runs.train import Trained
from dlcore.training.config import Config, GradientFlowConfig
from dlcore.training.distributed import say_once
from dlcore.training.engine import Engine
from dlcore.training.experiment import Experiment
from dlcore.training.run import Run
from dlcore.training.state import TrainState
from dlcore.training.telemetry.metrics_log import TABLE, read_metrics
from dlcore.utils.checks import check_integer
from dlcore.utils.files import user_path

if TYPE_CHECKING:
    from dlcore.gradflow.models.flow import Flow


@dataclass(frozen=True, repr=False, eq=False)
class GradientFlow:
    """What was measured; it prints as sentences.

    Attributes:
        state: the state of training: ``"initial"`` or ``"step N"``.
        flows: a `gradflow.Flow` for each recurrence, in the order in which the model runs them.
        unmeasured: the loops and cells along which nothing was measured, with the reasons.
        report: the page of the report; None if none was asked for.
    """

    state: str
    flows: Sequence["Flow"]
    unmeasured: Sequence[str]
    report: Path | None

    def __repr__(self) -> str:
        from dlcore.gradflow.report.words import verdict

        lines = [f"gradient flow, {self.state}:", *map(verdict, self.flows)]
        lines += [f"not measured: {part}" for part in self.unmeasured]
        return "\n".join([*lines, f"report: {self.report}"] if self.report else lines)


def gradient_flow(
    model: Experiment | Build[C] | TrainedModel | Trained | str | Path,
    config: C | None = None,
    folder: str | Path | None = None,
    *,
    rows: int | None = None,
    batches: int | None = None,
) -> GradientFlow:
    """Measures the gradients along every recurrence of a model, without dropout, on rows of its training data.

    The rows are the first ``gradient_flow.rows`` of each of the first ``gradient_flow.batches`` training batches.

    Args:
        model: an experiment, or the function ``experiment(config)``: its initial state is measured, the one in which
            training starts. What `train` or `load` returned, or the folder of a run, which means its best checkpoint:
            the trained model is measured.
        config: the config of an experiment; None for a trained model, which has its own.
        folder: where a report is written: tables, figures and a page ``report.html``; None: there is no report.
        rows: in place of the config's ``gradient_flow.rows``; None: the config's.
        batches: in place of the config's ``gradient_flow.batches``; None: the config's.

    Returns:
        A `GradientFlow`.

    Raises:
        TypeError: an argument has another type, or the experiment does not keep its contract.
        ValueError: the model has no recurrence that can be measured, rows or batches are below 1, batches do not fit
            together, a trained model has a config of its own; or as in `train` and `load`.
    """
    from dlcore.training import loop

    path = None if folder is None else user_path("folder", folder)
    run, trained = _run_and_state(model, config)
    state = loop.initialize(run.engine) if trained is None else trained
    name = loop.INITIAL if trained is None else f"step {int(state.step)}"
    flows, unmeasured = measure_states(run.engine, [(name, state)], _probe(run.config, rows, batches))
    report, clip_norm = None, run.config.optimizer.clip_norm
    if path is not None:
        report = write_report(path, flows, unmeasured, clip_norm, None if trained is None else run.folder)
    return GradientFlow(name, flows[name], unmeasured, report)


def _run_and_state(model: Any, config: Any) -> tuple[Run, TrainState | None]:
    """The run, and its state if it is trained; a run without a folder if it is not."""
    if isinstance(model, Experiment) or callable(model):
        run = make_run(model, config, Path())
        check_run(run)
        return run, None
    trained = as_model(model)
    if config is not None:
        raise ValueError("config: got one for a trained model, which has its own; expected None")
    return trained.run, trained.state


def _probe(config: Config, rows: int | None, batches: int | None) -> GradientFlowConfig:
    """The run's settings of gradient flow, with what the caller gave in their place."""
    given = {"rows": rows, "batches": batches}
    counts = {name: check_integer(name, count) for name, count in given.items() if count is not None}
    return dataclasses.replace(config.gradient_flow, **counts)


def measure_states(
    engine: Engine, states: Iterable[tuple[str, TrainState]], config: GradientFlowConfig
) -> tuple[dict[str, list["Flow"]], list[str]]:
    """Measures gradient flow at states of training; a line on stderr names each state and each part that is left out.

    Args:
        engine: the engine of the experiment.
        states: pairs of a name and a `TrainState`.
        config: the rows that are measured.

    Returns:
        The `Flow` of each recurrence by the name of the state, and the loops and cells that are not measured, with the
        reasons.

    Raises:
        ValueError: the model has no recurrence that can be measured.
    """
    from dlcore.gradflow.models.find_recurrences import find_unmeasured
    from dlcore.gradflow.models.flow import measure
    from dlcore.training import loop

    loss, unmeasured = probe_loss(engine.experiment, config), []
    measure_model = measure(loss)
    flows: dict[str, list[Flow]] = {}
    for name, state in states:
        say_once(f"measuring {name}")
        model = loop.model_on_host(engine, state)
        if not flows:
            unmeasured = find_unmeasured(functools.partial(loss, *model))
        with warnings.catch_warnings(action="ignore"):  # it names these parts, too
            flows[name] = measure_model(*model)
    for part in unmeasured:
        say_once(f"not measured: {part}")
    if not any(flows.values()):
        raise ValueError(
            "experiment: got a model without a recurrence that can be measured, expected a recurrent layer or "
            "jax.lax.scan"
        )
    return flows, unmeasured


def write_report(
    folder: Path,
    flows: dict[str, list["Flow"]],
    unmeasured: list[str],
    clip_norm: float | None,
    run_folder: Path | None,
) -> Path:
    """Writes the report of what `measure_states` measured; a line on stderr names each file.

    Args:
        folder: where the files go.
        flows: what was measured.
        unmeasured: the loops and cells that were not measured.
        clip_norm: the threshold of the clipping; None: gradients are not clipped.
        run_folder: the run's folder, whose metrics tell how often gradients were clipped; None: there is no run.

    Returns:
        The path of the page.
    """
    from dlcore.gradflow.report import page

    if jax.process_index() == 0:
        metrics = read_metrics(run_folder / TABLE) if run_folder else []
        title = (run_folder or folder).name
        for path in page.write_report(folder, title, flows, metrics, clip_norm, unmeasured):
            say_once(f"written: {path}")
    return folder / page.PAGE
