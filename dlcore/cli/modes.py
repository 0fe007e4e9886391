"""The modes that every experiment has, and what they keep in a run's folder."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from dlcore.cli.errors import one_line_errors
from dlcore.plots.training import learning_curves
from dlcore.train.checkpoints.folder import CHECKPOINTS, newest_whole
from dlcore.train.experiment import Experiment
from dlcore.train.run import Run
from dlcore.train.run_folder import CONFIG, RESULT, check_folder, claim_folder
from dlcore.utils.files import write_json

# What imports Orbax (dlcore.train.loop) is imported when a mode runs: `import dlcore` stays fast.

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
        write_json(run.folder / RESULT, result)  # last: a run with a result is whole
    return result


def evaluate(run: Run) -> Mapping[str, Any]:
    """``--mode=evaluate``: a checkpoint's evaluation on the whole set; writes nothing."""
    from dlcore.train import loop
    from dlcore.train.evaluation import evaluate

    with one_line_errors(run.config):
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
    from dlcore.gradflow.models.flow import measure
    from dlcore.gradflow.report import page
    from dlcore.train import loop
    from dlcore.train.telemetry.metrics_log import read_metrics

    measure_run = measure(probe_loss(run.experiment))
    with one_line_errors(run.config), contextlib.ExitStack() as stack:
        if (run.folder / CONFIG).is_file():
            check_folder(run)
        else:
            stack.enter_context(claim_folder(run))
        flows = {}
        for name, state in loop.named_states(run):
            print(f"measuring {name}", file=sys.stderr)
            flows[name] = measure_run(*loop.model_on_host(run.engine, state))
        if not any(flows.values()):
            raise ValueError(
                "--mode: got gradient_flow for a model without recurrent layers, expected one with dl.Recurrent, "
                "dl.Bidirectional or dl.DeepRecurrent"
            )
    folder = run.folder / "gradient_flow" / ("all" if len(flows) > 1 else name.replace(" ", "_"))
    if jax.process_index() == 0:
        metrics = read_metrics(run.folder / "metrics.csv")
        for path in page.write_report(
            folder, run.folder.name, flows, metrics, run.config.optimizer.clip_norm
        ):
            print(f"written: {path}", file=sys.stderr)
    last = list(flows.values())[-1]
    return {
        "report": str(folder / page.PAGE),
        "states": len(flows),
        **{f"half_life/{flow.name}": flow.half_life for flow in last},
    }


def probe_loss(experiment: Experiment) -> Callable[[Any, Any], jax.Array]:
    """The loss of which gradient flow is measured: on the first rows of the first training batch, without dropout."""
    batch = {name: field[:MEASURED_ROWS] for name, field in experiment.train_data[0].items()}

    def loss(params: Any, model_state: Any) -> jax.Array:
        return experiment.loss(params, model_state, batch, jax.random.key(0), False)[0]

    return loss


def _finished(run: Run) -> Mapping[str, Any] | None:
    """The result of a run that is at its last step already, and whose last checkpoint is whole."""
    try:
        result = json.loads((run.folder / RESULT).read_text())
        last = result["steps"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # none yet, or a damaged one, which is made anew
    whole = newest_whole(run.folder / CHECKPOINTS)
    return result if last == run.engine.config.train.steps == whole else None


def _draw(run: Run, params: Any, model_state: Any) -> Iterator[Path]:
    from dlcore.train.telemetry.metrics_log import read_metrics

    rows = read_metrics(run.folder / "metrics.csv")
    drawn = {"learning_curves": learning_curves(rows, run.experiment.best)}
    if any(name.startswith("flow/") for _, name, _ in rows):
        from dlcore.gradflow.report.training_figures import plot_lags_in_training

        drawn["gradient_by_lag"] = plot_lags_in_training(rows)
    if run.experiment.figures:
        drawn.update(run.experiment.figures(params, model_state))
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png")
        yield folder / f"{name}.png"
