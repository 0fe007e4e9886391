"""The figures of a run: those that every run has, and those that its experiment draws."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import logging

from dlcore.plots.canvas import save_figures
from dlcore.plots.training import learning_curves
from dlcore.training.distributed import say_once
from dlcore.training.run import Run
from dlcore.training.telemetry.metrics_log import TABLE, read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = "figures"


def write_figures(run: Run, params: Any, model_state: Any) -> None:
    """Draws the figures of a trained run into its folder ``figures/``.

    A failure is printed, and costs neither the other figures nor the result.

    Args:
        run: the run.
        params: the parameters for evaluation, as NumPy arrays.
        model_state: the model state, as NumPy arrays.
    """
    for draw in (training_figures, own_figures):
        try:
            for path in save_figures(run.folder / FIGURES, draw(run, params, model_state)):
                say_once(f"figure: {path}")
        except Exception as error:
            logging.debug("traceback of the error below", exc_info=True)
            say_once(f"figures: got {type(error).__name__}: {error}; the run is finished without them")


def training_figures(run: Run, _: Any = None, __: Any = None) -> Mapping[str, "Figure"]:
    """The figures that every run has, of its metrics over the steps."""
    rows = read_metrics(run.folder / TABLE)
    sets = [name for name in run.experiment.eval_sets if name]
    figures = {"learning_curves": learning_curves(rows, run.experiment.best, sets)}
    if any(name.startswith("flow/") for _, name, _ in rows):
        from dlcore.gradflow.report.training_figures import plot_lags_in_training

        figures["gradient_by_lag"] = plot_lags_in_training(rows)
    return figures


def own_figures(run: Run, params: Any, model_state: Any) -> Mapping[str, "Figure"]:
    """The figures that the experiment draws; none if it draws none."""
    return run.experiment.figures(params, model_state) if run.experiment.figures else {}
