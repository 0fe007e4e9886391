"""Evaluation over padded batches equals the evaluation of the whole set at once."""

import dataclasses
import weakref
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate, read_sums
from dlcore.training.faults.nonfinite import NonFiniteError
from dlcore.training.metrics import Average
from tests.helpers import plain_toy

ARRAYS = plain_toy.arrays()


def with_eval_data(data, best="loss"):
    config = plain_toy.Config()
    return Engine(dataclasses.replace(plain_toy.experiment(config), eval_data=data, best=best), config)


def test_every_example_counts_once_whatever_the_batch_size():
    state = plain_toy.make_state(with_eval_data([]))
    errors = ARRAYS["inputs"] @ np.float64(state.params["weights"]) - ARRAYS["targets"]
    expected = (errors[np.arange(plain_toy.STEPS) < ARRAYS["lengths"][:, None]] ** 2).mean()
    for batch_size in (7, 40, 100):
        data, beats = dl.data.PaddedBatches(ARRAYS, batch_size), []
        values = evaluate(with_eval_data(data), state, lambda beats=beats: beats.append(1))
        assert values == {"loss": pytest.approx(expected, rel=1e-5)}
        assert len(beats) == len(data)


def test_sets_by_name_have_the_values_that_each_has_alone_and_share_a_program():
    parts = {"test": slice(0, 10), "dev": slice(10, 40)}
    sets = {
        name: dl.data.PaddedBatches({field: array[rows] for field, array in ARRAYS.items()}, 10)
        for name, rows in parts.items()
    }
    engine = with_eval_data(sets, best="dev/loss")
    state = plain_toy.make_state(engine)
    values = evaluate(engine, state)
    assert list(values) == ["test/loss", "dev/loss"]
    errors = (ARRAYS["inputs"] @ np.float64(state.params["weights"]) - ARRAYS["targets"]) ** 2
    valid = np.arange(plain_toy.STEPS) < ARRAYS["lengths"][:, None]
    for name, rows in parts.items():
        assert values[f"{name}/loss"] == pytest.approx(errors[rows][valid[rows]].mean(), rel=1e-5)
    assert engine.eval_step._cache_size() == 1


def test_nan_in_a_set_names_the_set():
    inputs = np.full_like(ARRAYS["inputs"], np.nan)
    sets = {"dev": dl.data.PaddedBatches(ARRAYS, 40), "test": [{**ARRAYS, "inputs": inputs}]}
    engine = with_eval_data(sets, best="dev/loss")
    message = r"the evaluation's test/loss is NaN, first in batch 0 of eval_data\['test'\]: inputs"
    with pytest.raises(NonFiniteError, match=message):
        evaluate(engine, plain_toy.make_state(engine))


def test_the_moving_average_is_evaluated():
    engine = with_eval_data([{name: field[:8] for name, field in ARRAYS.items()}])
    state = plain_toy.make_state(engine)
    other = {"bias": state.params["bias"] + 1, "weights": state.params["weights"]}
    averaged, replaced = (
        evaluate(engine, state.replace(**fields)) for fields in ({"average": other}, {"params": other})
    )
    assert averaged == replaced != evaluate(engine, state)


def test_an_empty_evaluation_set_is_refused():
    engine = with_eval_data([])
    with pytest.raises(ValueError, match="eval_data: got no batch"):
        evaluate(engine, plain_toy.make_state(engine))


def test_sums_are_read_as_python_numbers_sorted_by_name():
    values = read_sums(
        {"loss": Average(np.float32(3), np.float32(2)), "a": Average(np.float32(0), np.float32(0))}
    )
    assert list(values.items()) == [("a", 0.0), ("loss", 1.5)]
    assert {type(value) for value in values.values()} == {float}


def test_arrays_are_read_as_nested_lists():
    matrix = dl.metrics.ConfusionMatrix(np.array([[3, 1], [0, 2]], np.float32))
    assert read_sums({"matrix": matrix}) == {"matrix": [[3.0, 1.0], [0.0, 2.0]]}


def test_a_tagger_that_is_right_at_every_valid_step_has_the_accuracy_1():
    """The user's mask says which 25 of the 80 places of 10 rows are tags; the last batch is padded."""
    generator = np.random.default_rng(0)
    mask = np.zeros(80, bool)
    mask[generator.permutation(80)[:25]] = True
    mask, labels = mask.reshape(10, 8), generator.integers(0, 3, (10, 8))
    predicted = np.where(mask, labels, (labels + 1) % 3)

    def loss(params, model_state, batch, rng, train):
        value, metrics = dl.losses.classification(
            jax.nn.one_hot(batch["inputs"], 3) * 9 + params["bias"], batch
        )
        return value, (model_state, metrics)

    arrays = {"inputs": predicted, "labels": labels, "mask": mask}
    config = plain_toy.Config()
    config.train.batch_size = 10
    experiment = dl.Experiment(
        init=lambda rng, batch: ({"bias": jnp.zeros(())}, {}),
        loss=loss,
        train_data=dl.data.ShuffledBatches(arrays, 10, seed=0),
        eval_data=dl.data.PaddedBatches(arrays, 4),
    )
    engine = Engine(experiment, config)
    sums = {"accuracy": 0.0, "weight": 0.0}
    for metrics in engine.eval_metrics(engine.initial_state()):
        sums["accuracy"] += float(metrics["accuracy"].total)
        sums["weight"] += float(metrics["accuracy"].weight)
    assert sums == {"accuracy": 25, "weight": 25}


@pytest.mark.parametrize("batch_size", [7, 40])
def test_nan_in_the_evaluation_set_is_an_error_that_names_the_batch(batch_size):
    inputs = ARRAYS["inputs"].copy()
    row = int(np.flatnonzero(ARRAYS["lengths"] > 2)[-1])
    inputs[row, 2, 1] = np.nan
    engine = with_eval_data(dl.data.PaddedBatches({**ARRAYS, "inputs": inputs}, batch_size))
    with pytest.raises(
        NonFiniteError,
        match=rf"step 0: the evaluation's loss is NaN, first in batch {row // batch_size} of eval_data: inputs .* has "
        rf"NaN in 1 of .* first at \({row % batch_size}, 2, 1\)",
    ):
        evaluate(engine, plain_toy.make_state(engine))


class Geometric(NamedTuple):
    """A metric whose value() uses jax.numpy."""

    total: jax.Array
    weight: jax.Array

    def value(self) -> jax.Array:
        return jnp.exp(self.total / self.weight)


def test_values_may_use_jax_numpy_where_the_loop_forbids_transfers():
    with jax.transfer_guard("disallow"):
        values = read_sums({"perplexity": Geometric(np.float32(2), np.float32(2))})
    assert values == {"perplexity": pytest.approx(np.e)}


def test_the_sums_of_a_few_batches_are_held_at_a_time():
    made, held = [], []

    def eval_metrics(state, eval_set):
        for _ in range(20):
            counts = np.ones((2, 2), np.float32)
            made.append(weakref.ref(counts))
            yield {"matrix": dl.metrics.ConfusionMatrix(counts)}

    experiment = SimpleNamespace(eval_sets={"": []}, best="loss", scores=None)
    engine = SimpleNamespace(experiment=experiment, eval_metrics=eval_metrics)
    values = evaluate(engine, None, lambda: held.append(sum(array() is not None for array in made)))
    assert values == {"matrix": [[20.0, 20.0], [20.0, 20.0]]}
    assert max(held) < 6
