"""The modes as functions: what they return, what they write into a run's folder, and what they refuse."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from dlcore.cli import modes
from dlcore.cli.errors import UsageError
from dlcore.gradflow.models import find_recurrences, flow
from dlcore.gradflow.report import page
from dlcore.training import loop
from dlcore.training.checkpoints.checksums import NAME
from dlcore.training.run import Run
from tests.helpers import plain_toy
from tests.helpers.bad_arguments import unclear_errors
from tests.helpers.checkpoints import fake_checkpoint, read_files


def make_run(folder, **fields):
    config = plain_toy.Config()
    return Run(dataclasses.replace(plain_toy.experiment(config), **fields), config, folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run with a figure of its own, and its result."""

    def figures(params, model_state):
        assert isinstance(params["weights"], np.ndarray)
        return {"weights": Figure()}

    run = make_run(tmp_path_factory.mktemp("run"), figures=figures)
    (run.folder / "config.json").write_text(json.dumps(dataclasses.asdict(run.config)))
    return run, modes.train(run)


def test_training_writes_figures_and_the_result(trained):
    run, result = trained
    assert set(result) == {"loss", "steps", "seconds"}
    assert result["steps"] == 12
    assert json.loads((run.folder / "result.json").read_text()) == result
    figures = {path.name for path in (run.folder / "figures").iterdir()}
    assert figures == {"learning_curves.png", "weights.png"}


@pytest.mark.parametrize(
    "failure", ["a function that raises", "a folder in its place", "a link in its place"]
)
def test_a_figure_that_cannot_be_drawn_costs_nothing_else(trained, tmp_path, capsys, failure):
    def figures(params, model_state):
        if failure == "a function that raises":
            raise ZeroDivisionError("division by zero")
        return {"weights": Figure()}

    shutil.copytree(trained[0].folder, tmp_path / "run")
    run = make_run(tmp_path / "run", figures=figures)
    (run.folder / "result.json").unlink()
    place, victim = run.folder / "figures" / "weights.png", tmp_path / "victim"
    place.unlink()
    victim.write_text("precious")
    if failure == "a folder in its place":
        place.mkdir()
    if failure == "a link in its place":
        place.symlink_to(victim)
    assert modes.train(run)["loss"] == trained[1]["loss"]
    assert json.loads((run.folder / "result.json").read_text())["steps"] == 12
    errors = capsys.readouterr().err
    assert f"figure: {run.folder}/figures/learning_curves.png\n" in errors
    told = {
        "a function that raises": "figures: got ZeroDivisionError: division by zero; the run is finished without them",
        "a folder in its place": "figures: got IsADirectoryError: ",
        "a link in its place": f"figure: {place}\n",
    }
    assert told[failure] in errors
    assert victim.read_text() == "precious"


def test_a_finished_run_returns_its_result_and_writes_nothing(trained, capsys):
    run, result = trained
    before = read_files(run.folder)
    assert modes.train(run) == result
    assert "finished already" in capsys.readouterr().err
    assert read_files(run.folder) == before


def test_evaluation_repeats_the_result_of_training(trained):
    run, result = trained
    assert modes.evaluate(run) == {"loss": result["loss"], "steps": 12}
    at_6 = modes.evaluate(dataclasses.replace(run, checkpoint=6))
    assert at_6["steps"] == 6
    assert at_6["loss"] != result["loss"]


def test_a_checkpoint_that_does_not_exist_or_fit_is_a_usage_error(trained, tmp_path):
    run, _ = trained
    with pytest.raises(UsageError, match=r"--checkpoint: got newest, but .* has no checkpoint; train first"):
        modes.evaluate(make_run(tmp_path))
    with pytest.raises(UsageError, match=r"--checkpoint: got 7, but .* has steps 6, 12"):
        modes.evaluate(dataclasses.replace(run, checkpoint=7))

    def init(rng, batch):
        params, model_state = plain_toy.init(rng, batch)
        return {**params, "scale": np.ones(3, np.float32)}, model_state

    larger = make_run(run.folder, init=init)
    with pytest.raises(UsageError, match=r"params/scale: checkpoint has none, this experiment \(3,\)"):
        modes.evaluate(larger)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"steps": 3}'])
def test_a_damaged_result_or_one_of_fewer_steps_does_not_count(tmp_path, content):
    run = make_run(tmp_path)
    (tmp_path / "result.json").write_text(content)
    assert modes.finished_result(run) is None


def test_a_result_counts_only_with_its_last_checkpoint(tmp_path):
    run = make_run(tmp_path)
    assert modes.finished_result(run) is None
    (tmp_path / "result.json").write_text('{"steps": 12}')
    assert modes.finished_result(run) is None
    checkpoint = fake_checkpoint(tmp_path, 12)
    assert modes.finished_result(run) == {"steps": 12}
    (checkpoint / NAME).unlink()
    assert modes.finished_result(run) is None


def test_a_run_that_a_callback_stopped_is_finished(tmp_path, capsys, monkeypatch):
    stopped = loop.Trained(SimpleNamespace(step=6), {"loss": 0.5}, 1.25, "enough")
    monkeypatch.setattr(loop, "train", lambda engine, folder, profile: stopped)
    monkeypatch.setattr(loop, "model_on_host", lambda engine, state: (None, None))
    fake_checkpoint(tmp_path, 6)
    run = make_run(tmp_path)
    result = modes.train(run)
    assert result == {"loss": 0.5, "steps": 6, "seconds": 1.25, "stopped": "enough"}
    assert json.loads((tmp_path / "result.json").read_text()) == result
    before = read_files(tmp_path)
    assert modes.train(run) == result
    assert "finished already, stopped by a callback: enough" in capsys.readouterr().err
    assert read_files(tmp_path) == before


@pytest.fixture
def measured(monkeypatch):
    """The parameters of every state that is measured, without the measurement, and the reports that are written."""
    calls = SimpleNamespace(params=[], reports=[])
    lstm = SimpleNamespace(name="lstm", half_life=3.5, gain_half_life=4.5)

    def measure(loss):
        return lambda params, model_state: calls.params.append(params) or [lstm]

    def write_report(folder, run, flows, metrics, clip_norm, unmeasured):
        calls.reports.append((folder, run, list(flows), clip_norm))
        calls.unmeasured = unmeasured
        return [folder / page.PAGE]

    monkeypatch.setattr(flow, "measure", measure)
    monkeypatch.setattr(page, "write_report", write_report)
    return calls


@pytest.mark.parametrize(
    ("checkpoint", "states"),
    [
        ("newest", ["step 12"]),
        (6, ["step 6"]),
        ("initial", ["initial"]),
        ("all", ["initial", "step 6", "step 12"]),
    ],
)
def test_gradient_flow_measures_the_states_that_were_asked_for(trained, measured, capsys, checkpoint, states):
    run, _ = trained
    result = modes.gradient_flow(dataclasses.replace(run, checkpoint=checkpoint))
    folder = run.folder / "gradient_flow" / ("all" if len(states) > 1 else states[0].replace(" ", "_"))
    assert result == {
        "report": str(folder / "report.html"),
        "states": len(states),
        "half_life/lstm": 3.5,
        "gain_half_life/lstm": 4.5,
    }
    assert measured.reports == [(folder, run.folder.name, states, 0.05)]
    assert len({params["weights"].tobytes() for params in measured.params}) == len(states)
    printed = [*(f"measuring {state}" for state in states), f"written: {folder / 'report.html'}"]
    assert capsys.readouterr().err.splitlines() == printed


@pytest.mark.usefixtures("measured")
def test_gradient_flow_of_a_new_run_is_that_of_its_initial_state(tmp_path):
    result = modes.gradient_flow(make_run(tmp_path / "run"))
    assert result["report"] == str(tmp_path / "run" / "gradient_flow" / "initial" / "report.html")
    assert (tmp_path / "run" / "config.json").is_file()


def test_the_initial_state_of_a_run_that_is_fine_tuned_is_the_one_that_it_starts_from(
    trained, measured, tmp_path
):
    run, _ = trained
    config = plain_toy.Config(init_from=str(run.folder))
    tuned = Run(plain_toy.experiment(config), config, tmp_path / "tuned", checkpoint="initial")
    modes.gradient_flow(tuned)
    modes.gradient_flow(run)
    initial, newest = measured.params
    np.testing.assert_array_equal(initial["weights"], newest["weights"])


def test_cells_that_are_not_measured_are_said_and_handed_to_the_report(
    trained, measured, capsys, monkeypatch
):
    cell = "decoder (GRUCell run by AttentionDecoder)"
    monkeypatch.setattr(find_recurrences, "find_unmeasured", lambda call: [cell])
    modes.gradient_flow(trained[0])
    assert measured.unmeasured == [cell]
    assert f"not measured: {cell}" in capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("measured")
def test_gradient_flow_of_other_settings_is_refused(trained):
    run, _ = trained
    config = dataclasses.replace(run.config, seed=1)
    with pytest.raises(UsageError, match=r"holds a run with other settings: --config\.seed=1 \(was 0\)"):
        modes.gradient_flow(Run(run.experiment, config, run.folder, checkpoint="initial"))


def test_gradient_flow_of_a_model_without_recurrence_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--mode: got gradient_flow for a model without recurrent layers"):
        modes.gradient_flow(make_run(tmp_path / "run"))


def test_gradient_flow_is_measured_on_the_first_rows_without_dropout():
    config = plain_toy.Config(dropout=0.5)
    config.train.batch_size = 20
    experiment = plain_toy.experiment(config)
    params, model_state = experiment.init(jax.random.key(0), None)
    first = {name: field[:16] for name, field in experiment.train_data[0].items()}
    expected, _ = plain_toy.make_loss(0.0)(params, model_state, first, jax.random.key(0), True)
    np.testing.assert_allclose(modes.probe_loss(experiment)(params, model_state), expected, rtol=1e-6)


def test_an_experiment_gets_a_monitor_only_if_the_config_asks_and_it_has_none():
    config = plain_toy.Config()
    experiment = plain_toy.experiment(config)
    assert modes.with_monitor(experiment, config) is experiment
    config.train.monitor_every = 3
    assert modes.with_monitor(experiment, config).monitor is not None
    own = dataclasses.replace(experiment, monitor=lambda params, model_state: {})
    assert modes.with_monitor(own, config) is own


RUN = make_run(Path("nowhere"))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (modes.train, {"run": RUN}),
        (modes.evaluate, {"run": RUN}),
        (modes.gradient_flow, {"run": RUN}),
        (modes.finished_result, {"run": RUN}),
        (modes.probe_loss, {"experiment": RUN.experiment}),
        (modes.with_monitor, {"experiment": RUN.experiment, "config": RUN.config}),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    assert not unclear_errors(function, arguments)
