"""The figures of a run, and that one that fails costs nothing else."""

import dataclasses

import pytest
from matplotlib.figure import Figure

import dlcore as dl
from dlcore.runs import figures as figures_module
from dlcore.runs.figures import own_figures, training_figures, write_figures
from dlcore.training.run import Run
from tests.helpers import plain_toy


def make_run(folder, figures=None):
    config = plain_toy.Config()
    (folder / "metrics.csv").write_text("step,name,value\n3,train/loss,0.5\n6,eval/loss,0.25\n")
    experiment = dataclasses.replace(plain_toy.experiment(config), figures=figures)
    return Run(experiment, config, folder)


def test_every_run_has_learning_curves_and_the_gradient_by_lag_if_it_was_monitored(tmp_path):
    run = make_run(tmp_path)
    assert set(training_figures(run)) == {"learning_curves"}
    assert own_figures(run, {}, {}) == {}
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("3,flow/cell/log10_lag_0,-1.0\n6,flow/cell/log10_lag_0,-2.0\n")
    assert set(training_figures(run)) == {"learning_curves", "gradient_by_lag"}


def test_the_figures_of_the_experiment_get_the_model_and_all_are_said(tmp_path, capsys):
    run = make_run(tmp_path, lambda params, model_state: {f"{params}_{model_state}": Figure()})
    write_figures(run, "weights", "mean")
    names = ["learning_curves.png", "weights_mean.png"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == names
    assert capsys.readouterr().err.splitlines() == [f"figure: {tmp_path}/figures/{name}" for name in names]


def test_a_run_may_draw_none(tmp_path):
    config = plain_toy.Config(log=dl.LogConfig(figures=False, tensorboard=False))
    trained = dl.train(plain_toy.experiment, config, tmp_path / "run")
    assert not (tmp_path / "run" / "figures").exists()
    assert set(trained.figures) == {"learning_curves"}


@pytest.mark.parametrize(
    "failure", ["a function that raises", "a folder in its place", "a link in its place"]
)
def test_a_figure_that_cannot_be_drawn_costs_nothing_else(tmp_path, capsys, monkeypatch, failure):
    monkeypatch.setattr(figures_module, "learning_curves", lambda rows, best, sets: Figure())

    def figures(params, model_state):
        if failure == "a function that raises":
            raise ZeroDivisionError("division by zero")
        return {"weights": Figure()}

    run = make_run(tmp_path, figures)
    place, victim = tmp_path / "figures" / "weights.png", tmp_path / "victim"
    place.parent.mkdir()
    victim.write_text("precious")
    if failure == "a folder in its place":
        place.mkdir()
    if failure == "a link in its place":
        place.symlink_to(victim)
    write_figures(run, {}, {})
    errors = capsys.readouterr().err
    assert f"figure: {tmp_path}/figures/learning_curves.png\n" in errors
    told = {
        "a function that raises": "figures: got ZeroDivisionError: division by zero; the run is finished without them",
        "a folder in its place": "figures: got IsADirectoryError: ",
        "a link in its place": f"figure: {place}\n",
    }
    assert told[failure] in errors
    assert victim.read_text() == "precious"
