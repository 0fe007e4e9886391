"""The rows on which gradient flow is measured."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.runs.probe import probe_batch, probe_loss, with_monitor
from dlcore.training.config import GradientFlowConfig
from tests.helpers import plain_toy
from tests.helpers.bad_arguments import unclear_errors


def probe(data, **settings):
    return probe_batch(SimpleNamespace(train_data=data), GradientFlowConfig(**settings))


def test_gradient_flow_is_measured_on_the_first_rows_without_dropout():
    config = plain_toy.Config(dropout=0.5)
    config.train.batch_size = 20
    experiment = plain_toy.experiment(config)
    params, model_state = experiment.init(jax.random.key(0), None)
    first = {name: field[:16] for name, field in experiment.train_data[0].items()}
    expected, _ = plain_toy.make_loss(0.0)(params, model_state, first, jax.random.key(0), True)
    loss = probe_loss(experiment, config.gradient_flow)
    np.testing.assert_allclose(loss(params, model_state), expected, rtol=1e-6)


def test_the_rows_of_several_batches_stand_one_after_the_other():
    data = dl.data.ShuffledBatches(plain_toy.arrays(), batch_size=8, seed=0)
    found = probe(data, rows=3, batches=4)
    for name, field in found.items():
        np.testing.assert_array_equal(field, np.concatenate([data[step][name][:3] for step in range(4)]))
    assert len(probe(data, rows=100, batches=2)["inputs"]) == 16  # a batch has 8


def test_sequences_of_several_lengths_are_padded_along_time():
    """BucketedBatches of rows of the length 1 to 9, whose batches are cut to 4 or 9 steps."""
    lengths = np.arange(1, 10)
    steps = np.arange(9) < lengths[:, None]
    arrays = {
        "inputs": np.where(steps, lengths[:, None], 0.0)[..., None],
        "labels": np.where(steps, lengths[:, None], 0),
        "lengths": lengths,
        "speaker": lengths,
    }
    data = dl.data.BucketedBatches(arrays, batch_size=2, seed=0, boundaries=(4,))
    found = probe(data, rows=2, batches=8)
    assert {data[step]["inputs"].shape[1] for step in range(8)} == {4, 9}
    assert found["inputs"].shape == (16, 9, 1)
    assert found["labels"].dtype == arrays["labels"].dtype
    for row, length in enumerate(found["lengths"]):
        expected = np.where(np.arange(9) < length, length, 0)
        np.testing.assert_array_equal(found["inputs"][row, :, 0], expected)
        np.testing.assert_array_equal(found["labels"][row], expected)
    np.testing.assert_array_equal(found["speaker"], found["lengths"])


def batches_of(**shapes):
    """Two batches whose fields have these shapes, with zeros in them."""
    return [{name: np.zeros(pair[step], int) for name, pair in shapes.items()} for step in range(2)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            batches_of(inputs=[(2, 4, 1), (2, 6, 1)]),
            r"whose inputs have rows of the shapes \[4, 1\], \[6, 1\]",
        ),
        (batches_of(inputs=[(2, 4, 1), (2, 6, 2)], lengths=[2, 2]), "whose inputs have rows"),
        (
            batches_of(inputs=[(2, 4, 1), (2, 4, 1)], lengths=[2, 2], source=[(2, 3), (2, 5)]),
            "whose source have rows",
        ),
        (
            [{"inputs": np.zeros(2)}, {"inputs": np.zeros(2), "mask": np.ones(2)}],
            "the fields inputs and inputs, mask",
        ),
    ],
)
def test_batches_that_do_not_fit_together_are_refused(data, message):
    with pytest.raises(ValueError, match=f"^batches: got 2 batches .*{message}"):
        probe(data, batches=2)


def test_an_experiment_gets_a_monitor_only_if_the_config_asks_and_it_has_none():
    config = plain_toy.Config()
    experiment = plain_toy.experiment(config)
    assert with_monitor(experiment, config) is experiment
    config.train.monitor_every = 3
    assert with_monitor(experiment, config).monitor is not None
    own = dataclasses.replace(experiment, monitor=lambda params, model_state: {})
    assert with_monitor(own, config) is own


def test_a_bad_argument_is_named():
    config = plain_toy.Config()
    experiment = plain_toy.experiment(config)
    assert not unclear_errors(probe_loss, {"experiment": experiment, "config": config.gradient_flow})
    assert not unclear_errors(with_monitor, {"experiment": experiment, "config": config})
