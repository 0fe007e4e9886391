"""The digits experiment learns, and its figures show its predictions."""

import pytest

from dlcore.training.contract import check_model
from experiments import digits
from tests.helpers.experiment_runs import draw_untrained, train_experiment


@pytest.mark.slow
def test_the_figures_show_the_predictions():
    drawn, metrics = draw_untrained(digits, features=(2, 3), hidden=4, train__eval_batch_size=899)
    assert set(drawn) == {"confusion_matrix", "filters", "feature_maps", "worst_mistakes"}
    correct = round(metrics["accuracy"] * 899)
    assert drawn["confusion_matrix"].axes[0].get_title().startswith(f"{correct} of 899 correct")


@pytest.mark.parametrize("model", ["plain", pytest.param("residual", marks=pytest.mark.slow)])
def test_other_models_fit_both_sizes_of_digits(model):
    for name in ("uci", "mnist5k"):
        config = digits.Config(model=model, data=digits.DataConfig(name))
        check_model(digits.experiment(config))


@pytest.mark.slow
def test_a_fifth_of_the_steps_beats_the_baseline(tmp_path):
    _, trained = train_experiment(digits, tmp_path, train__steps=600)
    assert trained.evaluation["accuracy"] >= 0.98  # SVC on the pixels: 0.970
