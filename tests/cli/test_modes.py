"""The modes as functions: what they return, what they write into a run's folder, and what they refuse."""

import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dlcore.cli import modes
from dlcore.cli.errors import UsageError
from dlcore.config.sources import SourcedSetting
from dlcore.gradflow.models import find_recurrences, flow
from dlcore.gradflow.report import page
from dlcore.training.run import Run
from dlcore.training.targets.target import this_machine
from tests.helpers import plain_toy
from tests.helpers.bad_arguments import unclear_errors
from tests.helpers.checkpoints import read_files


def make_run(folder, **fields):
    config = plain_toy.Config()
    return Run(dataclasses.replace(plain_toy.experiment(config), **fields), config, folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run and its result."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    return run, modes.train(run)


def test_a_mode_is_found_among_those_of_all_experiments_and_the_own_ones():
    own, other = (lambda run: {}), (lambda run: {})
    experiment = dataclasses.replace(plain_toy.experiment(plain_toy.Config()), modes={"own": own})
    assert modes.find_mode(experiment, "train") is modes.train
    assert modes.find_mode(experiment, "own") is own
    assert modes.find_mode(experiment, "other", {"other": other}) is other
    with pytest.raises(
        ValueError, match=r"^--mode: got 'owm', expected one of train, .*; did you mean 'own'\?$"
    ):
        modes.find_mode(experiment, "owm")
    with pytest.raises(ValueError, match=r"^modes: got 'own', expected another name"):
        modes.find_mode(experiment, "train", {"own": other})


def test_training_claims_the_folder_and_returns_the_result(trained):
    run, result = trained
    assert set(result) == {"loss", "steps", "seconds"}
    assert result["steps"] == 12
    assert json.loads((run.folder / "result.json").read_text()) == result
    assert (run.folder / "config.json").is_file()


def test_training_in_the_folder_of_a_run_with_other_settings_is_a_usage_error(trained):
    run, _ = trained
    config = dataclasses.replace(run.config, seed=1)
    with pytest.raises(UsageError, match=r"holds a run with other settings: --config\.seed=1 \(was 0\)"):
        modes.train(Run(run.experiment, config, run.folder))


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


SETTINGS = (SourcedSetting("seed", "0", "flag"),)


def test_an_inspection_prints_its_report_and_writes_nothing(trained, tmp_path, capsys):
    run = make_run(trained[0].folder)
    before = read_files(run.folder)
    result = modes.inspect(run, SETTINGS, compile=True)
    assert result["fits"] is True
    assert result["training"]["rows"] == 8
    printed = capsys.readouterr()
    assert printed.out.startswith("settings: 1 of 1 given\n")
    assert printed.err.splitlines() == ["compiling the training", "compiling the evaluation"]
    assert read_files(run.folder) == before
    assert modes.inspect(make_run(tmp_path / "new"), SETTINGS, compile=False)["fits"] is None
    assert list(tmp_path.iterdir()) == []


def test_an_inspection_refuses_what_a_training_refuses(trained, tmp_path):
    run, _ = trained
    other = Run(run.experiment, dataclasses.replace(run.config, seed=1), run.folder)
    with pytest.raises(UsageError, match=r"holds a run with other settings: --config\.seed=1 \(was 0\)"):
        modes.inspect(other, SETTINGS, compile=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/run: Not a directory; choose another place"):
        modes.inspect(make_run(tmp_path / "file" / "run"), SETTINGS, compile=False)


def test_an_inspection_of_what_does_not_fit_prints_its_report_and_is_a_usage_error(
    tmp_path, monkeypatch, capsys
):
    small = dataclasses.replace(this_machine(), memory=100)
    monkeypatch.setattr("dlcore.runs.inspect.this_machine", lambda: small)
    with pytest.raises(UsageError, match=r"^--config\.train\.batch_size: got 8, with which training needs"):
        modes.inspect(make_run(tmp_path / "run"), SETTINGS, compile=True)
    assert "does not fit: training needs" in capsys.readouterr().out


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
    with pytest.raises(UsageError, match="experiment: got a model without a recurrence"):
        modes.gradient_flow(make_run(tmp_path / "run"))


RUN = make_run(Path("nowhere"))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (modes.train, {"run": RUN}),
        (modes.evaluate, {"run": RUN}),
        (modes.gradient_flow, {"run": RUN}),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    assert not unclear_errors(function, arguments)


def shout(model, texts):
    return {"shouted.txt": "".join(f"{text.upper()} {model.step}\n" for text in texts)}


def with_shout(run):
    return dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, generate=shout))


def test_generating_prints_text_and_writes_it(trained, tmp_path, capsys, monkeypatch):
    run = with_shout(trained[0])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"b\r\n\nc"), "utf-8"))
    result = modes.generate(run, ["a", "-"], str(tmp_path))
    assert capsys.readouterr().out == "A 12\nB 12\nC 12\n"  # a blank line is no text
    assert result == {"files": [str(tmp_path / "shouted.txt")], "steps": 12}
    modes.generate(run, ["d"], None)
    assert (run.folder / "generated" / "shouted.txt").read_text() == "D 12\n"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("text: got 'x', expected a note", "--input: got 'x', expected a note"),
        ("path: got x, which is no file", "--input: got x, which is no file"),
        ("batch_size: got 0, expected more", "--config.train.batch_size: got 0, expected more"),
    ],
)
def test_an_error_of_generating_names_its_flag(trained, tmp_path, message, named):
    def fail(model, texts):
        raise ValueError(message)

    run = dataclasses.replace(
        trained[0], experiment=dataclasses.replace(trained[0].experiment, generate=fail)
    )
    with pytest.raises(UsageError, match=f"^{named}$"):
        modes.generate(run, ["x"], str(tmp_path))


def test_generating_without_a_checkpoint_or_from_bad_text_is_a_usage_error(trained, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="checkpoint"):
        modes.generate(dataclasses.replace(with_shout(trained[0]), folder=tmp_path), [], None)
    with pytest.raises(UsageError, match="--output: got an empty text"):
        modes.generate(with_shout(trained[0]), [], "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    with pytest.raises(UsageError, match=r"stdin: .*expected a text in UTF-8"):
        modes.generate(with_shout(trained[0]), ["-"], str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n \n"), "utf-8"))
    with pytest.raises(UsageError, match="--input: got no text in stdin, expected some"):
        modes.generate(with_shout(trained[0]), ["-"], str(tmp_path))
    with pytest.raises(UsageError, match="--input: got '', expected some"):
        modes.generate(with_shout(trained[0]), ["a", ""], str(tmp_path))
