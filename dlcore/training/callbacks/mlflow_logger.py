"""MLflow as a logger."""

import os
import time
from collections.abc import Mapping
from typing import Any

from dlcore.config.settings import leaves
from dlcore.training.callbacks.callback import Start
from dlcore.training.callbacks.logger import Logger, read_run_id, write_run_id
from dlcore.utils.checks import check_instance

RUN_ID = "mlflow_run.txt"
ALLOW_FOLDERS = "MLFLOW_ALLOW_FILE_STORE"
# What MLflow takes: characters of a parameter, and how many parameters and metrics at a time.
LONGEST, MOST_PARAMS, MOST_METRICS = 6000, 100, 1000


class MLflowLogger(Logger):
    """Writes every row of a run, its rates and its config to MLflow; needs ``pip install 'dlcore[mlflow]'``.

    Every setting becomes a parameter. A run that is started again goes on in the same MLflow run, whose id is in
    ``mlflow_run.txt`` in the run's folder; numbers that are there already are not written again. If MLflow
    fails, a line says so, and the run goes on without it.

    Args:
        tracking_uri: where MLflow keeps its runs, for instance ``http://localhost:5000``. MLflow 3 takes a folder
            only if ``MLFLOW_ALLOW_FILE_STORE=true`` is set.
        experiment: the MLflow experiment; None: the name of the folder that holds the run's folder, as in
            ``runs/EXPERIMENT/NAME``.

    Raises:
        ImportError: MLflow is not installed.
        TypeError: an argument is no text.
        ValueError: the URI is a folder, and ``MLFLOW_ALLOW_FILE_STORE`` is not set.
    """

    def __init__(self, tracking_uri: str, experiment: str | None = None):
        super().__init__("mlflow", "mlflow")
        check_instance("tracking_uri", tracking_uri, str, "a URI such as http://localhost:5000")
        check_instance("experiment", experiment, (str, type(None)), "a name or None")
        _check_store(tracking_uri)
        self._uri, self._experiment = tracking_uri, experiment
        self._client: Any = None
        self._run_id = ""
        self._resumed = False
        self._last_steps: dict[str, int] = {}

    def open(self, start: Start) -> None:
        from mlflow import MlflowClient

        self._client, path = MlflowClient(self._uri), start.folder / RUN_ID
        found = read_run_id(path)
        self._resumed, self._last_steps = found is not None, {}
        self._run_id = found or self._create(start)
        write_run_id(path, self._run_id)
        self._client.update_run(self._run_id, status="RUNNING")
        self._write_config(start)

    def _create(self, start: Start) -> str:
        name = self._experiment or start.folder.absolute().parent.name or "dlcore"
        found = self._client.get_experiment_by_name(name)
        experiment_id = found.experiment_id if found else self._client.create_experiment(name)
        return self._client.create_run(experiment_id, run_name=start.folder.name).info.run_id

    def _write_config(self, start: Start) -> None:
        """Writes the settings that are not there yet; MLflow refuses another value of one that is."""
        from mlflow.entities import Param

        there = self._client.get_run(self._run_id).data.params
        params = [
            Param(leaf.path, leaf.text[:LONGEST]) for leaf in leaves(start.config) if leaf.path not in there
        ]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[first : first + MOST_PARAMS])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, step) for name, value in values.items() if step > self._last_step(name)
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[first : first + MOST_METRICS])

    def _last_step(self, name: str) -> int:
        """The last step at which MLflow has this metric; -1 if it has none. Only a resumed run has to ask."""
        if not self._resumed:
            return -1
        if name not in self._last_steps:
            there = self._client.get_metric_history(self._run_id, name)
            self._last_steps[name] = max((metric.step for metric in there), default=-1)
        return self._last_steps[name]

    def close(self, error: BaseException | None) -> None:
        killed = isinstance(error, KeyboardInterrupt)
        status = "FINISHED" if error is None else "KILLED" if killed else "FAILED"
        self._client.set_terminated(self._run_id, status)


def _check_store(uri: str) -> None:
    folder = "://" not in uri or uri.startswith("file:")
    if folder and os.environ.get(ALLOW_FOLDERS, "").lower() not in ("true", "1"):
        raise ValueError(
            f"tracking_uri: got the folder {uri!r}, which MLflow 3 takes only with {ALLOW_FOLDERS}=true in the "
            "environment; set it, or give the URI of a server or of a database"
        )
