"""MLflow gets every row once, in one run of MLflow also if our run was stopped in between."""

import shutil
import signal
from importlib.util import find_spec

import pytest

import dlcore as dl
from dlcore.config.settings import leaves
from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers.plain_toy import Config, experiment, interrupting


@pytest.mark.slow
def test_a_run_that_was_stopped_is_one_run_of_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder, config = tmp_path / "toys" / "a", Config()
    folder.mkdir(parents=True)
    config.log.mlflow = (tmp_path / "mlruns").as_uri()
    engine, client = Engine(experiment(config), config), mlflow.MlflowClient(config.log.mlflow)
    with pytest.raises(loop.Interrupted):
        loop.train(interrupting(engine, 10, signal.SIGTERM), folder)
    run_id = (folder / "mlflow_run.txt").read_text().strip()
    assert client.get_run(run_id).info.status == "KILLED"
    # As after a kill: the rows after step 6 are written again.
    newest = max(folder.glob("checkpoints/*"), key=lambda path: int(path.name))
    assert int(newest.name) >= 9
    shutil.rmtree(newest)
    loop.train(engine, folder)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a")
    assert client.get_experiment(run.info.experiment_id).name == "toys"
    assert run.data.params == {leaf.path: leaf.text for leaf in leaves(engine.config)}
    rows = read_metrics(folder / "metrics.csv")
    for name in {name for _, name, _ in rows}:
        history = [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]
        assert sorted(history) == [(step, value) for step, found, value in rows if found == name]
    assert "train/steps_per_second" in run.data.metrics
    (only,) = client.search_runs([run.info.experiment_id])
    assert only.info.run_id == run_id


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "tracking_uri: got None, expected a URI"),
        (("x", 3), "experiment: got 3, expected a name or None"),
    ],
)
def test_arguments_are_text(arguments, message):
    with pytest.raises(TypeError, match=message):
        dl.callbacks.MLflowLogger(*arguments)


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_a_folder_that_mlflow_would_not_take_is_refused_before_the_run(monkeypatch, uri):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(
        ValueError, match=f"tracking_uri: got the folder '{uri}', which MLflow 3 takes only with"
    ):
        dl.callbacks.MLflowLogger(uri)
    dl.callbacks.MLflowLogger("http://localhost:5000")
