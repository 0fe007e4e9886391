"""Gradient flow of an experiment or of a trained model, as a function."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.config import settings
from dlcore.gradflow.models import find_recurrences, flow
from dlcore.gradflow.report import page
from dlcore.gradflow.report.words import verdict
from dlcore.training import loop
from dlcore.training.engine import Engine
from tests.helpers import plain_toy, sequence_toy


@pytest.fixture
def measured(monkeypatch):
    """The parameters and losses that are measured, without the measurement, and the reports that are written."""
    calls = SimpleNamespace(params=[], losses=[], reports=[])

    def measure(loss):
        def measure_model(params, model_state):
            calls.params.append(params)
            calls.losses.append(float(loss(params, model_state)))
            return ["a flow"]

        return measure_model

    def write_report(*arguments):
        calls.reports.append(arguments)
        return [arguments[0] / page.PAGE]

    monkeypatch.setattr(flow, "measure", measure)
    monkeypatch.setattr(page, "write_report", write_report)
    monkeypatch.setattr(find_recurrences, "find_unmeasured", lambda call: ["decoder"])
    return calls


def test_an_experiment_is_measured_at_its_initial_state(measured):
    config = plain_toy.Config()
    for model in (plain_toy.experiment, plain_toy.experiment(config)):
        found = dl.gradient_flow(model, config)
        assert (found.state, found.flows, found.unmeasured, found.report) == (
            "initial",
            ["a flow"],
            ["decoder"],
            None,
        )
    initial, again = measured.params
    np.testing.assert_array_equal(initial["weights"], again["weights"])
    assert measured.reports == []


def test_a_trained_model_is_measured_with_its_parameters_and_its_log(measured, trained, tmp_path, capsys):
    found = dl.gradient_flow(trained, folder=str(tmp_path / "report"))
    assert found.state == "step 12"
    assert found.report == tmp_path / "report" / "report.html"
    np.testing.assert_array_equal(measured.params[0]["weights"], trained.model.params["weights"])
    folder, title, flows, metrics, clip_norm, unmeasured = measured.reports[0]
    assert (folder, title, flows) == (tmp_path / "report", trained.folder.name, {"step 12": ["a flow"]})
    assert (clip_norm, unmeasured) == (0.05, ["decoder"])
    assert {name for _, name, _ in metrics} == set(trained.metrics)
    assert capsys.readouterr().err.splitlines() == [
        "measuring step 12",
        "not measured: decoder",
        f"written: {found.report}",
    ]
    assert dl.gradient_flow(dl.load(trained.folder, 6)).state == "step 6"
    assert dl.gradient_flow(trained.folder).state in ("step 6", "step 12")


def test_the_report_of_an_untrained_model_has_its_folders_name_and_no_log(measured, tmp_path, monkeypatch):
    (tmp_path / "metrics.csv").write_text("of something else")
    monkeypatch.chdir(tmp_path)
    dl.gradient_flow(plain_toy.experiment, plain_toy.Config(), tmp_path / "report")
    assert measured.reports[0][1:4] == ("report", {"initial": ["a flow"]}, [])


def test_rows_and_batches_come_from_the_config_or_from_the_call(measured, trained):
    experiment, config = trained.model.experiment, trained.model.config
    batches = [experiment.train_data[step] for step in range(3)]

    def loss_of(rows, count):
        batch = {name: np.concatenate([part[name][:rows] for part in batches[:count]]) for name in batches[0]}
        return plain_toy.make_loss(0.0)(trained.model.params, trained.model.model_state, batch, None, False)[
            0
        ]

    dl.gradient_flow(trained)
    dl.gradient_flow(trained, rows=3, batches=2)
    changed = settings.replace(config, {"gradient_flow.rows": 2, "gradient_flow.batches": 3})
    run = dataclasses.replace(trained.model.run, config=changed)
    dl.gradient_flow(dataclasses.replace(trained.model, run=run))
    expected = [loss_of(16, 1), loss_of(3, 2), loss_of(2, 3)]
    np.testing.assert_allclose(measured.losses, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 3}, TypeError, "model: got 3, expected what dl.train or dl.load returned"),
        ({"config": None}, TypeError, "config: got None, expected a dl.Config"),
        ({"folder": 3}, TypeError, "folder: got 3, expected a path"),
        ({"rows": 0}, ValueError, "rows: got 0, expected an integer >= 1"),
        ({"batches": 1.5}, TypeError, "batches: got 1.5, expected an integer >= 1"),
        (
            {},
            ValueError,
            "experiment: got a model without a recurrence that can be measured, expected a recurrent layer or",
        ),
    ],
)
def test_a_bad_argument_and_a_model_without_recurrence_are_named(arguments, error, message):
    good = {"model": plain_toy.experiment, "config": plain_toy.Config()}
    with pytest.raises(error, match=f"^{message}"):
        dl.gradient_flow(**good | arguments)


def test_a_trained_model_has_its_own_config(trained):
    with pytest.raises(
        ValueError, match=r"^config: got one for a trained model, which has its own; expected None"
    ):
        dl.gradient_flow(trained, plain_toy.Config())


@pytest.mark.slow
def test_it_measures_what_measuring_by_hand_gives(tmp_path):
    config = sequence_toy.Config(dropout=0.0)
    experiment = sequence_toy.experiment(config)
    found = dl.gradient_flow(experiment, config, tmp_path / "report")
    state = loop.initialize(Engine(experiment, config))
    batch = experiment.train_data[0]  # 8 rows, fewer than 16
    (expected,) = dl.gradflow.measure(
        lambda *model: experiment.loss(*model, batch, jax.random.key(0), False)[0]
    )(state.params, state.model_state)
    (flow,) = found.flows
    np.testing.assert_allclose(flow.log_gain, expected.log_gain, atol=1e-5)
    np.testing.assert_allclose(flow.half_life, expected.half_life, rtol=1e-4)
    assert (
        repr(found)
        == f"gradient flow, initial:\n{verdict(flow)}\nreport: {tmp_path / 'report' / 'report.html'}"
    )
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
