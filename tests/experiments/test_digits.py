"""The digits experiment learns, and draws what it says."""

import pytest

from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model
from experiments import digits


def train(folder, **settings):
    config = digits.Config()
    for name, value in settings.items():
        setattr(config.train, name, value)
    experiment = digits.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def test_a_short_run_learns_and_its_figures_are_drawn(tmp_path):
    experiment, trained = train(tmp_path, steps=300)
    assert trained.evaluation["accuracy"] > 0.95  # 1-NN on the pixels: 0.961 with all of the training
    drawn = experiment.figures(trained.state.params, trained.state.model_state)
    assert set(drawn) == {"confusion_matrix", "filters", "feature_maps", "worst_mistakes"}
    right = drawn["confusion_matrix"].axes[0].get_title().split()[0]
    assert int(right) == round(trained.evaluation["accuracy"] * 899)


@pytest.mark.parametrize("model", ["plain", "residual"])
def test_its_other_models_fit_both_sizes_of_digits(model):
    for name in ("uci", "mnist5k"):
        config = digits.Config(model=model, data=digits.DataConfig(name))
        check_model(digits.experiment(config))


@pytest.mark.slow
def test_the_whole_run_reaches_its_accuracy(tmp_path):
    _, trained = train(tmp_path)
    assert trained.evaluation["accuracy"] >= 0.98
